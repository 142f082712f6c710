//! What the translation makes of a module as a whole.

mod support;

use std::borrow::Cow;

use legacy_exceptions::translate;
use support::sections::sections;
use support::text::assemble;
use wasmparser::{FunctionBody, Operator, Parser, Payload, ValType};

const TYPE: u8 = 1;
const CODE: u8 = 10;

fn translated(text: &str) -> Vec<u8> {
    let wasm = assemble(text);
    match translate(&wasm).expect("a readable module") {
        Cow::Owned(wasm) => wasm,
        Cow::Borrowed(_) => panic!("nothing was translated"),
    }
}

fn bodies(wasm: &[u8]) -> Vec<FunctionBody<'_>> {
    let payloads = Parser::new(0).parse_all(wasm).map(|payload| payload.expect("a readable module"));
    payloads
        .filter_map(|payload| match payload {
            Payload::CodeSectionEntry(body) => Some(body),
            _ => None,
        })
        .collect()
}

fn operators<'a>(body: &FunctionBody<'a>) -> Vec<Operator<'a>> {
    let mut reader = body.get_operators_reader().expect("a readable body");
    std::iter::from_fn(|| (!reader.eof()).then(|| reader.read().expect("a readable body"))).collect()
}

/// How many locals, by type, the first function declares.
fn locals(wasm: &[u8]) -> Vec<(u32, ValType)> {
    let reader = bodies(wasm)[0].get_locals_reader().expect("a readable body");
    reader.into_iter().map(|group| group.expect("a readable body")).collect()
}

#[test]
fn without_legacy_instructions_the_module_is_the_same_object() {
    for text in [
        "(module)",
        "(module (func (block (br 0))))",
        "(module (tag $t) (func (block $b (try_table (catch $t $b) (throw $t)))))",
        "(module (tag $t) (func (throw $t)))",
    ] {
        let wasm = assemble(text);
        let Ok(Cow::Borrowed(same)) = translate(&wasm) else { panic!("{text} was translated") };
        assert!(std::ptr::eq(same, &wasm[..]));
    }
}

#[test]
fn a_translated_module_is_left_alone() {
    let wasm = translated("(module (func (try (do) (catch_all (rethrow 0)))))");
    assert!(matches!(translate(&wasm), Ok(Cow::Borrowed(_))));
}

#[test]
fn other_sections_and_functions_keep_their_bytes() {
    let text = r#"(module
        (@custom "dylink.0" (before first) "\01\04\04\02\00\00")
        (type (func (param i32)))
        (import "env" "tag" (tag $t (type 0)))
        (memory 1) (global (mut i32) (i32.const 5)) (table 1 funcref)
        (func $plain (param i32) (result i32) (local i64) (i32.add (local.get 0) (i32.const 1)))
        (func $legacy (result i32) (try (result i32) (do (i32.const 1)) (catch $t)))
        (func $plain-too (nop))
        (export "f" (func $legacy)) (elem (i32.const 0) $plain) (data (i32.const 8) "kept")
        (@custom "producers" (after last) "\00"))"#;
    let before = assemble(text);
    let after = translated(text);
    let (before, after) = (sections(&before), sections(&after));
    assert!(before.len() > 10);
    assert_eq!(before.len(), after.len());
    for (old, new) in before.iter().zip(&after) {
        assert_eq!(old == new, old.0 != CODE, "section {}", old.0);
    }
    let (old, new) = (assemble(text), translated(text));
    let (old, new) = (bodies(&old), bodies(&new));
    for index in [0, 2] {
        assert_eq!(old[index].as_bytes(), new[index].as_bytes());
    }
    assert_ne!(old[1].as_bytes(), new[1].as_bytes());
}

/// Sizes may be written with more bytes than needed, as linkers do; where
/// nothing changes they stay.
#[test]
fn padding_stays() {
    let mut wasm = b"\0asm\x01\0\0\0".to_vec();
    wasm.extend(b"\x01\x84\x80\x00\x01\x60\x00\x00"); // types: () -> ()
    wasm.extend(b"\x03\x83\x00\x02\x00\x00"); // two functions
    wasm.extend(b"\x0a\x8f\x80\x00\x82\x00"); // their code
    wasm.extend(b"\x84\x80\x00\x00\x01\x01\x0b"); // nop nop
    wasm.extend(b"\x05\x00\x06\x40\x0b\x0b"); // try end
    wasm.extend(b"\x00\x82\x00\x01x"); // custom section `x`
    let translated = translate(&wasm).expect("a readable module");
    let mut expected = b"\0asm\x01\0\0\0\x01\x84\x80\x00\x01\x60\x00\x00\x03\x83\x00\x02\x00\x00".to_vec();
    expected.extend(b"\x0a\x0f\x82\x00\x84\x80\x00\x00\x01\x01\x0b\x05\x00\x02\x40\x0b\x0b\x00\x82\x00\x01x");
    assert_eq!(translated, expected);
}

