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

use std::error::Error;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use pingora::listeners::ALPN;
use pingora::listeners::tls::TlsSettings;
use pingora::proxy::http_proxy;
use pingora::server::configuration::ServerConf;
use pingora::services::Service as _;
use pingora::services::listening::Service;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use warmshard_config::shard_file::{self, Settings};
use warmshard_config::units::FleetKey;

use crate::admin::{Admin, Phase};
use crate::banner::{self, Addresses};
use crate::edge::{Edge, Stage};
use crate::embedded::{Embedded, HostProgram, Hosts};
use crate::fleet::{Fleet, Spreading, Traffic};
use crate::handover::{Handover, Named, Predecessor, Successor};
use crate::prewarm::Prewarmer;
use crate::proxy::Proxy;
use crate::reload::Reloader;
use crate::shutdown::{InFlight, Leash, Signals};
use crate::tls::{Certificates, Resolver};
use crate::{admin, etcd, listeners, metric, probe};

/// What a start needs.
pub(crate) struct Start {
    /// The shard file, and what it said.
    pub(crate) file: PathBuf,
    pub(crate) text: String,
    pub(crate) settings: Settings,
    pub(crate) program: HostProgram,
    pub(crate) ready_file: Option<PathBuf>,
    /// Where routers take over from each other.
    pub(crate) handover: Option<PathBuf>,
    pub(crate) leash: Leash,
}

type Failure = Box<dyn Error + Send + Sync>;

/// How long tasks may take to notice that everything is over.
const LAST_TASKS: Duration = Duration::from_millis(500);

/// How long a router that takes over waits for hosts that may not be there.
const HEARD_WITHIN: Duration = Duration::from_secs(5);

/// Runs until a signal stops it.
pub(crate) fn run(start: Start) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let outcome = runtime.block_on(serve(start));
    runtime.shutdown_timeout(LAST_TASKS);
    outcome
}

