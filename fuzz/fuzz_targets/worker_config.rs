//! Input: anything. See `warmshard_fuzz::worker_config`.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| warmshard_fuzz::worker_config::check(data));
