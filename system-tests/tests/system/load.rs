//! The load tester against a real fleet.

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;
use system_tests::{alive, cache, example, store, wait_until};

use crate::{executable, fleet};

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(executable());
    command
        .arg("loadtest")
        .args(arguments)
        .env("WARMSHARD_CACHE", cache())
        .env("WARMSHARD_STORE", store())
        .stdin(Stdio::null());
    command
}

/// Whatever it comes to.
pub(crate) fn output(arguments: &[&str]) -> Result<Output> {
    Ok(command(arguments).output()?)
}

/// The JSON of a load test that has to succeed.
pub(crate) fn loadtest(arguments: &[&str]) -> Result<Value> {
    let folder = tempfile::tempdir()?;
    let report = folder.path().join("report.json");
    let path = report.display().to_string();
    let output = output(&[arguments, &["--json", path.as_str()][..]].concat())?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    read(&report).with_context(|| stderr.into_owned())
}

pub(crate) fn read(path: &Path) -> Result<Value> {
    Ok(serde_json::from_str(&std::fs::read_to_string(path)?)?)
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

/// A host dies in the middle: the report names the moment, what it cost, and that it passed.
#[test]
fn an_event_shows_in_the_report() -> Result<()> {
    let fleet = fleet(2)?;
    let folder = tempfile::tempdir()?;
    let file = |name: &str| folder.path().join(name).display().to_string();
    let (target, admin) = (format!("http://{}", fleet.data()), format!("http://{}", fleet.admin));
    let home = fleet.get("hello", "/")?.host;
    let scenario = format!(
        "duration = \"8s\"\nworkers = {{ names = [\"hello\"] }}\nload = {{ rate = 30, arrivals = \"poisson\" }}\n\
         [[events]]\nat = \"3s\"\naction = \"kill-host\"\nhost = \"{home}\"\n"
    );
    std::fs::write(file("scenario.toml"), scenario)?;
    let run = ["run", "--target", &target, "--admin", &admin, "--scenario", &file("scenario.toml")];
    let outputs = ["--json", &file("report.json"), "--html", &file("report.html")];
    let failing = output(&[&run[..], &outputs[..], &["--fail-if", "cold_rate>0"][..]].concat())?;
    assert_eq!(failing.status.code(), Some(3), "{}", String::from_utf8_lossy(&failing.stderr));

    let report = read(Path::new(&file("report.json")))?;
    let event = &report["events"][0];
    assert_eq!(event["failure"], Value::Null, "{event}");
    assert!(event["extra_cold"].as_f64().is_some_and(|extra| extra >= 0.5), "{event}");
    assert!(report["causes"]["host_lost"].as_u64().is_some_and(|lost| lost >= 1), "{}", report["causes"]);
    assert!(report["hop_ms"]["n"].as_u64().is_some_and(|n| n > 100), "{report}");
    let page = std::fs::read_to_string(file("report.html"))?;
    assert!(page.contains(&format!("kill {home}")));
    let same =
        output(&["compare", &file("report.json"), &file("report.json"), "--fail-if", "cold_rate>1.0001"])?;
    assert!(same.status.success(), "{}", String::from_utf8_lossy(&same.stdout));
    Ok(())
}

/// SIGKILL leaves nobody time to tidy up: the router notices by itself.
#[test]
fn a_killed_load_test_leaves_no_router_behind() -> Result<()> {
    let router = format!("{} router", executable().display());
    let worker = example("hello").display().to_string();
    let arguments = ["cold-start", "--worker", &worker, "--runs", "1000000", "--router", &router];
    let mut child = command(&arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let mut family = Vec::new();
    let found = wait_until(Duration::from_secs(300), "the router and its two hosts", || {
        family = descendants(child.id());
        Ok(family.len() >= 3)
    });
    child.kill()?;
    child.wait()?;
    found?;
    wait_until(Duration::from_secs(30), "all of them to end", || Ok(!family.iter().any(|pid| alive(*pid))))
}

/// Every process whose parent is this one, or one of its children.
fn descendants(pid: u32) -> Vec<u32> {
    let parent = |entry: &std::fs::DirEntry| {
        let child: u32 = entry.file_name().to_str()?.parse().ok()?;
        let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
        let parent: u32 = stat.rsplit(')').next()?.split_whitespace().nth(1)?.parse().ok()?;
        Some((child, parent))
    };
    let processes: Vec<(u32, u32)> = std::fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| parent(&entry))
        .collect();
    let mut family = vec![pid];
    let mut next = 0;
    while next < family.len() {
        let of = family[next];
        family.extend(processes.iter().filter(|(_, parent)| *parent == of).map(|(child, _)| *child));
        next += 1;
    }
    family.split_off(1)
}
