//! What the system tests stand on: real processes, started, awaited and always ended.
//!
//! Tests share one private cache and one store below `target/tmp`, so that Pyodide is
//! compiled and each worker deployed once. Everything else is a test's own.

pub mod browser;
pub mod certificates;
mod deploy;
mod external;
mod fleet;
pub mod folders;
mod host;
mod process;

pub use deploy::{Deployed, deploy, deploy_command};
pub use external::{HostLine, HostProcess, Load, Outcome, Reply, RoutedFleet, causes, failed};
pub use fleet::{Answer, Fleet, FleetOptions};
pub use host::Host;
pub use process::{Ended, Running, alive, finish, peak_memory, program, wait_until};

use std::path::{Path, PathBuf};

/// The repository's root.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package is in the repository").to_owned()
}

/// The folder of an example worker.
pub fn example(name: &str) -> PathBuf {
    root().join("examples").join(name)
}

/// The folder of a worker that only tests use.
pub fn worker(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("workers").join(name)
}

/// The private cache all tests share.
pub fn cache() -> PathBuf {
    shared("cache")
}

/// The store all tests share; what one deploys, others may use.
pub fn store() -> PathBuf {
    shared("store")
}

fn shared(name: &str) -> PathBuf {
    let target = root().join("target/tmp/system-tests");
    std::fs::create_dir_all(&target).expect("target/ can be written");
    target.join(name)
}
