//! The sections of a module.

use wasmparser::{Parser, Payload};

/// Each section's id and contents, in order.
pub(crate) fn sections(wasm: &[u8]) -> Vec<(u8, &[u8])> {
    Parser::new(0)
        .parse_all(wasm)
        .map(|payload| payload.expect("a readable module"))
        .filter_map(|payload: Payload<'_>| payload.as_section())
        .map(|(id, range)| (id, &wasm[range]))
        .collect()
}
