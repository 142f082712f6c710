//! What is no readable module is refused, with an error that says where, what
//! was found and what was expected; and never with a panic.

mod support;

use std::error::Error as _;

use legacy_exceptions::{TranslateError, translate};
use proptest::prelude::*;
use support::program::encode::encode;
use support::program::generate::{Dialect, generate};
use support::text::assemble;

/// A module with everything the translation looks at.
fn specimen() -> Vec<u8> {
    assemble(
        r#"(module
          (import "env" "tag" (tag $t (param i32 i64)))
          (tag $u)
          (func (param i32) (result i32)
            (local i64 f32)
            (block $b (result i32)
              (try $outer (result i32)
                (do
                  (try (do (br_table $b $outer (i32.const 1) (local.get 0)) (throw $u)) (delegate 2))
                  (try_table (catch $u 0))
                  (i32.const 1))
                (catch $t (drop) (br_if $b (local.get 0)))
                (catch_all (rethrow 0)))))
          (func (try (do) (catch_all)))
          (@custom "name" "\00\02\01m"))"#,
    )
}

fn error_of(wasm: &[u8]) -> TranslateError {
    match translate(wasm) {
        Ok(_) => panic!("a malformed module was accepted"),
        Err(error) => error,
    }
}

/// The error and its source, as a user would see them.
fn message(error: &TranslateError) -> String {
    let source = error.source().map(|source| format!(": {source}")).unwrap_or_default();
    format!("{error}{source}")
}

#[test]
fn cut_anywhere() {
    let whole = specimen();
    assert!(translate(&whole).is_ok());
    let section_ends: Vec<usize> = support::sections::ends(&whole);
    for length in 0..whole.len() {
        let result = translate(&whole[..length]);
        // Between two sections nothing need show that more should follow.
        assert!(result.is_err() || section_ends.contains(&length), "cut to {length} bytes");
        if let Err(error) = result {
            let message = message(&error);
            assert!(message.contains("offset"), "{message}");
        }
    }
}

