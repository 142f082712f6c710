//! Placement under change, failure and load: real routers over real hosts.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use reqwest::Method;
use rustix::process::Signal;
use system_tests::{
    HostProcess, Reply, RoutedFleet, causes, deploy, example, failed, store, wait_until, worker,
};

use crate::executable;

/// Hosts `a`, `b`, … with what the store has deployed.
pub(crate) fn hosts(ids: &[&str], options: &[&str], folder: &Path) -> Result<Vec<HostProcess>> {
    for folder in [example("hello"), worker("faults")] {
        let deployed = deploy(executable(), &folder, &store())?;
        anyhow::ensure!(deployed.status.success(), "{}", deployed.stderr);
    }
    ids.iter().map(|id| HostProcess::start(executable(), id, "127.0.0.1:0", options, folder)).collect()
}

/// The ID of a host that would be the home of `worker` beside the others.
fn new_home(fleet: &RoutedFleet, others: &[&str], worker: &str) -> Result<String> {
    let file = fleet.folder.path().join("probe.toml");
    for n in 0..50 {
        let candidate = format!("new-{n}");
        let mut text = String::from("[fleet]\nkey_env = \"SYSTEM_TEST_KEY\"\n");
        for (port, id) in others.iter().copied().chain([candidate.as_str()]).enumerate() {
            text.push_str(&format!("[[hosts]]\nid = \"{id}\"\naddress = \"10.0.0.1:{}\"\n", port + 1));
        }
        std::fs::write(&file, text)?;
        let output = std::process::Command::new(executable())
            .args(["router", "explain"])
            .arg(&file)
            .arg(worker)
            .env("SYSTEM_TEST_KEY", "a-fleet-key-of-the-system-tests")
            .output()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let home = text.lines().nth(1).with_context(|| format!("no home in:\n{text}"))?;
        if home.contains(&candidate) {
            return Ok(candidate);
        }
    }
    anyhow::bail!("none of 50 hosts would be the home of `{worker}`")
}

#[test]
fn a_fleet_changes_under_load_without_a_failed_request() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let rest = "[placement]\nramp = \"1s\"\nramp_steps = 4\n[reload]\nwatch = \"100ms\"\nmost_moved = 80\n";
    let old = hosts(&["a", "b"], &[], folder.path())?;
    let [a, b] = [&old[0].address, &old[1].address];
    let fleet = RoutedFleet::start(executable(), &[("a", a, ""), ("b", b, "")], rest)?;
    let first = fleet.get("hello", "/")?;
    assert_eq!((first.status, first.cold.as_str(), first.placed.as_str()), (200, "first", "home"));
    let epoch = fleet.admin(Method::GET, "/ring")?["epoch"].clone();

    let id = new_home(&fleet, &["a", "b"], "hello")?;
    let new = HostProcess::start(executable(), &id, "127.0.0.1:0", &[], folder.path())?;
    let load = fleet.load(&["hello"], 4);
    load.go_on_for(50)?;
    // A file with a mistake changes nothing.
    std::fs::write(fleet.shard_file(), "[[hosts]]\nid = \"A\"\n")?;
    wait_until(Duration::from_secs(10), "the mistake to be told", || {
        Ok(fleet.admin(Method::GET, "/config")?["rejected"].is_string())
    })?;
    assert_eq!(fleet.admin(Method::GET, "/ring")?["epoch"], epoch);

    let three = [("a", a.as_str(), ""), ("b", b.as_str(), ""), (id.as_str(), new.address.as_str(), "")];
    fleet.rewrite(&three, rest)?;
    wait_until(Duration::from_secs(20), "the worker to move to its new home", || {
        Ok(fleet.get("hello", "/")?.host == id)
    })?;
    load.go_on_for(50)?;
    // The hosts that were there at first are emptied and taken out.
    let emptied = [("a", a.as_str(), "state = \"draining\""), three[1], three[2]];
    fleet.rewrite(&emptied, rest)?;
    let share = || -> Result<f64> {
        let ring = fleet.admin(Method::GET, "/ring")?;
        ring["members"][0]["share"].as_f64().context("a share")
    };
    wait_until(Duration::from_secs(20), "the host to be emptied", || Ok(share()? == 0.0))?;
    fleet.rewrite(&[three[1], three[2]], rest)?;
    wait_until(Duration::from_secs(20), "the host to be gone", || {
        Ok(fleet.admin(Method::GET, "/hosts")?["hosts"].as_array().map(Vec::len) == Some(2))
    })?;
    load.go_on_for(50)?;
    let outcomes = load.stop();
    assert!(failed(&outcomes).is_empty(), "{:?}\n{}", failed(&outcomes), fleet.router.log());
    let mut seen = causes(&outcomes);
    seen.retain(|cause, _| cause != "first" && cause != "moved" && cause != "scale_out");
    assert!(seen.is_empty(), "{seen:?}");
    assert_ne!(fleet.admin(Method::GET, "/ring")?["epoch"], epoch);
    Ok(())
}

