//! The wasmtime engine's settings, each with its reason.

use wasmtime::{Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

use crate::isolate::limits::TABLE_ELEMENTS;

/// How deep guest code may recurse, in bytes of native stack.
pub const GUEST_STACK: usize = 8 << 20;
/// What host functions may use on top of the guest's part of a stack.
const HOST_STACK: usize = 8 << 20;
/// How often running guest code is interrupted to let others run and to count CPU time.
pub const EPOCH_TICK: std::time::Duration = std::time::Duration::from_millis(5);
/// Largest image given as one data segment; an image that is dense is mapped, not copied.
const DENSE_IMAGE_LIMIT: u64 = 1 << 31;
/// What the runtime keeps per module instance: Pyodide's 17 000 functions need about 1 MiB.
const MAX_INSTANCE: usize = 4 << 20;
/// Bytes of an ended isolate's memory that are put back instead of given back.
const KEEP_RESIDENT: usize = 16 << 20;

/// Where isolates get their memory, tables and stacks from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Allocation {
    /// Mapped when needed and given back: for a few isolates, as when deploying.
    OnDemand,
    /// Slots that are used again and again, for this many isolates at once.
    ///
    /// A slot whose isolate has ended gets the pages it had written to back as the image
    /// has them, and keeps them. The next isolate of the same deployment is given that
    /// slot and takes no page faults for them.
    Slots { isolates: u32 },
}

/// Engines made by this function run each other's compiled code, whatever the allocation.
pub fn new_engine(allocation: Allocation) -> wasmtime::Result<Engine> {
    let mut config = Config::new();
    // Pyodide's binaries throw; translated to standard instructions they carry `exnref`.
    config.wasm_exceptions(true);
    config.wasm_gc(true);
    config.wasm_function_references(true);
    config.wasm_reference_types(true);
    // 4 GiB reserved and guarded: no bounds checks in compiled code.
    config.memory_reservation(1 << 32);
    config.memory_guaranteed_dense_image_size(DENSE_IMAGE_LIMIT);
    // The stack a guest runs on is larger than what the guest may use, so that a
    // host function called at the guest's deepest point still has room. With both
    // equal, deep recursion ends the process instead of the guest.
    config.max_wasm_stack(GUEST_STACK);
    config.async_stack_size(GUEST_STACK + HOST_STACK);
    config.epoch_interruption(true);
    // A guest that traps is reported by its Python traceback; wasm frames help only us.
    config.wasm_backtrace_max_frames(std::num::NonZeroUsize::new(32));
    if let Allocation::Slots { isolates } = allocation {
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(slots(isolates)));
    }
    Engine::new(&config)
}

fn slots(isolates: u32) -> PoolingAllocationConfig {
    /// Memory holder, main module, glue and libraries.
    const MODULES_PER_ISOLATE: u32 = 32;
    /// Pyodide's main module has one of functions and two, always empty, of JavaScript references.
    const TABLES: u32 = 3;
    let mut pool = PoolingAllocationConfig::new();
    pool.total_memories(isolates)
        .total_tables(isolates.saturating_mul(TABLES))
        .max_tables_per_module(TABLES)
        .total_stacks(isolates)
        .total_gc_heaps(isolates)
        .total_core_instances(isolates.saturating_mul(MODULES_PER_ISOLATE))
        .max_unused_warm_slots(isolates)
        .max_memory_size(1 << 32)
        .table_elements(TABLE_ELEMENTS)
        .max_core_instance_size(MAX_INSTANCE)
        // Isolates write to some hundred pages and to a corner of the table; finding those
        // and putting them back is cheaper than mapping everything anew.
        .linear_memory_keep_resident(KEEP_RESIDENT)
        .table_keep_resident(KEEP_RESIDENT)
        .async_stack_keep_resident(256 << 10)
        .pagemap_scan(Enabled::Auto);
    pool
}