#[test]
fn types_are_added_at_the_end_and_only_where_none_fits() {
    let with = |more: &str| {
        let text = format!(
            "(module (type $two (func (param i32 i64))) (tag $t (type $two)) {more}
               (func (try (do) (catch $t (drop) (drop))) (try (do) (catch $t (drop) (drop)))))"
        );
        let (before, after) = (assemble(&text), translated(&text));
        let types = |wasm| sections(wasm).into_iter().find(|section| section.0 == TYPE).map(|s| s.1.to_vec());
        (types(&before).expect("types"), types(&after).expect("types"))
    };
    let (before, after) = with("");
    assert_eq!(after[0], before[0] + 1);
    assert_eq!(after[1..before.len()], before[1..]);
    assert_eq!(after[before.len()..], *b"\x60\x00\x02\x7f\x7e"); // () -> (i32, i64)
    let (before, after) = with("(type (func (result i32 i64)))");
    assert_eq!(before, after);
}

#[test]
fn types_of_references_and_recursion_groups_are_understood() {
    let wasm = translated(
        "(module
           (rec (type $s (struct (field (ref null $f)))) (type $f (func (param (ref $s)))))
           (type $t (func (param (ref $s) (ref null $f))))
           (tag $tag (type $t))
           (func (param (ref $s)) (result (ref $s))
             (try (result (ref $s))
               (do (throw $tag (local.get 0) (ref.null $f)))
               (catch $tag (drop)))))",
    );
    support::validate(&wasm);
}

/// An exception is saved only for a handler that rethrows it, and handlers side
/// by side share a local.
#[test]
fn locals_are_few() {
    let with = |body: &str| {
        locals(&translated(&format!("(module (tag $t) (func (param i64) (local i32 i32) {body}))")))
    };
    const I32: ValType = ValType::I32;
    const EXNREF: ValType = ValType::EXNREF;
    let rethrowing = "(try (do) (catch $t (rethrow 0)) (catch_all (rethrow 0)))";
    assert_eq!(with("(try (do) (catch $t) (catch_all))"), [(2, I32)]);
    assert_eq!(with(rethrowing), [(2, I32), (1, EXNREF)]);
    assert_eq!(with(&rethrowing.repeat(3)), [(2, I32), (1, EXNREF)]);
    let nested = format!("(try (do {rethrowing}) (catch_all {rethrowing} (rethrow 0)))");
    assert_eq!(with(&nested), [(2, I32), (2, EXNREF)]);
}

#[test]
fn delegating_to_the_nearest_handler_costs_nothing() {
    let wasm = translated(
        "(module (func (try $t (do (block (try (do (nop)) (delegate 1)))) (catch_all))
                       (try (do (nop)) (delegate 0))))",
    );
    let tables =
        operators(&bodies(&wasm)[0]).into_iter().filter(|op| matches!(op, Operator::TryTable { .. })).count();
    assert_eq!(tables, 1, "only the `try` with a handler becomes a `try_table`");
}

/// A delegation branches to the handlers of its target, and no further than one
/// that catches everything.
#[test]
fn a_delegation_has_the_clauses_it_needs() {
    let wasm = translated(
        "(module (tag $t) (tag $u) (tag $v)
           (func
             (try (do
               (try $target (do
                 (try (do (try (do (nop)) (delegate $target))) (catch $v)))
                 (catch $t) (catch_all)))
               (catch $u))))",
    );
    let clauses: Vec<usize> = operators(&bodies(&wasm)[0])
        .into_iter()
        .filter_map(|operator| match operator {
            Operator::TryTable { try_table } => Some(try_table.catches.len()),
            _ => None,
        })
        .collect();
    assert_eq!(clauses, [1, 2, 1, 2], "of the outermost, the target, the one between, the delegation");
}

/// However the constructs are nested, the output grows with the input only.
#[test]
fn the_output_is_linear() {
    const DEPTH: usize = 400;
    let tags = "(tag)".repeat(DEPTH);
    let mut body = String::new();
    for label in 0..DEPTH {
        body.push_str(&format!("(try (do (nop)) (delegate {label}))"));
    }
    for tag in 0..DEPTH {
        body = format!("(try (do {body}) (catch {tag}))");
    }
    let text = format!("(module {tags} (func {body}))");
    let before = assemble(&text).len();
    let wasm = translated(&text);
    support::validate(&wasm);
    assert!(wasm.len() < 10 * before, "{before} bytes became {}", wasm.len());
}
