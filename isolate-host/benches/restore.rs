//! How long a restore takes in process, with what the machine needs for comparable work beside it.
//!
//! `cargo bench -p isolate-host --bench restore`. The example workers are deployed into a store and a cache below
//! `target/tmp` the first time. Controls: the start of a process that does nothing, and touching as
//! many fresh pages as a first request of the hello worker makes its own.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use http_body_util::{BodyExt, Empty};
use isolate_host::cache::CacheDir;
use isolate_host::deploy::{DeployRequest, PackageOptions, PipOptions, Reuse, deploy};
use isolate_host::isolate::{Engine, EngineOptions, Prepared, StoredDeployment};
use isolate_host::progress::{Silent, to_stderr};
use isolate_host::pyodide::fingerprint;
use isolate_host::store::Store;
use tokio::runtime::Runtime;

/// Pages of 4 KiB for the control.
const PAGES: usize = 700;

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("bench").join(name)
}

/// An example worker, ready to be restored; `parked` ended isolates are kept to be renewed.
fn prepare(runtime: &Runtime, example: &str, parked: usize) -> Arc<Prepared> {
    std::fs::create_dir_all(folder("")).expect("target/ can be written");
    let cache = CacheDir::open(folder("cache")).expect("the cache can be opened");
    let store = Store::open(folder("store")).expect("the store can be opened");
    let request = DeployRequest {
        folder: Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples").join(example),
        name: None,
        packages: PackageOptions {
            pip: PipOptions { python: "python3".into(), index_url: None, extra_index_urls: Vec::new() },
            reuse: Reuse::Cached,
        },
    };
    let deployed = runtime.block_on(deploy(&request, &store, &cache, &*to_stderr(), &|_| {}));
    let deployed = deployed.expect("the example can be deployed");
    let (input, record) = store.source(&deployed.worker, &deployed.id).expect("it is in the store");
    let snapshot = store.snapshot(&record, &fingerprint()).expect("with its snapshot");
    let (worker, id) = (deployed.worker, deployed.id);
    let stored = StoredDeployment { worker, id, config: input.config, files: input.files, snapshot };
    let options = EngineOptions { parked, ..EngineOptions::default() };
    let engine =
        Engine::open(&cache, options, runtime.handle().clone(), &Silent).expect("it was opened before");
    runtime.block_on(engine.prepare(&stored)).expect("the deploy has proved it")
}

/// Restores one isolate after the other and ends each before the next, outside the time that is taken.
fn restores(runtime: &Runtime, prepared: &Arc<Prepared>, count: u64) -> Duration {
    let mut taken = Duration::ZERO;
    for _ in 0..count {
        let began = Instant::now();
        let isolate = runtime.block_on(prepared.restore()).expect("it can be restored");
        taken += began.elapsed();
        isolate.close();
        while isolate.is_alive() {
            std::thread::yield_now();
        }
    }
    taken
}

fn first_responses(runtime: &Runtime, prepared: &Arc<Prepared>, count: u64) -> Duration {
    let mut taken = Duration::ZERO;
    for _ in 0..count {
        let body = Empty::new().map_err(|never| match never {}).boxed_unsync();
        let request = http::Request::get("http://localhost/").body(body).expect("a request");
        let began = Instant::now();
        let isolate = runtime.block_on(prepared.restore()).expect("it can be restored");
        let response = runtime.block_on(async {
            let response = isolate.fetch(request).await.expect("it answers");
            response.into_body().collect().await.expect("to the end").to_bytes()
        });
        taken += began.elapsed();
        assert!(!response.is_empty());
        isolate.close();
        while isolate.is_alive() {
            std::thread::yield_now();
        }
    }
    taken
}

fn benches(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("threads can be started");
    let mut group = criterion.benchmark_group("restore");
    for (kind, parked) in [("new", 0), ("renewed", 4)] {
        let fastapi = prepare(&runtime, "fastapi", parked);
        group.bench_function(format!("fastapi, {kind}"), |bencher| {
            bencher.iter_custom(|count| restores(&runtime, &fastapi, count));
        });
        let hello = prepare(&runtime, "hello", parked);
        group.bench_function(format!("hello with its first response, {kind}"), |bencher| {
            bencher.iter_custom(|count| first_responses(&runtime, &hello, count));
        });
    }
    group.finish();
    let mut group = criterion.benchmark_group("control");
    group.bench_function("start of a process", |bencher| {
        bencher.iter(|| Command::new("true").status().expect("`true` is there"));
    });
    group.bench_function(format!("{PAGES} fresh pages"), |bencher| {
        bencher.iter(|| {
            // Zeroed memory of this size is mapped anew; each page is a fault when it is first written.
            let mut pages = vec![0_u8; PAGES * 4096];
            pages.iter_mut().step_by(4096).for_each(|byte| *byte = 1);
            std::hint::black_box(pages)
        });
    });
    group.finish();
}

criterion_group!(restore, benches);
criterion_main!(restore);
