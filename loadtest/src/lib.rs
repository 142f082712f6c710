//! Load tests that measure the cold-start rate.
//!
//! | file | subject |
//! |---|---|
//! | `cli` | the command line |
//! | `scenario` | what a load test does: a TOML file and flags |
//! | `schedule` | when each request is meant to start: pure, from a load and a seed |
//! | `driver` | sends a schedule, open loop |
//! | `client`, `target` | one HTTP connection; where it goes |
//! | `events` | what is done to the fleet during a run |
//! | `measure` | histograms and counts, also over time |
//! | `report` | tables, JSON, the page with plots, conditions and comparisons |
//! | `run` | `loadtest run`, put together from the above |
//! | `simulate` | `loadtest simulate`: a fleet that does not exist, in virtual time |
//! | `compare` | `loadtest compare`: two reports |
//! | `cold_start` | `loadtest cold-start`: a real fleet, forced cold starts, a native control |

#![forbid(unsafe_code)]

pub mod cli;
pub mod client;
pub mod cold_start;
mod compare;
pub mod driver;
mod events;
mod interrupt;
pub mod measure;
mod open_files;
mod outcome;
mod progress;
pub mod report;
mod run;
pub mod scenario;
pub mod schedule;
pub mod simulate;
pub mod target;
#[cfg(test)]
mod test_server;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;
use tokio::runtime::Builder;

use cli::{Cli, Command};

/// Runs the program with these arguments (without its own name).
pub fn run(args: Vec<OsString>) -> ExitCode {
    let program = std::iter::once(OsString::from("loadtest"));
    let cli = match Cli::try_parse_from(program.chain(args)) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version go to standard output with exit code 0, mistakes to standard
            // error with 2; that a closed pipe swallows either is nobody's concern.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    match perform(cli) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("loadtest: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn perform(cli: Cli) -> anyhow::Result<ExitCode> {
    // Cold starts are timed one at a time: with a single thread, waking another one is not
    // part of what is measured.
    let mut runtime = match cli.command {
        Command::Run(_) => Builder::new_multi_thread(),
        Command::ColdStart(_) | Command::Compare(_) | Command::Simulate(_) => Builder::new_current_thread(),
    };
    let runtime = runtime.enable_all().build()?;
    let result = match cli.command {
        Command::Run(args) => runtime.block_on(run::run(*args)),
        Command::ColdStart(args) => runtime.block_on(cold_start::run(*args)),
        Command::Compare(args) => compare::run(&args),
        Command::Simulate(args) => simulate::run(&args),
    };
    // Requests still in flight after an interrupt are not waited for.
    runtime.shutdown_background();
    result
}
