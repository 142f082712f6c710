//! Binaryen's `wasm-opt`, as a process.

use std::ffi::OsString;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

/// The environment variable that names Binaryen's `wasm-opt`.
const WASM_OPT: &str = "WASM_OPT";

fn program() -> OsString {
    std::env::var_os(WASM_OPT).unwrap_or_else(|| "wasm-opt".into())
}

fn start(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output().with_context(|| {
        format!(
            "cannot run Binaryen's `{}`: install it (`npm install binaryen`), or name it in {WASM_OPT}",
            command.get_program().display()
        )
    })?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "`{}` failed: {said}", command.get_program().display());
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Its version; fails where there is none, or one that cannot translate.
pub(super) fn version() -> Result<String> {
    start(Command::new(program()).arg("--version"))
}

/// Its translation of a module.
pub(super) fn translate(wasm: &[u8]) -> Result<Vec<u8>> {
    let folder = tempfile::tempdir()?;
    let (input, output) = (folder.path().join("in.wasm"), folder.path().join("out.wasm"));
    std::fs::write(&input, wasm)?;
    let mut command = Command::new(program());
    command.args(["--all-features", "--disable-compact-imports", "--translate-to-exnref"]);
    start(command.arg(&input).arg("-o").arg(&output))?;
    Ok(std::fs::read(&output)?)
}
