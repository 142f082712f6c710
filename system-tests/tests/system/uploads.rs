//! Uploads that no host could get twice: each is delivered once, whole, whoever refuses.

use std::io::Read;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use reqwest::Method;
use reqwest::blocking::{Body, Client, Response};
use serde_json::Value;
use sha2::{Digest, Sha256};
use system_tests::certificates::{CertificateFiles, client};
use system_tests::{HostProcess, RoutedFleet, wait_until};
use warmshard_config::units::hex;

use crate::executable;
use crate::sharding::hosts;

const MIB: usize = 1 << 20;

/// Bytes that differ everywhere, never in memory as a whole.
struct Flow {
    seed: u8,
    at: usize,
    total: usize,
}

impl Read for Flow {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let length = into.len().min(self.total - self.at);
        for (n, byte) in into[..length].iter_mut().enumerate() {
            let at = self.at + n;
            *byte = (at ^ (at >> 8) ^ (at >> 16)) as u8 ^ self.seed;
        }
        self.at += length;
        Ok(length)
    }
}

fn flow(seed: u8, total: usize) -> Flow {
    Flow { seed, at: 0, total }
}

fn digest(seed: u8, total: usize) -> Result<String> {
    let mut hasher = Sha256::new();
    std::io::copy(&mut flow(seed, total), &mut hasher)?;
    Ok(hex(&hasher.finalize()))
}

/// Requests that hosts have let in since they started.
fn let_in(hosts: &[HostProcess]) -> Result<u64> {
    let mut sum = 0;
    for host in hosts {
        let request = Client::new().get(format!("http://{}/_warmshard/status", host.address));
        let request = request.header("x-warmshard-key", "a-fleet-key-of-the-system-tests");
        let status: Value = serde_json::from_str(&request.send()?.error_for_status()?.text()?)?;
        let counters = status["counters"].as_object().context("counters")?;
        let starts = counters.iter().filter(|(name, _)| name.starts_with("starts_"));
        sum += starts.map(|(_, count)| count.as_u64().unwrap_or_default()).sum::<u64>();
    }
    Ok(sum)
}

/// An upload with its length said or not; the reply's status, host and body.
fn upload(client: &Client, base: &str, body: Flow, sized: bool) -> Result<(u16, String, String)> {
    let total = body.total as u64;
    let body = if sized { Body::sized(body, total) } else { Body::new(body) };
    let mut request = client.post(format!("{base}/digest")).body(body);
    if base.starts_with("http:") {
        // HTTP/2 takes the name from the address, and must not be told another one.
        request = request.header("host", "faults.localhost");
    }
    let response: Response = request.send()?;
    let host = response.headers().get("x-warmshard-host").and_then(|host| host.to_str().ok());
    Ok((response.status().as_u16(), host.unwrap_or_default().to_owned(), response.text()?))
}

fn assert_whole(body: &str, seed: u8, total: usize) -> Result<()> {
    let value: Value = serde_json::from_str(body).with_context(|| body.to_owned())?;
    assert_eq!(value["length"].as_u64(), Some(total as u64));
    assert_eq!(value["sha256"].as_str(), Some(digest(seed, total)?.as_str()));
    Ok(())
}

#[test]
fn a_hundred_mebibytes_go_past_a_host_that_refuses() -> Result<()> {
    const TOTAL: usize = 100 * MIB;
    let folder = tempfile::tempdir()?;
    let certificate = CertificateFiles::in_folder(folder.path(), "a");
    let trusted = certificate.renew("faults.localhost")?;
    let running = hosts(&["a", "b"], &["--max-isolates", "1", "--requests-per-isolate", "1"], folder.path())?;
    let lines = [("a", running[0].address.as_str(), ""), ("b", running[1].address.as_str(), "")];
    let rest = format!("{}[placement]\nmax_width = 1\n", certificate.lines());
    let fleet = RoutedFleet::start(executable(), &lines, &rest)?;
    wait_until(Duration::from_secs(20), "both hosts to be up", || {
        let hosts = fleet.admin(Method::GET, "/hosts")?;
        Ok(hosts["hosts"].as_array().context("hosts")?.iter().all(|host| host["health"] == "up"))
    })?;
    let home = fleet.get("faults", "/ok")?.host;
    let base = format!("http://{}", fleet.data());
    let address: SocketAddr = fleet.tls()?.parse()?;
    let h2 = client(&[&trusted], "faults.localhost", address).timeout(Duration::from_secs(300)).build()?;
    let h1 = Client::builder().timeout(Duration::from_secs(300)).build()?;
    let over_tls = format!("https://faults.localhost:{}", address.port());
    let ways = [(&h1, &base, true), (&h1, &base, false), (&h2, &over_tls, true)];
    for (seed, (client, base, sized)) in ways.into_iter().enumerate() {
        let before = let_in(&running)?;
        std::thread::scope(|scope| -> Result<()> {
            // The only place at home is taken for as long as the upload begins.
            let busy = scope.spawn(|| fleet.get("faults", "/await?seconds=4"));
            wait_until(Duration::from_secs(20), "the home to be busy", || Ok(let_in(&running)? > before))?;
            let (status, host, body) = upload(client, base, flow(seed as u8, TOTAL), sized)?;
            assert_eq!(status, 200, "{body}");
            assert_eq!(busy.join().expect("no panic")?.host, home);
            assert_ne!(host, home, "the home had refused");
            assert_whole(&body, seed as u8, TOTAL)
        })?;
        assert_eq!(let_in(&running)?, before + 2, "one upload was let in once, and one request at home");
    }
    Ok(())
}

#[test]
fn uploads_among_hosts_that_refuse_at_random_arrive_once_each() -> Result<()> {
    const TOTAL: usize = 3 * MIB;
    let folder = tempfile::tempdir()?;
    let running = hosts(&["a", "b"], &["--max-isolates", "2", "--requests-per-isolate", "1"], folder.path())?;
    let lines = [("a", running[0].address.as_str(), ""), ("b", running[1].address.as_str(), "")];
    let fleet = RoutedFleet::start(executable(), &lines, "")?;
    let base = format!("http://{}", fleet.data());
    fleet.get("faults", "/ok")?;
    let before = let_in(&running)?;
    // Six at a time for four places: who finds none is told that nothing was processed.
    let (mut delivered, mut turned_away) = (0, 0);
    std::thread::scope(|scope| -> Result<()> {
        let uploader = |client: u8| {
            let base = &base;
            scope.spawn(move || -> Result<(u64, u64)> {
                let http = Client::builder().timeout(Duration::from_secs(300)).build()?;
                let (mut delivered, mut turned_away) = (0, 0);
                while delivered < 4 {
                    let seed = client * 16 + delivered as u8;
                    let (status, _, body) = upload(&http, base, flow(seed, TOTAL), seed.is_multiple_of(2))?;
                    if status == 200 {
                        assert_whole(&body, seed, TOTAL)?;
                        delivered += 1;
                    } else {
                        anyhow::ensure!(status == 503 && body.contains("fleet_full"), "{status}: {body}");
                        turned_away += 1;
                    }
                }
                Ok((delivered, turned_away))
            })
        };
        let uploaders: Vec<_> = (0..6).map(uploader).collect();
        for uploader in uploaders {
            let (whole, none) = uploader.join().expect("no panic")?;
            delivered += whole;
            turned_away += none;
        }
        Ok(())
    })?;
    assert_eq!(delivered, 24);
    assert!(turned_away > 0, "no host was ever full: nothing was tested");
    assert_eq!(let_in(&running)?, before + delivered, "what was let in was delivered, and once");
    Ok(())
}
