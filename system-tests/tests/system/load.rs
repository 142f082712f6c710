//! The load tester against a real fleet.

use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;
use system_tests::{cache, example, store};

use crate::{executable, fleet};

fn loadtest(arguments: &[&str]) -> Result<Value> {
    let folder = tempfile::tempdir()?;
    let report = folder.path().join("report.json");
    let output = Command::new(executable())
        .arg("loadtest")
        .args(arguments)
        .arg("--json")
        .arg(&report)
        .env("WARMSHARD_CACHE", cache())
        .env("WARMSHARD_STORE", store())
        .output()?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    let text = std::fs::read_to_string(&report).with_context(|| stderr.into_owned())?;
    Ok(serde_json::from_str(&text)?)
}

#[test]
fn a_run_counts_cold_starts() -> Result<()> {
    let fleet = fleet(2)?;
    let target = format!("http://{}", fleet.data());
    let report = loadtest(&[
        "run",
        "--target",
        &target,
        "--workers",
        "hello,fastapi",
        "--rate",
        "40",
        "--duration",
        "3s",
    ])?;
    let text = report.to_string();
    assert_eq!(report["starts"]["cold"].as_u64(), Some(2), "{text}");
    Ok(())
}

#[test]
fn a_forced_cold_start_is_measured_beside_a_native_server() -> Result<()> {
    let router = format!("{} router", executable().display());
    let worker = example("fastapi").display().to_string();
    let report = loadtest(&[
        "cold-start",
        "--worker",
        &worker,
        "--runs",
        "5",
        "--router",
        &router,
        "--versus",
        "python3 -m http.server --bind 127.0.0.1 {port}",
    ])?;
    for side in ["cold", "versus"] {
        for field in ["p50", "p90", "p99", "min", "max"] {
            assert!(report[side][field].as_f64().is_some_and(|ms| ms > 0.0), "{side}.{field} in {report}");
        }
        assert_eq!(report[side]["n"].as_u64(), Some(5));
    }
    let ratio =
        report["versus"]["p50"].as_f64().unwrap_or(0.0) / report["cold"]["p50"].as_f64().unwrap_or(1.0);
    assert!((report["ratio"]["p50"].as_f64().unwrap_or(0.0) / ratio - 1.0).abs() < 0.01, "{report}");
    Ok(())
}
