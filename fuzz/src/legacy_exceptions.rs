//! The translator of legacy exception instructions.
//!
//! The first byte decides what the others are: a module, valid or not, or what the
//! generator of the crate's property tests makes a valid program from. Most
//! mutations of a module are refused early; those of a program never are.

#[path = "../../isolate-host/legacy-exceptions/tests/support/program/mod.rs"]
#[expect(dead_code, reason = "the tests use more of it than the fuzzer")]
mod program;

use std::borrow::Cow;

use legacy_exceptions::{TranslateError, translate};
use program::encode::encode;
use program::generate::{Dialect, generate};
use wasmparser::{Validator, WasmFeatures};

/// Nothing makes the translator panic. What is valid is translated, to something
/// that is valid without the legacy instructions and has nothing left to translate.
pub fn check(data: &[u8]) {
    match data.split_first() {
        Some((0, bytes)) => check_module(&encode(&generate(bytes, Dialect::Legacy))),
        Some((1, bytes)) => check_module(&encode(&generate(bytes, Dialect::Mixed))),
        Some((_, bytes)) => check_module(bytes),
        None => {}
    }
}

fn check_module(wasm: &[u8]) {
    let result = translate(wasm);
    if !is_valid(wasm, WasmFeatures::all()) {
        return;
    }
    let translated = match result {
        Ok(translated) => translated,
        Err(TranslateError::TooLarge { .. }) => return,
        Err(error) => panic!("a valid module was refused: {error:?}"),
    };
    let standard = WasmFeatures::all().difference(WasmFeatures::LEGACY_EXCEPTIONS);
    assert!(is_valid(&translated, standard), "the translation of a valid module is not valid");
    assert!(matches!(translate(&translated), Ok(Cow::Borrowed(_))), "something legacy is left");
}

fn is_valid(wasm: &[u8], features: WasmFeatures) -> bool {
    // Components are refused by design.
    wasmparser::Parser::is_core_wasm(wasm)
        && Validator::new_with_features(features).validate_all(wasm).is_ok()
}
