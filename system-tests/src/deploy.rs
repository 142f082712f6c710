//! `isolate-host deploy`, as a process.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::process::{Ended, finish, program};

/// What a deploy ended with.
pub type Deployed = Ended;

/// Deploys a folder into `store`.
pub fn deploy(executable: &Path, folder: &Path, store: &Path) -> Result<Deployed> {
    finish(deploy_command(executable, folder, store))
}

/// The command that does so.
pub fn deploy_command(executable: &Path, folder: &Path, store: &Path) -> Command {
    let mut command = program(executable, "isolate-host");
    command.arg("deploy").arg(folder).arg("--store").arg(store);
    command
}
