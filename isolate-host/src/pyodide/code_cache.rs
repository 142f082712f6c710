//! Compiled machine code in the host's private cache.
//!
//! An entry is keyed by the wasm's content and by everything the engine would
//! refuse it for. Loading compiled code is running native code, so entries come
//! only from [`CacheDir`], which belongs to this user alone.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::hash::{Hash, Hasher};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use sha2::{Digest, Sha256};
use wasmtime::{Engine, Module};

use crate::cache::{CacheDir, CacheError};
use crate::progress::Progress;

/// Why a module could not be brought into the cache.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    #[error(transparent)]
    Cache(#[from] CacheError),
    #[error("cannot compile `{name}`: {reason}")]
    Compile { name: String, reason: String },
    #[error("cannot load compiled code from `{path}`: {reason}; remove the file and try again")]
    Load { path: PathBuf, reason: String },
    #[error("cannot write compiled code")]
    Write(#[source] std::io::Error),
}

/// Modules this process has loaded, and the folder of those it can load.
pub struct CodeCache {
    engine: Engine,
    cache: CacheDir,
    engine_key: String,
    loaded: Mutex<HashMap<String, Module>>,
}

const SECTION: &str = "compiled";

impl CodeCache {
    pub fn new(engine: Engine, cache: CacheDir) -> Arc<Self> {
        let engine_key = engine_key(&engine);
        Arc::new(Self { engine, cache, engine_key, loaded: Mutex::default() })
    }

    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The module whose source has the content `key` (hex SHA-256), compiled at most once per machine.
    ///
    /// `wasm` makes what is to be compiled; it is called only when the cache has no entry.
    /// This compiles on the calling thread: call it where blocking for seconds is allowed.
    pub fn module(
        &self,
        name: &str,
        key: &str,
        progress: &dyn Progress,
        wasm: impl FnOnce() -> Result<Vec<u8>, CompileError>,
    ) -> Result<Module, CompileError> {
        if let Some(module) = self.get_loaded(key) {
            return Ok(module);
        }
        let file_name = self.file_name(key);
        let path = self.cache.section(SECTION)?.join(&file_name);
        if !path.exists() {
            let _lock = self.cache.lock(&file_name, progress)?;
            if !path.exists() {
                self.compile(name, &path, progress, wasm()?)?;
            }
        }
        let module = self.load(path)?;
        Ok(self.loaded.lock().expect("no panic while held").entry(key.to_owned()).or_insert(module).clone())
    }

    /// Whether `module` would neither compile nor wait.
    pub fn contains(&self, key: &str) -> bool {
        self.get_loaded(key).is_some()
            || self.cache.section(SECTION).is_ok_and(|dir| dir.join(self.file_name(key)).exists())
    }

    /// Forgets a loaded module; live instances keep it.
    pub fn forget(&self, key: &str) {
        self.loaded.lock().expect("no panic while held").remove(key);
    }

    fn get_loaded(&self, key: &str) -> Option<Module> {
        self.loaded.lock().expect("no panic while held").get(key).cloned()
    }

    fn file_name(&self, key: &str) -> String {
        format!("{key}-{}.cwasm", self.engine_key)
    }

    fn compile(
        &self,
        name: &str,
        path: &std::path::Path,
        progress: &dyn Progress,
        wasm: Vec<u8>,
    ) -> Result<(), CompileError> {
        let step = progress.step(&format!("compile `{name}`"));
        let code = self
            .engine
            .precompile_module(&wasm)
            .map_err(|error| CompileError::Compile { name: name.to_owned(), reason: format!("{error:#}") })?;
        drop(wasm);
        crate::cache::durable::write(path, &code).map_err(CompileError::Write)?;
        step.done();
        Ok(())
    }

    #[expect(
        unsafe_code,
        reason = "loading compiled code is unsafe by nature; this is the one place that does it"
    )]
    fn load(&self, path: PathBuf) -> Result<Module, CompileError> {
        // SAFETY: the file is one this user's processes wrote through `compile`: the
        // folder is checked to be ours and writable by nobody else, files in it appear
        // by rename and never change, and the engine's key is in the name.
        let loaded = unsafe { Module::deserialize_file(&self.engine, &path) };
        loaded.map_err(|error| CompileError::Load { path, reason: format!("{error:#}") })
    }
}

/// Hex SHA-256 of some bytes: how content is named everywhere.
pub fn content_key(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn engine_key(engine: &Engine) -> String {
    struct Sha(Sha256);
    impl Hasher for Sha {
        fn write(&mut self, bytes: &[u8]) {
            self.0.update(bytes);
        }
        fn finish(&self) -> u64 {
            0
        }
    }
    let mut hasher = Sha(Sha256::new());
    engine.precompile_compatibility_hash().hash(&mut hasher);
    hex(&hasher.0.finalize()[..8])
}
