//! Input: anything. See `warmshard_fuzz::legacy_exceptions`.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| warmshard_fuzz::legacy_exceptions::check(data));