async fn serve(start: Start) -> Result<(), Failure> {
    let Start { file, text, settings, program, ready_file, handover, leash } = start;
    let mut signals = Signals::listen(leash)?;
    let settings = tokio::select! {
        settings = etcd::complete(settings) => settings,
        signal = signals.next() => {
            tracing::info!(signal, "stopping before any host was known");
            return Ok(());
        }
    };
    let mut predecessor = match &handover {
        Some(path) => Predecessor::find(path).await.map_err(|error| cannot_take_over(path, &error))?,
        None => None,
    };
    let mut socket = |address, key| match predecessor.as_mut().and_then(|old| old.take(key, address)) {
        Some(socket) => Ok(socket),
        None => listeners::bind(address, key),
    };
    let data = socket(settings.listen.data, DATA)?;
    let admin = socket(settings.listen.admin, ADMIN)?;
    let tls = settings.listen.tls.map(|address| socket(address, TLS)).transpose()?;
    let tls_address = tls.as_ref().map(TcpListener::local_addr).transpose()?;
    let addresses = Addresses { data: data.local_addr()?, admin: admin.local_addr()?, tls: tls_address };
    let mut shared = vec![(DATA, data.try_clone()?), (ADMIN, admin.try_clone()?)];
    if let Some(tls) = &tls {
        shared.push((TLS, tls.try_clone()?));
    }
    if let Some(path) = &ready_file {
        banner::remove_ready_file(path)?;
    }

    let metrics = metric::install()?;
    let key = settings.key.clone().unwrap_or_else(random_key);
    let traffic = Traffic::of(&settings, &key);
    let fleet = Fleet::new(settings.build_placement(), Spreading::from(&settings.placement), traffic);
    let certificates = tls.as_ref().map(|_| Certificates::load(&settings.tls).map(Arc::new)).transpose()?;
    let sockets = Sockets { data, tls: tls.zip(certificates.clone()) };
    let mut router = Router::new(Arc::new(fleet));
    let reloader = Reloader::new(file, settings.clone(), text, Arc::clone(&router.fleet), key.clone());
    let reloader = Arc::new(reloader.with_certificates(certificates));
    let admin_api = Admin {
        fleet: Arc::clone(&router.fleet),
        reloader: Arc::clone(&reloader),
        token: settings.admin_token.clone(),
        phase: router.phase.subscribe(),
        metrics,
        in_flight: router.in_flight.clone(),
        connections: router.connections.clone(),
    };
    let sockets = Door { sockets, admin, admin_api: Arc::new(admin_api) };
    // Whoever is to be replaced goes on accepting until everything here answers.
    let closed = if predecessor.is_some() { Some(sockets) } else { router.open(sockets).map(|()| None)? };
    tokio::spawn(probe::run(Arc::clone(&router.fleet)));

    let mut hosts = Hosts::none();
    let outcome = tokio::select! {
        started = router.bring_up(&settings, program, &key, &mut hosts, &reloader) => {
            started
        }
        signal = signals.next() => {
            tracing::info!(signal, "stopping before everything had started");
            router.stop(Duration::ZERO, &mut signals).await;
            hosts.stop(&mut signals).await;
            return Ok(());
        }
    };
    let outcome = match outcome {
        Ok(()) => {
            let taken = router.take_over(closed, predecessor, handover.as_deref(), shared).await;
            taken.and_then(|next| router.announce(addresses, &settings, ready_file).map(|()| next))
        }
        Err(error) => Err(error),
    };
    let outcome = match outcome {
        Ok(handover) => {
            tokio::spawn(Arc::clone(&reloader).run());
            if let Some(etcd) = settings.etcd.clone() {
                tokio::spawn(etcd::follow(etcd, Arc::clone(&reloader)));
            }
            let timeouts = || reloader.settings().timeouts;
            tokio::select! {
                signal = signals.next() => {
                    tracing::info!(signal, in_flight = router.in_flight.count(), "stopping");
                    router.stop(timeouts().drain, &mut signals).await;
                }
                successor = replaced(handover) => {
                    tracing::info!(connections = router.connections.count(), "another router has taken over");
                    router.linger(successor, timeouts().linger, &mut signals).await;
                }
            }
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

/// The sockets' names, which are their keys in the shard file.
const DATA: &str = "listen.data";
const TLS: &str = "listen.tls";
const ADMIN: &str = "listen.admin";

fn cannot_take_over(path: &Path, error: &std::io::Error) -> String {
    format!("cannot take over at {} (`--handover`): {error}", path.display())
}

/// Resolves when another process is to replace this one; never without `--handover`.
async fn replaced(handover: Option<Handover>) -> Successor {
    match handover {
        Some(handover) => handover.replaced().await,
        None => std::future::pending().await,
    }
}

/// A new secret for hosts that nobody else talks to.
fn random_key() -> FleetKey {
    let bytes: [u8; 32] = rand::random();
    let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    FleetKey::parse(&text).expect("64 hexadecimal digits are a key")
}

/// Where clients come in.
struct Sockets {
    data: TcpListener,
    tls: Option<(TcpListener, Arc<Certificates>)>,
}

/// Everything that clients and operators get in by.
struct Door {
    sockets: Sockets,
    admin: TcpListener,
    admin_api: Arc<Admin>,
}

/// The proxy and what it shares with the rest.
struct Router {
    fleet: Arc<Fleet>,
    in_flight: InFlight,
    connections: InFlight,
    phase: watch::Sender<Phase>,
    stage: watch::Sender<Stage>,
    stopping: watch::Sender<bool>,
    /// Accepts; `None` until the door is open.
    service: Option<JoinHandle<()>>,
}

impl Router {
    fn new(fleet: Arc<Fleet>) -> Self {
        Self {
            fleet,
            in_flight: InFlight::new(),
            connections: InFlight::new(),
            phase: watch::Sender::new(Phase::Starting),
            stage: watch::Sender::new(Stage::Serving),
            stopping: watch::Sender::new(false),
            service: None,
        }
    }

    /// Accepts from now on.
    fn open(&mut self, door: Door) -> Result<(), Failure> {
        let Door { sockets, admin, admin_api } = door;
        let proxy = Proxy { fleet: Arc::clone(&self.fleet), in_flight: self.in_flight.clone() };
        let edge = Edge {
            proxy: Arc::new(http_proxy(&Arc::new(server_conf()), proxy)),
            fleet: Arc::clone(&self.fleet),
            connections: self.connections.clone(),
            stage: self.stage.subscribe(),
        };
        let mut service = Service::new("router".to_owned(), edge);
        let mut listeners = vec![sockets.data];
        let mut certificates = None;
        if let Some((listener, shown)) = sockets.tls {
            listeners.push(listener);
            certificates = Some(shown);
        }
        let (names, descriptors) = listeners::hand_over(listeners)?;
        service.add_tcp(&names[0]);
        if let (Some(name), Some(certificates)) = (names.get(1), certificates) {
            let prewarmer = Prewarmer::new(Arc::clone(&self.fleet));
            service.add_tls_with_settings(name, None, tls_settings(certificates, prewarmer)?);
        }
        let stopped = self.stopping.subscribe();
        self.service = Some(tokio::spawn(async move {
            service.start_service(Some(descriptors), stopped, 1).await;
        }));
        tokio::spawn(admin::serve(admin, admin_api));
        Ok(())
    }

    /// Opens the door if it is still closed, has the process before this one close its own, and
    /// waits for the one after it.
    async fn take_over(
        &mut self,
        closed: Option<Door>,
        predecessor: Option<Predecessor>,
        path: Option<&Path>,
        shared: Vec<Named>,
    ) -> Result<Option<Handover>, Failure> {
        if let Some(door) = closed {
            // A host that has not been heard yet would be passed over, and its workers be cold elsewhere.
            let _ = tokio::time::timeout(HEARD_WITHIN, self.until(Fleet::all_heard)).await;
            self.open(door)?;
        }
        if let Some(old) = predecessor
            && let Err(error) = old.replace().await
        {
            tracing::warn!(%error, "the router before this one has gone");
        }
        let listen =
            |path| Handover::listen(path, shared).map_err(|error| cannot_take_over(path, &error).into());
        path.map(listen).transpose()
    }

    /// Gets the hosts going and waits until they answer.
    async fn bring_up(
        &self,
        settings: &Settings,
        program: HostProgram,
        key: &FleetKey,
        hosts: &mut Hosts,
        reloader: &Reloader,
    ) -> Result<(), Failure> {
        match &settings.fleet {
            shard_file::Fleet::External(_) => {
                reloader.place_hosts(settings);
                self.until(Fleet::any_up).await;
            }
            shard_file::Fleet::Embedded(embedded) => {
                let embedded = Embedded { settings: embedded.clone(), program, key: key.clone() };
                embedded.deploy().await?;
                hosts.start(&embedded, &self.fleet);
                tokio::select! {
                    () = self.until(|fleet| fleet.all_up().is_some()) => {}
                    error = hosts.gave_up() => return Err(error.into()),
                }
            }
        }
        Ok(())
    }

    async fn until(&self, true_of: impl Fn(&Fleet) -> bool) {
        let mut changes = self.fleet.changes();
        while !true_of(&self.fleet) {
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    /// Says that everything answers.
    fn announce(
        &self,
        addresses: Addresses,
        settings: &Settings,
        ready_file: Option<PathBuf>,
    ) -> Result<(), Failure> {
        self.phase.send_replace(Phase::Serving);
        if let Some(path) = ready_file {
            banner::write_ready_file(&path, addresses, &self.fleet)?;
            tokio::spawn(banner::keep_ready_file(path, addresses, Arc::clone(&self.fleet)));
        }
        banner::print(addresses, &self.fleet, settings);
        Ok(())
    }

    /// Accepts no more and answers what is open, until clients have gone to the successor.
    async fn linger(mut self, successor: Successor, limit: Duration, signals: &mut Signals) {
        self.phase.send_replace(Phase::Draining);
        self.stage.send_replace(Stage::Lingering);
        self.stopping.send_replace(true);
        if let Some(service) = self.service.take() {
            let _ = service.await;
        }
        successor.done().await;
        tokio::select! {
            left = self.connections.drained(limit) => tracing::info!(left, "connections are closed"),
            signal = signals.next() => tracing::warn!(signal, "not waiting for connections"),
        }
        self.stop(Duration::ZERO, signals).await;
    }

    /// Stops accepting, then waits for requests in flight; a second signal does not wait.
    async fn stop(mut self, limit: Duration, signals: &mut Signals) {
        self.phase.send_replace(Phase::Draining);
        self.stage.send_replace(Stage::Closing);
        self.stopping.send_replace(true);
        let drained = async {
            // Ends when the listener is closed and idle connections are let go.
            if let Some(service) = self.service.take() {
                let _ = service.await;
            }
            self.in_flight.drained(limit).await
        };
        let left = tokio::select! {
            left = drained => left,
            signal = signals.next() => {
                tracing::warn!(signal, "not waiting for requests in flight");
                self.in_flight.count()
            }
        };
        if left > 0 {
            tracing::warn!(left, "requests in flight are cut off");
        }
    }
}

/// HTTP/2 or HTTP/1.1, with the certificate that the client's name asks for.
fn tls_settings(certificates: Arc<Certificates>, prewarmer: Arc<Prewarmer>) -> Result<TlsSettings, Failure> {
    struct NoCallbacks;
    impl pingora::listeners::TlsAccept for NoCallbacks {}
    let mut settings = TlsSettings::with_callbacks(Box::new(NoCallbacks))?;
    let listener = Box::new(move |name: &str| prewarmer.hello(name));
    settings.set_cert_resolver(Arc::new(Resolver { certificates, listener }));
    settings.set_alpn(ALPN::H2H1);
    Ok(settings)
}

/// pingora's settings, in code: a file of its own would ignore what it does not know.
fn server_conf() -> ServerConf {
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    ServerConf {
        threads,
        // `retries.hosts` is the limit; it is at most 100 and may change at any time.
        max_retries: 101,
        upstream_keepalive_pool_size: 1024,
        ..ServerConf::default()
    }
}
