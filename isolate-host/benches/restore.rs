//! How long a restore takes in process, with what the machine needs for comparable work beside it.
//!
//! `cargo bench -p isolate-host --bench restore`. The example workers are deployed into a store and a cache below
//! `target/tmp` the first time. Controls: the start of a process that does nothing, and touching as
//! many fresh pages as a first request of the FastAPI worker makes its own.
//!
//! Criterion tells means. At the end every single measurement counts: p50 and p99 of each.

use std::cell::RefCell;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{BenchmarkGroup, Criterion, criterion_group, criterion_main, measurement::WallTime};
use isolate_host::isolate::{EngineOptions, Isolate, Prepared};

#[path = "support/place.rs"]
mod place;

use place::{Place, end};

/// Pages of 4 KiB for the control.
const PAGES: usize = 340;

/// An example worker, ready to be restored; `parked` ended isolates are kept to be renewed.
fn prepare(place: &Place, example: &str, parked: usize) -> Arc<Prepared> {
    let stored = place.deploy(Path::new(example), None);
    let engine = place.engine(&place.cache, EngineOptions { parked, ..EngineOptions::default() });
    place.runtime.block_on(engine.prepare(&stored)).expect("the deploy has proved it")
}

fn restore(place: &Place, prepared: &Arc<Prepared>) -> Isolate {
    place.runtime.block_on(prepared.restore()).expect("it can be restored")
}

/// A restore alone; the isolate is ended outside the time that is taken.
fn restore_alone(place: &Place, prepared: &Arc<Prepared>) -> Duration {
    let began = Instant::now();
    let isolate = restore(place, prepared);
    let taken = began.elapsed();
    end(&isolate);
    taken
}

fn with_first_response(place: &Place, prepared: &Arc<Prepared>) -> Duration {
    let began = Instant::now();
    let isolate = restore(place, prepared);
    let response = place.answer(&isolate);
    let taken = began.elapsed();
    assert!(!response.is_empty());
    end(&isolate);
    taken
}

fn start_of_a_process() -> Duration {
    let began = Instant::now();
    Command::new("true").status().expect("`true` is there");
    began.elapsed()
}

fn fresh_pages() -> Duration {
    let began = Instant::now();
    // Above 32 MiB the allocator keeps nothing: each page is a fault when it is first written.
    let mut pages = vec![0_u8; 33 << 20];
    pages.iter_mut().step_by(4096).take(PAGES).for_each(|byte| *byte = 1);
    std::hint::black_box(pages);
    began.elapsed()
}

/// Every measurement of a run, which Criterion does not tell.
#[derive(Default)]
struct All(Vec<(String, Vec<Duration>)>);

impl All {
    fn bench(&mut self, group: &mut BenchmarkGroup<'_, WallTime>, name: &str, once: impl Fn() -> Duration) {
        let samples = RefCell::new(Vec::new());
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|count| {
                let taken: Vec<Duration> = (0..count).map(|_| once()).collect();
                let total = taken.iter().sum();
                samples.borrow_mut().extend(taken);
                total
            });
        });
        self.0.push((name.to_owned(), samples.into_inner()));
    }

    fn print(mut self) {
        println!("{:<48} {:>9} {:>9} {:>7}", "", "p50", "p99", "n");
        for (name, samples) in self.0.iter_mut().filter(|(_, samples)| !samples.is_empty()) {
            samples.sort_unstable();
            let at = |share: f64| samples[((samples.len() - 1) as f64 * share).round() as usize];
            let [p50, p99] = [0.5, 0.99].map(|share| at(share).as_secs_f64() * 1e3);
            println!("{name:<48} {p50:>6.3} ms {p99:>6.3} ms {:>7}", samples.len());
        }
    }
}

fn benches(criterion: &mut Criterion) {
    let place = Place::open("bench");
    let mut all = All::default();
    let mut group = criterion.benchmark_group("restore");
    for (kind, parked) in [("new", 0), ("renewed", 4)] {
        for example in ["fastapi", "hello"] {
            let prepared = prepare(&place, example, parked);
            all.bench(&mut group, &format!("{example}, {kind}"), || restore_alone(&place, &prepared));
            let name = format!("{example} with its first response, {kind}");
            all.bench(&mut group, &name, || with_first_response(&place, &prepared));
        }
    }
    group.finish();
    let mut group = criterion.benchmark_group("control");
    all.bench(&mut group, "start of a process", start_of_a_process);
    all.bench(&mut group, &format!("{PAGES} fresh pages"), fresh_pages);
    group.finish();
    all.print();
}

criterion_group!(restores, benches);
criterion_main!(restores);
