//! Which runtime a snapshot's memory belongs to, part by part.

use serde::{Deserialize, Serialize};

/// What has to be the same for a memory image to mean the same.
///
/// The engine's version and the machine's features are no part of it: the image is
/// data, and they key the compiled code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuntimeIdentity {
    /// The version of the npm package.
    pub pyodide: String,
    /// SHA-256 of the npm package.
    pub archive: String,
    /// SHA-256 of the main module as it is run: translated and rewritten.
    pub main_module: String,
    /// How native libraries are translated and rewritten.
    pub library_recipe: String,
    /// SHA-256, shortened, of the worker platform's Python sources.
    pub platform: String,
}

impl RuntimeIdentity {
    /// The parts by name, in the order in which they are compared.
    pub fn parts(&self) -> [(&'static str, &str); 5] {
        let Self { pyodide, archive, main_module, library_recipe, platform } = self;
        [
            ("pyodide", pyodide),
            ("archive", archive),
            ("main_module", main_module),
            ("library_recipe", library_recipe),
            ("platform", platform),
        ]
    }
}
