//! Isolate hosts that run by themselves, and a router over them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use reqwest::blocking::Client;
use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::process::{Running, program, wait_until};

/// A cold cache means downloading and compiling Pyodide first.
const START_LIMIT: Duration = Duration::from_secs(900);
const KEY: &str = "a-fleet-key-of-the-system-tests";

/// One isolate host, as an operator starts it.
pub struct HostProcess {
    pub running: Running,
    pub address: String,
}

impl HostProcess {
    /// Starts a host and waits until it answers; port 0 takes a free one.
    pub fn start(executable: &Path, id: &str, listen: &str, options: &[&str], folder: &Path) -> Result<Self> {
        let mut command = program(executable, "isolate-host");
        command.args(["serve", "--host-id", id, "--listen", listen]).args(options);
        if !options.contains(&"--drain-notice") {
            command.args(["--drain-notice", "0s"]);
        }
        command.env("WARMSHARD_FLEET_KEY", KEY);
        let mut running = Running::start(command, folder.join(format!("{id}.log")))?;
        let mut address = None;
        wait_until(START_LIMIT, "the host to listen", || {
            running.check_alive()?;
            let log = running.log();
            address =
                log.lines().find_map(|line| line.split_once(" listening on ")).map(|(_, a)| a.to_owned());
            Ok(address.is_some())
        })?;
        Ok(Self { running, address: address.context("an address")? })
    }

    /// Ends it without a chance to say goodbye.
    pub fn kill(&mut self) -> Result<()> {
        self.running.signal(Signal::KILL)?;
        self.running.wait(Duration::from_secs(20)).map(drop)
    }
}

/// A router over hosts that a shard file lists.
pub struct RoutedFleet {
    pub router: Running,
    pub folder: TempDir,
    pub client: Client,
    data: String,
    tls: Option<String>,
    pub admin: String,
}

/// A line of `[[hosts]]`: ID, address, further keys.
pub type HostLine<'a> = (&'a str, &'a str, &'a str);

/// How a request went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    pub status: u16,
    pub host: String,
    pub start: String,
    /// Why its start was cold; empty when it was not.
    pub cold: String,
    pub placed: String,
    pub body: String,
}

impl RoutedFleet {
    /// Writes the shard file and starts a router with it.
    pub fn start(executable: &Path, hosts: &[HostLine<'_>], rest: &str) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        write_shard_file(folder.path(), hosts, rest)?;
        let router = start_router(executable, folder.path(), "router.log")?;
        let text = router.log();
        let address = |name: &str| {
            let line = text.lines().find(|line| line.trim_start().starts_with(name))?;
            line.split("http://").nth(1)?.split_whitespace().next().map(str::to_owned)
        };
        let (data, admin) =
            (address("data").context("no data address")?, address("admin").context("no admin address")?);
        let tls =
            text.lines().find_map(|line| line.trim_start().strip_prefix("tls ")?.split("https://").nth(1));
        let tls = tls.map(|address| address.trim().to_owned());
        let client = Client::builder().timeout(Duration::from_secs(60)).build()?;
        Ok(Self { router, folder, client, data, tls, admin })
    }

    /// Starts another router that takes over, and waits until the one before it has ended by itself.
    pub fn replace_router(&mut self, executable: &Path) -> Result<()> {
        let log = format!("router-{}.log", self.router.id());
        let new = start_router(executable, self.folder.path(), &log)?;
        let mut old = std::mem::replace(&mut self.router, new);
        let ended = old.wait(Duration::from_secs(60)).with_context(|| old.log())?;
        ensure!(ended.success(), "the old router ended with {ended}:\n{}", old.log());
        Ok(())
    }

    /// Puts another shard file in its place, as an editor does.
    pub fn rewrite(&self, hosts: &[HostLine<'_>], rest: &str) -> Result<()> {
        write_shard_file(self.folder.path(), hosts, rest)
    }

    pub fn data(&self) -> &str {
        &self.data
    }

    /// Where it speaks TLS.
    pub fn tls(&self) -> Result<&str> {
        self.tls.as_deref().context("the router has no TLS address")
    }

    pub fn shard_file(&self) -> PathBuf {
        self.folder.path().join("shard.toml")
    }

    pub fn get(&self, worker: &str, path: &str) -> Result<Reply> {
        get(&self.client, &self.data, worker, path)
    }

    /// Asks the admin API; an error is a status that is none of success.
    pub fn admin(&self, method: reqwest::Method, path: &str) -> Result<Value> {
        let response = self.client.request(method, format!("http://{}{path}", self.admin)).send()?;
        ensure!(
            response.status().is_success(),
            "{path} answered {}: {}",
            response.status(),
            response.text()?
        );
        Ok(serde_json::from_str(&response.text()?)?)
    }

    /// Requests of these workers, from so many clients at once, until it is stopped.
    pub fn load(&self, workers: &[&str], clients: usize) -> Load {
        let (stop, replies) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let spawn = |n: usize| {
            let (stop, replies) = (Arc::clone(&stop), Arc::clone(&replies));
            let (client, data) = (self.client.clone(), self.data.clone());
            let worker = workers[n % workers.len()].to_owned();
            std::thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let reply = get(&client, &data, &worker, "/").map_err(|error| format!("{error:#}"));
                    let mut replies = replies.lock().unwrap_or_else(PoisonError::into_inner);
                    replies.push((worker.clone(), reply));
                }
            })
        };
        let threads = (0..clients).map(spawn).collect();
        Load { stop, replies, threads }
    }
}