#[test]
fn a_killed_host_costs_no_idempotent_request() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut running = hosts(&["a", "b", "c"], &[], folder.path())?;
    let addresses: Vec<String> = running.iter().map(|host| host.address.clone()).collect();
    let lines: Vec<_> =
        ["a", "b", "c"].into_iter().zip(&addresses).map(|(id, address)| (id, address.as_str(), "")).collect();
    // A busy machine must not have the worker on a second host before the first one is killed.
    let fleet = RoutedFleet::start(executable(), &lines, "[placement]\nmax_width = 1\n")?;
    let home = fleet.get("hello", "/")?.host;
    let n = lines.iter().position(|(id, ..)| *id == home).context("the home is one of them")?;
    let load = fleet.load(&["hello"], 4);
    load.go_on_for(100)?;
    running[n].kill()?;
    load.go_on_for(200)?;
    assert_ne!(fleet.get("hello", "/")?.host, home);
    // It comes back at its address, empty.
    running[n] = HostProcess::start(executable(), &home, &addresses[n], &[], folder.path())?;
    wait_until(Duration::from_secs(30), "the worker to be at home again", || {
        Ok(fleet.get("hello", "/")?.host == home)
    })?;
    load.go_on_for(50)?;
    let outcomes = load.stop();
    assert!(failed(&outcomes).is_empty(), "{:?}", failed(&outcomes));
    let seen = causes(&outcomes);
    assert!(seen.get("host_lost").is_some_and(|&times| times >= 1), "{seen:?}");
    let others: Vec<_> = seen.keys().filter(|cause| *cause != "host_lost" && *cause != "scale_out").collect();
    assert!(others.is_empty(), "{seen:?}");
    Ok(())
}

#[test]
fn a_frozen_host_fails_what_it_held_and_nothing_after() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let running = hosts(&["a", "b"], &[], folder.path())?;
    let lines = [("a", running[0].address.as_str(), ""), ("b", running[1].address.as_str(), "")];
    let rest = "[timeouts]\nsilence = \"2s\"\n[health]\ninterval = \"200ms\"\ntimeout = \"500ms\"\n";
    let fleet = RoutedFleet::start(executable(), &lines, rest)?;
    let home = fleet.get("hello", "/")?.host;
    let frozen = &running[usize::from(home == "b")].running;
    let load = fleet.load(&["hello"], 3);
    load.go_on_for(50)?;
    frozen.signal(Signal::STOP)?;
    wait_until(Duration::from_secs(20), "another host to answer", || {
        Ok(fleet.get("hello", "/").is_ok_and(|reply| reply.status == 200 && reply.host != home))
    })?;
    load.go_on_for(100)?;
    frozen.signal(Signal::CONT)?;
    wait_until(Duration::from_secs(20), "the worker to be at home again", || {
        Ok(fleet.get("hello", "/").is_ok_and(|reply| reply.host == home))
    })?;
    load.go_on_for(50)?;
    let outcomes = load.stop();
    // Each client had one request there, and perhaps one more before the probes had failed.
    let lost = failed(&outcomes);
    assert!(lost.len() <= 6, "{lost:?}");
    let silent = |reply: &Reply| reply.status == 504 && reply.body.contains("host_silent");
    assert!(lost.iter().all(|(_, reply)| reply.as_ref().is_ok_and(silent)), "{lost:?}");
    assert!(failed(&outcomes[outcomes.len() - 50..]).is_empty(), "{lost:?}");
    Ok(())
}

/// A server that answers probes like a host and everything else with `answer`.
fn pretender(answer: &'static [u8]) -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?.to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { continue };
            std::thread::spawn(move || {
                let mut request = Vec::new();
                let mut piece = [0; 4096];
                while !request.windows(4).any(|end| end == b"\r\n\r\n") {
                    match stream.read(&mut piece) {
                        Ok(0) | Err(_) => return,
                        Ok(length) => request.extend_from_slice(&piece[..length]),
                    }
                }
                let is_probe = request.starts_with(b"GET /_warmshard/healthz");
                let healthy: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
                let _ = stream.write_all(if is_probe { healthy } else { answer });
            });
        }
    });
    Ok(address)
}

