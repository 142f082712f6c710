//! Workers that move are warm where they go: real routers over real hosts.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use reqwest::Method;
use rustix::process::Signal;
use system_tests::{
    HostProcess, Outcome, RoutedFleet, causes, deploy_command, example, failed, finish, store, wait_until,
};

use crate::executable;

/// Steps of a ramp that follow each other quickly, and time enough to hand over before each.
const REST: &str = "[placement]\nramp = \"2s\"\nramp_steps = 3\n[handoff]\nwait = \"2s\"\n\
                    [reload]\nwatch = \"100ms\"\nmost_moved = 90\n[health]\ninterval = \"100ms\"\n";

/// One worker under several names, deployed once for all tests here.
pub(crate) fn store_of_workers() -> Result<String> {
    static DEPLOYING: Mutex<()> = Mutex::new(());
    let _one_at_a_time = DEPLOYING.lock().unwrap_or_else(PoisonError::into_inner);
    let store = store().with_file_name("handoff-store");
    for name in workers() {
        let mut command = deploy_command(executable(), &example("hello"), &store);
        command.args(["--name", &name]);
        let deployed = finish(command)?;
        ensure!(deployed.status.success(), "{}", deployed.stderr);
    }
    Ok(store.display().to_string())
}

fn start_host(id: &str, store: &str, folder: &Path) -> Result<HostProcess> {
    HostProcess::start(executable(), id, "127.0.0.1:0", &["--store", store], folder)
}

pub(crate) fn workers() -> Vec<String> {
    (0..6).map(|n| format!("moving-{n}")).collect()
}

/// The workers that some other host than before answers for.
fn moved(before: &[(String, String)], fleet: &RoutedFleet) -> Result<BTreeSet<String>> {
    let mut moved = BTreeSet::new();
    for (worker, host) in before {
        if fleet.get(worker, "/")?.host != *host {
            moved.insert(worker.clone());
        }
    }
    Ok(moved)
}

fn homes(fleet: &RoutedFleet, workers: &[String]) -> Result<Vec<(String, String)>> {
    workers.iter().map(|worker| Ok((worker.clone(), fleet.get(worker, "/")?.host))).collect()
}

fn starts<'o>(outcomes: &'o [Outcome], start: &str) -> Vec<&'o str> {
    let is = |outcome: &&Outcome| outcome.1.as_ref().is_ok_and(|reply| reply.start == start);
    outcomes.iter().filter(is).map(|(worker, _)| worker.as_str()).collect()
}

fn until_up(fleet: &RoutedFleet) -> Result<()> {
    wait_until(Duration::from_secs(20), "every host to be up", || {
        let hosts = fleet.admin(Method::GET, "/hosts")?;
        Ok(hosts["hosts"].as_array().context("hosts")?.iter().all(|host| host["health"] == "up"))
    })
}

fn until_settled(fleet: &RoutedFleet, hosts: usize) -> Result<()> {
    wait_until(Duration::from_secs(30), "the change to be over", || {
        let ring = fleet.admin(Method::GET, "/ring")?;
        let members = ring["members"].as_array().context("members")?;
        let full = members.iter().filter(|member| member["share"] == 1.0).count();
        Ok(ring["pending"].is_null() && full == hosts)
    })
}

