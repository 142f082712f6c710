//! Native libraries: the `dylink.0` section, their data, and how they are rewritten.

use isolate_host::linker::dylink::Dylink;
use isolate_host::pyodide::rewrite::{Role, data_segments, initial_memory_bytes, rewrite};

/// Nothing panics; what the section asks for is bounded; data lies within the file; a valid
/// module stays valid when it is rewritten.
pub fn check(data: &[u8]) {
    if let Ok(dylink) = Dylink::read(data) {
        assert!(dylink.memory_alignment.is_power_of_two());
        assert!(dylink.memory_size <= 1 << 30 && dylink.table_size <= 1 << 20);
    }
    if let Ok(segments) = data_segments(data) {
        assert!(segments.iter().all(|segment| segment.bytes.end <= data.len()));
    }
    let _ = initial_memory_bytes(data);
    let is_valid = |wasm: &[u8]| {
        wasmparser::Parser::is_core_wasm(wasm)
            && wasmparser::Validator::new_with_features(wasmparser::WasmFeatures::all()).validate_all(wasm).is_ok()
    };
    for role in [Role::Main, Role::Library] {
        let Ok(rewritten) = rewrite(data, role) else { continue };
        assert!(!is_valid(data) || is_valid(&rewritten), "{role:?}: a valid module was made invalid");
    }
}
