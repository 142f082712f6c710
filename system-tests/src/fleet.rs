//! A router with embedded isolate hosts.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use reqwest::blocking::{Client, Response};
use serde_json::Value;
use tempfile::TempDir;

use crate::process::{Running, program, wait_until};

/// Names that resolve to the fleet.
const WORKERS: [&str; 8] =
    ["fastapi", "hello", "faults", "exceptions", "broken", "nobody", "clones", "imports"];
/// A cold cache means downloading and compiling Pyodide first.
const START_LIMIT: Duration = Duration::from_secs(900);

/// What a fleet is started with.
pub struct FleetOptions<'a> {
    pub hosts: u32,
    pub workers: &'a [PathBuf],
    /// Further lines for the `[embedded]` table.
    pub embedded: &'a str,
    pub environment: &'a [(&'a str, &'a str)],
}

/// A fleet under way; ended when dropped.
pub struct Fleet {
    pub router: Running,
    client: Client,
    data: String,
    pub admin: String,
    ready_file: PathBuf,
    _folder: TempDir,
}

/// A reply, read to its end.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub start: String,
    pub host: String,
    pub body: String,
}

impl Fleet {
    /// Starts a router and waits until it answers.
    pub fn start(executable: &Path, options: &FleetOptions<'_>) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let shard_file = folder.path().join("shard.toml");
        let ready_file = folder.path().join("ready.json");
        std::fs::write(&shard_file, shard_file_text(options))?;
        let mut command = program(executable, "router");
        command.arg("--config").arg(&shard_file).arg("--ready-file").arg(&ready_file);
        command.envs(options.environment.iter().copied());
        let mut router = Running::start(command, folder.path().join("router.log"))?;
        wait_until(START_LIMIT, "the fleet to be ready", || {
            router.check_alive()?;
            Ok(ready_file.exists())
        })
        .with_context(|| router.log())?;
        let ready = read_json(&ready_file)?;
        let address =
            |name: &str| ready[name].as_str().map(str::to_owned).with_context(|| format!("no `{name}`"));
        let (data, admin) = (address("data")?, address("admin")?);
        let mut client = Client::builder().timeout(Duration::from_secs(120));
        for worker in WORKERS {
            client = client.resolve(&format!("{worker}.localhost"), data.parse()?);
        }
        Ok(Self { router, client: client.build()?, data, admin, ready_file, _folder: folder })
    }

    /// What the router says of its hosts: `(id, process ID, address)`.
    pub fn hosts(&self) -> Result<Vec<(String, u32, String)>> {
        let ready = read_json(&self.ready_file)?;
        let hosts = ready["hosts"].as_array().context("no `hosts`")?;
        hosts
            .iter()
            .map(|host| {
                let text = |name: &str| host[name].as_str().map(str::to_owned).context("not a text");
                let pid = host["pid"].as_u64().context("no process ID")?;
                Ok((text("id")?, pid.try_into()?, text("addr")?))
            })
            .collect()
    }

    /// The process ID of a host.
    pub fn pid_of(&self, host: &str) -> Result<u32> {
        let found = self.hosts()?.into_iter().find(|(id, ..)| id == host);
        found.map(|(_, pid, _)| pid).with_context(|| format!("no host `{host}`"))
    }

    pub fn port(&self) -> &str {
        self.data.rsplit(':').next().unwrap_or_default()
    }

    pub fn data(&self) -> &str {
        &self.data
    }

    pub fn url(&self, worker: &str, path: &str) -> String {
        format!("http://{worker}.localhost:{}{path}", self.port())
    }

    pub fn client(&self) -> &Client {
        &self.client
    }

    /// One GET, read to the end.
    pub fn get(&self, worker: &str, path: &str) -> Result<Answer> {
        let response = self.client.get(self.url(worker, path)).send()?;
        Answer::read(response)
    }

    /// Drops every idle isolate of a worker.
    pub fn evict(&self, worker: &str) -> Result<()> {
        let response = self.client.post(format!("http://{}/evict?worker={worker}", self.admin)).send()?;
        ensure!(response.status().is_success(), "evict answered {}", response.status());
        Ok(())
    }
}

impl Answer {
    pub fn read(response: Response) -> Result<Self> {
        let header = |name: &str| {
            let value = response.headers().get(name).and_then(|value| value.to_str().ok());
            value.unwrap_or_default().to_owned()
        };
        let (start, host) = (header("x-warmshard-start"), header("x-warmshard-host"));
        Ok(Self { status: response.status().as_u16(), start, host, body: response.text()? })
    }

    pub fn json(&self) -> Result<Value> {
        serde_json::from_str(&self.body).with_context(|| format!("not JSON: {}", self.body))
    }
}

fn shard_file_text(options: &FleetOptions<'_>) -> String {
    let mut text = String::from("[listen]\ndata = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\n\n");
    text.push_str("[[routes]]\nhost = \"{worker}.localhost\"\n\n[embedded]\n");
    let _ = writeln!(text, "hosts = {}", options.hosts);
    let workers: Vec<String> =
        options.workers.iter().map(|path| format!("{:?}", path.display().to_string())).collect();
    let _ = writeln!(text, "workers = [{}]\n{}", workers.join(", "), options.embedded);
    text
}

fn read_json(path: &Path) -> Result<Value> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("not JSON: {text}"))
}
