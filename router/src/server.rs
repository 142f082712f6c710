//! From settings to a running router and back to nothing.
//!
//! ```text
//! bind ─▶ serve (503 until hosts are up) ─▶ deploy ─▶ start hosts ─▶ ready: banner
//!                                                                       │ signal
//! children reaped ◀─ stop hosts ◀─ requests drained ◀─ stop accepting ◀─┘
//! ```
//!
//! pingora's own `Server` is not used: its SIGINT drops requests, its SIGTERM
//! sleeps through a fixed grace period, and it forgets which port 0 became. Its
//! service runs on a runtime of ours, with a socket of ours and a stop of ours.

mod router;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use metrics_exporter_prometheus::PrometheusHandle;
use warmshard_config::shard_file::Settings;
use warmshard_config::units::{FleetKey, hex};

use crate::admin::Admin;
use crate::embedded::{HostProgram, Hosts};
use crate::fleet::{Fleet, Spreading, Traffic};
use crate::host_tls::HostTls;
use crate::listeners::{Named, Sockets};
use crate::reload::Reloader;
use crate::shutdown::{Leash, Signals};
use crate::tls::Certificates;
use crate::upgrade::{Predecessor, Successor, UpgradeSocket};
use crate::{banner, etcd, metric, probe};
use router::{Announcement, Door, Router};

/// What a start needs.
pub(crate) struct Start {
    /// The shard file, and what it said.
    pub(crate) file: PathBuf,
    pub(crate) text: String,
    pub(crate) settings: Settings,
    pub(crate) program: HostProgram,
    pub(crate) ready_file: Option<PathBuf>,
    /// Where routers take over from each other.
    pub(crate) upgrade_socket: Option<PathBuf>,
    pub(crate) leash: Leash,
}

type Failure = Box<dyn Error + Send + Sync>;

/// How long tasks may take to notice that everything is over.
const LAST_TASKS: Duration = Duration::from_millis(500);

/// Runs until a signal stops it.
pub(crate) fn run(start: Start) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let outcome = runtime.block_on(serve(start));
    runtime.shutdown_timeout(LAST_TASKS);
    outcome
}

async fn serve(start: Start) -> Result<(), Failure> {
    let Start { file, text, settings, program, ready_file, upgrade_socket, leash } = start;
    let mut signals = Signals::listen(leash)?;
    let settings = tokio::select! {
        settings = etcd::complete(settings) => settings,
        signal = signals.next() => {
            tracing::info!(signal, "stopping before any host was known");
            return Ok(());
        }
    };
    let mut succession = Succession::find(upgrade_socket).await?;
    let sockets = Sockets::open(&settings.listen, succession.predecessor.as_mut())?;
    succession.shared = sockets.shared()?;
    if let Some(path) = &ready_file {
        banner::remove_ready_file(path)?;
    }
    let announcement = Announcement { addresses: sockets.addresses()?, settings: &settings, ready_file };

    let metrics = metric::install()?;
    let key = settings.key.clone().unwrap_or_else(random_key);
    let traffic = Traffic::of(&settings, &key);
    let host_tls = settings.host_tls.as_ref().map(HostTls::load).transpose()?.map(Arc::new);
    let spreading = Spreading::from(&settings.placement);
    let fleet = Fleet::over(host_tls, settings.build_placement(), spreading, traffic);
    let mut router = Router::new(Arc::new(fleet));
    let certificates = sockets.tls.as_ref().map(|_| Certificates::load(&settings.tls).map(Arc::new));
    let certificates = certificates.transpose()?;
    let reloader = Reloader::new(file, settings.clone(), text, Arc::clone(&router.fleet), key.clone());
    let reloader = Arc::new(reloader.with_certificates(certificates.clone()));
    let admin_api = Arc::new(admin_api(&router, &reloader, &settings, metrics));
    let door = Door { sockets, certificates, admin_api };
    // Whoever is to be replaced goes on accepting until everything here answers.
    let closed =
        if succession.predecessor.is_some() { Some(door) } else { router.open(door).map(|()| None)? };
    tokio::spawn(probe::run(Arc::clone(&router.fleet)));

    let mut hosts = Hosts::none();
    let up = tokio::select! {
        up = router.bring_up(&settings, program, &key, &mut hosts, &reloader) => up,
        signal = signals.next() => {
            tracing::info!(signal, "stopping before everything had started");
            router.stop(Duration::ZERO, &mut signals).await;
            hosts.stop(&mut signals).await;
            return Ok(());
        }
    };
    let live = match up {
        Ok(()) => router.go_live(closed, succession, announcement).await,
        Err(error) => Err(error),
    };
    let outcome = match live {
        Ok(socket) => {
            until_over(router, socket, &settings, &reloader, &mut signals).await;
            Ok(())
        }
        Err(error) => {
            router.stop(Duration::ZERO, &mut signals).await;
            Err(error)
        }
    };
    hosts.stop(&mut signals).await;
    tracing::info!("stopped");
    outcome
}

