//! Properties of programs made at random.

mod support;

use std::borrow::Cow;

use legacy_exceptions::translate;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use support::execute::execute;
use support::program::encode::encode;
use support::program::generate::{Dialect, generate};
use support::program::interpret::{Events, interpret, interpret_and_count};
use support::sections::sections;
use wasmparser::{Validator, WasmFeatures};

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(any::<u8>(), 0..2500)
}

fn dialect() -> impl Strategy<Value = Dialect> {
    prop_oneof![3 => Just(Dialect::Legacy), 1 => Just(Dialect::Mixed)]
}

fn config() -> ProptestConfig {
    ProptestConfig {
        cases: 1000,
        failure_persistence: None,
        ..ProptestConfig::default() // PROPTEST_CASES has the last word
    }
}

proptest! {
    #![proptest_config(config())]

    /// What the translation does on wasmtime is what the specification has the
    /// original do, as told by an interpreter of the legacy instructions.
    #[test]
    fn the_translation_behaves_like_the_original(bytes in bytes(), dialect in dialect()) {
        let program = generate(&bytes, dialect);
        let wasm = encode(&program);
        let valid = Validator::new_with_features(WasmFeatures::all()).validate_all(&wasm);
        prop_assert!(valid.is_ok(), "the generator is wrong: {:?}\n{program:#?}", valid.err());
        let expected = interpret(&program);
        let translated = translate(&wasm).expect("a valid module");
        let found = execute(&support::fast_engine(), &program, &translated);
        prop_assert_eq!(found, expected, "{:#?}", program);
    }

    /// Nothing legacy remains, a second translation finds nothing to do, and
    /// every section but the types and the code is the same, byte for byte.
    #[test]
    fn only_types_and_code_change(bytes in bytes(), dialect in dialect()) {
        let wasm = encode(&generate(&bytes, dialect));
        let translated = translate(&wasm).expect("a valid module");
        support::validate(&translated);
        prop_assert!(matches!(translate(&translated), Ok(Cow::Borrowed(_))));
        let (before, after) = (sections(&wasm), sections(&translated));
        prop_assert_eq!(before.len(), after.len());
        for ((id, old), (_, new)) in before.into_iter().zip(after) {
            match id {
                1 => prop_assert!(types_continue(old, new)),
                10 => {}
                _ => prop_assert_eq!(old, new, "section {}", id),
            }
        }
    }
}

/// A property holds of nothing if the programs never get to what it is about.
#[test]
fn the_programs_exercise_what_they_are_for() {
    const PROGRAMS: usize = 2000;
    let mut random = TestRunner::deterministic();
    let mut programs_with = Events::default();
    let mut longest = 0;
    for _ in 0..PROGRAMS {
        let mut next = || bytes().new_tree(&mut random).expect("a strategy without filters");
        let bytes = next().current();
        let (behaviour, events) = interpret_and_count(&generate(&bytes, Dialect::Mixed));
        longest = longest.max(behaviour.logged.len());
        for (sum, count) in programs_with.counts_mut().into_iter().zip(events.counts()) {
            *sum += usize::from(count > 0);
        }
    }
    println!("of {PROGRAMS} programs, with: {programs_with:#?}");
    for count in programs_with.counts() {
        assert!(count >= PROGRAMS / 200, "too rare: {programs_with:#?}");
    }
    assert!(longest >= 10);
}

/// Whether the new contents of a type section are the old ones and more; both
/// counts are of one byte in these programs.
fn types_continue(old: &[u8], new: &[u8]) -> bool {
    old[0] <= new[0] && new[1..].starts_with(&old[1..])
}
