//! `isolate-host deploy`, as a process.

use std::path::Path;

use anyhow::Result;

use crate::process::{Ended, finish, program};

/// What a deploy ended with.
pub type Deployed = Ended;

/// Deploys a folder into `store`.
pub fn deploy(executable: &Path, folder: &Path, store: &Path) -> Result<Deployed> {
    let mut command = program(executable, "isolate-host");
    command.arg("deploy").arg(folder).arg("--store").arg(store);
    finish(command)
}
