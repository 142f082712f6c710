//! A host that fails what it is asked, by itself and although it answers its probes.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use reqwest::Method;
use serde_json::Value;
use system_tests::{HostProcess, RoutedFleet, wait_until};

use crate::executable;
use crate::handoff::{store_of_workers, workers};

/// The list of workers of a host's own store, which can be made unreadable and good again.
struct Pointers(PathBuf);

impl Pointers {
    /// Each is replaced as a whole, as a deploy does it.
    fn write(&self, text: impl Fn(&str) -> String) -> Result<()> {
        for entry in std::fs::read_dir(&self.0)? {
            let path = entry?.path();
            let changed = text(&std::fs::read_to_string(&path)?);
            let file = tempfile::NamedTempFile::new_in(self.0.parent().context("a folder")?)?;
            std::fs::write(file.path(), changed)?;
            file.persist(&path)?;
        }
        Ok(())
    }

    fn damage(&self) -> Result<()> {
        self.write(|text| format!("damaged {text}"))
    }

    fn mend(&self) -> Result<()> {
        self.write(|text| text.trim_start_matches("damaged ").to_owned())
    }
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    let copied = std::process::Command::new("cp").arg("-a").args([from, to]).status()?;
    ensure!(copied.success(), "cannot copy {}", from.display());
    Ok(())
}

fn of_host(fleet: &RoutedFleet, id: &str) -> Result<Value> {
    let hosts = fleet.admin(Method::GET, "/hosts")?;
    let mut hosts = hosts["hosts"].as_array().context("hosts")?.iter();
    hosts.find(|host| host["id"] == id).cloned().context("the host")
}

#[test]
fn a_host_that_fails_several_workers_is_ejected_for_longer_each_time_and_comes_back() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let shared = store_of_workers()?;
    let own = folder.path().join("store");
    copy(Path::new(&shared), &own)?;
    let pointers = Pointers(own.join("workers"));
    let own = own.display().to_string();
    let start = |id: &str, store: &str| {
        HostProcess::start(executable(), id, "127.0.0.1:0", &["--store", store], folder.path())
    };
    let (a, b) = (start("a", &own)?, start("b", &shared)?);
    let lines = [("a", a.address.as_str(), ""), ("b", b.address.as_str(), "")];
    let fleet = RoutedFleet::start(executable(), &lines, "[health]\neject_after = 3\neject_for = \"2s\"\n")?;
    wait_until(Duration::from_secs(20), "both hosts to be up", || {
        Ok(of_host(&fleet, "a")?["health"] == "up" && of_host(&fleet, "b")?["health"] == "up")
    })?;
    let mut of_a = Vec::new();
    for worker in workers() {
        let reply = fleet.get(&worker, "/")?;
        ensure!(reply.status == 200, "{reply:?}");
        if reply.host == "a" {
            of_a.push(worker);
        }
    }
    ensure!(of_a.len() >= 2, "only {of_a:?} of {:?} are at home at `a`", workers());
    // One after the other; says how many failed until none did for a round.
    let failures_until_served = || -> Result<usize> {
        let (mut failed, mut served) = (0, 0);
        for worker in of_a.iter().cycle() {
            let reply = fleet.get(worker, "/")?;
            served = if reply.status == 200 && reply.host == "b" { served + 1 } else { 0 };
            if reply.status == 200 && reply.host == "a" {
                // It looks at each worker's deployment by itself, and only failures in a row count.
                failed = 0;
            }
            if reply.status != 200 {
                assert!(reply.body.contains("store_unreadable"), "{reply:?}");
                failed += 1;
            }
            if served == 2 * of_a.len() {
                return Ok(failed);
            }
            ensure!(failed < 100, "it is never ejected: {}", of_host(&fleet, "a")?);
        }
        anyhow::bail!("there are workers")
    };

    pointers.damage()?;
    // The host looks at its store a few times a second.
    wait_until(Duration::from_secs(20), "the host to fail", || Ok(fleet.get(&of_a[0], "/")?.status == 500))?;
    assert!(failures_until_served()? <= 3);
    let ejected = of_host(&fleet, "a")?;
    assert_eq!((&ejected["standing"], &ejected["ejections"]), (&"ejected".into(), &1.into()), "{ejected}");
    assert_eq!(ejected["health"], "up", "its probes are fine");

    // Tried again after its time, found as bad, and left alone for twice as long.
    wait_until(Duration::from_secs(20), "the host to be tried again", || {
        Ok(fleet.get(&of_a[0], "/")?.status == 500)
    })?;
    assert!(failures_until_served()? <= 3);
    let ejected = of_host(&fleet, "a")?;
    assert_eq!(ejected["ejections"], 2, "{ejected}");
    let left = ejected["ejected_for_seconds"].as_f64().context("a time")?;
    assert!(left > 2.0 && left <= 4.0, "{ejected}");

    pointers.mend()?;
    wait_until(Duration::from_secs(20), "its workers to be at home again", || {
        let reply = fleet.get(&of_a[0], "/")?;
        ensure!(reply.status == 200, "{reply:?}");
        Ok(reply.host == "a")
    })?;
    for worker in &of_a {
        assert_eq!(fleet.get(worker, "/")?.host, "a");
    }
    assert_eq!(of_host(&fleet, "a")?["standing"], "eligible");
    Ok(())
}
