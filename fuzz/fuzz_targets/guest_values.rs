//! Input: anything. See `warmshard_fuzz::guest_values`.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| warmshard_fuzz::guest_values::check(data));
