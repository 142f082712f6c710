//! TLS at the router: names and certificates, both versions of HTTP, certificates that change.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::Result;
use reqwest::Version;
use reqwest::blocking::{Client, Response};
use rustix::process::Signal;
use system_tests::certificates::{CertificateFiles, client};
use system_tests::{RoutedFleet, wait_until};

use crate::executable;
use crate::sharding::hosts;

const HELLO: &str = "hello.localhost";
const FAULTS: &str = "faults.localhost";

fn get(client: &Client, name: &str, address: SocketAddr) -> reqwest::Result<Response> {
    client.get(format!("https://{name}:{}/ok", address.port())).send()
}

#[test]
fn the_name_chooses_the_certificate_over_both_versions_of_http() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let files = ["a", "b"].map(|stem| CertificateFiles::in_folder(folder.path(), stem));
    let [a, b] = [files[0].renew(HELLO)?, files[1].renew(FAULTS)?];
    let running = hosts(&["one"], &[], folder.path())?;
    let rest = files.iter().map(CertificateFiles::lines).collect::<String>();
    let fleet = RoutedFleet::start(executable(), &[("one", &running[0].address, "")], &rest)?;
    let address: SocketAddr = fleet.tls()?.parse()?;
    for (name, own, other) in [(HELLO, &a, &b), (FAULTS, &b, &a)] {
        let h2 = get(&client(&[own], name, address).build()?, name, address)?;
        assert_eq!((h2.status().as_u16(), h2.version()), (200, Version::HTTP_2));
        let h1 = get(&client(&[own], name, address).http1_only().build()?, name, address)?;
        assert_eq!((h1.status().as_u16(), h1.version()), (200, Version::HTTP_11));
        assert_eq!(h1.headers()["x-warmshard-host"], "one");
        let refused = get(&client(&[other], name, address).build()?, name, address);
        assert!(refused.is_err_and(|error| error.is_connect()), "another certificate was shown");
    }
    // Many streams of one connection, each with a body.
    let one = client(&[&b], FAULTS, address).build()?;
    std::thread::scope(|scope| {
        let post = || one.post(format!("https://{FAULTS}:{}/digest", address.port())).body(vec![7; 300_000]);
        let sent: Vec<_> =
            (0..8).map(|_| scope.spawn(move || post().send()?.error_for_status()?.text())).collect();
        sent.into_iter().try_for_each(|reply| {
            let reply = reply.join().expect("no panic")?;
            anyhow::ensure!(reply.contains("300000"), "{reply}");
            Ok(())
        })
    })
}

