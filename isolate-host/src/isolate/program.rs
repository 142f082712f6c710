//! What every isolate of this process shares: compiled Pyodide, the glue, the host functions.

use std::collections::HashMap;
use std::sync::Arc;

use wasmtime::{Engine, Extern, ExternType, Instance, Linker, Module, ModuleExport, Store, UpdateDeadline};

use super::guest::{Guest, Parts};
use super::limits::CpuLimitExceeded;
use crate::emscripten;
use crate::linker::bind::export_of;
use crate::pyodide::rewrite::GLOBAL_EXPORT_PREFIX;
use crate::pyodide::runtime::Runtime;

/// The shared program.
pub struct Program {
    runtime: Runtime,
    glue: Module,
    /// Memory as the main module starts with it: empty, of the right size.
    empty_memory: Module,
    linker: Linker<Guest>,
    /// The main module's imports, as `(module, name)`, in order.
    main_imports: Vec<(String, String)>,
    /// Which of the main module's import modules has a host function of a name.
    host_modules: HashMap<String, &'static str>,
    glue_imports: Vec<GlueImport>,
    /// Mutable globals of the main module that a snapshot keeps, by name.
    state_globals: Vec<(String, ModuleExport)>,
    table: ModuleExport,
}

enum GlueImport {
    Memory,
    Table,
    Main(ModuleExport),
    Host { module: String, name: String },
}

const GLUE: &str = include_str!("glue.wat");
const STACK_POINTER: &str = "__stack_pointer";

impl Program {
    pub fn new(runtime: Runtime) -> wasmtime::Result<Arc<Self>> {
        let engine = runtime.code.engine().clone();
        let glue = Module::new(&engine, GLUE)?;
        let pages = runtime.initial_pages;
        let empty_memory =
            Module::new(&engine, format!("(module (memory (export \"memory\") {pages} 65536))"))?;
        let mut linker = Linker::new(&engine);
        emscripten::define_all(&mut linker, &runtime.main)?;
        super::host_module::define(&mut linker)?;
        let main_imports: Vec<_> =
            runtime.main.imports().map(|i| (i.module().to_owned(), i.name().to_owned())).collect();
        let host_modules = main_imports
            .iter()
            .filter(|(_, name)| name != "memory")
            .map(|(module, name)| {
                (name.clone(), if module == "env" { "env" } else { "wasi_snapshot_preview1" })
            })
            .collect();
        let glue_imports =
            glue.imports().map(|import| glue_import(&runtime.main, &import)).collect::<Result<_, _>>()?;
        let state_globals = runtime
            .main
            .exports()
            .map(|export| export.name().to_owned())
            .filter(|name| name == STACK_POINTER || name.starts_with(GLOBAL_EXPORT_PREFIX))
            .filter_map(|name| runtime.main.get_export_index(&name).map(|export| (name, export)))
            .collect();
        let table = runtime
            .main
            .get_export_index("__indirect_function_table")
            .ok_or_else(|| wasmtime::format_err!("Pyodide's main module exports no function table"))?;
        Ok(Arc::new(Self {
            runtime,
            glue,
            empty_memory,
            linker,
            main_imports,
            host_modules,
            glue_imports,
            state_globals,
            table,
        }))
    }

    pub fn engine(&self) -> &Engine {
        self.runtime.code.engine()
    }

    pub fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    pub fn main(&self) -> &Module {
        &self.runtime.main
    }

    pub fn empty_memory(&self) -> &Module {
        &self.empty_memory
    }

    pub fn host_functions(&self) -> &Linker<Guest> {
        &self.linker
    }

    pub fn host_module_of(&self, name: &str) -> Option<&'static str> {
        self.host_modules.get(name).copied()
    }

    /// Whether the glue module has a function of this name.
    pub fn has_glue(&self, name: &str) -> bool {
        self.glue.get_export_index(name).is_some()
    }

    /// Entries of the function table before anything is loaded or appended.
    pub fn initial_table_size(&self) -> u32 {
        match self.main().get_export("__indirect_function_table") {
            Some(ExternType::Table(table)) => table.minimum() as u32,
            _ => 0,
        }
    }

    pub fn state_globals(&self) -> &[(String, ModuleExport)] {
        &self.state_globals
    }

    /// Memory, main module and glue in a new store. Runs no guest code.
    ///
    /// `memory` is a module that exports `memory`: empty, or with a snapshot's image.
    pub async fn instantiate(
        self: &Arc<Self>,
        memory: &Module,
        guest: Guest,
    ) -> wasmtime::Result<Store<Guest>> {
        let mut store = Store::new(self.engine(), guest);
        store.limiter(|guest| guest);
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(|context| {
            let guest = context.data();
            let limit = guest.cpu_limit();
            if guest.cpu.this_call() > limit {
                return Err(CpuLimitExceeded { limit }.into());
            }
            Ok(UpdateDeadline::Yield(1))
        });
        let holder = Instance::new_async(&mut store, memory, &[]).await?;
        let memory = holder
            .get_memory(&mut store, "memory")
            .ok_or_else(|| wasmtime::format_err!("the memory module exports no memory"))?;
        let mut imports = Vec::with_capacity(self.main_imports.len());
        for (module, name) in &self.main_imports {
            imports.push(if name == "memory" {
                memory.into()
            } else {
                self.host_function(&mut store, module, name)?
            });
        }
        let main = Instance::new_async(&mut store, &self.runtime.main, &imports).await?;
        let Extern::Table(table) = export_of(main, &mut store, &self.table)? else {
            return Err(wasmtime::format_err!("Pyodide's `__indirect_function_table` is no table"));
        };
        imports.clear();
        for import in &self.glue_imports {
            imports.push(match import {
                GlueImport::Memory => memory.into(),
                GlueImport::Table => table.into(),
                GlueImport::Main(export) => export_of(main, &mut store, export)?,
                GlueImport::Host { module, name } => self.host_function(&mut store, module, name)?,
            });
        }
        let glue = Instance::new_async(&mut store, &self.glue, &imports).await?;
        store.data_mut().set_parts(Parts { memory, table, main, glue });
        Ok(store)
    }

    fn host_function(&self, store: &mut Store<Guest>, module: &str, name: &str) -> wasmtime::Result<Extern> {
        self.linker.get(&mut *store, module, name)
    }
}

fn glue_import(main: &Module, import: &wasmtime::ImportType<'_>) -> wasmtime::Result<GlueImport> {
    let (module, name) = (import.module(), import.name());
    match (module, name) {
        ("env", "memory") => Ok(GlueImport::Memory),
        ("env", "__indirect_function_table") => Ok(GlueImport::Table),
        ("python", name) => main
            .get_export_index(name)
            .map(GlueImport::Main)
            .ok_or_else(|| wasmtime::format_err!("Pyodide's main module exports no `{name}`")),
        _ => Ok(GlueImport::Host { module: module.to_owned(), name: name.to_owned() }),
    }
}
