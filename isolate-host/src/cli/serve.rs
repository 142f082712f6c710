//! `isolate-host serve`.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use warmshard_config::host_policy::memory::MemoryLimits;
use warmshard_config::host_policy::pool::PoolLimits;
use warmshard_config::units::{FleetKey, HostId, hex, parse_duration};

use super::{CommandResult, logging, places};
use crate::cache::CacheDir;
use crate::isolate::{Engine, EngineOptions, Limits};
use crate::machine;
use crate::pool::{EngineRuntime, Runtime, chain};
use crate::progress::ToLog;
use crate::secrets::SecretsFolder;
use crate::server::{self, Host, HostLimits, HostTls, Listener, Shutdown, TlsFiles};
use crate::store::Store;

/// How long requests may go on after the host was told to stop.
const DRAIN: Duration = Duration::from_secs(5);
/// Ended isolates kept to be used again: some megabytes each.
const PARKED: usize = 16;
/// How often the store is searched for new versions, so that they are ready before a request asks.
const WATCH: Duration = Duration::from_secs(1);

/// Serve workers to routers that have the fleet's key.
///
/// The first line on standard output is `isolate-host ID listening on ADDRESS`, once requests are
/// answered. SIGTERM and SIGINT let requests end for a few seconds, then the command exits with 0.
#[derive(Debug, Args)]
pub(super) struct Serve {
    /// The address to listen on; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// The folder of deployments [default: $WARMSHARD_STORE, or in the user's data folder]
    #[arg(long, value_name = "DIR")]
    store: Option<PathBuf>,
    /// This host's name in the fleet
    #[arg(long, value_name = "ID", default_value = "local", value_parser = HostId::parse)]
    host_id: HostId,
    /// The file with the fleet's key, or several, each on a line of its own; read again when it
    /// changes; else the variable WARMSHARD_FLEET_KEY holds it
    #[arg(long, value_name = "FILE")]
    fleet_key_file: Option<PathBuf>,
    /// Speak TLS with this certificate, which is made for the host's ID; PEM, those that signed it after it
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_certificate: Option<PathBuf>,
    /// The certificate's private key, as PEM
    #[arg(long, value_name = "FILE", requires = "tls_certificate")]
    tls_key: Option<PathBuf>,
    /// Whoever shows a certificate signed by one of these needs no fleet key, and there need be none
    #[arg(long, value_name = "FILE", requires = "tls_certificate")]
    tls_client_ca: Option<PathBuf>,
    /// The most isolates kept at once; the idle one that is worth least makes room for the next
    #[arg(long, value_name = "N", default_value = "128")]
    max_isolates: NonZeroU32,
    /// The most requests in one isolate at once
    #[arg(long, value_name = "N", default_value = "64")]
    requests_per_isolate: NonZeroU32,
    /// The most deployments without isolates kept ready to be restored; the longest unused one makes
    /// room for the next
    #[arg(long, value_name = "N", default_value = "64", env = "WARMSHARD_MAX_PREPARED")]
    max_prepared: NonZeroUsize,
    /// The most requests at once; more are refused, and routers go to another host [default: no limit]
    #[arg(long, value_name = "N")]
    max_in_flight: Option<NonZeroU32>,
    /// The most memory this host takes, in MiB: from seven eighths of it on idle isolates are dropped,
    /// beyond it requests are refused [default: nine tenths of what the machine or its control group has]
    #[arg(long, value_name = "MIB", env = "WARMSHARD_MAX_MEMORY")]
    max_memory: Option<NonZeroU32>,
    /// So many hosts share the machine, which makes the default of `--max-memory` less
    #[arg(long, value_name = "N", default_value = "1")]
    hosts_here: NonZeroU32,
    /// Drop isolates that nobody has called for so long, such as `1h` [default: never]
    #[arg(long, value_name = "TIME", env = "WARMSHARD_HIBERNATE_AFTER", value_parser = parse_duration)]
    hibernate_after: Option<Duration>,
    /// A folder with the values of workers' secrets: for each worker that has some, `NAME.json` with one
    /// object such as {"API_KEY": "…"}. Read again when it changes, for isolates restored from then on
    #[arg(long, value_name = "DIR", env = "WARMSHARD_SECRETS")]
    secrets: Option<PathBuf>,
    /// CPU time a worker may use before it gives the thread back, such as `500ms` or `30s`
    #[arg(long, value_name = "TIME", default_value = "30s", env = "WARMSHARD_CPU_LIMIT", value_parser = parse_duration)]
    cpu_limit: Duration,
    /// Memory of one isolate, in MiB
    #[arg(long, value_name = "MIB", default_value = "512", env = "WARMSHARD_MEMORY_LIMIT",
        value_parser = clap::value_parser!(u32).range(64..=4096))]
    memory_limit: u32,
    /// How long to tell routers to go elsewhere before connections are closed, when asked to stop
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = parse_duration)]
    drain_notice: Duration,
    /// Stop when standard input ends, as it does when the parent process dies
    #[arg(long)]
    exit_with_parent: bool,
}

