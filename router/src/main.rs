//! The `router` executable.

use std::process::ExitCode;

fn main() -> ExitCode {
    router::run(std::env::args_os().skip(1).collect())
}
