//! Packages' own test suites end the same in isolates whose objects are immortal and in isolates whose
//! objects are counted (`docs/decisions/0005-immortal-objects.md`).
//!
//! The suites come from the packages' source archives on PyPI. They are no part of this repository, and most of
//! them were never meant for an interpreter without threads, processes and sockets: what is compared is what
//! becomes of each test, not whether all of them pass.
//!
//! ```sh
//! cargo test -p isolate-host --test immortal -- --include-ignored --nocapture
//! ```

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use isolate_host::isolate::{EngineOptions, Limits, Objects, StoredDeployment};
use isolate_host::progress::Silent;
use isolate_host::store::Store;
use serde::Deserialize;
use warmshard_config::units::WorkerName;

#[path = "../benches/support/place.rs"]
mod place;

use place::{Place, end};

/// A source archive, the folder in it that holds the suite, and which modules of that are run.
struct Suite {
    archive: &'static str,
    folder: &'static str,
    takes: fn(&str) -> bool,
    /// Tests that pass, at least: fewer mean that nothing is proved.
    least: usize,
}

// The rest has fixtures that start servers and make keys.
const HTTPX: Suite = Suite { archive: "httpx==0.28.1", folder: "tests/models", takes: |_| true, least: 700 };

const MSGSPEC: Suite = Suite {
    archive: "msgspec==0.22.0",
    folder: "tests/unit",
    // Looks into the C sources, which a wheel has not.
    takes: |module| module != "test_cpylint.py",
    least: 6000,
};

const PYDANTIC: Suite =
    Suite { archive: "pydantic==2.14.3", folder: "tests", takes: |_| true, least: 10_000 };

/// What a suite's run in an isolate came to.
#[derive(Debug, Deserialize)]
struct Run {
    code: i32,
    /// Of a list that the top level made.
    immortal: bool,
    imported: usize,
    modules: usize,
    outcomes: BTreeMap<String, String>,
    printed: String,
}

impl Run {
    fn count(&self, outcome: &str) -> usize {
        self.outcomes.values().filter(|found| *found == outcome).count()
    }
}

#[test]
fn suites_of_httpx_and_msgspec_end_the_same_with_immortal_objects() {
    [HTTPX, MSGSPEC].iter().for_each(ends_the_same);
}

#[test]
#[ignore = "takes minutes: cargo test -p isolate-host --test immortal -- --ignored"]
fn the_suite_of_pydantic_ends_the_same_with_immortal_objects() {
    ends_the_same(&PYDANTIC);
}

fn ends_the_same(suite: &Suite) {
    let place = Place::open("system-tests");
    let folder = tempfile::tempdir().expect("a temporary folder");
    lay_out(suite, folder.path());
    let name = suite.archive.split('=').next().expect("a name");
    let worker = WorkerName::parse(&format!("suite-{name}")).expect("a name");
    let stored = place.deploy(folder.path(), Some(worker));
    let [immortal, counted] =
        [Objects::Immortal, Objects::Counted].map(|objects| run(&place, &stored, objects));
    assert_eq!([immortal.immortal, counted.immortal], [true, false], "{name}");
    println!(
        "{name}: {} of {} test modules in the snapshot; {} tests passed, {} failed, {} skipped",
        immortal.imported,
        immortal.modules,
        immortal.count("passed"),
        immortal.count("failed") + immortal.count("cannot be collected"),
        immortal.count("skipped"),
    );
    assert!(immortal.count("passed") >= suite.least, "{name}: {} {}", immortal.code, immortal.printed);
    let differing: Vec<_> = counted
        .outcomes
        .iter()
        .map(|(test, outcome)| (test, Some(outcome), immortal.outcomes.get(test)))
        .chain(
            immortal.outcomes.iter().map(|(test, outcome)| (test, counted.outcomes.get(test), Some(outcome))),
        )
        .filter(|(_, counted, immortal)| counted != immortal)
        .collect();
    assert!(differing.is_empty(), "{name}: test, with counted and with immortal objects: {differing:#?}");
}

/// Makes a worker of a suite.
fn lay_out(suite: &Suite, worker: &Path) {
    let source = unpacked(suite.archive);
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/suites");
    copy(&own, worker, &|_| true);
    let tests = worker.join("src").join(suite.folder);
    let takes = |name: &str| !name.starts_with("test_") || (suite.takes)(name);
    copy(&source.path().join(suite.folder), &tests, &takes);
}

/// A source archive from PyPI, unpacked.
fn unpacked(archive: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    succeed(
        Command::new("python3")
            .args(["-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"])
            .args(["--no-binary", ":all:", "--dest"])
            .arg(folder.path())
            .arg(archive),
    );
    let file = entries(folder.path()).pop().expect("pip has downloaded it");
    succeed(
        Command::new("tar").arg("xzf").arg(&file).args(["--strip-components", "1", "-C"]).arg(folder.path()),
    );
    folder
}

/// Captures a deployment, with its objects immortal or not, and runs its suite in a restored isolate.
fn run(place: &Place, stored: &StoredDeployment, objects: Objects) -> Run {
    let hour = Duration::from_secs(3600);
    let limits = Limits { cpu: hour, deploy_cpu: hour, memory_bytes: 1 << 30, ..Limits::default() };
    let options = EngineOptions { limits, objects, ..EngineOptions::default() };
    let engine = place.engine(&place.cache, options);
    let store =
        Store::open(Path::new(env!("CARGO_TARGET_TMPDIR")).join("system-tests/store")).expect("a store");
    let (input, _) = store.source(&stored.worker, &stored.id).expect("it was deployed");
    let captured = place.runtime.block_on(engine.capture(input, &Silent)).expect("it was captured before");
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    let mut content = captured.file;
    std::io::Seek::rewind(&mut content).expect("a file can be read again");
    std::io::copy(&mut content, &mut file.as_file()).expect("there is room on the disk");
    let stored = StoredDeployment { snapshot: file.path().to_owned(), ..stored.clone() };
    let prepared = place.runtime.block_on(engine.prepare(&stored)).expect("it was just captured");
    let isolate = place.runtime.block_on(prepared.restore()).expect("it can be restored");
    let answer = place.answer(&isolate);
    end(&isolate);
    serde_json::from_slice(&answer).expect("the worker answers with JSON")
}

fn copy(from: &Path, to: &Path, takes: &dyn Fn(&str) -> bool) {
    std::fs::create_dir_all(to).expect("a temporary folder can be written");
    for path in entries(from) {
        let name = path.file_name().expect("an entry has a name").to_string_lossy().into_owned();
        let target = to.join(&name);
        if path.is_dir() {
            copy(&path, &target, takes);
        } else if takes(&name) {
            std::fs::copy(&path, &target).expect("there is room on the disk");
        }
    }
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("the folder is there");
    entries.map(|entry| entry.expect("it can be read").path()).collect()
}

fn succeed(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
