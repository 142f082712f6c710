//! The wasmtime engine's settings, each with its reason.

use wasmtime::{Config, Engine};

/// How deep guest code may recurse, in bytes of native stack.
pub const GUEST_STACK: usize = 8 << 20;
/// What host functions may use on top of the guest's part of a stack.
const HOST_STACK: usize = 8 << 20;
/// How often running guest code is interrupted to let others run and to count CPU time.
pub const EPOCH_TICK: std::time::Duration = std::time::Duration::from_millis(5);
/// Largest image given as one data segment; an image that is dense is mapped, not copied.
const DENSE_IMAGE_LIMIT: u64 = 1 << 31;

/// Engines made by this function run each other's compiled code.
pub fn new_engine() -> wasmtime::Result<Engine> {
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
    Engine::new(&config)
}
