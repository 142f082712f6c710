//! Router and hosts over TLS: who is let in, who is believed to be a host.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use reqwest::blocking::{Client, ClientBuilder};
use reqwest::{Certificate, Identity, Method};
use system_tests::certificates::{Authority, CertificateFiles, client};
use system_tests::{HostProcess, RoutedFleet, deploy, example, failed, store, wait_until, worker};

use crate::executable;

fn deployed() -> Result<()> {
    for folder in [example("hello"), worker("faults")] {
        let deployed = deploy(executable(), &folder, &store())?;
        ensure!(deployed.status.success(), "{}", deployed.stderr);
    }
    Ok(())
}

/// A host with this certificate; `more` are further options.
fn host(id: &str, files: &CertificateFiles, more: &[&str], folder: &Path) -> Result<HostProcess> {
    let (certificate, key) = (files.certificate.display().to_string(), files.key.display().to_string());
    let options = [&["--tls-certificate", &certificate, "--tls-key", &key], more].concat();
    HostProcess::start(executable(), id, "127.0.0.1:0", &options, folder)
}

/// `[host_tls]` of a router's shard file.
fn table(authority: &Authority, own: Option<&CertificateFiles>) -> String {
    let mut text = format!("[host_tls]\nca = {:?}\n", authority.file);
    if let Some(own) = own {
        text.push_str(&format!("certificate = {:?}\nkey = {:?}\n", own.certificate, own.key));
    }
    text
}

fn until_health(fleet: &RoutedFleet, expected: &[(&str, &str)]) -> Result<()> {
    wait_until(Duration::from_secs(30), "the hosts' health to be as expected", || {
        let hosts = fleet.admin(Method::GET, "/hosts")?;
        let hosts = hosts["hosts"].as_array().context("hosts")?;
        Ok(expected
            .iter()
            .all(|(id, health)| hosts.iter().any(|host| host["id"] == *id && host["health"] == *health)))
    })
    .with_context(|| fleet.router.log())
}

#[test]
fn a_certificate_stands_for_the_fleets_key() -> Result<()> {
    deployed()?;
    let folder = tempfile::tempdir()?;
    let place = folder.path();
    let (authority, others) = (Authority::new(place, "fleet")?, Authority::new(place, "others")?);
    let another_key = place.join("another.key");
    std::fs::write(&another_key, "another-key-than-that-of-the-router\n")?;
    let (ca, key) = (authority.file.display().to_string(), another_key.display().to_string());
    let options = ["--tls-client-ca", &ca, "--fleet-key-file", &key];
    let [a, b] = ["a", "b"].map(|id| host(id, &authority.issue(place, id)?, &options, place));
    let (a, b) = (a?, b?);
    let lines = [("a", a.address.as_str(), ""), ("b", b.address.as_str(), "")];
    let own = authority.issue(place, "router")?;
    let fleet = RoutedFleet::start(executable(), &lines, &table(&authority, Some(&own)))?;
    until_health(&fleet, &[("a", "up"), ("b", "up")])?;

    // Requests, calls of the router's own, and uploads that need a place first.
    let reply = fleet.get("hello", "/")?;
    assert_eq!(reply.status, 200, "{reply:?}\n{}", fleet.router.log());
    fleet.admin(Method::POST, "/prewarm?worker=hello")?;
    let upload = fleet.client.post(format!("http://{}/digest", fleet.data()));
    let upload = upload.header("host", "faults.localhost").body(vec![7; 300_000]).send()?;
    assert_eq!(upload.status(), 200);
    assert!(upload.text()?.contains("\"length\": 300000"));

    // Who shows no certificate has to have the key; one that others signed is not taken.
    let trusted = Certificate::from_pem(&std::fs::read(&authority.file)?)?;
    let address: SocketAddr = a.address.parse()?;
    let to_host = || client(&[&trusted], "a", address);
    let url = |path: &str| format!("https://a:{}{path}", address.port());
    let ask = |client: ClientBuilder, key: &str| -> Result<u16> {
        let request = client.build()?.get(url("/")).header("x-warmshard-worker", "hello");
        Ok(request.header("x-warmshard-key", key).send()?.status().as_u16())
    };
    assert_eq!(ask(to_host(), "a-key-that-somebody-made-up")?, 401);
    assert_eq!(ask(to_host(), "another-key-than-that-of-the-router")?, 200);
    assert_eq!(ask(to_host().identity(identity(&own)?), "")?, 200);
    let stranger = others.issue(place, "stranger")?;
    assert!(ask(to_host().identity(identity(&stranger)?), "another-key-than-that-of-the-router").is_err());
    assert!(Client::new().get(format!("http://{}/_warmshard/healthz", a.address)).send().is_err());
    Ok(())
}

