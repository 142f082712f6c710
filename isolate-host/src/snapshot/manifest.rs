//! What a snapshot says about the interpreter it was taken of.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use warmshard_config::units::{DeploymentId, WorkerName};

use crate::emscripten::files::SavedDescriptor;
use crate::linker::bind::Symbol;
use crate::pyodide::RuntimeIdentity;

/// Everything outside linear memory; `docs/snapshot-format.md` has a row for each field.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    pub worker: WorkerName,
    pub deployment: DeploymentId,
    /// What the memory holds the data of: every part has to be the reader's own.
    pub runtime: RuntimeIdentity,
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

/// Why a snapshot is not used: one field of its manifest, and what was wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the snapshot's `{field}` is {found}, expected {expected}")]
pub struct Mismatch {
    /// As it is written in the manifest, such as `libraries[1].content`.
    pub field: String,
    pub found: String,
    pub expected: String,
}

impl Mismatch {
    #[expect(clippy::needless_pass_by_value, reason = "numbers and finished texts are handed over alike")]
    pub fn new(field: impl Into<String>, found: impl ToString, expected: impl Into<String>) -> Self {
        Self { field: field.into(), found: found.to_string(), expected: expected.into() }
    }
}
