//! Translates WebAssembly's legacy exception instructions to the standard ones.
#![forbid(unsafe_code)]

mod code;
mod emit;
mod error;
mod module;
mod route;
mod scan;
mod types;

pub use error::TranslateError;
pub use module::translate;
