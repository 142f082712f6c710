//! Brings the npm package `pyodide` and verifies it before anything reads it.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use flate2::read::GzDecoder;

use super::code_cache::content_key;
use super::runtime::RuntimeError;
use super::{PYODIDE_SHA256, PYODIDE_VERSION};
use crate::progress::Progress;

/// Names a local copy of the archive, for machines that do not reach the npm registry.
pub const ARCHIVE_VARIABLE: &str = "WARMSHARD_PYODIDE_ARCHIVE";

/// Largest file taken from the archive; the biggest one is 10 MB.
const MEMBER_LIMIT: u64 = 64 << 20;

/// The parts of the package this host uses.
pub struct PyodidePackage {
    pub main_wasm: Vec<u8>,
    pub stdlib_zip: Vec<u8>,
}

/// Downloads, verifies and unpacks the package, in memory but for the archive itself.
pub fn fetch(scratch: &Path, progress: &dyn Progress) -> Result<PyodidePackage, RuntimeError> {
    let archive = match std::env::var_os(ARCHIVE_VARIABLE) {
        Some(path) => PathBuf::from(path),
        None => download(scratch, progress)?,
    };
    let bytes = std::fs::read(&archive)
        .map_err(|source| RuntimeError::ReadArchive { path: archive.clone(), source })?;
    let found = content_key(&bytes);
    if found != PYODIDE_SHA256 {
        return Err(RuntimeError::WrongHash { found, expected: PYODIDE_SHA256 });
    }
    unpack(&bytes)
}

fn download(scratch: &Path, progress: &dyn Progress) -> Result<PathBuf, RuntimeError> {
    let spec = format!("pyodide@{PYODIDE_VERSION}");
    let step = progress.step(&format!("download `{spec}` with npm"));
    let output = Command::new("npm")
        .args(["pack", "--silent", &spec])
        .current_dir(scratch)
        .stdin(Stdio::null())
        .output()
        .map_err(RuntimeError::NoNpm)?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(RuntimeError::Download { spec, status: output.status.to_string(), said });
    }
    step.done();
    Ok(scratch.join(format!("pyodide-{PYODIDE_VERSION}.tgz")))
}

fn unpack(archive: &[u8]) -> Result<PyodidePackage, RuntimeError> {
    let mut main_wasm = None;
    let mut stdlib_zip = None;
    let mut tar = tar::Archive::new(GzDecoder::new(archive));
    for entry in tar.entries().map_err(RuntimeError::Unpack)? {
        let mut entry = entry.map_err(RuntimeError::Unpack)?;
        let wanted = match entry.path().map_err(RuntimeError::Unpack)?.to_str() {
            Some("package/pyodide.asm.wasm") => &mut main_wasm,
            Some("package/python_stdlib.zip") => &mut stdlib_zip,
            _ => continue,
        };
        let mut bytes = Vec::new();
        entry.by_ref().take(MEMBER_LIMIT).read_to_end(&mut bytes).map_err(RuntimeError::Unpack)?;
        *wanted = Some(bytes);
    }
    Ok(PyodidePackage {
        main_wasm: main_wasm.ok_or(RuntimeError::Missing { member: "pyodide.asm.wasm" })?,
        stdlib_zip: stdlib_zip.ok_or(RuntimeError::Missing { member: "python_stdlib.zip" })?,
    })
}
