//! Imports without an implementation.
//!
//! Pyodide's main module imports some 180 functions of its JavaScript interface.
//! None is reached, because `_pyodide_core` is ours. Should one be, the guest ends
//! with its name: a made-up result would be a wrong answer somewhere else.

use wasmtime::{ExternType, FuncType, Linker, Module, Val, ValType};

use super::files::Errno;
use crate::isolate::guest::Guest;

/// Functions that may honestly do nothing, or answer "not there".
const HARMLESS: &[&str] = &[
    "__hiwire_deduplicate_new",
    "_Py_CheckEmscriptenSignals_Helper",
    // NULL: `sys._emscripten_info.runtime` is then None.
    "_Py_emscripten_runtime",
    "_emscripten_runtime_keepalive_clear",
    "_maybe_connect_async",
    "_maybe_poll_async",
    "_maybe_recvfrom_async",
    "_maybe_sendto_async",
    "_try_fcntl64",
    "_try_shutdown",
    "emscripten_debugger",
    "emscripten_runtime_keepalive_pop",
    "emscripten_runtime_keepalive_push",
    "emscripten_set_up_async_input_device_js",
    "jslib_init_buffers_js",
    "jslib_init_js",
    "pyodide_js_init",
    "Jsv_GetError_import",
];

/// `EAI_FAIL`: name resolution failed for good.
const EAI_FAIL: i32 = -4;

/// Defines every function import of `main`; real implementations shadow these.
pub fn define(linker: &mut Linker<Guest>, main: &Module) -> wasmtime::Result<()> {
    for import in main.imports() {
        let ExternType::Func(ty) = import.ty() else { continue };
        let (module, name) = (import.module().to_owned(), import.name().to_owned());
        match answer(&name) {
            Some(answer) => define_answer(linker, &module, &name, ty, answer)?,
            None => {
                linker.func_new(&module, &name.clone(), ty, move |_, _, _| {
                    Err(wasmtime::format_err!("the guest called `{name}`, which this host does not provide"))
                })?;
            }
        }
    }
    Ok(())
}

/// What a missing function answers, where answering is right.
fn answer(name: &str) -> Option<i32> {
    if name.starts_with("__syscall_") {
        return Some(Errno::ENOSYS.negated());
    }
    match name {
        "getaddrinfo" | "getnameinfo" => Some(EAI_FAIL),
        "getprotobyname" | "_emscripten_lookup_name" => Some(0),
        "_emscripten_system" => Some(-1),
        _ => HARMLESS.contains(&name).then_some(0),
    }
}

fn define_answer(
    linker: &mut Linker<Guest>,
    module: &str,
    name: &str,
    ty: FuncType,
    answer: i32,
) -> wasmtime::Result<()> {
    let zeros: Vec<Val> = ty.results().map(|result| zero(&result, answer)).collect();
    linker.func_new(module, name, ty, move |_, _, results| {
        results.copy_from_slice(&zeros);
        Ok(())
    })?;
    Ok(())
}

fn zero(ty: &ValType, answer: i32) -> Val {
    match ty {
        ValType::I32 => Val::I32(answer),
        ValType::I64 => Val::I64(i64::from(answer)),
        ValType::F32 => Val::F32(0),
        ValType::F64 => Val::F64(0),
        ValType::V128 => Val::V128(0u128.into()),
        ValType::Ref(ty) => Val::null_ref(ty.heap_type()),
    }
}
