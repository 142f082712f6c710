//! Everything is restarted while requests come, and none of them fails.

use std::io::Read;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use reqwest::Method;
use reqwest::blocking::{Client, RequestBuilder};
use rustix::process::Signal;
use system_tests::certificates::{CertificateFiles, client};
use system_tests::{HostProcess, RoutedFleet, wait_until};

use crate::executable;
use crate::sharding::hosts;

/// Requests from several kinds of clients, one after the other from each, until it is stopped.
#[derive(Default)]
struct Traffic {
    stop: AtomicBool,
    answered: AtomicUsize,
}

impl Traffic {
    /// Makes requests as `make` says; the first one that fails ends it.
    fn run(&self, make: impl Fn() -> RequestBuilder) -> Result<()> {
        while !self.stop.load(Ordering::Relaxed) {
            let reply = make().send()?;
            let status = reply.status();
            let text = reply.text()?;
            ensure!(status == 200, "{status}: {text}");
            self.answered.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    fn go_on_for(&self, requests: usize) -> Result<()> {
        let before = self.answered.load(Ordering::Relaxed);
        wait_until(Duration::from_secs(120), "requests to be answered", || {
            Ok(self.answered.load(Ordering::Relaxed) >= before + requests)
        })
    }
}

#[test]
fn every_host_is_restarted_and_no_request_fails() -> Result<()> {
    const IDS: [&str; 3] = ["a", "b", "c"];
    let folder = tempfile::tempdir()?;
    let mut running = hosts(&IDS, &["--drain-notice", "2s"], folder.path())?;
    let addresses: Vec<String> = running.iter().map(|host| host.address.clone()).collect();
    let lines: Vec<_> =
        IDS.into_iter().zip(&addresses).map(|(id, address)| (id, address.as_str(), "")).collect();
    let fleet = RoutedFleet::start(executable(), &lines, "[health]\nsettle = \"1s\"\n")?;
    let up = || -> Result<bool> {
        let hosts = fleet.admin(Method::GET, "/hosts")?;
        Ok(hosts["hosts"].as_array().context("hosts")?.iter().all(|host| host["standing"] == "eligible"))
    };
    wait_until(Duration::from_secs(20), "all hosts to be up", up)?;
    let traffic = Traffic::default();
    let url = |path: &str| format!("http://{}{path}", fleet.data());
    std::thread::scope(|scope| -> Result<()> {
        let client = || Client::builder().timeout(Duration::from_secs(60)).build();
        let (get, post) = (client()?, client()?);
        let (traffic, url) = (&traffic, &url);
        let clients = [
            scope.spawn(move || traffic.run(|| get.get(url("/")).header("host", "hello.localhost"))),
            // Not idempotent: sent once only, so it must never meet a connection that is being closed.
            scope.spawn(move || {
                traffic.run(|| {
                    post.post(url("/digest")).header("host", "faults.localhost").body("x".repeat(2000))
                })
            }),
        ];
        let mut restarts = || -> Result<()> {
            for (n, id) in IDS.into_iter().enumerate() {
                traffic.go_on_for(50)?;
                running[n].running.signal(Signal::TERM)?;
                ensure!(running[n].running.wait(Duration::from_secs(60))?.success(), "{id} did not end well");
                running[n] = HostProcess::start(
                    executable(),
                    id,
                    &addresses[n],
                    &["--drain-notice", "2s"],
                    folder.path(),
                )?;
                wait_until(Duration::from_secs(60), "the host to be back", up)?;
            }
            traffic.go_on_for(50)
        };
        let restarted = restarts();
        traffic.stop.store(true, Ordering::Relaxed);
        for client in clients {
            client.join().expect("no panic").with_context(|| fleet.router.log())?;
        }
        restarted
    })
}

#[test]
fn a_router_is_replaced_and_no_request_fails() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let files = CertificateFiles::in_folder(folder.path(), "a");
    let trusted = files.renew("hello.localhost")?;
    let running = hosts(&["a", "b"], &[], folder.path())?;
    let lines = [("a", running[0].address.as_str(), ""), ("b", running[1].address.as_str(), "")];
    let mut fleet = RoutedFleet::start(executable(), &lines, &files.lines())?;
    let tls: SocketAddr = fleet.tls()?.parse()?;
    let data = fleet.data().to_owned();
    let home = fleet.get("hello", "/")?.host;
    let traffic = Traffic::default();
    std::thread::scope(|scope| -> Result<()> {
        let plain = |idle: usize| {
            Client::builder().timeout(Duration::from_secs(60)).pool_max_idle_per_host(idle).build()
        };
        let (kept, fresh, post) = (plain(4)?, plain(0)?, plain(4)?);
        let h2 = client(&[&trusted], "hello.localhost", tls).build()?;
        let (traffic, data) = (&traffic, &data);
        let get = move |client: Client| {
            traffic.run(|| client.get(format!("http://{data}/")).header("host", "hello.localhost"))
        };
        let clients = [
            scope.spawn(move || get(kept)),
            scope.spawn(move || get(fresh)),
            scope.spawn(move || traffic.run(|| h2.get(format!("https://hello.localhost:{}/", tls.port())))),
            scope.spawn(move || {
                let url = format!("http://{data}/digest");
                traffic.run(|| post.post(&url).header("host", "faults.localhost").body("x".repeat(2000)))
            }),
        ];
        let mut replace = || -> Result<()> {
            traffic.go_on_for(100)?;
            for _ in 0..3 {
                // An answer that began before is read to its end after.
                let stream = Client::new().get(format!("http://{data}/stream?pieces=64"));
                let mut stream = stream.header("host", "faults.localhost").send()?;
                let mut first = [0; 1000];
                stream.read_exact(&mut first)?;
                let reader = scope.spawn(move || {
                    std::thread::sleep(Duration::from_millis(500));
                    std::io::copy(&mut stream, &mut std::io::sink())
                });
                fleet.replace_router(executable())?;
                assert_eq!(reader.join().expect("no panic")? + 1000, 64 * 65536);
                traffic.go_on_for(100)?;
            }
            let reply = fleet.get("hello", "/")?;
            assert_eq!((reply.host, reply.cold.as_str()), (home.clone(), ""), "it is as warm as it was");
            Ok(())
        };
        let replaced = replace();
        traffic.stop.store(true, Ordering::Relaxed);
        for client in clients {
            client.join().expect("no panic").with_context(|| fleet.router.log())?;
        }
        replaced
    })
}
