//! How many isolates a machine holds, and what they cost.
//!
//! ```sh
//! cargo bench -p isolate-host --bench density                  # every part
//! cargo bench -p isolate-host --bench density -- many leaks    # some
//! ```
//!
//! | part | what it measures |
//! |---|---|
//! | `one` | what an isolate of `examples/fastapi` adds once it has answered |
//! | `many` | 1 000 of them alive at once |
//! | `most` | isolates until the kernel maps no more, and what a host says then |
//! | `different` | 100 isolates of 100 deployments, each a variant of that example |
//! | `leaks` | 5 000 restores and drops: what is left of them |
//! | `dropped` | restores with the page cache dropped before each, beside restores without |
//! | `prepare` | a deployment this host has never seen, from its files to its first answer |
//!
//! Each part is a process of its own, so that none counts what another has left. What is deployed is kept
//! below `target/tmp`; the first run of `different` deploys for some minutes.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::time::{Duration, Instant};

use isolate_host::cache::CacheDir;
use isolate_host::isolate::{EngineOptions, Isolate, Prepared, StoredDeployment, WorkerName};
use isolate_host::pyodide::code_cache::content_key;
use isolate_host::pyodide::runtime;
use isolate_host::snapshot::format::Snapshot;

#[path = "support/place.rs"]
mod place;
#[path = "support/usage.rs"]
mod usage;

use place::{Place, end};
use usage::{Usage, field, read};

const PARTS: [(&str, fn()); 7] = [
    ("one", one),
    ("many", many),
    ("most", most),
    ("different", different),
    ("leaks", leaks),
    ("dropped", dropped),
    ("prepare", prepare),
];

