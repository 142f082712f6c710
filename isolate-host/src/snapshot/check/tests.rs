//! Each field of the manifest, changed: refused, and by its name.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::emscripten::files::decode_overlay;
use crate::snapshot::check::{check_files, check_fit};
use crate::snapshot::format::Snapshot;
use crate::snapshot::sample::Sample;

type Change = fn(&mut Value);

/// A field, a change to it, and how the refusal names it. Each field of the manifest, of a library
/// and of the runtime's identity has to have a case: see the first test.
#[rustfmt::skip]
const CASES: &[(&str, Change, &str)] = &[
    ("worker", |m| m["worker"] = json!("other"), "`worker` is `other`, expected `hello`"),
    ("worker", |m| m["worker"] = json!("No Name"), "at `worker`"),
    ("deployment", |m| m["deployment"] = json!("6b".repeat(32)), "`deployment` is `6b6b"),
    ("runtime.pyodide", |m| m["runtime"]["pyodide"] = json!("314.0.6"), "`runtime.pyodide` is `314.0.6`, expected `314.0.7`"),
    ("runtime.archive", |m| m["runtime"]["archive"] = json!("ab"), "`runtime.archive` is `ab`"),
    ("runtime.main_module", |m| m["runtime"]["main_module"] = json!("ab"), "`runtime.main_module` is `ab`"),
    ("runtime.library_recipe", |m| m["runtime"]["library_recipe"] = json!("library-r0"), "`runtime.library_recipe` is `library-r0`"),
    ("runtime.platform", |m| m["runtime"]["platform"] = json!("ab"), "`runtime.platform` is `ab`"),
    ("memory_pages", |m| m["memory_pages"] = json!(5), "`memory_pages` is 5, expected 4"),
    ("memory_pages", |m| m["memory_pages"] = json!(0), "`memory_pages` is 0"),
    ("memory_pages", |m| m["memory_pages"] = json!(4_000_000_000_u32), "`memory_pages` is 4000000000"),
    ("globals", |m| m["globals"]["__stack_pointer"] = json!(-16), "`globals.__stack_pointer` is 4294967280"),
    ("globals", |m| drop(m["globals"].as_object_mut().unwrap().remove("__stack_pointer")), "`globals` is without `__stack_pointer`"),
    ("globals", |m| m["globals"]["other"] = json!(0), "`globals` is with `other`"),
    ("table_size", |m| m["table_size"] = json!(118), "`table_size` is `118`, expected `117`"),
    ("table_size", |m| m["table_size"] = json!(u32::MAX), "`table_size` is 4294967295"),
    ("appended", |m| m["appended"][1][0] = json!(110), "`libraries[1].table_base` is `112`, expected `111`"),
    ("appended", |m| m["appended"][0][0] = json!(5), "`libraries[0].table_base`"),
    ("appended", |m| m["appended"][0][0] = json!(112), "`appended` is with 111 after 112"),
    ("appended", |m| m["appended"][1][0] = json!(500), "`appended[1]` is 500"),
    ("appended", |m| m["appended"][1][1] = json!({"library": {"library": 2, "name": "x"}}), "`appended[1]` is of library 2"),
    ("appended", |m| m["appended"] = json!([[100, {"glue": {"name": "call"}}], [111, {"glue": {"name": "x"}}], [113, {"glue": {"name": "y"}}]]), "`appended` is with an entry for 113"),
    ("offset_table", |m| m["offset_table"][0][1] = json!(-1), "`offset_table.PyType_Type` is 4294967295"),
    ("offset_table", |m| m["offset_table"][0][0] = json!("other"), "`offset_table` is without an entry `PyType_Type`"),
    ("offset_table", |m| m["offset_table"][0][0] = json!("free"), "`offset_table` is with two of `free`"),
    ("libraries", |m| m["libraries"].as_array_mut().unwrap().swap(0, 1), "`libraries[0].table_base`"),
    ("libraries", |m| drop(m["libraries"].as_array_mut().unwrap().pop()), "`handles.8256` is 1"),
    ("libraries[].path", |m| m["libraries"][1]["path"] = json!("/session/three.so"), "`libraries[1].path` is `/session/three.so`"),
    ("libraries[].path", |m| m["libraries"][1]["path"] = json!("two.so"), "`libraries[1].path` is `two.so`"),
    ("libraries[].content", |m| m["libraries"][0]["content"] = json!("dd".repeat(32)), "`libraries[0].content` is `dddd"),
    ("libraries[].content", |m| m["libraries"][0]["content"] = json!("../x"), "`libraries[0].content` is `../x`, expected 64 hex digits"),
    ("libraries[].memory_base", |m| m["libraries"][0]["memory_base"] = json!(131_073), "`libraries[0].memory_base` is 131073, expected a multiple of 16"),
    ("libraries[].memory_base", |m| m["libraries"][0]["memory_base"] = json!(1 << 30), "`libraries[0].memory_base` is 1073741824"),
    ("libraries[].memory_base", |m| m["libraries"][0]["memory_base"] = json!(262_128), "`libraries[0].memory_base` is 262128"),
    ("libraries[].memory_base", |m| m["libraries"][1]["memory_base"] = json!(131_088), "`libraries[1].memory_base` is 131088, expected memory apart"),
    ("libraries[].table_base", |m| m["libraries"][1]["table_base"] = json!(113), "`libraries[1].table_base` is `113`, expected `112`"),
    ("libraries[].table_base", |m| m["libraries"][1]["table_base"] = json!(118), "`libraries[1].table_base` is 118"),
    ("libraries[].globals", |m| m["libraries"][0]["globals"] = json!({}), "`libraries[0].globals` is without `__warmshard_global_3`"),
    ("libraries[].globals", |m| m["libraries"][1]["globals"] = json!({"x": 1}), "`libraries[1].globals` is with `x`"),
    ("handles", |m| m["handles"]["8192"] = json!(7), "`handles.8192` is 7, expected one of 2"),
    ("handles", |m| m["handles"] = json!({"0": 0}), "`handles` is 0"),
    ("pump", |m| m["pump"] = json!(1028), "`pump` is 1028, where no function is"),
    ("pump", |m| m["pump"] = json!(u32::MAX), "`pump` is 4294967295"),
    ("environment", |m| m["environment"][0][0] = json!("A=B"), "`environment` is `A=B`"),
    ("environment", |m| m["environment"][0][0] = json!("PYTHONHASHSEED"), "`environment` is with two of `PYTHONHASHSEED`"),
    ("environment", |m| m["environment"][0][1] = json!("a\0b"), "`environment.HOME` is"),
    ("working_directory", |m| m["working_directory"] = json!("session"), "`working_directory` is `session`"),
    ("working_directory", |m| m["working_directory"] = json!("/nowhere"), "`working_directory` is `/nowhere`"),
    ("descriptors", |m| m["descriptors"][1]["fd"] = json!(0), "`descriptors` is with 0 after 0"),
    ("descriptors", |m| m["descriptors"][1]["fd"] = json!(-4), "`descriptors` is with -4"),
    ("descriptors", |m| m["descriptors"][1]["fd"] = json!(i32::MAX), "`descriptors` is with descriptor 2147483647"),
    ("descriptors", |m| m["descriptors"][1]["target"]["path"]["path"] = json!("/gone"), "`descriptors` is with descriptor 3"),
    ("descriptors", |m| m["descriptors"][1]["target"]["path"]["flags"] = json!(1), "`descriptors` is with descriptor 3"),
    ("descriptors", |m| m["descriptors"][1]["target"] = json!({"shared_with": {"fd": 2}}), "`descriptors` is with descriptor 3"),
    ("descriptors", |m| m["descriptors"][1]["target"] = json!({"device": {"device": {"host": 1}, "flags": 0}}), "`descriptors` is with descriptor 3"),
    ("monotonic_floor", |m| m["monotonic_floor"] = json!(u64::MAX), "`monotonic_floor` is 18446744073709551615"),
    ("entrypoints", |m| m["entrypoints"] = json!(["De fault"]), "`entrypoints` is `De fault`"),
    ("entrypoints", |m| m["entrypoints"] = json!(["A", "A"]), "`entrypoints` is with two of `A`"),
];