/// Why the host does not serve.
#[derive(Debug, thiserror::Error)]
enum ServeError {
    #[error(
        "found no fleet key, expected one in `--fleet-key-file` or the variable `WARMSHARD_FLEET_KEY`, or \
         `--tls-client-ca`"
    )]
    NoKey,
    #[error("the machine gives no random numbers: {0}")]
    NoEntropy(getrandom::Error),
    #[error("cannot read the fleet's key from `{path}`")]
    ReadKey { path: String, source: io::Error },
    #[error("cannot listen on `{addr}`")]
    Listen { addr: SocketAddr, source: io::Error },
}

impl Serve {
    pub(super) fn run(self) -> CommandResult {
        logging::start("info");
        let key = self.fleet_key()?;
        let store = Arc::new(Store::open(places::store(self.store.clone())?)?);
        let cache = CacheDir::open_default()?;
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let result = runtime.block_on(self.serve(key, store, cache));
        // What still runs on its threads, such as a compilation, has no one to wait for it.
        runtime.shutdown_background();
        result
    }

    async fn serve(&self, key: FleetKey, store: Arc<Store>, cache: CacheDir) -> CommandResult {
        let mut stop = Stop::new(self.exit_with_parent)?;
        // Bound before the runtime is opened, which may take long: a taken port is told at once.
        let socket = TcpListener::bind(self.listen)
            .await
            .map_err(|source| ServeError::Listen { addr: self.listen, source })?;
        let tls = self.tls_files().map(HostTls::load).transpose()?;
        let limits = Limits {
            cpu: self.cpu_limit,
            memory_bytes: self.memory_limit as usize * (1 << 20),
            ..Limits::default()
        };
        let host_id = self.host_id.to_string();
        let secrets = self.secrets.clone().map(SecretsFolder::open).transpose()?;
        let options = EngineOptions { host_id, limits, parked: PARKED, secrets, ..EngineOptions::default() };
        // Guests share the server's threads: they are interrupted every few milliseconds, and a
        // request that stays on its thread is spared the time it takes to wake another.
        let guests = tokio::runtime::Handle::current();
        let open = tokio::task::spawn_blocking(move || Engine::open(&cache, options, guests, &ToLog));
        let engine = tokio::select! {
            opened = open => opened??,
            () = stop.asked() => return Ok(()),
        };
        let pool =
            PoolLimits { isolates: self.max_isolates, requests_per_isolate: self.requests_per_isolate };
        let limits = HostLimits {
            pool,
            prepared: self.max_prepared,
            memory: self.memory_limits()?,
            hibernate_after: self.hibernate_after,
        };
        let host = Host::new(self.host_id.clone(), key, limits, Arc::new(EngineRuntime::new(engine, store)));
        host.limit_in_flight(self.max_in_flight);
        let deployments = Arc::clone(host.deployments());
        let upkeep = tokio::spawn(server::upkeep(Arc::clone(&host)));
        let key_watcher = self.watch_key(&host);
        let tls_watcher = tokio::spawn(watch_tls(tls.clone()));
        // What the store has is ready before anybody is told that this host is there.
        deployments.prepare_all().await;
        announce(&self.host_id, socket.local_addr()?)?;
        let watcher = tokio::spawn(async move {
            loop {
                deployments.prepare_all().await;
                tokio::time::sleep(WATCH).await;
            }
        });
        // Whose parent stops it has no requests to come.
        let notice = if self.exit_with_parent { Duration::ZERO } else { self.drain_notice };
        let listener = Listener { socket, tls };
        server::serve(host, listener, stop.asked(), Shutdown { notice, drain: DRAIN }).await;
        watcher.abort();
        upkeep.abort();
        key_watcher.abort();
        tls_watcher.abort();
        Ok(())
    }

