//! Stock Pyodide: where it comes from and how it becomes native code.
//!
//! ```text
//! npm pack ──▶ verify ──▶ legacy exceptions ──▶ rewrite ──▶ compile ──▶ private cache
//! runtime::install        `legacy_exceptions`   `rewrite`   `code_cache`
//! ```

pub mod boot;
pub mod branch_history;
pub mod code_cache;
pub mod engine;
pub mod heap;
mod identity;
pub mod package;
pub mod platform;
pub mod rewrite;
pub mod runtime;
mod sealed;

pub use identity::RuntimeIdentity;
pub use runtime::{RuntimeError, fingerprint};

/// The version of the npm package `pyodide` this host runs.
pub const PYODIDE_VERSION: &str = "314.0.7";
/// SHA-256 of the archive that `npm pack pyodide@314.0.7` brings.
pub const PYODIDE_SHA256: &str = "66b7949e5a0cba2250b586d7e368bf12fb482800748d182c4618254b685ffaa0";
/// The wheel tag of native packages for this Pyodide.
pub const WHEEL_PLATFORM: &str = "pyemscripten_2026_0_wasm32";
/// Where CPython finds its standard library.
pub const STDLIB_ZIP: &str = "/lib/python314.zip";