fn identity(files: &CertificateFiles) -> Result<Identity> {
    let pem = [std::fs::read(&files.certificate)?, std::fs::read(&files.key)?].concat();
    Ok(Identity::from_pem(&pem)?)
}

#[test]
fn who_has_a_hosts_address_and_not_its_certificate_is_no_host() -> Result<()> {
    deployed()?;
    let folder = tempfile::tempdir()?;
    let place = folder.path();
    let (authority, others) = (Authority::new(place, "fleet")?, Authority::new(place, "others")?);
    let a = host("a", &authority.issue(place, "a")?, &[], place)?;
    let b = host("b", &authority.issue(place, "z")?, &[], place)?;
    let c = host("c", &others.issue(place, "c")?, &[], place)?;
    let d = HostProcess::start(executable(), "d", "127.0.0.1:0", &[], place)?;
    let running = [("a", &a), ("b", &b), ("c", &c), ("d", &d)];
    let lines = running.map(|(id, host)| (id, host.address.as_str(), ""));
    let fleet = RoutedFleet::start(executable(), &lines, &table(&authority, None))?;
    until_health(&fleet, &[("a", "up"), ("b", "down"), ("c", "down"), ("d", "down")])?;
    for worker in ["hello", "faults"] {
        let reply = fleet.get(worker, if worker == "hello" { "/" } else { "/ok" })?;
        assert_eq!((reply.status, reply.host.as_str()), (200, "a"), "{reply:?}");
    }
    Ok(())
}

#[test]
fn certificates_of_router_and_hosts_change_under_load() -> Result<()> {
    deployed()?;
    let folder = tempfile::tempdir()?;
    let place = folder.path();
    let authority = Authority::new(place, "fleet")?;
    let ca = authority.file.display().to_string();
    let (of_a, own) = (authority.issue(place, "a")?, authority.issue(place, "router")?);
    let a = host("a", &of_a, &["--tls-client-ca", &ca], place)?;
    let rest = format!("{}[reload]\nwatch = \"100ms\"\n", table(&authority, Some(&own)));
    let fleet = RoutedFleet::start(executable(), &[("a", a.address.as_str(), "")], &rest)?;
    until_health(&fleet, &[("a", "up")])?;
    let load = fleet.load(&["hello"], 3);
    load.go_on_for(50)?;
    authority.issue(place, "a")?;
    wait_until(Duration::from_secs(20), "the host to have another certificate", || {
        Ok(a.running.log().contains("other certificates are in force"))
    })?;
    // A file that is no certificate changes nothing.
    let good = std::fs::read(&of_a.certificate)?;
    std::fs::write(&of_a.certificate, "nonsense")?;
    wait_until(Duration::from_secs(20), "the host to refuse nonsense", || {
        Ok(a.running.log().contains("the last good certificates stay"))
    })?;
    std::fs::write(&of_a.certificate, good)?;
    std::fs::write(&own.key, "nonsense")?;
    wait_until(Duration::from_secs(20), "the router to refuse nonsense", || {
        Ok(fleet.admin(Method::GET, "/config")?["rejected"].to_string().contains("host_tls.key"))
    })?;
    authority.issue(place, "router")?;
    wait_until(Duration::from_secs(20), "the router to take its new certificate", || {
        Ok(fleet.admin(Method::GET, "/config")?["rejected"].is_null())
    })?;
    load.go_on_for(100)?;
    let outcomes = load.stop();
    assert!(failed(&outcomes).is_empty(), "{:?}\n{}", failed(&outcomes), fleet.router.log());
    Ok(())
}
