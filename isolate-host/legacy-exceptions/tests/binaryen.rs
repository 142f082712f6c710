//! Behaves as Binaryen's translation of the same program does.
//!
//! Binaryen is a control, not a dependency: without it this test is not part of
//! a run, and whoever asks for it must have it. See `README.md` for how.

mod support;

use std::io::Write as _;
use std::process::{Command, Stdio};

use legacy_exceptions::translate;
use proptest::prelude::*;
use support::execute::execute;
use support::program::encode::encode;
use support::program::generate::{Dialect, generate};

/// The environment variable that names Binaryen's `wasm-opt`.
const WASM_OPT: &str = "WASM_OPT";

/// Binaryen's translation of a module; `None` if its own validation finds it wrong.
///
/// That happens: up to version 132 at least, where a `try` ends in `delegate` whose
/// body never comes to its end, with more code behind it.
fn binaryen(wasm: &[u8]) -> Option<Vec<u8>> {
    let program = std::env::var_os(WASM_OPT).unwrap_or_else(|| "wasm-opt".into());
    let mut child = Command::new(&program)
        .args(["--all-features", "--disable-compact-imports", "--translate-to-exnref"])
        .args(["-", "-o", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| {
            panic!(
                "cannot run Binaryen's {}: {error}; install it, or name it in {WASM_OPT}",
                program.display()
            )
        });
    let mut input = child.stdin.take().expect("a pipe");
    input.write_all(wasm).expect("Binaryen reads its input");
    drop(input);
    let output = child.wait_with_output().expect("Binaryen ends");
    if output.status.success() {
        return Some(output.stdout);
    }
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(message.contains("error after opts"), "Binaryen refuses a valid program: {message}");
    None
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 64,
        failure_persistence: None,
        max_shrink_iters: 200,
        max_global_rejects: 16,
        ..ProptestConfig::default()
    })]

    #[test]
    #[ignore = "needs Binaryen's wasm-opt, 117 or later; see README.md"]
    fn both_translations_behave_alike(bytes in proptest::collection::vec(any::<u8>(), 0..2500)) {
        let program = generate(&bytes, Dialect::Legacy);
        let wasm = encode(&program);
        let engine = support::fast_engine();
        let Some(theirs) = binaryen(&wasm) else {
            return Err(TestCaseError::reject("Binaryen's translation is not valid"));
        };
        let theirs = execute(&engine, &program, &theirs);
        let ours = execute(&engine, &program, &translate(&wasm).expect("a valid module"));
        prop_assert_eq!(ours, theirs, "{:#?}", program);
    }
}
