//! `legacy-eh < in.wasm > out.wasm`: translates a module.

use std::error::Error;
use std::io::{Read as _, Write as _};
use std::process::ExitCode;

fn main() -> ExitCode {
    let Err(error) = run() else {
        return ExitCode::SUCCESS;
    };
    eprintln!("legacy-eh: {error}");
    let mut source = error.source();
    while let Some(error) = source {
        eprintln!("  because: {error}");
        source = error.source();
    }
    ExitCode::FAILURE
}

fn run() -> Result<(), Box<dyn Error>> {
    let mut wasm = Vec::new();
    std::io::stdin().read_to_end(&mut wasm)?;
    let translated = legacy_exceptions::translate(&wasm)?;
    std::io::stdout().write_all(&translated)?;
    Ok(())
}
