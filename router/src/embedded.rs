//! Isolate hosts on this machine, as child processes of the router's own
//! executable: a crash in a host never takes the router along.
//!
//! ```text
//! Embedded::deploy   each worker's folder, one after the other, before hosts start
//! Hosts::start       one supervisor for each host:
//!                      start ─▶ "listening on" ─▶ Fleet::arrived ─▶ wait
//!                        ▲                                           │ exit
//!                        └──────── back off ◀──── Fleet::left ◀──────┘
//! Hosts::stop        SIGTERM, then SIGKILL; every child is reaped
//! ```
//!
//! A child that comes back has another address and the same ID, so the ring does
//! not change and its workers return to it.

mod backoff;
mod child;
mod deploy;

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::process::Command;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;
use warmshard_config::shard_file;
use warmshard_config::units::FleetKey;

use crate::cli::ISOLATE_HOST;
use crate::fleet::{Fleet, Host, Place};
use crate::metric;
use crate::shutdown::Signals;
use backoff::Backoff;
pub(crate) use child::ChildError;
use child::HostProcess;
pub(crate) use deploy::worker_names;

/// How long a host may take to drain before it is killed.
const STOP_LIMIT: Duration = Duration::from_secs(6);

/// A host that ends this often before it ever listened will not do better.
const HOPELESS: u32 = 3;

/// What is started as isolate host.
#[derive(Debug, Clone)]
pub(crate) struct HostProgram {
    program: PathBuf,
    first: Option<OsString>,
}

impl HostProgram {
    /// This executable again.
    pub(crate) fn own() -> std::io::Result<Self> {
        let program = std::env::current_exe()?;
        Ok(Self { program, first: Some(ISOLATE_HOST.into()) })
    }

    /// Another executable.
    pub(crate) fn at(program: PathBuf) -> Self {
        Self { program, first: None }
    }

    /// A command in a process group of its own, so that Ctrl-C reaches the router
    /// alone, which then stops everything in order.
    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.first).process_group(0).kill_on_drop(true);
        command
    }
}

/// What to start and how.
#[derive(Debug, Clone)]
pub(crate) struct Embedded {
    pub(crate) settings: shard_file::Embedded,
    pub(crate) program: HostProgram,
    pub(crate) key: FleetKey,
}

impl Embedded {
    fn serve_command(&self, host: &Host) -> Command {
        let mut command = self.program.command();
        command.args(["serve", "--listen", "127.0.0.1:0", "--exit-with-parent"]);
        command.arg("--host-id").arg(host.id().as_str());
        command.arg("--hosts-here").arg(self.settings.hosts.len().to_string());
        if let Some(store) = &self.settings.store {
            command.arg("--store").arg(store);
        }
        if let Some(most) = self.settings.max_isolates {
            command.arg("--max-isolates").arg(most.to_string());
        }
        if let Some(most) = self.settings.requests_per_isolate {
            command.arg("--requests-per-isolate").arg(most.to_string());
        }
        // Not as an argument: those are visible to everybody on the machine.
        command.env("WARMSHARD_FLEET_KEY", self.key.reveal());
        command
    }
}

/// The supervisors of all hosts.
#[derive(Debug)]
pub(crate) struct Hosts {
    supervisors: JoinSet<Result<(), ChildError>>,
    stop: watch::Sender<Stop>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stop {
    No,
    Drain,
    AtOnce,
}

impl Hosts {
    pub(crate) fn none() -> Self {
        Self { supervisors: JoinSet::new(), stop: watch::Sender::new(Stop::No) }
    }

    /// Starts every host of the fleet and keeps it running.
    pub(crate) fn start(&mut self, embedded: &Embedded, fleet: &Arc<Fleet>) {
        for host in fleet.roster().hosts() {
            let supervisor = Supervisor {
                embedded: embedded.clone(),
                fleet: Arc::clone(fleet),
                host: Arc::clone(host),
                stop: self.stop.subscribe(),
            };
            self.supervisors.spawn(supervisor.run());
        }
    }

    /// Resolves when a host could not be started at all.
    pub(crate) async fn gave_up(&mut self) -> ChildError {
        loop {
            match self.supervisors.join_next().await {
                Some(Ok(Err(error))) => return error,
                Some(_) => {}
                None => std::future::pending().await,
            }
        }
    }

    /// Stops all hosts and waits for them; another signal means at once.
    pub(crate) async fn stop(mut self, signals: &mut Signals) {
        self.stop.send_replace(Stop::Drain);
        while !self.supervisors.is_empty() {
            tokio::select! {
                _ = self.supervisors.join_next() => {}
                _ = signals.next() => { self.stop.send_replace(Stop::AtOnce); }
            }
        }
    }
}

/// Keeps one host running.
struct Supervisor {
    embedded: Embedded,
    fleet: Arc<Fleet>,
    host: Arc<Host>,
    stop: watch::Receiver<Stop>,
}

impl Supervisor {
    /// Ends when it is told to stop, or when the host cannot be started at all.
    async fn run(mut self) -> Result<(), ChildError> {
        let mut backoff = Backoff::default();
        let mut ever_listened = false;
        loop {
            let began = Instant::now();
            let error = match self.run_once(&mut ever_listened).await {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            let pause = backoff.after(began.elapsed());
            if !ever_listened && backoff.failures() >= HOPELESS {
                return Err(error);
            }
            tracing::error!(host = %self.host.id(), %error, ?pause, "host ended, starting it again");
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = told_to_stop(&mut self.stop) => return Ok(()),
            }
        }
    }

    /// One process from start to end. `Ok` means that it was told to stop.
    async fn run_once(&mut self, ever_listened: &mut bool) -> Result<(), ChildError> {
        metric::host_started(self.host.id());
        let mut process = HostProcess::start(self.embedded.serve_command(&self.host), self.host.id())?;
        tokio::select! {
            address = process.listening() => {
                let place = Place { address: address?, pid: process.pid() };
                tracing::info!(host = %self.host.id(), pid = place.pid, address = %place.address, "host started");
                *ever_listened = true;
                self.fleet.arrived(&self.host, place);
            }
            () = told_to_stop(&mut self.stop) => return self.end(process).await,
        }
        let ended = tokio::select! {
            ended = process.ended() => ended,
            () = told_to_stop(&mut self.stop) => return self.end(process).await,
        };
        self.fleet.left(&self.host);
        Err(ended)
    }

    /// Asks the process to end and sees to it that it does.
    async fn end(&mut self, mut process: HostProcess) -> Result<(), ChildError> {
        process.terminate();
        let mut stop = self.stop.clone();
        let in_time = tokio::select! {
            _ = process.ended() => true,
            () = tokio::time::sleep(STOP_LIMIT) => false,
            () = told_to_stop_at_once(&mut stop) => false,
        };
        if !in_time {
            tracing::warn!(host = %self.host.id(), "host did not end in time and is killed");
            process.kill().await;
        }
        Ok(())
    }
}

/// A sender that is gone means the same: nobody is left who wants the host.
async fn told_to_stop(stop: &mut watch::Receiver<Stop>) {
    let _ = stop.wait_for(|stop| *stop != Stop::No).await;
}

async fn told_to_stop_at_once(stop: &mut watch::Receiver<Stop>) {
    let _ = stop.wait_for(|stop| *stop == Stop::AtOnce).await;
}
