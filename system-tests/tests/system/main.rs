//! The whole system: real processes, real sockets, real Python.

mod bodies;
mod concurrency;
mod dashboard;
mod deploys;
mod ejection;
mod etcd;
mod faults;
mod fleet;
mod handoff;
mod host_tls;
mod killed;
mod limits;
mod load;
mod load_page;
mod memory;
mod native;
mod overload;
mod python_platform;
mod restarts;
mod router;
mod secrets;
mod sharding;
mod simulator;
mod snapshots;
mod tls;
mod top_level;
mod translations;
mod uploads;

use std::path::{Path, PathBuf};

use anyhow::Result;
use system_tests::{Fleet, FleetOptions, example, worker};

/// The executable that is each of the three programs.
fn executable() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_warmshard"))
}

/// Every worker that can be deployed.
fn workers() -> Vec<PathBuf> {
    vec![example("hello"), example("fastapi"), worker("faults")]
}

/// A fleet that serves them.
fn fleet(hosts: u32) -> Result<Fleet> {
    fleet_with(hosts, "", &[])
}

fn fleet_with(hosts: u32, embedded: &str, environment: &[(&str, &str)]) -> Result<Fleet> {
    Fleet::start(executable(), &FleetOptions { hosts, workers: &workers(), embedded, environment })
}