fn main() -> ExitCode {
    // Cargo passes options of its own.
    let asked: Vec<String> =
        std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let unknown = asked.iter().find(|name| PARTS.iter().all(|(part, _)| part != name));
    if let Some(name) = unknown {
        let names = PARTS.map(|(part, _)| part).join("`, `");
        eprintln!("found the part `{name}`, expected `{names}`");
        return ExitCode::from(2);
    }
    if let [name] = &asked[..] {
        for (_, part) in PARTS.iter().filter(|(part, _)| part == name) {
            part();
        }
        return ExitCode::SUCCESS;
    }
    let chosen = PARTS.iter().filter(|(part, _)| asked.is_empty() || asked.iter().any(|name| name == part));
    let own = std::env::current_exe().expect("this program has a path");
    for (name, _) in chosen {
        let status = Command::new(&own).arg(name).status().expect("it can be started again");
        if !status.success() {
            eprintln!("the part `{name}` ended with {status}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn one() {
    const ISOLATES: u64 = 50;
    title("an isolate of `fastapi` that has answered its first request");
    let place = Place::open("bench");
    let prepared = prepared(&place, &place.deploy(Path::new("fastapi"), None), 0);
    // What the process sets up once is no isolate's.
    let first = restored(&place, &prepared);
    place.answer(&first);
    let before = Usage::now();
    let isolates: Vec<Isolate> = (0..ISOLATES).map(|_| restored(&place, &prepared)).collect();
    let restored = Usage::now();
    isolates.iter().for_each(|isolate| drop(place.answer(isolate)));
    let answered = Usage::now();
    isolates.iter().for_each(|isolate| drop(place.answer(isolate)));
    let again = Usage::now();
    let each = |after: Usage, of: fn(Usage) -> u64| size(of(after).saturating_sub(of(before)) / ISOLATES);
    for (name, after) in [("restored", restored), ("after its first answer", answered), ("after two", again)]
    {
        row(
            name,
            &format!(
                "{} private dirty, {} of page tables, {:.1} mappings",
                each(after, |usage| usage.private_dirty),
                each(after, |usage| usage.page_tables),
                (after.mappings - before.mappings) as f64 / ISOLATES as f64
            ),
        );
    }
}

fn many() {
    const ISOLATES: usize = 1000;
    title(&format!("{ISOLATES} live isolates of `fastapi`"));
    let place = Place::open("bench");
    let prepared = prepared(&place, &place.deploy(Path::new("fastapi"), None), 0);
    let (before, machine) = (Usage::now(), available());
    let began = Instant::now();
    let mut isolates = Vec::with_capacity(ISOLATES);
    let mut restores = Vec::with_capacity(ISOLATES);
    for _ in 0..ISOLATES {
        let isolate = restored(&place, &prepared);
        place.answer(&isolate);
        restores.push(isolate.restore_time());
        isolates.push(isolate);
    }
    row("restored, each with an answer", &format!("{:.1} s", began.elapsed().as_secs_f64()));
    row("a restore", &quantiles(&mut restores));
    let began = Instant::now();
    isolates.iter().for_each(|isolate| drop(place.answer(isolate)));
    row("each answers again", &format!("{:.1} s", began.elapsed().as_secs_f64()));
    let alive = isolates.iter().filter(|isolate| isolate.is_alive()).count();
    assert_eq!(alive, ISOLATES);
    usage_rows(before, Usage::now(), machine, ISOLATES);
    let began = Instant::now();
    isolates.iter().for_each(end);
    drop(isolates);
    settle(before);
    row("all ended", &format!("{:.1} s", began.elapsed().as_secs_f64()));
}

fn most() {
    title("isolates of `fastapi` until no more can be restored");
    let place = Place::open("bench");
    let prepared = prepared(&place, &place.deploy(Path::new("fastapi"), None), 0);
    let mut isolates = Vec::new();
    let refusal = loop {
        match place.runtime.block_on(prepared.restore()) {
            Ok(isolate) => isolates.push(isolate),
            Err(error) => break error,
        }
        // A machine may have less memory than mappings.
        if isolates.len() % 1000 == 0 && available() < 2 << 30 {
            return row("stopped for want of memory, at", &isolates.len().to_string());
        }
    };
    row("restored, without a request", &isolates.len().to_string());
    row("private dirty", &size(Usage::now().private_dirty));
    row("then", &refusal.to_string());
    isolates.truncate(isolates.len() / 2);
    let began = Instant::now();
    let again = loop {
        let restored = place.runtime.block_on(prepared.restore()).is_ok();
        if restored || began.elapsed() > Duration::from_secs(30) {
            break restored;
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    let can = if again { "others can be restored" } else { "still none can be restored" };
    row("when half of them have ended", &format!("{can}, after {:.2} s", began.elapsed().as_secs_f64()));
}

fn different() {
    const DEPLOYMENTS: usize = 100;
    title(&format!("{DEPLOYMENTS} live isolates of {DEPLOYMENTS} deployments, variants of `fastapi`"));
    let place = Place::open("bench-different");
    let variants: Vec<(String, StoredDeployment)> = (0..DEPLOYMENTS).map(|n| variant(&place, n)).collect();
    let engine = place.engine(&place.cache, EngineOptions::default());
    let (before, machine) = (Usage::now(), available());
    let began = Instant::now();
    let ready: Vec<Arc<Prepared>> = variants
        .iter()
        .map(|(_, stored)| place.runtime.block_on(engine.prepare(stored)).expect("the deploy has proved it"))
        .collect();
    row("all prepared", &format!("{:.1} s", began.elapsed().as_secs_f64()));
    let prepared = available();
    row("memory of the machine for what is prepared", &size(machine.saturating_sub(prepared)));
    let began = Instant::now();
    let isolates: Vec<Isolate> = ready.iter().map(|prepared| restored(&place, prepared)).collect();
    for (isolate, (message, _)) in isolates.iter().zip(&variants) {
        let answer = place.answer(isolate);
        assert!(answer.windows(message.len()).any(|part| part == message.as_bytes()), "{answer:?}");
    }
    row("restored, each with an answer", &format!("{:.2} s", began.elapsed().as_secs_f64()));
    usage_rows(before, Usage::now(), machine, DEPLOYMENTS);
    row("disk: the store", &size(disk(&scratch("bench-different/store"))));
    row("disk: machine code and images", &size(disk(&scratch("bench-different/cache/compiled"))));
    row("disk: packages", &size(disk(&scratch("bench-different/cache/packages"))));
}

/// The FastAPI example with an answer of its own.
fn variant(place: &Place, number: usize) -> (String, StoredDeployment) {
    const MESSAGE: &str = "This is FastAPI on Workers";
    let message = format!("This is variant {number} of FastAPI on Workers");
    let folder = scratch("bench-different").join(format!("fastapi-{number}"));
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/fastapi");
    std::fs::create_dir_all(folder.join("src")).expect("target/ can be written");
    for file in ["wrangler.jsonc", "pyproject.toml", "requirements.lock", "src/entry.py"] {
        let text = std::fs::read_to_string(example.join(file)).expect("the example has it");
        std::fs::write(folder.join(file), text.replace(MESSAGE, &message)).expect("target/ can be written");
    }
    let name = WorkerName::parse(&format!("fastapi-{number}")).expect("a name");
    (message, place.deploy(&folder, Some(name)))
}

fn leaks() {
    const RESTORES: usize = 5000;
    let place = Place::open("bench");
    let stored = place.deploy(Path::new("fastapi"), None);
    for (kind, parked) in [("new", 0), ("renewed", 4)] {
        title(&format!("{RESTORES} restores and drops of `fastapi`, each with an answer, {kind}"));
        let prepared = prepared(&place, &stored, parked);
        let cycle = |count: usize| {
            for _ in 0..count {
                let isolate = restored(&place, &prepared);
                place.answer(&isolate);
                end(&isolate);
            }
        };
        cycle(RESTORES / 10);
        let before = settle(Usage::default());
        let began = Instant::now();
        cycle(RESTORES);
        row("time", &format!("{:.1} s", began.elapsed().as_secs_f64()));
        let after = settle(before);
        for (name, usage) in [("before", before), ("after", after)] {
            let Usage { private_dirty, mappings, descriptors, threads, .. } = usage;
            let memory = size(private_dirty);
            row(
                name,
                &format!(
                    "{memory} private dirty, {mappings} mappings, {descriptors} descriptors, {threads} threads"
                ),
            );
        }
    }
}

fn dropped() {
    const RESTORES: usize = 60;
    title("restores of `fastapi` with the page cache dropped before each");
    let place = Place::open("bench");
    let prepared = prepared(&place, &place.deploy(Path::new("fastapi"), None), 0);
    let (mut samples, mut answers) = ([Vec::new(), Vec::new()], [Vec::new(), Vec::new()]);
    for _ in 0..RESTORES {
        for drops in [false, true] {
            if drops {
                drop_page_cache();
            }
            let began = Instant::now();
            let isolate = restored(&place, &prepared);
            samples[usize::from(drops)].push(began.elapsed());
            place.answer(&isolate);
            answers[usize::from(drops)].push(began.elapsed());
            end(&isolate);
        }
    }
    for (name, drops) in [("kept", 0), ("dropped", 1)] {
        row(&format!("page cache {name}: a restore"), &quantiles(&mut samples[drops]));
        row(&format!("page cache {name}: with its first answer"), &quantiles(&mut answers[drops]));
    }
}

fn prepare() {
    title("a deployment of `fastapi` that this host has never prepared");
    let place = Place::open("bench");
    let stored = place.deploy(Path::new("fastapi"), None);
    let cache = cache_with_pyodide_alone(&place.cache);
    let timed = |what: &str, cache: &CacheDir| {
        let engine = place.engine(cache, EngineOptions::default());
        let began = Instant::now();
        let prepared = place.runtime.block_on(engine.prepare(&stored)).expect("the deploy has proved it");
        let ready = began.elapsed();
        place.answer(&restored(&place, &prepared));
        let (ready, answered) = (ready.as_secs_f64(), began.elapsed().as_secs_f64());
        row(what, &format!("{ready:.3} s, {answered:.3} s to its first answer"));
    };
    timed("nothing compiled but Pyodide", &cache);
    forget_image(&cache, &stored);
    timed("its libraries compiled for another deployment", &cache);
    drop_page_cache();
    timed("prepared before, page cache dropped", &cache);
    timed("prepared before, page cache full", &cache);
}

/// A private cache with Pyodide's machine code and that of nothing else.
fn cache_with_pyodide_alone(full: &CacheDir) -> CacheDir {
    let root = scratch("bench-prepare");
    let _ = std::fs::remove_dir_all(&root);
    let cache = CacheDir::open(&root).expect("target/ can be written");
    let runtime = cache.section("runtime").expect("target/ can be written");
    copy(&full.path().join("runtime"), &runtime);
    let installed = runtime::status(&cache).expect("it can be read").installed.expect("it was copied");
    let compiled = cache.section("compiled").expect("target/ can be written");
    for file in files(&full.path().join("compiled")) {
        let name = file.file_name().expect("a file has a name");
        if name.to_string_lossy().starts_with(&installed.main_sha256) {
            std::fs::copy(&file, compiled.join(name)).expect("there is room on the disk");
        }
    }
    cache
}

/// Removes what was made of a deployment's image, and leaves its libraries' machine code.
fn forget_image(cache: &CacheDir, stored: &StoredDeployment) {
    let snapshot = Snapshot::read(&stored.snapshot).expect("the snapshot is whole");
    let key = content_key(format!("image {}", snapshot.image_hash).as_bytes());
    for file in files(&cache.path().join("compiled")) {
        if file.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&key)) {
            std::fs::remove_file(file).expect("it can be removed");
        }
    }
}

fn prepared(place: &Place, stored: &StoredDeployment, parked: usize) -> Arc<Prepared> {
    let engine = place.engine(&place.cache, EngineOptions { parked, ..EngineOptions::default() });
    place.runtime.block_on(engine.prepare(stored)).expect("the deploy has proved it")
}

fn restored(place: &Place, prepared: &Arc<Prepared>) -> Isolate {
    match place.runtime.block_on(prepared.restore()) {
        Ok(isolate) => isolate,
        Err(error) => panic!("{error}"),
    }
}

/// Usage once what has ended is let go of, which happens behind its back: back at what it was
/// `before`, or the same for a while.
fn settle(before: Usage) -> Usage {
    let deadline = Instant::now() + Duration::from_secs(10);
    let mut last = Usage::now();
    loop {
        std::thread::sleep(Duration::from_millis(200));
        let now = Usage::now();
        let is_back = now.mappings <= before.mappings;
        if is_back || now.mappings == last.mappings || Instant::now() > deadline {
            return now;
        }
        last = now;
    }
}

/// Gives up every page of files that can be read again. Other programs' pages too: only root may.
fn drop_page_cache() {
    // Only what is on the disk already can be given up.
    let _ = Command::new("sync").status();
    if let Err(error) = std::fs::write("/proc/sys/vm/drop_caches", "3") {
        eprintln!("cannot drop the page cache ({error}); run this part as root");
        std::process::exit(1);
    }
}

/// Memory a new program could have, in bytes.
fn available() -> u64 {
    field(&read("/proc/meminfo"), "MemAvailable:") << 10
}

fn usage_rows(before: Usage, after: Usage, machine: u64, isolates: usize) {
    let most: usize = read("/proc/sys/vm/max_map_count").trim().parse().expect("a number");
    let total = machine.saturating_sub(available());
    row("memory of the machine, in all", &format!("{}, {} each", size(total), size(total / isolates as u64)));
    let dirty = after.private_dirty - before.private_dirty;
    row("private dirty", &format!("{}, {} each", size(dirty), size(dirty / isolates as u64)));
    row("page tables", &size(after.page_tables - before.page_tables));
    row("resident, shared pages counted each time", &size(after.resident));
    let each = (after.mappings - before.mappings) as f64 / isolates as f64;
    row("mappings", &format!("{} of {most} (vm.max_map_count), {each:.1} each", after.mappings));
    row("descriptors", &format!("{} ({} before)", after.descriptors, before.descriptors));
    row("threads", &format!("{} ({} before)", after.threads, before.threads));
}

/// A folder below `target/tmp`.
fn scratch(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
}

/// Bytes that files below a folder take on the disk.
fn disk(folder: &Path) -> u64 {
    files(folder).iter().map(|file| file.metadata().map_or(0, |found| found.blocks() * 512)).sum()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}

fn copy(from: &Path, to: &Path) {
    for file in files(from) {
        let target = to.join(file.strip_prefix(from).expect("it is below"));
        std::fs::create_dir_all(target.parent().expect("it is in a folder")).expect("target/ can be written");
        std::fs::copy(&file, &target).expect("there is room on the disk");
    }
}

fn quantiles(samples: &mut [Duration]) -> String {
    samples.sort_unstable();
    let at = |share: f64| samples[((samples.len() - 1) as f64 * share).round() as usize].as_secs_f64() * 1e3;
    let count = samples.len();
    format!("p50 {:.2} ms, p99 {:.2} ms, most {:.2} ms (n = {count})", at(0.5), at(0.99), at(1.0))
}

fn size(bytes: u64) -> String {
    match bytes {
        0..0x10_0000 => format!("{:.0} KiB", bytes as f64 / 1024.0),
        0x10_0000..0x4000_0000 => format!("{:.2} MiB", bytes as f64 / f64::from(1 << 20)),
        _ => format!("{:.2} GiB", bytes as f64 / f64::from(1 << 30)),
    }
}

fn title(text: &str) {
    println!("\n{text}");
}

fn row(name: &str, value: &str) {
    println!("  {name:<45} {value}");
}
