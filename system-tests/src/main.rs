//! `warmshard router|isolate-host|loadtest ARGUMENTS`: the program a test asks for.

use std::ffi::OsString;
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let program = if arguments.is_empty() { OsString::new() } else { arguments.remove(0) };
    match program.to_str() {
        Some("router") => router::run(arguments),
        Some("isolate-host") => isolate_host::run(arguments),
        Some("loadtest") => loadtest::run(arguments),
        _ => {
            eprintln!("found the program {program:?}, expected `router`, `isolate-host` or `loadtest`");
            ExitCode::from(2)
        }
    }
}