fn admin_api(
    router: &Router,
    reloader: &Arc<Reloader>,
    settings: &Settings,
    metrics: PrometheusHandle,
) -> Admin {
    Admin {
        fleet: Arc::clone(&router.fleet),
        reloader: Arc::clone(reloader),
        token: settings.admin_token.clone(),
        phase: router.phase.subscribe(),
        metrics,
        in_flight: router.in_flight.clone(),
        connections: router.connections.clone(),
    }
}

/// Serves until a signal or another router ends it.
async fn until_over(
    router: Router,
    socket: Option<UpgradeSocket>,
    settings: &Settings,
    reloader: &Arc<Reloader>,
    signals: &mut Signals,
) {
    tokio::spawn(Arc::clone(reloader).run());
    if let Some(etcd) = settings.etcd.clone() {
        tokio::spawn(etcd::follow(etcd, Arc::clone(reloader)));
    }
    let timeouts = || reloader.settings().timeouts;
    tokio::select! {
        signal = signals.next() => {
            tracing::info!(signal, in_flight = router.in_flight.count(), "stopping");
            router.stop(timeouts().drain, signals).await;
        }
        successor = replaced(socket) => {
            tracing::info!(connections = router.connections.count(), "another router has taken over");
            router.linger(successor, timeouts().linger, signals).await;
        }
    }
}

/// The routers before and after this one, if they take over from each other.
struct Succession {
    path: Option<PathBuf>,
    predecessor: Option<Predecessor>,
    /// What the next one gets.
    shared: Vec<Named>,
}

impl Succession {
    async fn find(path: Option<PathBuf>) -> Result<Self, Failure> {
        let predecessor = match &path {
            Some(path) => Predecessor::find(path).await.map_err(|error| cannot_take_over(path, &error))?,
            None => None,
        };
        Ok(Self { path, predecessor, shared: Vec::new() })
    }

    /// Has the process before this one stop accepting; what is returned waits for the next one.
    async fn take_over(self) -> Result<Option<UpgradeSocket>, Failure> {
        let Self { path, predecessor, shared } = self;
        if let Some(old) = predecessor
            && let Err(error) = old.replace().await
        {
            tracing::warn!(%error, "the router before this one has gone");
        }
        let Some(path) = path else { return Ok(None) };
        let socket = UpgradeSocket::listen(&path, shared);
        Ok(Some(socket.map_err(|error| cannot_take_over(&path, &error))?))
    }
}

fn cannot_take_over(path: &Path, error: &std::io::Error) -> String {
    format!("cannot take over at {} (`--upgrade-socket`): {error}", path.display())
}

/// Resolves when another process is to replace this one; never without `--upgrade-socket`.
async fn replaced(socket: Option<UpgradeSocket>) -> Successor {
    match socket {
        Some(socket) => socket.replaced().await,
        None => std::future::pending().await,
    }
}

/// A new secret for hosts that nobody else talks to.
fn random_key() -> FleetKey {
    let bytes: [u8; 32] = rand::random();
    FleetKey::parse(&hex(&bytes)).expect("64 hexadecimal digits are a key")
}
