//! From a judged snapshot to a plan, and from the plan to isolates, as often as wanted.
//!
//! The plan is made once per deployment and host: names become indices. Carrying it
//! out looks nothing up by name and runs no guest code. A new isolate touches no page of
//! memory; one that is renewed gets back what the one before it changed.

use std::sync::Arc;

use bytes::Bytes;
use wasmtime::{Extern, Module, ModuleExport, Ref, Store, Val};

use super::check::check_files;
use super::image::Original;
use super::manifest::{Manifest, Mismatch};
use super::renew::Changed;
use crate::emscripten::clock::Clock;
use crate::emscripten::entropy::Entropy;
use crate::emscripten::files::{self, FileSystem, Layer, OverlayEntry};
use crate::emscripten::output::Output;
use crate::isolate::exchange::Exchange;
use crate::isolate::guest::{Guest, GuestSetup, Libraries, Phase};
use crate::isolate::limits::{CpuMeter, Limits};
use crate::isolate::program::Program;
use crate::linker::bind::{self, Source, Symbol, export_of};
use crate::linker::dlopen::add_got_entry;
use crate::linker::library::Library;
use crate::linker::state::Loaded;
use crate::pyodide::code_cache;

/// Why no plan can be made.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    #[error(transparent)]
    Mismatch(#[from] Mismatch),
    #[error(transparent)]
    Unbound(#[from] bind::Unbound),
    #[error("the snapshot's files cannot be read")]
    Files(#[from] files::CodecError),
    #[error("the image cannot be mapped")]
    Image(#[source] wasmtime::Error),
}

/// Everything restoring one deployment needs.
pub struct Plan {
    program: Arc<Program>,
    manifest: Manifest,
    /// The module whose memory is the image.
    memory: Module,
    layers: Vec<Layer>,
    overlay: Vec<OverlayEntry>,
    all_libraries: Libraries,
    libraries: Vec<PlannedLibrary>,
    appended: Vec<(u32, Planned)>,
    globals: Vec<(ModuleExport, i32)>,
    /// What renewing compares with.
    original: Original,
}

/// The store of an isolate that has ended, as it was left.
pub struct Parked {
    store: Store<Guest>,
    changed: Changed,
}

struct PlannedLibrary {
    library: Arc<Library>,
    sources: Vec<Source>,
    memory_base: u32,
    table_base: u32,
    globals: Vec<(ModuleExport, i32)>,
}

/// Where a function of the table comes from, by index.
enum Planned {
    Main(ModuleExport),
    Library(usize, ModuleExport),
    Named(Symbol),
}

impl Plan {
    /// Turns a snapshot that fits into a plan. `memory` is its image as a compiled module.
    pub fn new(
        program: Arc<Program>,
        manifest: Manifest,
        files: Bytes,
        memory: Module,
        layers: Vec<Layer>,
        all_libraries: Libraries,
    ) -> Result<Self, PlanError> {
        let original = Original::map(&memory).map_err(PlanError::Image)?;
        let overlay = files::decode_overlay(files)?;
        check_files(&manifest, &layers, &overlay)?;
        let loaded = find_libraries(&manifest, &all_libraries)?;
        let mut libraries = Vec::with_capacity(loaded.len());
        for (index, saved) in manifest.libraries.iter().enumerate() {
            let library = loaded[index].clone();
            let sources = bind::bind(&program, &library, &loaded[..index], |name| {
                // Every name was bound when the library was first loaded.
                manifest.offset_table.iter().position(|(other, _)| other == name).unwrap_or(0)
            })?;
            let globals = plan_globals(&library.module, saved.globals.iter())?;
            let (memory_base, table_base) = (saved.memory_base, saved.table_base);
            libraries.push(PlannedLibrary { library, sources, memory_base, table_base, globals });
        }
        let appended = manifest
            .appended
            .iter()
            .enumerate()
            .map(|(at, (index, symbol))| Ok((*index, plan_symbol(at, &program, &loaded, symbol)?)))
            .collect::<Result<_, Mismatch>>()?;
        let globals = plan_globals(program.main(), manifest.globals.iter())?;
        Ok(Self {
            program,
            manifest,
            memory,
            layers,
            overlay,
            all_libraries,
            libraries,
            appended,
            globals,
            original,
        })
    }

    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Bytes of the file in memory that isolates map.
    pub fn mapped(&self) -> u64 {
        code_cache::mapped(&self.memory)
    }

    /// A new isolate's store, as it was when the snapshot was taken.
    pub async fn restore(&self, exchange: Exchange, limits: Limits) -> wasmtime::Result<Store<Guest>> {
        let guest = Guest::new(self.program.clone(), self.guest_setup(exchange, limits)?);
        let mut store = self.program.instantiate(&self.memory, guest).await?;
        self.restore_table_and_libraries(&mut store).await?;
        self.restore_globals(&mut store)?;
        Ok(store)
    }

    /// What it takes to use the store of an isolate again that ended well. `None` when more
    /// has changed than can be undone: memory or table have grown, or a library was loaded.
    pub fn park(&self, store: Store<Guest>) -> std::io::Result<Option<Parked>> {
        let parts = store.data().parts();
        let unchanged = parts.memory.data_size(&store) == self.original.bytes().len()
            && parts.table.size(&store) == u64::from(self.manifest.table_size)
            && store.data().links.libraries.len() == self.libraries.len();
        if !unchanged {
            return Ok(None);
        }
        let changed = Changed::find(parts.memory.data(&store), self.original.bytes())?;
        tracing::debug!(worker = %self.manifest.worker, bytes = changed.bytes(), "an isolate ended well");
        Ok(Some(Parked { store, changed }))
    }

    /// Makes the store of an ended isolate of this deployment what `restore` would make.
    pub fn renew(
        &self,
        parked: Parked,
        exchange: Exchange,
        limits: Limits,
    ) -> wasmtime::Result<Store<Guest>> {
        let Parked { mut store, changed } = parked;
        let memory = store.data().parts().memory;
        changed.undo(memory.data_mut(&mut store));
        self.restore_globals(&mut store)?;
        store.data_mut().renew(self.guest_setup(exchange, limits)?);
        Ok(store)
    }

    fn restore_globals(&self, store: &mut Store<Guest>) -> wasmtime::Result<()> {
        let main = store.data().parts().main;
        for (export, value) in &self.globals {
            set_global(store, main, export, *value)?;
        }
        for (index, planned) in self.libraries.iter().enumerate() {
            let instance = store.data().links.libraries[index].instance;
            for (export, value) in &planned.globals {
                set_global(store, instance, export, *value)?;
            }
        }
        Ok(())
    }

    fn guest_setup(&self, exchange: Exchange, limits: Limits) -> wasmtime::Result<GuestSetup> {
        let mut files = FileSystem::new(self.layers.clone(), limits.file_bytes);
        if !self.overlay.is_empty() {
            files.restore_overlay(self.overlay.clone())?;
        }
        files.chdir(&self.manifest.working_directory).map_err(|errno| {
            wasmtime::format_err!("cannot enter `{}`: {errno}", self.manifest.working_directory)
        })?;
        files.restore_descriptors(&self.manifest.descriptors)?;
        Ok(GuestSetup {
            libraries: self.all_libraries.clone(),
            phase: Phase::Serving,
            files,
            environment: self.manifest.environment.clone(),
            clock: Clock::running(self.manifest.monotonic_floor),
            entropy: Entropy::Serving,
            output: Output::new(self.manifest.worker.clone()),
            exchange,
            limits,
            cpu: Arc::new(CpuMeter::default()),
        })
    }

    async fn restore_table_and_libraries(&self, store: &mut Store<Guest>) -> wasmtime::Result<()> {
        let parts = store.data().parts();
        let missing = u64::from(self.manifest.table_size).saturating_sub(parts.table.size(&*store));
        parts.table.grow(&mut *store, missing, Ref::Func(None))?;
        for (name, value) in &self.manifest.offset_table {
            add_got_entry(&mut *store, name.clone(), *value as u32, true)?;
        }
        for planned in &self.libraries {
            let (library, memory_base, table_base) =
                (&planned.library, planned.memory_base, planned.table_base);
            let instance = bind::instantiate(
                &mut *store,
                &self.program,
                library,
                &planned.sources,
                memory_base,
                table_base,
            )
            .await?;
            let loaded = Loaded { library: library.clone(), instance, memory_base, table_base };
            store.data_mut().links.libraries.push(loaded);
        }
        for (index, planned) in &self.appended {
            let function = match planned {
                Planned::Main(export) => export_of(parts.main, &mut *store, export)?,
                Planned::Library(library, export) => {
                    let instance = store.data().links.libraries[*library].instance;
                    export_of(instance, &mut *store, export)?
                }
                Planned::Named(symbol) => bind::resolve(store, &self.program, symbol)?,
            };
            let Extern::Func(function) = function else {
                return Err(wasmtime::format_err!("table entry {index} is no function"));
            };
            parts.table.set(&mut *store, u64::from(*index), Ref::Func(Some(function)))?;
        }
        let links = &mut store.data_mut().links;
        links.appended.clone_from(&self.manifest.appended);
        links.handles.extend(self.manifest.handles.iter().map(|(&handle, &library)| (handle, library)));
        Ok(())
    }
}

/// The libraries of a snapshot, which `check_fit` has found to be those of the deployment.
fn find_libraries(manifest: &Manifest, all: &Libraries) -> Result<Vec<Arc<Library>>, Mismatch> {
    let missing = |path: &str| Mismatch::new("libraries", format!("with `{path}`"), "one of the deployment");
    let find = |path: &String| all.get(path).cloned().ok_or_else(|| missing(path));
    manifest.libraries.iter().map(|saved| find(&saved.path)).collect()
}

fn plan_globals<'a>(
    module: &Module,
    saved: impl Iterator<Item = (&'a String, &'a i32)>,
) -> Result<Vec<(ModuleExport, i32)>, Mismatch> {
    saved
        .map(|(name, value)| {
            let export = module.get_export_index(name).ok_or_else(|| {
                Mismatch::new("globals", format!("with `{name}`"), "globals the module has")
            })?;
            Ok((export, *value))
        })
        .collect()
}

fn plan_symbol(
    at: usize,
    program: &Program,
    loaded: &[Arc<Library>],
    symbol: &Symbol,
) -> Result<Planned, Mismatch> {
    let expected = "a function this host has";
    let unknown = || Mismatch::new(format!("appended[{at}]"), format!("{symbol:?}"), expected);
    match symbol {
        Symbol::Main { name } => program.main().get_export_index(name).map(Planned::Main).ok_or_else(unknown),
        Symbol::Library { library, name } => loaded
            .get(*library)
            .and_then(|found| found.module.get_export_index(name))
            .map(|export| Planned::Library(*library, export))
            .ok_or_else(unknown),
        Symbol::Glue { name } if !program.has_glue(name) => Err(unknown()),
        Symbol::Host { name, .. } if program.host_module_of(name).is_none() => Err(unknown()),
        Symbol::Glue { .. } | Symbol::Host { .. } => Ok(Planned::Named(symbol.clone())),
    }
}

fn set_global(
    store: &mut Store<Guest>,
    instance: wasmtime::Instance,
    export: &ModuleExport,
    value: i32,
) -> wasmtime::Result<()> {
    match export_of(instance, &mut *store, export)? {
        Extern::Global(global) => global.set(&mut *store, Val::I32(value)),
        _ => Err(wasmtime::format_err!("a saved global is none in this module")),
    }
}
