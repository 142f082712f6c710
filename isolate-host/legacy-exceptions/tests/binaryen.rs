//! Compared with Binaryen: the translations of the same program behave alike, and
//! those of real modules are about as large, and sooner there.
//!
//! Binaryen is a control, not a dependency: without it this test is not part of
//! a run, and whoever asks for it must have it. See `README.md` for how.

mod support;

use std::cell::Cell;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use legacy_exceptions::translate;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use support::execute::execute;
use support::program::encode::encode;
use support::program::generate::{Dialect, generate};

/// The environment variable that names Binaryen's `wasm-opt`.
const WASM_OPT: &str = "WASM_OPT";

/// Fails at once where Binaryen is asked for and is not there.
fn require_binaryen() {
    let version = wasm_opt().arg("--version").output().unwrap_or_else(|error| missing(&error));
    assert!(version.status.success(), "`wasm-opt --version` failed: {version:?}");
    print!("{}", String::from_utf8_lossy(&version.stdout));
}

fn wasm_opt() -> Command {
    Command::new(std::env::var_os(WASM_OPT).unwrap_or_else(|| "wasm-opt".into()))
}

fn missing(error: &std::io::Error) -> ! {
    let program = wasm_opt();
    panic!(
        "cannot run Binaryen's `{}`: {error}; install it, or name it in {WASM_OPT} (see README.md)",
        program.get_program().display()
    )
}

/// Binaryen's translation of a module; `None` if its own validation finds it wrong.
///
/// That happens: up to version 132 at least, where a `try` ends in `delegate` whose
/// body never comes to its end, with more code behind it.
fn binaryen(wasm: &[u8]) -> Option<Vec<u8>> {
    let mut child = wasm_opt()
        .args(["--all-features", "--disable-compact-imports", "--translate-to-exnref"])
        .args(["-", "-o", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| missing(&error));
    let mut input = child.stdin.take().expect("a pipe");
    let output = thread::scope(|scope| {
        scope.spawn(move || input.write_all(wasm).expect("Binaryen reads its input"));
        child.wait_with_output().expect("Binaryen ends")
    });
    if output.status.success() {
        return Some(output.stdout);
    }
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(message.contains("error after opts"), "Binaryen refuses a valid program: {message}");
    None
}

#[test]
#[ignore = "needs Binaryen's wasm-opt, 117 or later; see README.md"]
fn both_translations_behave_alike() {
    require_binaryen();
    let mut config =
        ProptestConfig { failure_persistence: None, max_shrink_iters: 200, ..ProptestConfig::default() };
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = 64; // each starts Binaryen once
    }
    let mut runner = TestRunner::new(config);
    let (compared, refused) = (Cell::new(0), Cell::new(0));
    let result = runner.run(&proptest::collection::vec(any::<u8>(), 0..2500), |bytes| {
        let program = generate(&bytes, Dialect::Legacy);
        let wasm = encode(&program);
        let Some(theirs) = binaryen(&wasm) else {
            refused.set(refused.get() + 1);
            return Ok(());
        };
        let engine = support::fast_engine();
        let theirs = execute(&engine, &program, &theirs);
        let ours = execute(&engine, &program, &translate(&wasm).expect("a valid module"));
        compared.set(compared.get() + 1);
        prop_assert_eq!(ours, theirs, "{:#?}", program);
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
    let (compared, refused) = (compared.get(), refused.get());
    println!("{compared} programs compared; of {refused}, Binaryen has no valid translation");
    assert!(refused * 4 < compared, "too few programs were compared");
}

/// The environment variable that names modules to compare by, as `PATH` names folders.
const MODULES: &str = "LEGACY_MODULES";

#[test]
#[ignore = "needs Binaryen's wasm-opt, and modules; see README.md"]
fn real_modules_are_no_larger_and_take_less_than_a_second() {
    require_binaryen();
    let modules = std::env::var_os(MODULES).unwrap_or_else(|| panic!("{MODULES} names no modules"));
    for path in std::env::split_paths(&modules) {
        let wasm = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let started = Instant::now();
        let ours = translate(&wasm).expect("a valid module");
        let our_time = started.elapsed();
        support::validate(&ours);
        let started = Instant::now();
        let theirs = binaryen(&wasm).expect("a module that Binaryen translates");
        let their_time = started.elapsed();
        println!("{}: {} bytes", path.display(), wasm.len());
        println!("  ours       {} bytes {our_time:>10.1?}", ours.len());
        println!("  Binaryen's {} bytes {their_time:>10.1?}", theirs.len());
        assert!(ours.len() as f64 <= 1.02 * theirs.len() as f64);
        assert!(our_time < Duration::from_secs(1));
    }
}
