use std::future::pending;

use clap::Parser;
use serde_json::Value;

use super::*;
use crate::cli::{Cli, Command};
use crate::driver::Run;
use crate::test_server::{Answer, TestServer};

async fn report(answer: fn() -> Answer) -> RunReport {
    let server = TestServer::answering(move |_| answer()).await;
    let arguments = format!(
        "loadtest run --target http://{} --workers hello,fastapi --rate 200 --duration 500ms",
        server.address()
    );
    let Command::Run(args) = Cli::parse_from(arguments.split(' ')).command else { panic!("not a run") };
    let scenario = args.load.scenario().unwrap().resolve().unwrap();
    let run = Run::new(crate::run::plan(&args, &scenario).await.unwrap());
    let ending = run.drive(pending()).await.unwrap();
    let what = "kill host-a".to_owned();
    let happened = vec![Happened { at_s: 0.1, until_s: Some(0.1), what, failure: None }];
    crate::run::report(&args, &scenario, &run, ending, happened)
}

/// The paths of all values; what is in a map of names or in a list has no path of its own.
fn paths(value: &Value, prefix: &str, found: &mut Vec<String>) {
    for (key, value) in value.as_object().unwrap() {
        let path = format!("{prefix}{key}");
        match (key.as_str(), value) {
            ("errors" | "hosts" | "workers" | "starts" | "causes", Value::Object(_)) => found.push(path),
            ("latency_ms" | "latency_cdf_ms", Value::Object(kinds)) => {
                found.extend(kinds.keys().map(|kind| format!("{path}.{kind}")));
            }
            ("deciles" | "events", Value::Array(rows)) => {
                paths(&rows[0], &format!("{path}[]."), found);
            }
            (_, Value::Object(_)) if !key.ends_with("_ms") => {
                paths(value, &format!("{path}."), found);
            }
            _ => found.push(path),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_field_is_documented() {
    let report = report(|| Answer::ok("hello").header("x-warmshard-start", "cold")).await;
    let mut found = Vec::new();
    paths(&serde_json::to_value(&report).unwrap(), "", &mut found);
    let page = include_str!("../../../REPORTS.md");
    for path in found {
        assert!(page.contains(&format!("| `{path}` |")), "`{path}` is missing in REPORTS.md");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happened_is_told() {
    let report = report(|| {
        Answer::ok("hello")
            .header("x-warmshard-start", "cold")
            .header("x-warmshard-host", "host-a")
            .header("x-warmshard-restore-us", "900")
            .header("x-warmshard-host-us", "20")
            .header("x-warmshard-cold", "first")
    })
    .await;
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["requests"]["succeeded"], 100);
    assert_eq!(json["starts"]["cold"], 100);
    assert_eq!(json["cold_rate"]["rate"], 1.0);
    assert_eq!(json["hosts"]["host-a"]["requests"], 100);
    assert_eq!(json["causes"]["first"], 100);
    assert_eq!(json["hop_ms"]["n"], 100);
    assert_eq!(json["latency_ms"]["cold"]["n"], 100);
    assert_eq!(json["latency_ms"]["warm"], Value::Null);
    let per_worker = ["hello", "fastapi"].map(|name| json["workers"][name]["requests"].as_u64().unwrap());
    assert_eq!(per_worker.iter().sum::<u64>(), 100);
    assert!(!report.every_request_failed());
    let text = report.to_string();
    assert!(text.contains("cold starts: 100.0000 % (100 of 100"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_of_nothing_but_errors_is_a_failure() {
    let report = report(|| Answer::ok("no").status(503)).await;
    assert!(report.every_request_failed());
    let text = report.to_string();
    assert!(text.contains("errors: http_503 100"), "{text}");
    assert!(text.contains("cold starts: unknown"), "{text}");
}

#[test]
fn a_generator_that_could_not_keep_up_says_so() {
    let late = Summary { p50: 1.0, p90: 9.0, p99: 50.0, p999: 60.0, min: 0.1, max: 70.0, mean: 3.0, n: 10 };
    let mut generator = Generator {
        lag_ms: Some(late),
        late_ms: LATE_MS,
        queued: 3,
        connections_opened: 1,
        connections_limit: 1,
    };
    let problems = generator.problems();
    assert!(problems[0].contains("50.000 ms late"), "{problems:?}");
    assert!(problems[1].contains("3 requests had to wait"), "{problems:?}");
    generator.lag_ms = Some(Summary { p99: 2.0, ..late });
    generator.queued = 0;
    assert!(generator.problems().is_empty());
}
