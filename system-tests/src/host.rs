//! One isolate host without a router.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use reqwest::blocking::Client;
use tempfile::TempDir;

use crate::fleet::Answer;
use crate::process::{Running, program, wait_until};

const KEY: &str = "the-key-of-a-fleet-of-one";
/// A cold cache means downloading and compiling Pyodide first.
const START_LIMIT: Duration = Duration::from_secs(900);

/// A host under way; ended when dropped.
pub struct Host {
    pub process: Running,
    client: Client,
    address: String,
    _folder: TempDir,
}

impl Host {
    /// Starts a host on a store and waits until it answers.
    pub fn start(executable: &Path, store: &Path, environment: &[(&str, &str)]) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let mut command = program(executable, "isolate-host");
        command.arg("serve").arg("--store").arg(store).env("WARMSHARD_FLEET_KEY", KEY);
        command.envs(environment.iter().copied());
        let mut process = Running::start(command, folder.path().join("host.log"))?;
        let mut address = None;
        wait_until(START_LIMIT, "the host to be ready", || {
            process.check_alive()?;
            address =
                process.log().lines().find_map(|line| Some(line.split_once(" listening on ")?.1.to_owned()));
            Ok(address.is_some())
        })?;
        let client = Client::builder().timeout(Duration::from_secs(120)).build()?;
        Ok(Self { process, client, address: address.context("it is there")?, _folder: folder })
    }

    /// One GET of a worker, read to the end.
    pub fn get(&self, worker: &str, path: &str) -> Result<Answer> {
        let request = self.client.get(format!("http://{}{path}", self.address));
        Answer::read(request.header("x-warmshard-key", KEY).header("x-warmshard-worker", worker).send()?)
    }

    /// Drops every idle isolate of a worker.
    pub fn evict(&self, worker: &str) -> Result<()> {
        let request = self.client.post(format!("http://{}/_warmshard/evict?worker={worker}", self.address));
        request.header("x-warmshard-key", KEY).send()?.error_for_status()?;
        Ok(())
    }

    /// The value of a metric, by its name with its labels as they are printed.
    pub fn metric(&self, name: &str) -> Result<f64> {
        let request = self.client.get(format!("http://{}/_warmshard/metrics", self.address));
        let text = request.header("x-warmshard-key", KEY).send()?.error_for_status()?.text()?;
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.with_context(|| format!("no `{name}` in:\n{text}"))?.parse().context("not a number")
    }
}
