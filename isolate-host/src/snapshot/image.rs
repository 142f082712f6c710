//! Linear memory as a wasm module: wasmtime maps its one data segment copy-on-write.

use wasm_encoder::{ConstExpr, DataSection, ExportKind, ExportSection, MemorySection, MemoryType};
use wasmtime::{Instance, Memory, Module, Store};

const PAGE: usize = 65536;
const HOST_PAGE: usize = 4096;
/// As many pages as 32-bit addresses reach.
const MAX_PAGES: u64 = 65536;

/// A module that exports `memory` holding `image`; zeros at both ends are left out.
pub fn memory_module(image: &[u8]) -> Vec<u8> {
    let mut memories = MemorySection::new();
    memories.memory(MemoryType {
        minimum: (image.len() / PAGE) as u64,
        maximum: Some(MAX_PAGES),
        memory64: false,
        shared: false,
        page_size_log2: None,
    });
    let mut exports = ExportSection::new();
    exports.export("memory", ExportKind::Memory, 0);
    let mut data = DataSection::new();
    let used = used_range(image);
    data.active(0, &ConstExpr::i32_const(used.start as i32), image[used].iter().copied());
    let mut module = wasm_encoder::Module::new();
    module.section(&memories).section(&exports).section(&data);
    module.finish()
}

/// An image to read: a memory nothing ever runs on, so its pages stay those the isolates share.
pub struct Original {
    store: Store<()>,
    memory: Memory,
}

impl Original {
    /// Maps the image that `module`, made by [`memory_module`], holds.
    pub fn map(module: &Module) -> wasmtime::Result<Self> {
        let mut store = Store::new(module.engine(), ());
        let memory = Instance::new(&mut store, module, &[])?
            .get_memory(&mut store, "memory")
            .ok_or_else(|| wasmtime::format_err!("the memory module exports no memory"))?;
        Ok(Self { store, memory })
    }

    pub fn bytes(&self) -> &[u8] {
        self.memory.data(&self.store)
    }
}

/// From the first page that is not all zeros to the last one.
fn used_range(image: &[u8]) -> std::ops::Range<usize> {
    let is_used = |page: &[u8]| page.iter().any(|&byte| byte != 0);
    let start = image.chunks(HOST_PAGE).position(is_used).unwrap_or(0);
    let end = image.chunks(HOST_PAGE).rposition(is_used).map_or(0, |last| last + 1);
    start * HOST_PAGE..(end * HOST_PAGE).min(image.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_at_both_ends_are_left_out() {
        let mut image = vec![0; 4 * HOST_PAGE];
        image[HOST_PAGE + 5] = 1;
        assert_eq!(used_range(&image), HOST_PAGE..2 * HOST_PAGE);
        assert_eq!(used_range(&[0; HOST_PAGE]), 0..0);
    }

    #[test]
    fn what_is_mapped_is_the_image() {
        let mut image = vec![0; 2 * PAGE];
        image[HOST_PAGE..PAGE + 7].fill(3);
        let module = Module::new(&wasmtime::Engine::default(), memory_module(&image)).unwrap();
        assert!(Original::map(&module).unwrap().bytes() == image);
    }
}