#[test]
fn any_byte_changed_to_anything() {
    let whole = specimen();
    for at in 0..whole.len() {
        for value in 0..=u8::MAX {
            let mut wasm = whole.clone();
            wasm[at] = value;
            if let Err(error) = translate(&wasm) {
                assert!(!message(&error).is_empty());
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn bytes_changed_in_random_programs(
        bytes in proptest::collection::vec(any::<u8>(), 0..800),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut wasm = encode(&generate(&bytes, Dialect::Mixed));
        for (at, value) in changes {
            let at = at.index(wasm.len());
            wasm[at] = value;
        }
        let _ = translate(&wasm);
    }

    #[test]
    fn any_bytes_behind_a_header(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = translate(&[b"\0asm\x01\0\0\0", &bytes[..]].concat());
        let _ = translate(&bytes);
    }
}

/// A module with one function, whose parameters and results are none, of the
/// given instructions, in binary.
fn with_code(code: &[u8]) -> Vec<u8> {
    let mut wasm = b"\0asm\x01\0\0\0\x01\x04\x01\x60\x00\x00\x03\x02\x01\x00".to_vec();
    let size = u8::try_from(code.len()).expect("a short function");
    wasm.extend([10, size + 4, 1, size + 2, 0]);
    wasm.extend(code);
    wasm.push(0x0b);
    wasm
}

const CODE_START: usize = 23;

#[test]
fn errors_say_where_and_what() {
    let empty_try = |inside: &[u8]| with_code(&[&[0x06, 0x40], inside, &[0x0b]].concat());
    let cases: [(Vec<u8>, &str); 12] = [
        (b"".to_vec(), "offset 0x0: expected"),
        (b"\x7fELF\x02\x01\x01\0".to_vec(), "offset 0x0"),
        (b"\0asm\x0d\0\x01\0".to_vec(), "found a WebAssembly component, expected a core module"),
        (with_code(&[0x06, 0x40]), "expected an `end` for every block"),
        (with_code(&[0x07, 0x00]), "`catch` found outside"),
        (with_code(&[0x19]), "`catch_all` found outside"),
        (with_code(&[0x18, 0x00]), "`delegate` found outside"),
        (empty_try(&[0x0c, 5]), "found label 5 at offset 0x1a, expected one below 2"),
        (empty_try(&[0x09, 0]), "found a `rethrow` of label 0 at offset 0x19, which is the body of a `try`"),
        (empty_try(&[0x09, 1]), "which is the function's own"),
        (empty_try(&[0x07, 3]), "found tag 3 at offset 0x17, expected one below 0"),
        (with_code(&[0x06, 0x07, 0x19, 0x0b]), "found type 7 at offset 0x17, expected one below 1"),
    ];
    assert_eq!(with_code(&[])[CODE_START], 0x0b);
    for (wasm, expected) in cases {
        let message = message(&error_of(&wasm));
        assert!(message.contains(expected), "found `{message}`, expected `{expected}`");
    }
}

#[test]
fn the_variants_can_be_told_apart() {
    let empty_try = |inside: &[u8]| with_code(&[&[0x06, 0x40], inside, &[0x0b]].concat());
    assert!(matches!(error_of(b"\0asm"), TranslateError::Malformed { .. }));
    assert!(matches!(error_of(b"\0asm\x0d\0\x01\0"), TranslateError::Component));
    assert!(matches!(
        error_of(&empty_try(&[0x0c, 5])),
        TranslateError::OutOfRange { what: "label", found: 5, available: 2, .. }
    ));
    assert!(matches!(
        error_of(&empty_try(&[0x02, 0x40, 0x09, 0, 0x0b])),
        TranslateError::RethrowOutsideCatch { label: 0, found: "a plain block's", .. }
    ));
    let twice = [&with_code(&[])[..], b"\x01\x04\x01\x60\x00\x00"].concat();
    assert!(message(&error_of(&twice)).contains("section out of order"));
    let longer_than_there_is = [&with_code(&[])[..18], b"\x0a\x20\x01"].concat();
    assert!(matches!(
        error_of(&longer_than_there_is),
        TranslateError::Truncated { offset: 20, found: 1, expected: 32 }
    ));
}

/// A tag whose type is no function type.
#[test]
fn a_type_of_another_kind() {
    let mut wasm = b"\0asm\x01\0\0\0".to_vec();
    wasm.extend(b"\x01\x06\x02\x60\x00\x00\x5f\x00"); // () -> (), and an empty struct
    wasm.extend(b"\x03\x02\x01\x00\x0d\x03\x01\x00\x01"); // a function; a tag of the struct's type
    wasm.extend(b"\x0a\x09\x01\x07\x00\x06\x40\x07\x00\x0b\x0b");
    let error = error_of(&wasm);
    assert!(matches!(error, TranslateError::NotAFunctionType { index: 1, .. }), "{error}");
}

/// More bodies than declared functions: the second one has no type.
#[test]
fn a_function_without_a_type() {
    let mut wasm = b"\0asm\x01\0\0\0\x01\x04\x01\x60\x00\x00\x03\x02\x01\x00".to_vec();
    wasm.extend(b"\x0a\x0a\x02\x02\x00\x0b\x05\x00\x06\x40\x0b\x0b");
    assert!(matches!(error_of(&wasm), TranslateError::Malformed { offset: 0x14, .. }));
}

/// Types that differ are many only in a module made for it.
#[test]
fn too_many_types() {
    const SIDE: usize = 110;
    let mut text = String::from("(module ");
    for index in 0..SIDE {
        let list = "i32 ".repeat(index);
        text.push_str(&format!("(type $p{index} (func (param {list} i64)))"));
        text.push_str(&format!("(tag $t{index} (param {list} f32))"));
    }
    text.push_str("(func (unreachable)");
    for parameters in 0..SIDE {
        text.push_str(&format!("(try (type $p{parameters}) (do (unreachable))"));
        for tag in 0..SIDE {
            text.push_str(&format!("(catch $t{tag} (unreachable))"));
        }
        text.push(')');
    }
    text.push_str("))");
    let error = error_of(&assemble(&text));
    assert!(matches!(error, TranslateError::TooLarge { limit: 10_000, .. }), "{error}");
}
