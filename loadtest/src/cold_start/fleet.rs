//! A fleet of our own: the router with two isolate hosts, on free ports, for as long as the
//! measurement lasts.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use warmshard_config::wire::ReadyFile;

use super::child::{ChildGroup, Input};
use super::command::CommandLine;
use crate::progress::Progress;
use crate::target::HostPattern;

/// How long the router may take to drain before it is killed.
const DRAIN: Duration = Duration::from_secs(15);
/// How often the ready file is looked for.
const LOOK_EVERY: Duration = Duration::from_millis(50);

#[derive(Debug, thiserror::Error)]
pub(crate) enum FleetError {
    #[error("cannot write the router's configuration into `{}`", folder.display())]
    Write { folder: PathBuf, source: io::Error },
    #[error("cannot start the router `{command}`; build it, or name it with --router")]
    Start { command: String, source: io::Error },
    #[error("the router ended before it was ready; its last lines:\n{last_words}")]
    Ended { last_words: String },
    #[error(
        "the router was not ready within {timeout:?}; raise --ready-timeout, or see its last lines:\n{last_words}"
    )]
    TimedOut { timeout: Duration, last_words: String },
    #[error("the router's ready file is not understood; do router and loadtest come from the same build?")]
    ReadyFile(#[source] serde_json::Error),
    #[error("found no `router` in `{}`, expected it beside this program; build it (`cargo build --release`), or name it with --router", folder.display())]
    NoRouter { folder: PathBuf },
    #[error("found no folder `{}`, expected that of a worker", folder.display())]
    NoWorker { folder: PathBuf, source: io::Error },
}

/// Where a fleet is reached.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Addresses {
    pub(crate) data: SocketAddr,
    pub(crate) admin: SocketAddr,
}

#[derive(Debug)]
pub(crate) struct Fleet {
    router: ChildGroup,
    ready: ReadyFile,
    /// Declared last: removed after the router is gone.
    _folder: tempfile::TempDir,
}

impl Fleet {
    pub(crate) async fn start(
        router: CommandLine,
        worker: &Path,
        hosts: &HostPattern,
        timeout: Duration,
    ) -> Result<Self, FleetError> {
        let folder = tempfile::tempdir()
            .map_err(|source| FleetError::Write { folder: std::env::temp_dir(), source })?;
        let config = folder.path().join("cold-start.toml");
        let ready_file = folder.path().join("ready.json");
        let worker = worker
            .canonicalize()
            .map_err(|source| FleetError::NoWorker { folder: worker.to_owned(), source })?;
        std::fs::write(&config, shard_file(&worker, hosts))
            .map_err(|source| FleetError::Write { folder: folder.path().to_owned(), source })?;

        let mut command = router.as_written();
        command.arg("--config").arg(&config).arg("--ready-file").arg(&ready_file);
        command.arg("--exit-with-parent");
        let router = ChildGroup::spawn(command, Input::UntilWeEnd, &folder.path().join("router.log"))
            .map_err(|source| FleetError::Start { command: router.text().to_owned(), source })?;
        let ready = until_ready(&router, &ready_file, timeout).await?;
        Ok(Self { router, ready, _folder: folder })
    }

    pub(crate) fn addresses(&self) -> Addresses {
        Addresses { data: self.ready.data, admin: self.ready.admin }
    }

    /// Lets it drain; what is left is killed. Dropping it without this kills it at once.
    pub(crate) async fn stop(self) {
        self.router.terminate(DRAIN).await;
    }
}

async fn until_ready(router: &ChildGroup, file: &Path, timeout: Duration) -> Result<ReadyFile, FleetError> {
    let deadline = Instant::now() + timeout;
    let mut progress = Progress::waiting();
    loop {
        // Written atomically: once it is there, it is complete.
        if let Ok(text) = std::fs::read(file) {
            return serde_json::from_slice(&text).map_err(FleetError::ReadyFile);
        }
        if router.has_ended() {
            return Err(FleetError::Ended { last_words: router.last_words(30) });
        }
        if Instant::now() >= deadline {
            return Err(FleetError::TimedOut { timeout, last_words: router.last_words(30) });
        }
        progress.show(0, format!("starting the router: {}", router.last_words(1)));
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// The shard file of the fleet: free ports, two hosts, one worker.
fn shard_file(worker: &Path, hosts: &HostPattern) -> String {
    let worker = toml_string(&worker.to_string_lossy());
    let route = toml_string(hosts.without_port());
    format!(
        "[listen]\ndata = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\n\n\
         [[routes]]\nhost = {route}\n\n\
         [embedded]\nhosts = 2\nworkers = [{worker}]\n"
    )
}

/// TOML's basic strings escape what JSON's do.
fn toml_string(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// The router that was built together with this program.
pub(crate) fn router_beside_us() -> Result<CommandLine, FleetError> {
    let folder = std::env::current_exe()
        .ok()
        .and_then(|program| program.parent().map(Path::to_owned))
        .unwrap_or_default();
    let router = folder.join("router");
    if router.is_file() { Ok(CommandLine::of_program(&router)) } else { Err(FleetError::NoRouter { folder }) }
}
