//! What linking leaves behind outside linear memory, in one place.

use std::collections::HashMap;
use std::sync::Arc;

use wasmtime::{AsContextMut, Func, Global, Instance, Ref, Table};

use super::bind::Symbol;
use super::library::Library;

/// The link state of one isolate.
#[derive(Default)]
pub struct Links {
    /// In load order.
    pub libraries: Vec<Loaded>,
    /// `dlopen` handles (addresses of the guest's `struct dso`) and the libraries behind them.
    pub handles: HashMap<u32, usize>,
    /// The global offset table, in order of first use.
    pub got: Vec<GotEntry>,
    pub got_by_name: HashMap<String, usize>,
    /// Table entries added one by one, behind those of modules, in order.
    pub appended: Vec<(u32, Symbol)>,
    /// Where functions already stand in the table; filled when first asked for.
    pub table_index: TableIndex,
}

/// A library in an isolate.
pub struct Loaded {
    pub library: Arc<Library>,
    pub instance: Instance,
    pub memory_base: u32,
    pub table_base: u32,
}

/// One entry of the global offset table.
pub struct GotEntry {
    pub name: String,
    pub global: Global,
    /// Whether the entry has got its address.
    pub resolved: bool,
}

/// Finds the index of a function that is in the table already.
///
/// C compares function pointers, so a function must have one index only. Reading the
/// table makes wasmtime create each entry, which a restored isolate seldom needs: the
/// map is built when a library is loaded or a symbol looked up.
#[derive(Default)]
pub struct TableIndex {
    by_function: HashMap<usize, u32>,
    scanned: u64,
}

impl TableIndex {
    /// Brings the map up to the table's size.
    pub fn scan(&mut self, mut store: impl AsContextMut, table: Table) {
        let size = table.size(&mut store);
        for index in self.scanned..size {
            if let Some(Ref::Func(Some(function))) = table.get(&mut store, index) {
                self.by_function.entry(identity(function, &mut store)).or_insert(index as u32);
            }
        }
        self.scanned = size;
    }

    pub fn find(&self, store: impl AsContextMut, function: Func) -> Option<u32> {
        self.by_function.get(&identity(function, store)).copied()
    }
}

fn identity(function: Func, store: impl AsContextMut) -> usize {
    function.to_raw(store) as usize
}
