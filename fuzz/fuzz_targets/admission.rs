//! Input: anything. See `warmshard_fuzz::admission`.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| warmshard_fuzz::admission::check(data));