/// Everything a host asks of a snapshot before it makes a plan of it.
fn judge(sample: &Sample, manifest: &Value) -> Result<(), String> {
    let snapshot = Snapshot::parse(&sample.file(manifest)).map_err(|error| error.to_string())?;
    check_fit(&snapshot.manifest, &sample.surroundings()).map_err(|error| error.to_string())?;
    let overlay = decode_overlay(snapshot.files).unwrap();
    check_files(&snapshot.manifest, &sample.layers(), &overlay).map_err(|error| error.to_string())
}

/// Every field there is, with those of what it consists of.
fn fields(manifest: &Value) -> BTreeSet<String> {
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    let mut all: BTreeSet<String> = keys(manifest).into_iter().collect();
    all.remove("runtime");
    all.extend(keys(&manifest["runtime"]).iter().map(|key| format!("runtime.{key}")));
    all.extend(keys(&manifest["libraries"][0]).iter().map(|key| format!("libraries[].{key}")));
    all
}

#[test]
fn every_field_has_a_case() {
    let covered: BTreeSet<String> = CASES.iter().map(|(field, ..)| (*field).to_owned()).collect();
    assert_eq!(covered, fields(&Sample::new().json()));
}

#[test]
fn the_sample_is_right() {
    let sample = Sample::new();
    judge(&sample, &sample.json()).unwrap();
}

#[test]
fn a_changed_field_is_refused_by_name() {
    let sample = Sample::new();
    for (field, change, expected) in CASES {
        let mut manifest = sample.json();
        change(&mut manifest);
        assert_ne!(manifest, sample.json(), "the case for `{field}` changes nothing");
        let refused = judge(&sample, &manifest).expect_err(field);
        assert!(refused.contains(expected), "{field}: {refused}\n  expected: {expected}");
    }
}

#[test]
fn a_missing_field_an_unknown_one_and_a_wrong_kind_are_refused_by_name() {
    let sample = Sample::new();
    let refused = |manifest: &Value| {
        let error = Snapshot::parse(&sample.file(manifest)).unwrap_err();
        crate::pool::chain(&error)
    };
    for field in sample.json().as_object().unwrap().keys() {
        let mut without = sample.json();
        without.as_object_mut().unwrap().remove(field);
        assert!(refused(&without).contains(&format!("missing field `{field}`")), "{}", refused(&without));
        let mut other = sample.json();
        other[field] = json!({ "surprise": [true] });
        assert!(refused(&other).contains(&format!("`{field}")), "{}", refused(&other));
    }
    let mut more = sample.json();
    more["surprise"] = json!(1);
    assert!(refused(&more).contains("unknown field `surprise`"), "{}", refused(&more));
}