    /// Takes another key over as soon as the file has it, so that it is changed without a restart.
    fn watch_key<R: Runtime>(&self, host: &Arc<Host<R>>) -> JoinHandle<()> {
        let (path, host) = (self.fleet_key_file.clone(), Arc::clone(host));
        tokio::spawn(async move {
            let Some(path) = path else { return };
            let mut known = tokio::fs::read_to_string(&path).await.ok();
            loop {
                tokio::time::sleep(WATCH).await;
                let Ok(text) = tokio::fs::read_to_string(&path).await else { continue };
                if known.as_ref() == Some(&text) {
                    continue;
                }
                match FleetKey::parse(&text) {
                    Ok(key) => {
                        host.set_key(key);
                        tracing::info!(path = %path.display(), "the fleet's key has changed");
                    }
                    Err(error) => {
                        tracing::error!(path = %path.display(), %error, "the fleet's key stays as it was");
                    }
                }
                known = Some(text);
            }
        })
    }

    fn tls_files(&self) -> Option<TlsFiles> {
        let (certificate, key) = (self.tls_certificate.clone()?, self.tls_key.clone()?);
        Some(TlsFiles { certificate, key, client_ca: self.tls_client_ca.clone() })
    }

    fn memory_limits(&self) -> io::Result<MemoryLimits> {
        let bytes = match self.max_memory {
            Some(mebibytes) => u64::from(mebibytes.get()) << 20,
            // The rest is for the kernel, and for what else runs here.
            None => machine::memory_allowed()? / 10 * 9 / u64::from(self.hosts_here.get()),
        };
        Ok(MemoryLimits::up_to(bytes))
    }

    fn fleet_key(&self) -> Result<FleetKey, Box<dyn std::error::Error>> {
        let text = match &self.fleet_key_file {
            Some(path) => std::fs::read_to_string(path)
                .map_err(|source| ServeError::ReadKey { path: path.display().to_string(), source })?,
            None => match std::env::var("WARMSHARD_FLEET_KEY") {
                Ok(text) => text,
                // Certificates say who is of the fleet: a key that nobody has.
                Err(_) if self.tls_client_ca.is_some() => random_key()?,
                Err(_) => return Err(ServeError::NoKey.into()),
            },
        };
        Ok(FleetKey::parse(&text)?)
    }
}

fn random_key() -> Result<String, ServeError> {
    let mut key = [0; 32];
    getrandom::fill(&mut key).map_err(ServeError::NoEntropy)?;
    Ok(hex(&key))
}

/// Takes other certificates over as soon as the files have them.
async fn watch_tls(tls: Option<Arc<HostTls>>) {
    let Some(tls) = tls else { return };
    let mut known = tls.stamp();
    loop {
        tokio::time::sleep(WATCH).await;
        let stamp = tls.stamp();
        if stamp == known {
            continue;
        }
        match tls.reload() {
            Ok(()) => tracing::info!("other certificates are in force"),
            Err(error) => tracing::error!(error = chain(&error), "the last good certificates stay"),
        }
        known = stamp;
    }
}

/// Tells whoever started us where we are.
fn announce(id: &HostId, addr: SocketAddr) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "isolate-host {id} listening on {addr}")?;
    out.flush()
}

/// What ends the host.
struct Stop {
    terminate: Signal,
    interrupt: Signal,
    parent: Option<oneshot::Receiver<()>>,
}

impl Stop {
    fn new(exit_with_parent: bool) -> io::Result<Self> {
        let parent = if exit_with_parent { Some(parent_ends()?) } else { None };
        let (terminate, interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        Ok(Self { terminate, interrupt, parent })
    }

    /// Resolves when the host is to stop.
    async fn asked(&mut self) {
        let parent = async {
            match &mut self.parent {
                Some(parent) => drop(parent.await),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.terminate.recv() => tracing::info!("told to stop"),
            _ = self.interrupt.recv() => tracing::info!("interrupted"),
            () = parent => tracing::info!("the parent process is gone"),
        }
    }
}

/// Resolves when standard input ends. A thread of its own: reading it cannot be
/// cancelled, and must not hold up the end of the process.
fn parent_ends() -> io::Result<oneshot::Receiver<()>> {
    let (sender, receiver) = oneshot::channel();
    std::thread::Builder::new().name("parent".to_owned()).spawn(move || {
        let mut buffer = [0; 256];
        let mut input = io::stdin();
        loop {
            match input.read(&mut buffer) {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        let _ = sender.send(());
    })?;
    Ok(receiver)
}
