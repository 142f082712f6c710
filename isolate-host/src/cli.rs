//! The command line of the isolate host.

mod deploy;
mod logging;
mod places;
mod runtime;
mod serve;
mod snapshot;
mod workers;

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::pool::chain;

/// Keeps Python workers warm and restores them from memory snapshots.
#[derive(Debug, Parser)]
#[command(name = "isolate-host", version, propagate_version = true, max_term_width = 100)]
#[command(after_help = "Environment: WARMSHARD_LOG sets what is logged (such as `debug`), \
    WARMSHARD_LOG_FORMAT=json logs JSON lines, WARMSHARD_STORE and WARMSHARD_CACHE name the default folders.")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::Serve),
    Deploy(deploy::Deploy),
    Lock(deploy::Lock),
    Workers(workers::Workers),
    Snapshot(snapshot::Snapshot),
    Runtime(runtime::Runtime),
}

/// Runs the command line; `args` come without the program's name.
pub fn run(args: Vec<OsString>) -> ExitCode {
    let with_name = std::iter::once(OsString::from("isolate-host")).chain(args);
    let cli = match Cli::try_parse_from(with_name) {
        Ok(cli) => cli,
        Err(error) => {
            // Help goes to standard output and is no failure: clap knows which is which.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let result = match cli.command {
        Command::Serve(serve) => serve.run(),
        Command::Deploy(deploy) => deploy.run(),
        Command::Lock(lock) => lock.run(),
        Command::Workers(workers) => workers.run(),
        Command::Snapshot(snapshot) => snapshot.run(),
        Command::Runtime(runtime) => runtime.run(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", chain(&*error));
            ExitCode::FAILURE
        }
    }
}

/// Writes a line to standard output, which may be a pipe that somebody closed.
fn say(line: &str) -> std::io::Result<()> {
    writeln!(std::io::stdout().lock(), "{line}")
}

/// What a command ends with: told once, here.
type CommandResult = Result<(), Box<dyn std::error::Error>>;

#[cfg(test)]
mod tests;
