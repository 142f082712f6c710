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

/// Where the header and each section end, but for the last one.
pub(crate) fn ends(wasm: &[u8]) -> Vec<usize> {
    let mut ends: Vec<usize> = Parser::new(0)
        .parse_all(wasm)
        .map(|payload| payload.expect("a readable module"))
        .filter_map(|payload| match payload {
            Payload::Version { range, .. } => Some(range.end),
            payload => payload.as_section().map(|(_, range)| range.end),
        })
        .collect();
    ends.pop();
    ends
}
