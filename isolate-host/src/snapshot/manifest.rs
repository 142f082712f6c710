//! What a snapshot says about the interpreter it was taken of, and whether it fits this host.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use warmshard_config::units::{DeploymentId, WorkerName};

use crate::emscripten::files::SavedDescriptor;
use crate::linker::bind::Symbol;

/// Everything outside linear memory.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    pub worker: WorkerName,
    pub deployment: DeploymentId,
    /// Pyodide, recipe and platform sources: [`crate::pyodide::fingerprint`].
    pub runtime: String,
    /// Linear memory, in pages of 64 KiB.
    pub memory_pages: u32,
    /// Mutable globals of the main module, by export name.
    pub globals: BTreeMap<String, i32>,
    pub table_size: u32,
    /// Table entries added one by one.
    pub appended: Vec<(u32, Symbol)>,
    /// The global offset table, in order.
    pub offset_table: Vec<(String, i32)>,
    /// In load order.
    pub libraries: Vec<SavedLibrary>,
    /// `dlopen` handles and the libraries behind them.
    pub handles: BTreeMap<u32, usize>,
    /// The address of the Python function the host calls.
    pub pump: u32,
    pub environment: Vec<(String, String)>,
    pub working_directory: String,
    pub descriptors: Vec<SavedDescriptor>,
    /// The monotonic clock's reading, in nanoseconds: it never goes below.
    pub monotonic_floor: u64,
    pub entrypoints: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SavedLibrary {
    pub path: String,
    /// SHA-256 of the file.
    pub content: String,
    pub memory_base: u32,
    pub table_base: u32,
    /// Mutable globals of the library, by export name.
    pub globals: BTreeMap<String, i32>,
}

/// Why a snapshot does not fit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    #[error("snapshot is of the deployment {found}, expected {expected}")]
    Deployment { found: DeploymentId, expected: DeploymentId },
    #[error("snapshot is of the worker `{found}`, expected `{expected}`")]
    Worker { found: WorkerName, expected: WorkerName },
    #[error("snapshot needs the runtime `{found}`, this host runs `{expected}`")]
    Runtime { found: String, expected: String },
    #[error("snapshot has {found} bytes of memory, expected {expected}")]
    Memory { found: u64, expected: u64 },
    #[error("snapshot needs the library `{path}`, which the deployment does not bring")]
    LibraryMissing { path: String },
    #[error("snapshot needs `{path}` with SHA-256 {expected}, the deployment brings {found}")]
    LibraryContent { path: String, found: String, expected: String },
    #[error("snapshot loads `{path}` at table index {found}, expected {expected} at that point")]
    TableBase { path: String, found: u32, expected: u32 },
    #[error("snapshot has no global `{name}`, which this host's runtime has")]
    GlobalMissing { name: String },
    #[error("snapshot has a global `{name}`, which this host's runtime has not")]
    GlobalUnknown { name: String },
}
