//! `dlopen` and `dlsym` as Emscripten's C library asks for them.

use std::sync::Arc;

use wasmtime::{
    AsContextMut, Caller, Extern, Func, Global, Instance, Mutability, Ref, Store, StoreContextMut, Val,
};

use super::bind::{self, Symbol};
use super::library::Library;
use super::state::{GotEntry, Links, Loaded};
use crate::emscripten::memory::GuestMemory;
use crate::isolate::guest::Guest;
use crate::isolate::program::Program;
use crate::pyodide::rewrite::START_EXPORT;

/// Fields of Emscripten's `struct dso`, as offsets.
mod dso {
    pub(super) const MEMORY_ALLOCATED: u32 = 8;
    pub(super) const MEMORY_BASE: u32 = 12;
    pub(super) const MEMORY_SIZE: u32 = 16;
    pub(super) const TABLE_BASE: u32 = 20;
    pub(super) const TABLE_SIZE: u32 = 24;
    pub(super) const NAME: u32 = 36;
}

/// Loads the library a `struct dso` names. 1 = loaded, 0 = not, with the reason left for `dlerror`.
pub async fn dlopen(caller: &mut Caller<'_, Guest>, handle: u32) -> wasmtime::Result<i32> {
    let path = {
        let (memory, guest) = GuestMemory::with_guest(&mut *caller);
        let name = memory.c_string(handle + dso::NAME)?;
        absolute(guest.files.getcwd(), &name)
    };
    match load_by_path(&mut caller.as_context_mut(), &path).await? {
        Ok(index) => {
            let (mut memory, guest) = GuestMemory::with_guest(&mut *caller);
            let loaded = &guest.links.libraries[index];
            memory.write_u8(handle + dso::MEMORY_ALLOCATED, 1)?;
            memory.write_u32(handle + dso::MEMORY_BASE, loaded.memory_base)?;
            memory.write_u32(handle + dso::MEMORY_SIZE, loaded.library.dylink.memory_size)?;
            memory.write_u32(handle + dso::TABLE_BASE, loaded.table_base)?;
            memory.write_u32(handle + dso::TABLE_SIZE, loaded.library.dylink.table_size)?;
            guest.links.handles.insert(handle, index);
            Ok(1)
        }
        Err(reason) => {
            tracing::debug!(path, reason, "dlopen refused");
            set_dl_error(&mut caller.as_context_mut(), &reason).await?;
            Ok(0)
        }
    }
}

