//! The `isolate-host` executable.

use std::process::ExitCode;

fn main() -> ExitCode {
    isolate_host::run(std::env::args_os().skip(1).collect())
}
