//! Where each import of a library comes from, as data.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use wasmtime::{
    AsContextMut, Extern, ExternType, Func, FuncType, Global, GlobalType, Instance, ModuleExport, Mutability,
    Store, Val, ValType,
};

use super::library::Library;
use super::state::Links;
use crate::isolate::guest::Guest;
use crate::isolate::program::Program;

/// Names a function or address of a running guest; kept in snapshots.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Symbol {
    Main {
        name: String,
    },
    Glue {
        name: String,
    },
    Host {
        module: String,
        name: String,
    },
    /// An export of the library loaded as the `library`-th.
    Library {
        library: usize,
        name: String,
    },
}

/// What is put in one import's place, ready to be fetched by index.
#[derive(Clone)]
pub enum Source {
    Memory,
    Table,
    MemoryBase,
    TableBase,
    Main(ModuleExport),
    Host {
        module: Arc<str>,
        name: Arc<str>,
    },
    Library(usize, ModuleExport),
    /// The `n`-th entry of the global offset table.
    Got(usize),
    /// The library's own export, not there yet when its imports are bound.
    Own(ModuleExport, FuncType),
    /// Nobody has it: calling it ends the guest with the name.
    Missing(Arc<str>, FuncType),
}

/// Why a library's imports could not be bound.
#[derive(Debug, thiserror::Error)]
#[error("`{path}` imports `{module}.{name}` ({ty}), which nothing provides")]
pub struct Unbound {
    pub path: String,
    pub module: String,
    pub name: String,
    pub ty: String,
}

/// Binds each import of `library` by name. `got` gives the index of a global-offset-table entry.
pub fn bind(
    program: &Program,
    library: &Library,
    loaded: &[Arc<Library>],
    mut got: impl FnMut(&str) -> usize,
) -> Result<Vec<Source>, Unbound> {
    library
        .imports
        .iter()
        .map(|import| {
            let source = match (import.module.as_str(), import.name.as_str()) {
                ("env", "memory") => Source::Memory,
                ("env", "__indirect_function_table") => Source::Table,
                ("env", "__memory_base") => Source::MemoryBase,
                ("env", "__table_base") => Source::TableBase,
                ("GOT.mem" | "GOT.func", name) => Source::Got(got(name)),
                (module, name) => return bind_symbol(program, library, loaded, module, name, &import.ty),
            };
            Ok(source)
        })
        .collect()
}

fn bind_symbol(
    program: &Program,
    library: &Library,
    loaded: &[Arc<Library>],
    module: &str,
    name: &str,
    ty: &ExternType,
) -> Result<Source, Unbound> {
    if let Some(export) = program.main().get_export_index(name) {
        return Ok(Source::Main(export));
    }
    for (index, other) in loaded.iter().enumerate() {
        if let Some(export) = other.module.get_export_index(name) {
            return Ok(Source::Library(index, export));
        }
    }
    if let Some(module) = program.host_module_of(name) {
        return Ok(Source::Host { module: Arc::from(module), name: Arc::from(name) });
    }
    match (ty, library.module.get_export_index(name)) {
        (ExternType::Func(ty), Some(export)) => Ok(Source::Own(export, ty.clone())),
        (ExternType::Func(ty), None) => Ok(Source::Missing(Arc::from(name), ty.clone())),
        _ => Err(Unbound {
            path: library.path.clone(),
            module: module.to_owned(),
            name: name.to_owned(),
            ty: format!("{ty:?}"),
        }),
    }
}