/// What a router says when certificates cannot be used, and that it says it while it goes on.
#[test]
fn certificates_change_under_load_and_a_broken_one_changes_nothing() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let files = CertificateFiles::in_folder(folder.path(), "a");
    let old = files.renew(HELLO)?;
    let next = CertificateFiles::in_folder(folder.path(), "next");
    let new = next.renew(HELLO)?;
    let running = hosts(&["one"], &[], folder.path())?;
    let rest = format!("{}[reload]\nwatch = \"100ms\"\n", files.lines());
    let fleet = RoutedFleet::start(executable(), &[("one", &running[0].address, "")], &rest)?;
    let address: SocketAddr = fleet.tls()?.parse()?;
    let (stop, answered) = (AtomicBool::new(false), AtomicUsize::new(0));
    let shown = |trusted| -> Result<bool> {
        let fresh = client(&[trusted], HELLO, address).build()?;
        Ok(get(&fresh, HELLO, address).is_ok())
    };
    std::thread::scope(|scope| {
        // One client keeps its connection, one makes a new one for each request.
        let load = |idle: usize| {
            let client = client(&[&old, &new], HELLO, address).pool_max_idle_per_host(idle).build();
            let (stop, answered) = (&stop, &answered);
            scope.spawn(move || -> Result<()> {
                let client = client?;
                while !stop.load(Ordering::Relaxed) {
                    let reply = get(&client, HELLO, address)?;
                    anyhow::ensure!(reply.status() == 200, "{}", reply.status());
                    answered.fetch_add(1, Ordering::Relaxed);
                }
                Ok(())
            })
        };
        let clients = [load(0), load(8)];
        let changes = || -> Result<()> {
            assert!(shown(&old)? && !shown(&new)?);
            // First the key alone, which is not the certificate's.
            std::fs::copy(&next.key, &files.key)?;
            wait_until(Duration::from_secs(20), "the mismatch to be told", || {
                Ok(fleet.router.log().contains("it is not the key of"))
            })?;
            let log = fleet.router.log();
            assert!(log.contains("`tls[0].key`: found ") && log.contains("the last good one stays"), "{log}");
            assert!(
                log.lines().any(|line| line.contains("shard.toml:") && line.contains("`tls[0].key`")),
                "{log}"
            );
            assert!(shown(&old)?);
            std::fs::copy(&next.certificate, &files.certificate)?;
            wait_until(Duration::from_secs(20), "the new certificate", || shown(&new))?;
            std::fs::write(&files.certificate, "-----BEGIN CERTIFICATE-----\n")?;
            fleet.router.signal(Signal::HUP)?;
            wait_until(Duration::from_secs(20), "the broken one to be told", || {
                Ok(fleet.router.log().contains("`tls[0].certificate`: found "))
            })?;
            assert!(shown(&new)?);
            let before = answered.load(Ordering::Relaxed);
            wait_until(Duration::from_secs(60), "requests to be answered", || {
                Ok(answered.load(Ordering::Relaxed) >= before + 50)
            })
        };
        let changed = changes();
        stop.store(true, Ordering::Relaxed);
        for client in clients {
            client.join().expect("no panic")?;
        }
        changed
    })
}

#[test]
fn a_handshake_has_its_worker_restored_before_the_request_comes() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let files = CertificateFiles::in_folder(folder.path(), "a");
    let trusted = files.renew(FAULTS)?;
    let running = hosts(&["one"], &[], folder.path())?;
    let rest = format!("{}[prewarm]\nat_once = 4\n", files.lines());
    let fleet = RoutedFleet::start(executable(), &[("one", &running[0].address, "")], &rest)?;
    let address: SocketAddr = fleet.tls()?.parse()?;
    let metrics = || -> Result<String> {
        Ok(fleet.client.get(format!("http://{}/metrics", fleet.admin)).send()?.text()?)
    };
    let told = |outcome: &str| -> Result<bool> {
        Ok(metrics()?.contains(&format!("warmshard_router_prewarms_total{{outcome=\"{outcome}\"}}")))
    };
    let mut connection = files.connect(FAULTS, address)?;
    wait_until(Duration::from_secs(60), "the worker to be restored", || told("restored"))?;
    write!(connection, "GET /ok HTTP/1.1\r\nhost: {FAULTS}\r\nconnection: close\r\n\r\n")?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer)?;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("x-warmshard-start: spare"), "{answer}");

    // Names that nobody has deployed, and one name again and again.
    for n in 0..20 {
        let name = format!("nobody-{n}.localhost");
        assert!(get(&client(&[&trusted], &name, address).build()?, &name, address).is_err());
        drop(files.connect(FAULTS, address)?);
    }
    wait_until(Duration::from_secs(20), "the host to know none of them", || told("unknown"))?;
    assert!(told("recent")?, "{}", metrics()?);
    let status = fleet.client.get(format!("http://{}/_warmshard/status", running[0].address));
    let status = status.header("x-warmshard-key", "a-fleet-key-of-the-system-tests").send()?.text()?;
    assert!(status.contains("\"prewarms_restored\":1,"), "{status}");
    assert!(status.contains("\"starts_cold\":0,"), "{status}");
    Ok(())
}
