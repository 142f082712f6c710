//! A library's code, compiled once per machine and shared by every isolate.

use std::sync::Arc;

use bytes::Bytes;
use wasmtime::{ExternType, Module};

use super::dylink::{Dylink, DylinkError};
use crate::progress::Progress;
use crate::pyodide::code_cache::{CodeCache, CompileError, content_key};
use crate::pyodide::rewrite::{self, RewriteError, Role};
use crate::pyodide::runtime;

/// Why a file cannot be used as a library.
#[derive(Debug, thiserror::Error)]
pub enum LibraryError {
    #[error("`{path}` is not a usable library")]
    Dylink { path: String, source: DylinkError },
    #[error("`{path}` cannot be rewritten for snapshots")]
    Rewrite { path: String, source: RewriteError },
    #[error(
        "`{path}` has data up to byte {end} of its memory, expected it within the {size} that `dylink.0` asks for"
    )]
    Data { path: String, end: u64, size: u32 },
    #[error("`{path}` cannot be translated: {reason}")]
    Translate { path: String, reason: String },
    #[error("`{path}` cannot be compiled")]
    Compile { path: String, source: CompileError },
    #[error("`{path}` needs the library `{needed}`, which the deployment does not bring")]
    Needed { path: String, needed: String },
}

/// One library of a deployment.
pub struct Library {
    /// Its path in the guest's file system.
    pub path: String,
    /// SHA-256 of the file as the deployment brings it.
    pub content: String,
    pub dylink: Dylink,
    pub module: Module,
    pub imports: Vec<Import>,
    /// Initial memory, relative to the memory base.
    pub data: Vec<(u32, Bytes)>,
}

/// What a library imports, in order.
pub struct Import {
    pub module: String,
    pub name: String,
    pub ty: ExternType,
}

/// Counts changes in how libraries are translated and rewritten.
pub const RECIPE: &str = "library-r1";

impl Library {
    /// Translates, rewrites and compiles the file unless the cache has it. Blocks.
    pub fn open(
        path: &str,
        file: &Bytes,
        code: &CodeCache,
        progress: &dyn Progress,
    ) -> Result<Arc<Self>, LibraryError> {
        let owned = || path.to_owned();
        let dylink = Dylink::read(file).map_err(|source| LibraryError::Dylink { path: owned(), source })?;
        // Translation changes code only: data is where it was, but for its position in the file.
        let data: Vec<_> = rewrite::data_segments(file)
            .map_err(|source| LibraryError::Rewrite { path: owned(), source })?
            .into_iter()
            .map(|segment| (segment.offset, file.slice(segment.bytes)))
            .collect();
        let end =
            data.iter().map(|(offset, bytes)| u64::from(*offset) + bytes.len() as u64).max().unwrap_or(0);
        if end > u64::from(dylink.memory_size) {
            return Err(LibraryError::Data { path: owned(), end, size: dylink.memory_size });
        }
        let content = content_key(file);
        let key = content_key(format!("{RECIPE} {content}").as_bytes());
        let name = path.rsplit('/').next().unwrap_or(path);
        let make = || {
            let fail = |reason: String| CompileError::Compile { name: name.to_owned(), reason };
            let standard = runtime::translate(name, file).map_err(|error| fail(error.to_string()))?;
            rewrite::rewrite(&standard, Role::Library).map_err(|error| fail(error.to_string()))
        };
        let module = code
            .module(name, &key, progress, make)
            .map_err(|source| LibraryError::Compile { path: owned(), source })?;
        let imports = module
            .imports()
            .map(|import| Import {
                module: import.module().to_owned(),
                name: import.name().to_owned(),
                ty: import.ty(),
            })
            .collect();
        Ok(Arc::new(Self { path: owned(), content, dylink, module, imports, data }))
    }
}