/// Instantiates a library at the given bases. Touches no memory and runs no guest code.
pub async fn instantiate(
    mut store: impl AsContextMut<Data = Guest>,
    program: &Program,
    library: &Library,
    sources: &[Source],
    memory_base: u32,
    table_base: u32,
) -> wasmtime::Result<Instance> {
    let mut store = store.as_context_mut();
    let mut imports = Vec::with_capacity(sources.len());
    let index = store.data().links.libraries.len();
    for source in sources {
        let parts = store.data().parts();
        let import: Extern = match source {
            Source::Memory => parts.memory.into(),
            Source::Table => parts.table.into(),
            Source::MemoryBase => constant(&mut store, memory_base)?.into(),
            Source::TableBase => constant(&mut store, table_base)?.into(),
            Source::Main(export) => export_of(parts.main, &mut store, export)?,
            Source::Library(at, export) => {
                let instance = store.data().links.libraries[*at].instance;
                export_of(instance, &mut store, export)?
            }
            Source::Host { module, name } => program.host_functions().get(&mut store, module, name)?,
            Source::Got(at) => store.data().links.got_global(*at).into(),
            Source::Own(export, ty) => forward(&mut store, index, *export, ty.clone()).into(),
            Source::Missing(name, ty) => missing(&mut store, name.clone(), ty.clone()).into(),
        };
        imports.push(import);
    }
    Instance::new_async(&mut store, &library.module, &imports).await
}

/// The export behind an index found in the instance's own module.
pub fn export_of(
    instance: Instance,
    store: impl AsContextMut<Data = Guest>,
    export: &ModuleExport,
) -> wasmtime::Result<Extern> {
    instance
        .get_module_export(store, export)
        .ok_or_else(|| wasmtime::format_err!("an export found at link time is gone"))
}

/// A mutable `i32` global of the store's own.
pub fn mutable(store: impl AsContextMut<Data = Guest>, value: u32) -> wasmtime::Result<Global> {
    Global::new(store, GlobalType::new(ValType::I32, Mutability::Var), Val::I32(value as i32))
}

fn constant(store: impl AsContextMut<Data = Guest>, value: u32) -> wasmtime::Result<Global> {
    Global::new(store, GlobalType::new(ValType::I32, Mutability::Const), Val::I32(value as i32))
}

/// Calls the library's own export, which exists by the time anybody calls this.
fn forward(
    store: impl AsContextMut<Data = Guest>,
    library: usize,
    export: ModuleExport,
    ty: FuncType,
) -> Func {
    Func::new_async(store, ty, move |mut caller, arguments, results| {
        Box::new(async move {
            let instance = caller.data().links.libraries.get(library).map(|loaded| loaded.instance);
            let instance = instance
                .ok_or_else(|| wasmtime::format_err!("a library called itself while being loaded"))?;
            let Extern::Func(function) = export_of(instance, &mut caller, &export)? else {
                return Err(wasmtime::format_err!(
                    "a library imports its own export as a function, but it is none"
                ));
            };
            function.call_async(&mut caller, arguments, results).await
        })
    })
}

fn missing(store: impl AsContextMut<Data = Guest>, name: Arc<str>, ty: FuncType) -> Func {
    Func::new(store, ty, move |_, _, _| {
        Err(wasmtime::format_err!("a library called `{name}`, which nothing provides"))
    })
}

/// Fetches the function or address a symbol names.
pub fn resolve(store: &mut Store<Guest>, program: &Program, symbol: &Symbol) -> wasmtime::Result<Extern> {
    let parts = store.data().parts();
    let found = match symbol {
        Symbol::Main { name } => parts.main.get_export(&mut *store, name),
        Symbol::Glue { name } => parts.glue.get_export(&mut *store, name),
        Symbol::Host { module, name } => program.host_functions().get(&mut *store, module, name).ok(),
        Symbol::Library { library, name } => {
            let instance = store.data().links.libraries.get(*library).map(|loaded| loaded.instance);
            instance.and_then(|instance| instance.get_export(&mut *store, name))
        }
    };
    found.ok_or_else(|| wasmtime::format_err!("found no symbol {symbol:?}"))
}

impl Links {
    /// The global behind the `n`-th entry of the global offset table.
    pub fn got_global(&self, index: usize) -> Global {
        self.got[index].global
    }
}