/// A worker and how one request of it went.
pub type Outcome = (String, Result<Reply, String>);

/// Requests under way.
pub struct Load {
    stop: Arc<AtomicBool>,
    replies: Arc<Mutex<Vec<Outcome>>>,
    threads: Vec<JoinHandle<()>>,
}

impl Load {
    /// What has been answered so far.
    pub fn so_far(&self) -> Vec<Outcome> {
        self.replies.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until so many more requests have been answered.
    pub fn go_on_for(&self, requests: usize) -> Result<()> {
        let before = self.so_far().len();
        wait_until(Duration::from_secs(60), "requests to be answered", || {
            Ok(self.so_far().len() >= before + requests)
        })
    }

    pub fn stop(self) -> Vec<Outcome> {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            let _ = thread.join();
        }
        Arc::try_unwrap(self.replies)
            .map(|replies| replies.into_inner().unwrap_or_else(PoisonError::into_inner))
            .unwrap_or_default()
    }
}

/// Those that were not answered with 200.
pub fn failed(outcomes: &[Outcome]) -> Vec<&Outcome> {
    let fine = |outcome: &&Outcome| !matches!(&outcome.1, Ok(reply) if reply.status == 200);
    outcomes.iter().filter(fine).collect()
}

/// How often each cause of a cold start was named.
pub fn causes(outcomes: &[Outcome]) -> BTreeMap<String, usize> {
    let mut causes = BTreeMap::new();
    for reply in outcomes.iter().filter_map(|(_, reply)| reply.as_ref().ok()) {
        if !reply.cold.is_empty() {
            *causes.entry(reply.cold.clone()).or_default() += 1;
        }
    }
    causes
}

fn get(client: &Client, data: &str, worker: &str, path: &str) -> Result<Reply> {
    let url = format!("http://{data}{path}");
    let response = client.get(url).header("host", format!("{worker}.localhost")).send()?;
    let header = |name: &str| {
        let value = response.headers().get(name).and_then(|value| value.to_str().ok());
        value.unwrap_or_default().to_owned()
    };
    let [host, start, cold, placed] =
        ["x-warmshard-host", "x-warmshard-start", "x-warmshard-cold", "x-warmshard-placed"].map(header);
    Ok(Reply { status: response.status().as_u16(), host, start, cold, placed, body: response.text()? })
}

fn start_router(executable: &Path, folder: &Path, log: &str) -> Result<Running> {
    let mut command = program(executable, "router");
    command.arg("--config").arg(folder.join("shard.toml")).arg("--ready-file").arg(folder.join("ready.json"));
    command.arg("--upgrade-socket").arg(folder.join("router.sock"));
    command.env("SYSTEM_TEST_KEY", KEY);
    let mut router = Running::start(command, folder.join(log))?;
    wait_until(Duration::from_secs(60), "the router to be ready", || {
        router.check_alive()?;
        // The ready file waits for every host, and here some may never be up.
        Ok(router.log().contains("warmshard is ready"))
    })
    .with_context(|| router.log())?;
    Ok(router)
}

fn write_shard_file(folder: &Path, hosts: &[HostLine<'_>], rest: &str) -> Result<()> {
    let mut text = String::from("[listen]\ndata = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\n");
    if rest.contains("[[tls]]") {
        text.push_str("tls = \"127.0.0.1:0\"\n");
    }
    text.push_str("[fleet]\nkey_env = \"SYSTEM_TEST_KEY\"\n");
    text.push_str(rest);
    text.push('\n');
    for (id, address, more) in hosts {
        text.push_str(&format!("[[hosts]]\nid = \"{id}\"\naddress = \"{address}\"\n{more}\n"));
    }
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    std::io::Write::write_all(&mut file, text.as_bytes())?;
    file.persist(folder.join("shard.toml"))?;
    Ok(())
}
