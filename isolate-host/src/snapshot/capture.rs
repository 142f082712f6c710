//! Taking a snapshot of an isolate whose top level has run.

use std::collections::BTreeMap;

use wasmtime::{Instance, Store};

use super::format;
use super::manifest::{Manifest, SavedLibrary};
use crate::emscripten::files::{ExportError, Unsavable, encode_overlay};
use crate::emscripten::memory::GuestMemory;
use crate::isolate::guest::Guest;
use crate::pyodide::rewrite::GLOBAL_EXPORT_PREFIX;

/// Why an isolate cannot be captured.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    #[error("the worker's top level leaves open what no snapshot can keep: {}", list(.0))]
    Descriptors(Vec<Unsavable>),
    #[error("the worker's files cannot be kept")]
    Files(#[from] ExportError),
    #[error("found the global `{name}` with a value that is no 32-bit integer")]
    Global { name: String },
    #[error("the snapshot cannot be written")]
    Write(#[from] std::io::Error),
}

fn list(unsavable: &[Unsavable]) -> String {
    unsavable.iter().map(Unsavable::to_string).collect::<Vec<_>>().join("; ")
}

/// What the manifest takes from elsewhere than the store.
pub struct Identity {
    pub worker: warmshard_config::units::WorkerName,
    pub deployment: warmshard_config::units::DeploymentId,
    pub pump: u32,
    pub entrypoints: Vec<String>,
}

/// Writes the isolate's state to `file`. The isolate is not called meanwhile.
pub fn capture(
    store: &mut Store<Guest>,
    identity: Identity,
    file: &mut std::fs::File,
) -> Result<(), CaptureError> {
    make_immortal(store);
    let manifest = describe(store, identity)?;
    let overlay = encode_overlay(&store.data().files.overlay_entries()?);
    let memory = store.data().parts().memory;
    format::write(file, &manifest, &overlay, memory.data(&*store))?;
    Ok(())
}

/// Gives every marked object the reference count that CPython neither raises nor lowers.
///
/// CPython 3.12 and later on 32 bits: counts from 2^30 on are left alone, and new
/// immortal objects get 5 * 2^28 (`_Py_IMMORTAL_INITIAL_REFCNT`), which a stray
/// unchecked increment or decrement does not bring below. The count is an object's
/// first word.
fn make_immortal(store: &mut Store<Guest>) {
    const LEAST_IMMORTAL: u32 = 1 << 30;
    const IMMORTAL: u32 = 5 << 28;
    let marked = std::mem::take(&mut store.data_mut().immortal);
    let (mut memory, _) = GuestMemory::with_guest(&mut *store);
    for address in marked {
        if memory.read_u32(address).is_ok_and(|count| count < LEAST_IMMORTAL) {
            let _ = memory.write_u32(address, IMMORTAL);
        }
    }
}

fn describe(store: &mut Store<Guest>, identity: Identity) -> Result<Manifest, CaptureError> {
    let parts = store.data().parts();
    let program = store.data().program.clone();
    let mut globals = BTreeMap::new();
    for (name, _) in program.state_globals() {
        globals.insert(name.clone(), read_global(store, parts.main, name)?);
    }
    let entries: Vec<_> =
        store.data().links.got.iter().map(|entry| (entry.name.clone(), entry.global)).collect();
    let offset_table = entries
        .into_iter()
        .map(|(name, global)| (name, global.get(&mut *store).i32().unwrap_or(0)))
        .collect();
    let loaded: Vec<_> = store
        .data()
        .links
        .libraries
        .iter()
        .map(|l| (l.library.clone(), l.instance, l.memory_base, l.table_base))
        .collect();
    let mut libraries = Vec::new();
    for (library, instance, memory_base, table_base) in loaded {
        let mut globals = BTreeMap::new();
        for export in
            library.module.exports().filter(|export| export.name().starts_with(GLOBAL_EXPORT_PREFIX))
        {
            globals.insert(export.name().to_owned(), read_global(store, instance, export.name())?);
        }
        let (path, content) = (library.path.clone(), library.content.clone());
        libraries.push(SavedLibrary { path, content, memory_base, table_base, globals });
    }
    let memory_pages = parts.memory.size(&*store) as u32;
    let table_size = parts.table.size(&*store) as u32;
    let guest = store.data_mut();
    Ok(Manifest {
        worker: identity.worker,
        deployment: identity.deployment,
        runtime: program.runtime().identity.clone(),
        memory_pages,
        globals,
        table_size,
        appended: guest.links.appended.clone(),
        offset_table,
        libraries,
        handles: guest.links.handles.iter().map(|(&handle, &library)| (handle, library)).collect(),
        pump: identity.pump,
        environment: guest.environment.clone(),
        working_directory: guest.files.getcwd().to_owned(),
        descriptors: guest.files.saved_descriptors().map_err(CaptureError::Descriptors)?,
        monotonic_floor: guest.clock.monotonic(),
        entrypoints: identity.entrypoints,
    })
}

fn read_global(store: &mut Store<Guest>, instance: Instance, name: &str) -> Result<i32, CaptureError> {
    let missing = || CaptureError::Global { name: name.to_owned() };
    let global = instance.get_global(&mut *store, name).ok_or_else(missing)?;
    global.get(&mut *store).i32().ok_or_else(missing)
}
