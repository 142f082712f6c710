//! Isolates that have ended leave nothing behind.
//!
//! The only test of this file: it looks at its whole process. `cargo bench -p isolate-host --bench density --
//! leaks` does the same with 5 000 of each kind, and prints the figures.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use isolate_host::isolate::{EngineOptions, Prepared};

#[path = "../benches/support/place.rs"]
mod place;
#[path = "../benches/support/usage.rs"]
mod usage;

use place::{Place, end};
use usage::Usage;

/// In one go.
const RESTORES: usize = 500;
/// An allocator's heap grows now and then, and a leak every time: one go without growth will do.
const GOES: usize = 6;
/// What allocators keep for themselves, here and there, in bytes: a few isolates' worth, of hundreds.
const SLACK: u64 = 4 << 20;
/// More than an isolate has.
const MAPPINGS_EACH: usize = 10;

fn cycle(place: &Place, prepared: &Arc<Prepared>, count: usize) {
    for _ in 0..count {
        let isolate = place.runtime.block_on(prepared.restore()).expect("it can be restored");
        place.answer(&isolate);
        end(&isolate);
    }
}

/// What has ended is let go of behind its back: waits until no more than `most` mappings are left.
fn usage_with(most: usize) -> Usage {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let now = Usage::now();
        if now.mappings <= most || Instant::now() > deadline {
            return now;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn thousands_of_restores_leave_no_memory_no_mapping_and_no_descriptor() {
    // The cache and the store of the system tests, so that nothing is compiled twice.
    let place = Place::open("system-tests");
    let stored = place.deploy(Path::new("fastapi"), None);
    for parked in [0, 4] {
        let engine = place.engine(&place.cache, EngineOptions { parked, ..EngineOptions::default() });
        let prepared = place.runtime.block_on(engine.prepare(&stored)).expect("the deploy has proved it");
        // How many are parked at a moment depends on how quick their threads are: up to so many may be.
        let idle = Usage::now().mappings + parked * MAPPINGS_EACH;
        cycle(&place, &prepared, RESTORES / 5);
        let mut seen = vec![usage_with(idle)];
        while seen.len() <= GOES {
            cycle(&place, &prepared, RESTORES);
            seen.push(usage_with(idle));
            let [.., before, after] = seen.as_slice() else { unreachable!("two were pushed") };
            if grown(before, after, idle, parked).is_none() {
                break;
            }
        }
        let [.., before, after] = seen.as_slice() else { unreachable!("two were pushed") };
        let what = grown(before, after, idle, parked);
        assert_eq!(what, None, "parked {parked}: {seen:#?}");
    }
}

/// What there is more of.
fn grown(before: &Usage, after: &Usage, idle: usize, parked: usize) -> Option<&'static str> {
    let more = |now: u64, then: u64, each: u64| now.saturating_sub(then) > SLACK + parked as u64 * each;
    let found = [
        ("mappings", after.mappings > idle.max(before.mappings)),
        ("descriptors", after.descriptors > before.descriptors),
        ("threads", after.threads > before.threads + 1),
        ("private dirty memory", more(after.private_dirty, before.private_dirty, 2 << 20)),
        ("page tables", more(after.page_tables, before.page_tables, 256 << 10)),
        ("resident memory", more(after.resident, before.resident, 64 << 20)),
    ];
    found.into_iter().find(|(_, is_more)| *is_more).map(|(name, _)| name)
}
