//! What the tests share.

#![expect(dead_code, reason = "each test executable uses a part of it")]

pub(crate) mod execute;
pub(crate) mod program;
pub(crate) mod script;
pub(crate) mod sections;
pub(crate) mod text;
pub(crate) mod unfold;

use std::path::PathBuf;
use std::sync::OnceLock;

use wasmparser::{Validator, WasmFeatures};
use wasmtime::{Config, Engine, OptLevel};

/// An engine that executes the standard instructions and refuses the legacy
/// ones: a module it accepts has been translated completely.
pub(crate) fn engine() -> Engine {
    engine_with(OptLevel::Speed)
}

/// The same, for many small modules.
pub(crate) fn fast_engine() -> Engine {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    ENGINE.get_or_init(|| engine_with(OptLevel::None)).clone()
}

fn engine_with(level: OptLevel) -> Engine {
    let mut config = Config::new();
    config
        .wasm_exceptions(true)
        .wasm_gc(true)
        .wasm_function_references(true)
        .wasm_reference_types(true)
        .wasm_tail_call(true)
        .cranelift_opt_level(level);
    Engine::new(&config).expect("the configuration is supported on every platform we test on")
}

/// Panics unless the module is valid without the legacy instructions.
pub(crate) fn validate(wasm: &[u8]) {
    let features = WasmFeatures::all().difference(WasmFeatures::LEGACY_EXCEPTIONS);
    if let Err(error) = Validator::new_with_features(features).validate_all(wasm) {
        panic!("the translation is not valid: {error}");
    }
}

/// The crate's own scripts, written for these tests.
pub(crate) fn own_scripts() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/cases")
}

/// The specification's test files for the legacy instructions. They are kept
/// outside the repository, so a bare clone has none.
pub(crate) fn specification_scripts() -> Option<PathBuf> {
    let folder =
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/wasm-legacy-exceptions");
    folder.is_dir().then_some(folder)
}
