//! Installs the Python runtime into the private cache, once per machine.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use wasmtime::Module;

use super::code_cache::{CodeCache, CompileError, content_key};
use super::engine;
use super::rewrite::{self, RewriteError, Role};
use super::{PYODIDE_SHA256, PYODIDE_VERSION, RuntimeIdentity, branch_history, package, platform};
use crate::cache::{CacheDir, CacheError};
use crate::progress::Progress;

/// Counts changes of translation and rewriting: what they make of the same input.
const RECIPE: u32 = 2;
const SECTION: &str = "runtime";

/// Why the runtime could not be installed.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    #[error(transparent)]
    Cache(#[from] CacheError),
    #[error(
        "cannot run `npm`, which downloads Pyodide; install Node.js with npm, or set `{}` to a copy of `pyodide-{PYODIDE_VERSION}.tgz`",
        package::ARCHIVE_VARIABLE
    )]
    NoNpm(#[source] std::io::Error),
    #[error("`npm pack {spec}` failed ({status}): {said}")]
    Download { spec: String, status: String, said: String },
    #[error("cannot read the Pyodide archive `{path}`")]
    ReadArchive { path: PathBuf, source: std::io::Error },
    #[error(
        "found a Pyodide archive with SHA-256 {found}, expected {expected}: it is not `pyodide@{PYODIDE_VERSION}` as published; nothing of it was used"
    )]
    WrongHash { found: String, expected: &'static str },
    #[error("cannot unpack the Pyodide archive")]
    Unpack(#[source] std::io::Error),
    #[error("found no `{member}` in the Pyodide archive")]
    Missing { member: &'static str },
    #[error("cannot translate `{name}` to standard exception handling: {reason}")]
    Translate { name: String, reason: String },
    #[error("cannot rewrite Pyodide's main module")]
    Rewrite(#[from] RewriteError),
    #[error(transparent)]
    Compile(#[from] CompileError),
    #[error("cannot set up the WebAssembly engine: {0}")]
    Engine(String),
    #[error("cannot read or write the installed runtime at `{path}`")]
    Io { path: PathBuf, source: std::io::Error },
    #[error(
        "the installed runtime at `{path}` is damaged ({what}); remove the folder and run the command again"
    )]
    Damaged { path: PathBuf, what: String },
}

/// Identifies the Python a snapshot was taken with; part of every deployment's ID.
pub fn fingerprint() -> String {
    format!("pyodide-{PYODIDE_VERSION}-{}-r{RECIPE}-{}", &PYODIDE_SHA256[..12], platform::fingerprint())
}

/// What a snapshot names of this runtime, given its main module.
fn identity(main_sha256: String) -> RuntimeIdentity {
    RuntimeIdentity {
        pyodide: PYODIDE_VERSION.to_owned(),
        archive: PYODIDE_SHA256.to_owned(),
        main_module: main_sha256,
        library_recipe: crate::linker::library::RECIPE.to_owned(),
        platform: platform::fingerprint().to_owned(),
    }
}

/// The runtime, ready to make isolates from.
pub struct Runtime {
    pub code: Arc<CodeCache>,
    pub main: Module,
    /// What snapshots of this runtime name.
    pub identity: RuntimeIdentity,
    /// The main module's initial memory, from address 0.
    pub initial_memory: Bytes,
    pub initial_pages: u32,
    pub stdlib_zip: Bytes,
}

/// What is installed where; also the file that says an installation is whole.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Installed {
    pub pyodide: String,
    pub recipe: u32,
    pub main_sha256: String,
    pub initial_memory_sha256: String,
    pub initial_pages: u32,
    pub stdlib_sha256: String,
}

/// Where the runtime of this executable stands.
#[derive(Debug)]
pub struct Status {
    pub folder: PathBuf,
    pub installed: Option<Installed>,
    /// Whether its machine code is there too.
    pub compiled: bool,
}

fn key() -> String {
    format!("pyodide-{PYODIDE_VERSION}-{}-r{RECIPE}", &PYODIDE_SHA256[..12])
}

/// Tells what is installed, and changes nothing.
pub fn status(cache: &CacheDir) -> Result<Status, RuntimeError> {
    let folder = cache.section(SECTION)?.join(key());
    let installed = read_manifest(&folder)?;
    let code = CodeCache::new(open_engine()?, cache.clone());
    let compiled = installed.as_ref().is_some_and(|installed| code.contains(&installed.main_sha256));
    Ok(Status { folder, installed, compiled })
}

/// Turns the legacy exception instructions of a module, which has a name, into standard ones.
pub type Translation = dyn Fn(&str, &[u8]) -> Result<Vec<u8>, RuntimeError>;

/// Installs the runtime unless it is there, and loads it.
///
/// Takes most of a minute on a new machine, milliseconds afterwards. Blocks.
pub fn install(cache: &CacheDir, progress: &dyn Progress) -> Result<Runtime, RuntimeError> {
    install_with(cache, progress, &translate)
}

/// Installs the runtime by another translation than ours, so that tests can compare the two.
///
/// No command leads here. It is of use in a cache of its own: what is installed already stays.
pub fn install_with(
    cache: &CacheDir,
    progress: &dyn Progress,
    translation: &Translation,
) -> Result<Runtime, RuntimeError> {
    let code = CodeCache::new(open_engine()?, cache.clone());
    let folder = cache.section(SECTION)?.join(key());
    if read_manifest(&folder)?.is_none() {
        let _lock = cache.lock(&format!("{SECTION}-{}", key()), progress)?;
        if read_manifest(&folder)?.is_none() {
            make(cache, progress, translation)?;
        }
    }
    load(&folder, code, progress)
}

fn open_engine() -> Result<wasmtime::Engine, RuntimeError> {
    engine::new_engine().map_err(|error| RuntimeError::Engine(format!("{error:#}")))
}

fn read_manifest(folder: &std::path::Path) -> Result<Option<Installed>, RuntimeError> {
    let path = folder.join("installed.json");
    match std::fs::read(&path) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|error| RuntimeError::Damaged { path: folder.to_owned(), what: error.to_string() }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(RuntimeError::Io { path, source }),
    }
}

