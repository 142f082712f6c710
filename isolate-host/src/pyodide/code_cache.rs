//! Compiled machine code in the host's private cache.
//!
//! An entry is keyed by the wasm's content and by everything the engine would
//! refuse it for. Loading compiled code is running native code, so entries come
//! only from [`CacheDir`], which belongs to this user alone.
//!
//! ```text
//! compiled/<key>-<engine>.cwasm     machine code, its SHA-256, "WARMCODE"
//! ```
//!
//! What is mapped is not that file but a sealed copy in memory ([`SealedFile`]): isolates
//! map its pages for as long as they live, and a file that somebody truncates under a
//! mapping ends the process.

use std::collections::HashMap;
use std::fs::File;
use std::hash::{Hash, Hasher};
use std::io::{self, Read, Write as _};
use std::path::Path;
use std::sync::{Arc, Mutex};

use sha2::{Digest, Sha256};
use warmshard_config::units::hex;
use wasmtime::{Engine, Module};

use super::sealed::SealedFile;
use crate::cache::{CacheDir, CacheError, durable};
use crate::progress::Progress;

/// Why a module could not be brought into the cache.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    #[error(transparent)]
    Cache(#[from] CacheError),
    #[error("cannot compile `{name}`: {reason}")]
    Compile { name: String, reason: String },
    #[error(
        "cannot load the compiled code of `{name}`: {reason}; remove the cache's `compiled` folder and try again"
    )]
    Load { name: String, reason: String },
    #[error("cannot keep the compiled code of `{name}` in memory")]
    Memory { name: String, source: io::Error },
}

/// Modules this process has loaded, and the folder of those it can load.
pub struct CodeCache {
    engine: Engine,
    cache: CacheDir,
    engine_key: String,
    loaded: Mutex<HashMap<String, Module>>,
}

const SECTION: &str = "compiled";
/// Ends an entry that was written to its end.
const END_MARK: &[u8; 8] = b"WARMCODE";
const HASH: usize = 32;

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
        let code = match read_entry(name, &path) {
            Some(code) => code,
            None => {
                let _lock = self.cache.lock(&file_name, progress)?;
                match read_entry(name, &path) {
                    Some(code) => code,
                    None => self.compile(name, &path, progress, wasm()?)?,
                }
            }
        };
        let module = self.load(name, code)?;
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

    /// Bytes of the files in memory that loaded modules are mapped from.
    pub fn mapped(&self) -> u64 {
        self.loaded.lock().expect("no panic while held").values().map(mapped).sum()
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
        path: &Path,
        progress: &dyn Progress,
        wasm: Vec<u8>,
    ) -> Result<SealedFile, CompileError> {
        let step = progress.step(&format!("compile `{name}`"));
        let code = self
            .engine
            .precompile_module(&wasm)
            .map_err(|error| CompileError::Compile { name: name.to_owned(), reason: format!("{error:#}") })?;
        drop(wasm);
        let write = |file: &mut File| {
            file.write_all(&code)?;
            file.write_all(&Sha256::digest(&code))?;
            file.write_all(END_MARK)
        };
        // The code works without its entry too; the next process compiles it again.
        if let Err(error) = durable::write_with(path, write) {
            let path = path.display();
            tracing::warn!(%error, "cannot keep the compiled code of `{name}` at `{path}`");
        }
        let sealed = SealedFile::new(name, &mut &code[..]).map_err(memory(name))?;
        step.done();
        Ok(sealed)
    }

    #[expect(
        unsafe_code,
        reason = "loading compiled code is unsafe by nature; this is the one place that does it"
    )]
    fn load(&self, name: &str, code: SealedFile) -> Result<Module, CompileError> {
        // SAFETY: the bytes are what `compile` made: in this process, or in one of this user's with
        // the same engine, as key, owner and checksum of the entry say. Nobody can change
        // or shorten them any more, for the file is sealed.
        let loaded = unsafe { Module::deserialize_open_file(&self.engine, code.into_file()) };
        loaded.map_err(|error| CompileError::Load { name: name.to_owned(), reason: format!("{error:#}") })
    }
}

/// Bytes of the file in memory that a module is mapped from.
pub(crate) fn mapped(module: &Module) -> u64 {
    let range = module.image_range();
    (range.end as usize - range.start as usize) as u64
}

fn memory(name: &str) -> impl FnOnce(io::Error) -> CompileError {
    let name = name.to_owned();
    move |source| CompileError::Memory { name, source }
}

/// The code of an entry; none when there is no entry, or one that is damaged or was not written by this program.
fn read_entry(name: &str, path: &Path) -> Option<SealedFile> {
    let shown = path.display();
    let length = |file: &File| Ok::<_, io::Error>(file.metadata()?.len());
    let opened = File::open(path).and_then(|file| Ok((length(&file)?, file)));
    let (length, mut file) = match opened {
        Ok(opened) => opened,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => {
            tracing::warn!(%error, "cannot read `{shown}`: compiling `{name}` again");
            return None;
        }
    };
    let Some(code_length) = length.checked_sub((HASH + END_MARK.len()) as u64) else {
        tracing::warn!("`{shown}` has {length} bytes, which is too few: compiling `{name}` again");
        return None;
    };
    let mut hashed = Hashed { from: Read::by_ref(&mut file).take(code_length), hasher: Sha256::new() };
    let sealed = match SealedFile::new(name, &mut hashed) {
        Ok(sealed) => sealed,
        Err(error) => {
            tracing::warn!(%error, "cannot read `{shown}`: compiling `{name}` again");
            return None;
        }
    };
    let found = hashed.hasher.finalize();
    let mut end = Vec::new();
    let is_read = file.read_to_end(&mut end).is_ok();
    let (hash, mark) = end.split_at_checked(HASH).unwrap_or_default();
    if is_read && *hash == found[..] && mark == END_MARK {
        return Some(sealed);
    }
    tracing::warn!(
        "`{shown}` is damaged (found SHA-256 {}, expected {}): compiling `{name}` again",
        hex(&found),
        hex(hash)
    );
    None
}

/// Hashes what is read through it.
struct Hashed<R> {
    from: R,
    hasher: Sha256,
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.from.read(buffer)?;
        self.hasher.update(&buffer[..count]);
        Ok(count)
    }
}

/// Hex SHA-256 of some bytes: how content is named everywhere.
pub fn content_key(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
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

#[cfg(test)]
mod tests;
