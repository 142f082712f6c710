//! The host functions Emscripten programs import, over state of the isolate's own.
//!
//! Each file defines one family of imports in a `wasmtime::Linker`. Whatever is left
//! over is defined by [`stubs`]: calling it is an error of the guest's that names the
//! function, never a silent zero.

pub mod clock;
pub mod entropy;
pub mod file_calls;
pub mod files;
pub mod memory;
pub mod output;
pub mod process;
pub mod stubs;
pub mod wasi_calls;

use wasmtime::{Linker, Module};

use crate::isolate::guest::Guest;

/// Defines everything `main` imports but its memory.
pub fn define_all(linker: &mut Linker<Guest>, main: &Module) -> wasmtime::Result<()> {
    stubs::define(linker, main)?;
    linker.allow_shadowing(true);
    clock::define(linker)?;
    entropy::define(linker)?;
    file_calls::define(linker)?;
    wasi_calls::define(linker)?;
    memory::define(linker)?;
    process::define(linker)?;
    linker.allow_shadowing(false);
    Ok(())
}