/// The path without `.`, `..` and doubled slashes: how libraries of a deployment are named.
fn absolute(working_directory: &str, path: &str) -> String {
    let mut parts = Vec::new();
    let base = if path.starts_with('/') { "" } else { working_directory };
    for part in base.split('/').chain(path.split('/')) {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

/// The table index or address of a symbol of a loaded library; 0 when it has none.
pub fn dlsym(caller: &mut Caller<'_, Guest>, handle: u32, name_at: u32) -> wasmtime::Result<i32> {
    let (memory, guest) = GuestMemory::with_guest(&mut *caller);
    let name = memory.c_string(name_at)?;
    let Some(&library) = guest.links.handles.get(&handle) else { return Ok(0) };
    let loaded = &guest.links.libraries[library];
    let (instance, base) = (loaded.instance, loaded.memory_base);
    match instance.get_export(&mut *caller, &name) {
        Some(Extern::Func(function)) => {
            let mut store = caller.as_context_mut();
            Ok(table_index_of(&mut store, function, Symbol::Library { library, name })? as i32)
        }
        Some(Extern::Global(global)) => Ok(address(caller, global, base) as i32),
        _ => Ok(0),
    }
}

/// The library at a path of the deployment, loaded unless it is already; the inner error is the guest's.
async fn load_by_path(
    store: &mut StoreContextMut<'_, Guest>,
    path: &str,
) -> wasmtime::Result<Result<usize, String>> {
    if let Some(index) = store.data().links.libraries.iter().position(|loaded| loaded.library.path == path) {
        return Ok(Ok(index));
    }
    let program = store.data().program.clone();
    let Some(library) = store.data().libraries.get(path).cloned() else {
        return Ok(Err(format!(
            "{path}: not a library of this deployment; native code is loaded only from the worker's packages"
        )));
    };
    for needed in &library.dylink.needed {
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        let beside = format!("{folder}/{needed}");
        if let Err(reason) = Box::pin(load_by_path(store, &beside)).await? {
            return Ok(Err(format!("{path}: needs `{needed}`: {reason}")));
        }
    }
    match Box::pin(load(store, &program, library)).await {
        Ok(index) => Ok(Ok(index)),
        Err(error) if error.is::<bind::Unbound>() => Ok(Err(error.to_string())),
        Err(error) => Err(error),
    }
}

/// Loads a library the first time: memory, table, initial data, bindings, constructors.
async fn load(
    store: &mut StoreContextMut<'_, Guest>,
    program: &Arc<Program>,
    library: Arc<Library>,
) -> wasmtime::Result<usize> {
    let parts = store.data().parts();
    let memory_base = allocate(store, &library).await?;
    let table_base =
        parts.table.grow_async(&mut *store, u64::from(library.dylink.table_size), Ref::Func(None)).await?
            as u32;

    let loaded: Vec<Arc<Library>> = store.data().links.libraries.iter().map(|l| l.library.clone()).collect();
    let mut wanted = Vec::new();
    let known = store.data().links.got.len();
    let sources = {
        let links = &store.data().links;
        bind::bind(program, &library, &loaded, |name| {
            links.got_by_name.get(name).copied().unwrap_or_else(|| {
                let at = wanted.iter().position(|other| other == name);
                known
                    + at.unwrap_or_else(|| {
                        wanted.push(name.to_owned());
                        wanted.len() - 1
                    })
            })
        })?
    };
    for name in wanted {
        add_got_entry(&mut *store, name, 0, false)?;
    }
    let instance =
        bind::instantiate(&mut *store, program, &library, &sources, memory_base, table_base).await?;
    store.data_mut().links.libraries.push(Loaded {
        library: library.clone(),
        instance,
        memory_base,
        table_base,
    });
    let index = store.data().links.libraries.len() - 1;

    // The order the format prescribes for a module that had not been rewritten.
    call_if_exported(store, instance, START_EXPORT).await?;
    resolve_got(store, program)?;
    call_if_exported(store, instance, "__wasm_apply_data_relocs").await?;
    call_if_exported(store, instance, "__wasm_call_ctors").await?;
    Ok(index)
}

/// Zeroed guest memory for the library, aligned, with its initial data in place.
async fn allocate(store: &mut StoreContextMut<'_, Guest>, library: &Library) -> wasmtime::Result<u32> {
    let dylink = &library.dylink;
    let size = dylink.memory_size + dylink.memory_alignment;
    let main = store.data().parts().main;
    let calloc = main.get_typed_func::<(u32, u32), u32>(&mut *store, "calloc")?;
    let allocated = calloc.call_async(&mut *store, (size, 1)).await?;
    if allocated == 0 {
        return Err(wasmtime::format_err!(
            "`{}` needs {size} bytes of memory, which the guest does not have",
            library.path
        ));
    }
    let memory_base = allocated.next_multiple_of(dylink.memory_alignment);
    let (mut memory, _) = GuestMemory::with_guest(&mut *store);
    for (offset, bytes) in &library.data {
        memory.write(memory_base + offset, bytes)?;
    }
    Ok(memory_base)
}

async fn call_if_exported(
    store: &mut StoreContextMut<'_, Guest>,
    instance: Instance,
    name: &str,
) -> wasmtime::Result<()> {
    if let Ok(function) = instance.get_typed_func::<(), ()>(&mut *store, name) {
        function.call_async(&mut *store, ()).await?;
    }
    Ok(())
}

/// Adds an entry of the global offset table; used by `load` and by restore.
pub fn add_got_entry(
    mut store: impl AsContextMut<Data = Guest>,
    name: String,
    value: u32,
    resolved: bool,
) -> wasmtime::Result<()> {
    let global = bind::mutable(&mut store, value)?;
    let mut store = store.as_context_mut();
    let links: &mut Links = &mut store.data_mut().links;
    links.got_by_name.insert(name.clone(), links.got.len());
    links.got.push(GotEntry { name, global, resolved });
    Ok(())
}

/// Gives every entry that has none yet its address or table index. Weak symbols nobody defines stay 0.
fn resolve_got(store: &mut StoreContextMut<'_, Guest>, program: &Program) -> wasmtime::Result<()> {
    let open: Vec<(usize, String)> = store
        .data()
        .links
        .got
        .iter()
        .enumerate()
        .filter(|(_, entry)| !entry.resolved)
        .map(|(index, entry)| (index, entry.name.clone()))
        .collect();
    for (index, name) in open {
        let value = match find(store, program, &name) {
            Some((Extern::Func(function), symbol, _)) => table_index_of(store, function, symbol)?,
            Some((Extern::Global(global), _, base)) => address(&mut *store, global, base),
            _ => 0,
        };
        let global = store.data().links.got_global(index);
        global.set(&mut *store, Val::I32(value as i32))?;
        store.data_mut().links.got[index].resolved = true;
    }
    Ok(())
}

/// A symbol by name: of the main module, else of the first library that has it.
fn find(
    store: &mut StoreContextMut<'_, Guest>,
    program: &Program,
    name: &str,
) -> Option<(Extern, Symbol, u32)> {
    let main = store.data().parts().main;
    if let Some(found) = main.get_export(&mut *store, name) {
        return Some((found, Symbol::Main { name: name.to_owned() }, 0));
    }
    let instances: Vec<(Instance, u32)> =
        store.data().links.libraries.iter().map(|l| (l.instance, l.memory_base)).collect();
    for (library, (instance, base)) in instances.into_iter().enumerate() {
        if let Some(found) = instance.get_export(&mut *store, name) {
            return Some((found, Symbol::Library { library, name: name.to_owned() }, base));
        }
    }
    let module = program.host_module_of(name)?;
    let found = program.host_functions().get(&mut *store, module, name).ok()?;
    Some((found, Symbol::Host { module: module.to_owned(), name: name.to_owned() }, 0))
}

/// An exported address: immutable globals are relative to the memory base of their module.
fn address(mut store: impl AsContextMut, global: Global, base: u32) -> u32 {
    let value = global.get(&mut store).i32().unwrap_or(0) as u32;
    match global.ty(&store).mutability() {
        Mutability::Const => value.wrapping_add(base),
        Mutability::Var => value,
    }
}

/// The index of a function in the table, appended when it has none.
pub fn table_index_of(
    store: &mut StoreContextMut<'_, Guest>,
    function: Func,
    symbol: Symbol,
) -> wasmtime::Result<u32> {
    let table = store.data().parts().table;
    let mut index = std::mem::take(&mut store.data_mut().links.table_index);
    index.scan(&mut *store, table);
    let found = index.find(&mut *store, function);
    store.data_mut().links.table_index = index;
    if let Some(found) = found {
        return Ok(found);
    }
    let at = table.grow(&mut *store, 1, Ref::Func(Some(function)))? as u32;
    store.data_mut().links.appended.push((at, symbol));
    Ok(at)
}

/// Puts a function into the table of a store that is being set up.
pub fn append(store: &mut Store<Guest>, program: &Program, symbol: Symbol) -> wasmtime::Result<u32> {
    let Extern::Func(function) = bind::resolve(store, program, &symbol)? else {
        return Err(wasmtime::format_err!("{symbol:?} is no function"));
    };
    table_index_of(&mut store.as_context_mut(), function, symbol)
}

async fn set_dl_error(store: &mut StoreContextMut<'_, Guest>, reason: &str) -> wasmtime::Result<()> {
    let main = store.data().parts().main;
    let Ok(set) = main.get_typed_func::<(u32, u32), ()>(&mut *store, "__dl_seterr") else { return Ok(()) };
    let malloc = main.get_typed_func::<u32, u32>(&mut *store, "malloc")?;
    let free = main.get_typed_func::<u32, ()>(&mut *store, "free")?;
    // The text is a format string: a per cent sign would be read as a directive.
    let text = reason.replace('%', "%%");
    let at = malloc.call_async(&mut *store, text.len() as u32 + 1).await?;
    if at == 0 {
        return Ok(());
    }
    let (mut memory, _) = GuestMemory::with_guest(&mut *store);
    memory.write(at, text.as_bytes())?;
    memory.write_u8(at + text.len() as u32, 0)?;
    set.call_async(&mut *store, (at, 0)).await?;
    free.call_async(&mut *store, at).await
}

#[cfg(test)]
mod tests {
    use super::absolute;

    #[test]
    fn paths_are_made_absolute() {
        assert_eq!(absolute("/home", "./x/../y.so"), "/home/y.so");
        assert_eq!(absolute("/home", "//lib//z.so"), "/lib/z.so");
        assert_eq!(absolute("/", "../a.so"), "/a.so");
    }
}
