//! More load than a host can take, and a host that is slow: whoever else is there goes on.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use reqwest::Method;
use rustix::process::Signal;
use system_tests::{HostLine, HostProcess, Outcome, RoutedFleet, causes, failed, wait_until};

use crate::executable;
use crate::sharding::hosts;

const IDS: [&str; 6] = ["a", "b", "c", "d", "e", "f"];
/// Requests that a host takes at once.
const CAPACITY: usize = 4;

fn lines(running: &[HostProcess]) -> Vec<HostLine<'_>> {
    IDS.iter().zip(running).map(|(id, host)| (*id, host.address.as_str(), "")).collect()
}

fn until_up(fleet: &RoutedFleet) -> Result<()> {
    wait_until(Duration::from_secs(30), "every host to be up", || {
        let hosts = fleet.admin(Method::GET, "/hosts")?;
        Ok(hosts["hosts"].as_array().context("hosts")?.iter().all(|host| host["health"] == "up"))
    })
}

fn width_of(fleet: &RoutedFleet, worker: &str) -> Result<u64> {
    let explained = fleet.admin(Method::GET, &format!("/explain?worker={worker}"))?;
    explained["width"].as_u64().with_context(|| format!("no width in {explained}"))
}

#[test]
fn a_worker_at_five_times_a_hosts_capacity_leaves_the_others_alone() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let capacity = CAPACITY.to_string();
    let options = ["--max-isolates", &capacity, "--requests-per-isolate", "1", "--max-in-flight", &capacity];
    let running = hosts(&IDS, &options, folder.path())?;
    let fleet = RoutedFleet::start(executable(), &lines(&running), "[placement]\nwidth_hold = \"1s\"\n")?;
    until_up(&fleet)?;
    assert_eq!(fleet.get("faults", "/ok")?.placed, "home");
    let others = fleet.load(&["hello"], 1);
    others.go_on_for(20)?;

    let hot: Vec<Outcome> = std::thread::scope(|scope| {
        let client = || {
            scope.spawn(|| {
                let ask = |_| fleet.get("faults", "/await?seconds=0.7").map_err(|error| format!("{error:#}"));
                (0..4).map(ask).map(|reply| ("faults".to_owned(), reply)).collect::<Vec<_>>()
            })
        };
        let clients: Vec<_> = (0..5 * CAPACITY).map(|_| client()).collect();
        clients.into_iter().flat_map(|client| client.join().expect("no panic")).collect()
    });
    let width = width_of(&fleet, "faults")?;
    assert!(failed(&hot).is_empty(), "{:?}", failed(&hot));
    assert!(width >= 5, "five hosts' worth of requests on {width} hosts");
    // How each start was cold; those of the hot worker are as many as it needs isolates, a few more at most.
    let mut cold: BTreeMap<String, usize> = causes(&hot);
    assert_eq!(cold.remove("misplaced"), None, "{cold:?}");

    wait_until(Duration::from_secs(60), "the width to shrink", || {
        fleet.get("faults", "/ok")?;
        Ok(width_of(&fleet, "faults")? == 1)
    })?;
    wait_until(Duration::from_secs(20), "the worker to be at home alone", || {
        Ok(fleet.get("faults", "/ok")?.placed == "home")
    })?;
    others.go_on_for(20)?;
    let outcomes = others.stop();
    assert!(failed(&outcomes).is_empty(), "{:?}", failed(&outcomes));
    let cold = causes(&outcomes);
    assert!(!cold.contains_key("misplaced"), "{cold:?}");
    Ok(())
}

/// A process that gets a tenth of the time until this is dropped.
struct Slowed<'p> {
    process: &'p HostProcess,
    stop: &'p AtomicBool,
}

impl Slowed<'_> {
    fn run(&self) -> Result<()> {
        while !self.stop.load(Ordering::Relaxed) {
            self.process.running.signal(Signal::STOP)?;
            std::thread::sleep(Duration::from_millis(90));
            self.process.running.signal(Signal::CONT)?;
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }
}

#[test]
fn a_slow_host_keeps_no_more_than_its_share() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let running = hosts(&["a", "b"], &[], folder.path())?;
    let rest = "[placement]\nsoft_limit = 2\nwidth_hold = \"500ms\"\n[health]\ntimeout = \"5s\"\n";
    let fleet = RoutedFleet::start(executable(), &lines(&running), rest)?;
    until_up(&fleet)?;
    let home = fleet.get("hello", "/")?.host;
    let stop = AtomicBool::new(false);
    let slowed = Slowed { process: &running[usize::from(home == "b")], stop: &stop };
    let outcomes = std::thread::scope(|scope| -> Result<Vec<Outcome>> {
        let slowing = scope.spawn(|| slowed.run());
        let load = fleet.load(&["hello"], 8);
        let waited = load.go_on_for(300);
        stop.store(true, Ordering::Relaxed);
        slowing.join().expect("no panic")?;
        let outcomes = load.stop();
        waited.map(|()| outcomes)
    })?;
    assert!(failed(&outcomes).is_empty(), "{:?}", failed(&outcomes));
    let elsewhere = outcomes.iter().filter(|(_, reply)| reply.as_ref().is_ok_and(|reply| reply.host != home));
    let share = elsewhere.count() as f64 / outcomes.len() as f64;
    assert!(share > 0.5, "{share} of the requests went to the host that is quick");
    assert!(!causes(&outcomes).contains_key("misplaced"), "{:?}", causes(&outcomes));
    wait_until(Duration::from_secs(20), "the worker to be at home alone again", || {
        let reply = fleet.get("hello", "/")?;
        Ok(reply.host == home && reply.placed == "home")
    })
}
