use std::time::Duration;

use clap::Parser;
use serde_json::Value;

use super::*;
use crate::cli::{Cli, Command};

fn report(with_control: bool) -> ColdStartReport {
    let arguments = ["loadtest", "cold-start", "--worker", "examples/fastapi", "--runs", "4"];
    let Command::ColdStart(args) = Cli::parse_from(arguments).command else { panic!("not a cold start") };
    let mut samples = Samples::default();
    for milliseconds in [4, 2, 6, 8] {
        let body = b"same".to_vec();
        samples.saw_cold_of(Duration::from_millis(milliseconds), Duration::from_micros(900), body);
    }
    let control = with_control.then(|| Control {
        command: "uvicorn app:app --port {port}".to_owned(),
        python: Some("3.13.1".to_owned()),
    });
    if with_control {
        samples.saw_native_of(Duration::from_millis(900), b"same".to_vec());
        samples.saw_native_of(Duration::from_millis(1000), b"same".to_vec());
    }
    ColdStartReport::of(&args, &WorkerName::parse("fastapi").unwrap(), &samples, control, false)
}

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

#[test]
fn the_json_has_the_promised_fields_in_milliseconds() {
    let json = serde_json::to_value(report(true)).unwrap();
    assert_eq!(keys(&json["cold"]), ["p50", "p90", "p99", "min", "max", "n"]);
    assert_eq!(keys(&json["versus"]), ["p50", "p90", "p99", "min", "max", "n"]);
    assert_eq!(keys(&json["ratio"]), ["p50", "p99"]);
    assert_eq!(json["cold"]["p50"], 4.0);
    assert_eq!(json["cold"]["n"], 4);
    assert_eq!(json["versus"]["p50"], 900.0);
    assert_eq!(json["ratio"]["p50"], 225.0);
    assert_eq!(json["ratio"]["p99"], 125.0);
    assert_eq!(json["control"]["python"], "3.13.1");
    assert_eq!(json["same_answer"], true);
}

#[test]
fn every_field_is_documented() {
    let json = serde_json::to_value(report(true)).unwrap();
    let page = include_str!("../../../REPORTS.md");
    for key in keys(&json) {
        assert!(page.contains(&format!("| `{key}` |")), "`{key}` is missing in REPORTS.md");
    }
}

#[test]
fn without_a_control_there_is_nothing_to_compare() {
    let json = serde_json::to_value(report(false)).unwrap();
    assert_eq!((json.get("versus"), json.get("ratio")), (None, None));
    assert_eq!(json["restore"]["p50"], 0.9);
}

#[test]
fn the_table_tells_what_was_measured_and_what_was_not() {
    let text = report(true).to_string();
    for part in [
        "225.0 times faster at p50, 125.0 times at p99",
        "Python 3.13.1",
        "3 warm-up runs",
        "published, not measured here",
        "measured here",
        "1.0270  published",
        "2.5020  published",
        "3.0690  published",
    ] {
        assert!(text.contains(part), "`{part}` is missing in:\n{text}");
    }
}
