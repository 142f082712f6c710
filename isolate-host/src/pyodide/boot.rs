//! Starts CPython in a fresh store and gives it the builtin module `_warmshard`.

use std::sync::LazyLock;

use wasmtime::{Store, TypedFunc, WasmParams, WasmResults};

use super::STDLIB_ZIP;
use super::platform::{self, PLATFORM_PATH};
use super::runtime::Runtime;
use crate::emscripten::files::{Layer, LayerError};
use crate::emscripten::memory::GuestMemory;
use crate::isolate::guest::Guest;
use crate::isolate::program::Program;
use crate::linker::bind::Symbol;
use crate::linker::dlopen::append;

/// `METH_FASTCALL` of `PyMethodDef`.
const FASTCALL: u32 = 0x80;
const MODULE: &str = "_warmshard";

/// Why CPython did not start.
#[derive(Debug, thiserror::Error)]
pub enum BootError {
    #[error("CPython's `main` returned {0}, expected 0")]
    Main(i32),
    #[error("Python code of the platform failed; its traceback is in the log: {0}")]
    Platform(&'static str),
    #[error("the guest has no memory left")]
    NoMemory,
}

/// The standard library, and the folders CPython looks for.
pub fn stdlib_layer(runtime: &Runtime) -> Result<Layer, LayerError> {
    let mut layer = Layer::builder();
    layer.file(STDLIB_ZIP, runtime.stdlib_zip.clone())?;
    for folder in ["/lib/python3.14/site-packages", "/lib/python3.14/lib-dynload", "/session/metadata"] {
        layer.folder(folder)?;
    }
    Ok(layer.build())
}

/// The worker platform's Python sources.
pub fn platform_layer() -> Layer {
    static LAYER: LazyLock<Layer> = LazyLock::new(|| {
        let mut layer = Layer::builder();
        for (path, content) in platform::sources() {
            layer
                .file(&format!("{PLATFORM_PATH}/{path}"), content)
                .expect("paths in this executable are plain");
        }
        layer.build()
    });
    LAYER.clone()
}

/// The environment CPython starts with.
pub fn environment(hash_seed: u32) -> Vec<(String, String)> {
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    vec![
        pair("HOME", "/session"),
        pair("LANG", "C.UTF-8"),
        pair("PATH", "/"),
        pair("PYTHONDONTWRITEBYTECODE", "1"),
        pair("PYTHONHASHSEED", &hash_seed.to_string()),
        pair("PYTHONPATH", PLATFORM_PATH),
    ]
}

/// Boots CPython; afterwards the interpreter is alive and nothing runs.
pub async fn boot(store: &mut Store<Guest>, program: &Program) -> wasmtime::Result<()> {
    let runtime = program.runtime();
    GuestMemory::with_guest(&mut *store).0.write(0, &runtime.initial_memory)?;
    install_trampoline(store, program)?;
    if export::<(), ()>(store, "__wasm_apply_data_relocs").is_ok() {
        call::<_, ()>(store, "__wasm_apply_data_relocs", ()).await?;
    }
    call::<_, ()>(store, "__wasm_call_ctors", ()).await?;
    let argument = c_string(store, "python").await?;
    let arguments = allocate(store, 8).await?;
    let (mut memory, _) = GuestMemory::with_guest(&mut *store);
    memory.write_u32(arguments, argument)?;
    memory.write_u32(arguments + 4, 0)?;
    match call::<_, i32>(store, "__main_argc_argv", (1u32, arguments)).await? {
        0 => {}
        code => return Err(BootError::Main(code).into()),
    }
    install_host_module(store, program).await
}

/// CPython calls functions of any arity through the entry it finds in `_PyRuntime`.
fn install_trampoline(store: &mut Store<Guest>, program: &Program) -> wasmtime::Result<()> {
    let index = append(store, program, Symbol::Glue { name: "trampoline".to_owned() })?;
    let offset_at = address(store, "_PyEM_EMSCRIPTEN_TRAMPOLINE_OFFSET")?;
    let runtime_at = address(store, "_PyRuntime")?;
    let (mut memory, _) = GuestMemory::with_guest(&mut *store);
    let offset = memory.read_u32(offset_at)?;
    Ok(memory.write_u32(runtime_at + offset, index)?)
}

/// Makes the module `_warmshard` with its one function.
async fn install_host_module(store: &mut Store<Guest>, program: &Program) -> wasmtime::Result<()> {
    let index = append(store, program, Symbol::Glue { name: "call".to_owned() })?;
    let name = c_string(store, "call").await?;
    // `PyMethodDef`: name, function, flags, documentation. CPython keeps the address.
    let method = allocate(store, 16).await?;
    let (mut memory, _) = GuestMemory::with_guest(&mut *store);
    for (offset, value) in [(0, name), (4, index), (8, FASTCALL), (12, 0)] {
        memory.write_u32(method + offset, value)?;
    }
    let function: u32 = call(store, "PyCMethod_New", (method, 0u32, 0u32, 0u32)).await?;
    let module_name = c_string(store, MODULE).await?;
    let module: u32 = call(store, "PyImport_AddModule", module_name).await?;
    let set: i32 = call(store, "PyObject_SetAttrString", (module, name, function)).await?;
    if function == 0 || module == 0 || set != 0 {
        return Err(BootError::Platform("the builtin module cannot be made").into());
    }
    Ok(())
}

/// Runs Python statements of the platform's own in `__main__`.
pub async fn run(store: &mut Store<Guest>, statements: &'static str) -> wasmtime::Result<()> {
    let text = c_string(store, statements).await?;
    let result: i32 = call(store, "PyRun_SimpleStringFlags", (text, 0u32)).await?;
    call::<_, ()>(store, "free", text).await?;
    if result == 0 { Ok(()) } else { Err(BootError::Platform(statements).into()) }
}

/// The address of a module's attribute, with a reference that is never given back.
pub async fn attribute(store: &mut Store<Guest>, module: &str, name: &str) -> wasmtime::Result<u32> {
    let module_name = c_string(store, module).await?;
    let module: u32 = call(store, "PyImport_ImportModule", module_name).await?;
    call::<_, ()>(store, "free", module_name).await?;
    if module == 0 {
        return Err(BootError::Platform("a platform module cannot be imported").into());
    }
    let name = c_string(store, name).await?;
    match call(store, "PyObject_GetAttrString", (module, name)).await? {
        0 => Err(BootError::Platform("a platform module lacks a function").into()),
        found => Ok(found),
    }
}

/// Calls a Python function without arguments, with no other Python frame alive.
pub async fn call_function(
    store: &mut Store<Guest>,
    module: &str,
    name: &'static str,
) -> wasmtime::Result<()> {
    let function = attribute(store, module, name).await?;
    let glue = store.data().parts().glue;
    let pump = glue.get_typed_func::<u32, i32>(&mut *store, "pump")?;
    let meter = store.data().cpu.clone();
    store.set_epoch_deadline(1);
    match meter.measure(pump.call_async(&mut *store, function)).await? {
        0 => Ok(()),
        _ => Err(BootError::Platform(name).into()),
    }
}

/// A full collection, which also empties CPython's lists of objects kept for reuse.
pub async fn collect_garbage(store: &mut Store<Guest>) -> wasmtime::Result<()> {
    call::<_, i32>(store, "PyGC_Collect", ()).await.map(drop)
}

pub(super) fn export<P: WasmParams, R: WasmResults>(
    store: &mut Store<Guest>,
    name: &str,
) -> wasmtime::Result<TypedFunc<P, R>> {
    let main = store.data().parts().main;
    main.get_typed_func(&mut *store, name)
}

async fn call<P, R>(store: &mut Store<Guest>, name: &str, arguments: P) -> wasmtime::Result<R>
where
    P: WasmParams + Sync,
    R: WasmResults + Sync,
{
    let function = export::<P, R>(store, name)?;
    invoke(store, &function, arguments).await
}

/// Calls a function of the guest within its limit on CPU time.
pub(super) async fn invoke<P, R>(
    store: &mut Store<Guest>,
    function: &TypedFunc<P, R>,
    arguments: P,
) -> wasmtime::Result<R>
where
    P: WasmParams + Sync,
    R: WasmResults + Sync,
{
    let meter = store.data().cpu.clone();
    store.set_epoch_deadline(1);
    meter.measure(function.call_async(&mut *store, arguments)).await
}

async fn allocate(store: &mut Store<Guest>, length: u32) -> wasmtime::Result<u32> {
    match call(store, "malloc", length).await? {
        0 => Err(BootError::NoMemory.into()),
        at => Ok(at),
    }
}

async fn c_string(store: &mut Store<Guest>, text: &str) -> wasmtime::Result<u32> {
    let at = allocate(store, text.len() as u32 + 1).await?;
    let (mut memory, _) = GuestMemory::with_guest(&mut *store);
    memory.write(at, text.as_bytes())?;
    memory.write_u8(at + text.len() as u32, 0)?;
    Ok(at)
}

/// The value of an exported immutable global: an address.
fn address(store: &mut Store<Guest>, name: &str) -> wasmtime::Result<u32> {
    let main = store.data().parts().main;
    let global = main.get_global(&mut *store, name);
    let value = global.and_then(|global| global.get(&mut *store).i32());
    value
        .map(|value| value as u32)
        .ok_or_else(|| wasmtime::format_err!("Pyodide's main module exports no `{name}`"))
}