fn make(cache: &CacheDir, progress: &dyn Progress, translation: &Translation) -> Result<(), RuntimeError> {
    let scratch = cache.temp_dir()?;
    let package = package::fetch(scratch.path(), progress)?;
    let step = progress.step("translate Pyodide's exception handling");
    let standard = translation("pyodide.asm.wasm", &package.main_wasm)?;
    step.done();
    let mut main = rewrite::rewrite(&standard, Role::Main)?;
    let forgotten = branch_history::forget(&mut main).map_err(RewriteError::from)?;
    if forgotten == 0 {
        tracing::warn!("found no branch records in the interpreter: isolates will write to more memory");
    }
    let (initial_memory, initial_pages) = initial_memory(&standard)?;

    let made = cache.temp_dir()?;
    let write = |name: &str, bytes: &[u8]| {
        let path = made.path().join(name);
        std::fs::write(&path, bytes).map_err(|source| RuntimeError::Io { path, source })
    };
    write("main.wasm", &main)?;
    write("initial-memory.bin", &initial_memory)?;
    write("python_stdlib.zip", &package.stdlib_zip)?;
    let installed = Installed {
        pyodide: PYODIDE_VERSION.to_owned(),
        recipe: RECIPE,
        main_sha256: content_key(&main),
        initial_memory_sha256: content_key(&initial_memory),
        initial_pages,
        stdlib_sha256: content_key(&package.stdlib_zip),
    };
    let json = serde_json::to_vec_pretty(&installed).expect("a struct of strings and numbers");
    write("installed.json", &json)?;
    cache.publish(made, SECTION, &key())?;
    Ok(())
}

/// The one place that turns legacy exception instructions into standard ones.
pub fn translate(name: &str, wasm: &[u8]) -> Result<Vec<u8>, RuntimeError> {
    legacy_exceptions::translate(wasm)
        .map(std::borrow::Cow::into_owned)
        .map_err(|error| RuntimeError::Translate { name: name.to_owned(), reason: error.to_string() })
}

/// Data segments laid out from address 0, and how many pages memory starts with.
fn initial_memory(wasm: &[u8]) -> Result<(Vec<u8>, u32), RuntimeError> {
    let memory = rewrite::initial_memory_bytes(wasm)?;
    let segments = rewrite::data_segments(wasm)?;
    let end = segments.iter().map(|s| u64::from(s.offset) + s.bytes.len() as u64).max().unwrap_or(0);
    if end > memory {
        return Err(RewriteError::DataBounds { end, memory }.into());
    }
    let mut image = vec![0; end as usize];
    for segment in segments {
        image[segment.offset as usize..][..segment.bytes.len()].copy_from_slice(&wasm[segment.bytes]);
    }
    Ok((image, (memory / 65536) as u32))
}

fn load(
    folder: &std::path::Path,
    code: Arc<CodeCache>,
    progress: &dyn Progress,
) -> Result<Runtime, RuntimeError> {
    let installed = read_manifest(folder)?.ok_or_else(|| RuntimeError::Damaged {
        path: folder.to_owned(),
        what: "no installed.json".to_owned(),
    })?;
    let read = |name: &str, expected: &str| {
        let path = folder.join(name);
        let bytes = std::fs::read(&path).map_err(|source| RuntimeError::Io { path, source })?;
        let found = content_key(&bytes);
        if found != *expected {
            let what = format!("`{name}` has SHA-256 {found}, expected {expected}");
            return Err(RuntimeError::Damaged { path: folder.to_owned(), what });
        }
        Ok(bytes)
    };
    let initial_memory = read("initial-memory.bin", &installed.initial_memory_sha256)?.into();
    let stdlib_zip = read("python_stdlib.zip", &installed.stdlib_sha256)?.into();
    let main = code.module("Pyodide", &installed.main_sha256, progress, || {
        read("main.wasm", &installed.main_sha256)
            .map_err(|error| CompileError::Compile { name: "Pyodide".to_owned(), reason: error.to_string() })
    })?;
    let identity = identity(installed.main_sha256);
    Ok(Runtime { code, main, identity, initial_memory, initial_pages: installed.initial_pages, stdlib_zip })
}
