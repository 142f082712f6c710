//! What a host would restore a snapshot with, as far as a snapshot has to agree with it.

use std::collections::{BTreeMap, BTreeSet};

use warmshard_config::units::{DeploymentId, WorkerName};

use crate::isolate::guest::Libraries;
use crate::isolate::program::Program;
use crate::linker::library::Library;
use crate::pyodide::RuntimeIdentity;
use crate::pyodide::rewrite::GLOBAL_EXPORT_PREFIX;

/// What a snapshot is compared with.
#[derive(Debug, Clone)]
pub struct Surroundings<'a> {
    pub worker: &'a WorkerName,
    pub deployment: &'a DeploymentId,
    pub runtime: &'a RuntimeIdentity,
    /// Names of the main module's mutable globals.
    pub globals: BTreeSet<&'a str>,
    /// Entries of the function table before anything is loaded.
    pub initial_table: u32,
    /// By path.
    pub libraries: BTreeMap<&'a str, LibraryFacts<'a>>,
}

/// One native library as the deployment brings it.
#[derive(Debug, Clone)]
pub struct LibraryFacts<'a> {
    pub content: &'a str,
    pub memory_size: u32,
    /// In bytes, a power of two.
    pub memory_alignment: u32,
    pub table_size: u32,
    /// Names of its mutable globals.
    pub globals: BTreeSet<&'a str>,
    /// What it reaches through the global offset table.
    pub offsets: BTreeSet<&'a str>,
}

impl<'a> Surroundings<'a> {
    /// This host's, for one deployment and the libraries it brings.
    pub fn of(
        program: &'a Program,
        worker: &'a WorkerName,
        deployment: &'a DeploymentId,
        libraries: &'a Libraries,
    ) -> Self {
        Self {
            worker,
            deployment,
            runtime: &program.runtime().identity,
            globals: program.state_globals().iter().map(|(name, _)| name.as_str()).collect(),
            initial_table: program.initial_table_size(),
            libraries: libraries.iter().map(|(path, library)| (path.as_str(), facts(library))).collect(),
        }
    }
}

fn facts(library: &Library) -> LibraryFacts<'_> {
    let exports = library.module.exports().map(|export| export.name());
    let imports = library.imports.iter();
    LibraryFacts {
        content: &library.content,
        memory_size: library.dylink.memory_size,
        memory_alignment: library.dylink.memory_alignment,
        table_size: library.dylink.table_size,
        globals: exports.filter(|name| name.starts_with(GLOBAL_EXPORT_PREFIX)).collect(),
        offsets: imports
            .filter(|import| matches!(import.module.as_str(), "GOT.mem" | "GOT.func"))
            .map(|import| import.name.as_str())
            .collect(),
    }
}