#[test]
fn a_host_that_answers_garbage_or_refuses_everything_costs_no_request() -> Result<()> {
    const GARBAGE: &[u8] = b"SSH-2.0-OpenSSH_9.9\r\nwhat?\r\n\r\n";
    const REFUSAL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nx-warmshard-refused: at_capacity\r\n\
                             content-length: 0\r\nconnection: close\r\n\r\n";
    let folder = tempfile::tempdir()?;
    let real = hosts(&["real"], &[], folder.path())?;
    for (answer, placed) in [(GARBAGE, "failed"), (REFUSAL, "refused")] {
        let address = pretender(answer)?;
        let lines = [("real", real[0].address.as_str(), "")];
        let fleet = RoutedFleet::start(executable(), &lines, "")?;
        let id = new_home(&fleet, &["real"], "hello")?;
        let lines = [lines[0], (id.as_str(), address.as_str(), "")];
        let fleet = RoutedFleet::start(executable(), &lines, "")?;
        wait_until(Duration::from_secs(20), "both hosts to be up", || {
            let hosts = fleet.admin(Method::GET, "/hosts")?;
            let hosts = hosts["hosts"].as_array().context("hosts")?;
            Ok(hosts.iter().all(|host| host["health"] == "up"))
        })?;
        let first = fleet.get("hello", "/")?;
        assert_eq!((first.status, first.host.as_str()), (200, "real"), "{first:?}");
        assert!(first.placed.starts_with(placed), "{first:?}");
        let load = fleet.load(&["hello"], 3);
        load.go_on_for(100)?;
        let outcomes = load.stop();
        assert!(failed(&outcomes).is_empty(), "{:?}", failed(&outcomes));
        if answer == REFUSAL {
            let workers = fleet.admin(Method::GET, "/workers")?;
            assert_eq!(workers["workers"][0]["width"], 2, "{workers}");
            let asked_in_vain = outcomes
                .iter()
                .filter(|(_, reply)| reply.as_ref().is_ok_and(|reply| reply.placed.starts_with("refused")));
            assert!(asked_in_vain.count() <= 5, "the host where it is warm comes first");
        }
    }
    Ok(())
}

#[test]
fn an_overloaded_worker_is_spread_over_more_hosts_and_back() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let options = ["--max-isolates", "2", "--requests-per-isolate", "1"];
    let running = hosts(&["a", "b", "c"], &options, folder.path())?;
    let lines: Vec<_> =
        ["a", "b", "c"].iter().zip(&running).map(|(id, host)| (*id, host.address.as_str(), "")).collect();
    let rest = "[placement]\nwidth_hold = \"500ms\"\n";
    let fleet = RoutedFleet::start(executable(), &lines, rest)?;
    wait_until(Duration::from_secs(20), "all hosts to be up", || {
        let hosts = fleet.admin(Method::GET, "/hosts")?;
        Ok(hosts["hosts"].as_array().context("hosts")?.iter().all(|host| host["health"] == "up"))
    })?;
    let width = || -> Result<u64> {
        let workers = fleet.admin(Method::GET, "/workers")?;
        workers["workers"][0]["width"].as_u64().context("a width")
    };
    let replies: Vec<_> = std::thread::scope(|scope| {
        let slow = || scope.spawn(|| fleet.get("faults", "/await?seconds=1.5"));
        let clients: Vec<_> = (0..5).map(|_| slow()).collect();
        clients.into_iter().map(|client| client.join().expect("no panic")).collect::<Result<_>>()
    })?;
    assert!(replies.iter().all(|reply| reply.status == 200), "{replies:?}");
    assert_eq!(width()?, 3, "5 requests, 2 to a host: {replies:?}");
    let expected = ["first", "scale_out"];
    assert!(replies.iter().all(|reply| expected.contains(&reply.cold.as_str())), "{replies:?}");
    // One request at a time: two hosts too many.
    wait_until(Duration::from_secs(20), "the width to shrink", || {
        fleet.get("faults", "/ok")?;
        Ok(width()? == 1)
    })?;
    assert_eq!(fleet.get("faults", "/ok")?.placed, "home");
    Ok(())
}

#[test]
fn operators_drain_hosts_by_the_admin_api_and_on_the_host() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let running = hosts(&["a", "b"], &[], folder.path())?;
    let lines = [("a", running[0].address.as_str(), ""), ("b", running[1].address.as_str(), "")];
    let fleet = RoutedFleet::start(executable(), &lines, "")?;
    let home = fleet.get("hello", "/")?.host;
    let load = fleet.load(&["hello"], 2);
    fleet.admin(Method::POST, &format!("/drain?host={home}"))?;
    let moved = fleet.get("hello", "/")?;
    assert!(moved.host != home && moved.placed == "home_draining", "{moved:?}");
    let explained = fleet.admin(Method::GET, "/explain?worker=hello")?;
    assert_eq!(explained["candidates"][0]["standing"], "draining", "{explained}");
    fleet.admin(Method::POST, &format!("/undrain?host={home}"))?;
    assert_eq!(fleet.get("hello", "/")?.host, home);

    let host = &running[usize::from(home == "b")];
    let told = fleet
        .client
        .post(format!("http://{}/_warmshard/drain", host.address))
        .header("x-warmshard-key", "a-fleet-key-of-the-system-tests")
        .send()?;
    assert_eq!(told.status(), 200);
    let moved = fleet.get("hello", "/")?;
    assert!(moved.host != home, "{moved:?}");
    // Headers of ours that a client sends are not believed.
    let told = fleet.client.get(format!("http://{}/_warmshard/drain", fleet.data()));
    let answer = told.header("host", "hello.localhost").header("x-warmshard-worker", "faults").send()?;
    assert_ne!(answer.headers()["x-warmshard-host"], home.as_str());
    let outcomes = load.stop();
    assert!(failed(&outcomes).is_empty(), "{:?}", failed(&outcomes));
    Ok(())
}