#[test]
fn no_request_of_a_worker_that_moves_is_cold() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let workers = workers();
    let store = store_of_workers()?;
    let [a, b, c] = ["a", "b", "c"].map(|id| start_host(id, &store, folder.path()));
    let (a, b, c) = (a?, b?, c?);
    let two = [("a", a.address.as_str(), ""), ("b", b.address.as_str(), "")];
    let fleet = RoutedFleet::start(executable(), &two, REST)?;
    let names: Vec<&str> = workers.iter().map(String::as_str).collect();
    // Warm before anything moves.
    until_up(&fleet)?;
    let before = homes(&fleet, &workers)?;
    let load = fleet.load(&names, names.len());
    load.go_on_for(100)?;
    let so_far = load.so_far().len();

    // A host more, step by step.
    let epoch = fleet.admin(Method::GET, "/ring")?["epoch"].clone();
    let three = [two[0], two[1], ("c", c.address.as_str(), "")];
    fleet.rewrite(&three, REST)?;
    wait_until(Duration::from_secs(10), "the change to be told", || {
        let ring = fleet.admin(Method::GET, "/ring")?;
        Ok(ring["pending"]["epoch"].is_string() && ring["epoch"] == epoch)
    })?;
    until_settled(&fleet, 3)?;
    let at_c = moved(&before, &fleet)?;
    ensure!(!at_c.is_empty(), "some of {} workers move to the third host", workers.len());
    load.go_on_for(100)?;

    // And one less: it hands everything back.
    let drained = [two[0], two[1], ("c", c.address.as_str(), "state = \"draining\"")];
    fleet.rewrite(&drained, REST)?;
    until_settled(&fleet, 2)?;
    wait_until(Duration::from_secs(20), "the workers to be at home again", || {
        Ok(homes(&fleet, &workers)? == before)
    })?;
    load.go_on_for(100)?;
    let outcomes = load.stop();
    assert!(failed(&outcomes).is_empty(), "{:?}\n{}", failed(&outcomes), fleet.router.log());
    let outcomes = &outcomes[so_far..];
    assert!(causes(outcomes).is_empty(), "{:?}\n{}", causes(outcomes), fleet.router.log());
    let spares: BTreeSet<String> = starts(outcomes, "spare").into_iter().map(str::to_owned).collect();
    assert_eq!(spares, at_c, "exactly those that moved met what was restored for them");
    let log = fleet.router.log();
    assert!(log.contains("handed workers over"), "{log}");
    Ok(())
}

/// Takes connections and never says a word, as a host does that hangs.
fn silent() -> Result<(TcpListener, String)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?.to_string();
    Ok((listener, address))
}

#[test]
fn an_heir_that_hangs_holds_nothing_up() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let workers = workers();
    let store = store_of_workers()?;
    let (a, c) = (start_host("a", &store, folder.path())?, start_host("c", &store, folder.path())?);
    let one = [("a", a.address.as_str(), "")];
    let rest = REST.replace("ramp_steps = 3", "ramp_steps = 1");
    let fleet = RoutedFleet::start(executable(), &one, &rest)?;
    let names: Vec<&str> = workers.iter().map(String::as_str).collect();
    homes(&fleet, &workers)?;
    let load = fleet.load(&names, 4);
    load.go_on_for(50)?;
    let so_far = load.so_far().len();
    let (_listener, silent) = silent()?;
    let three = [one[0], ("c", c.address.as_str(), ""), ("hangs", silent.as_str(), "")];
    let began = Instant::now();
    fleet.rewrite(&three, &rest)?;
    until_settled(&fleet, 3)?;
    let took = began.elapsed();
    assert!((Duration::from_secs(1)..Duration::from_secs(6)).contains(&took), "due after 2 s, took {took:?}");
    load.go_on_for(100)?;
    let outcomes = load.stop();
    assert!(failed(&outcomes).is_empty(), "{:?}", failed(&outcomes));
    // Those that went to the host that answers were warm there; those of the one that hangs are
    // served by their next host, where nobody restored them.
    let spares = starts(&outcomes[so_far..], "spare");
    assert!(!spares.is_empty(), "{}", fleet.router.log());
    let at_c = outcomes[so_far..].iter().filter_map(|(_, reply)| reply.as_ref().ok());
    for reply in at_c.filter(|reply| reply.host == "c" && !reply.cold.is_empty()) {
        assert_ne!(reply.placed, "home", "{reply:?}");
    }
    Ok(())
}

#[test]
fn draining_a_host_hands_its_workers_over_first() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let workers = workers();
    let store = store_of_workers()?;
    let (a, b) = (start_host("a", &store, folder.path())?, start_host("b", &store, folder.path())?);
    let two = [("a", a.address.as_str(), ""), ("b", b.address.as_str(), "")];
    let fleet = RoutedFleet::start(executable(), &two, REST)?;
    until_up(&fleet)?;
    let before = homes(&fleet, &workers)?;
    fleet.admin(Method::POST, "/drain?host=a")?;
    for (worker, host) in &before {
        let reply = fleet.get(worker, "/")?;
        let expected = if host == "a" { ("b", "spare") } else { ("b", "warm") };
        assert_eq!((reply.host.as_str(), reply.start.as_str()), expected, "{worker}: {reply:?}");
    }
    // A host that does not answer is not waited for beyond the limit.
    fleet.admin(Method::POST, "/undrain?host=a")?;
    a.running.signal(Signal::STOP)?;
    let began = Instant::now();
    fleet.admin(Method::POST, "/drain?host=b")?;
    assert!(began.elapsed() < Duration::from_secs(4), "took {:?}", began.elapsed());
    a.running.signal(Signal::CONT)?;
    Ok(())
}
