//! Input: anything. See `warmshard_fuzz::snapshot`.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| warmshard_fuzz::snapshot::check(data));
