//! The proxy while it runs: its door, its hosts, its end.

use std::path::PathBuf;
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

use super::{Failure, Succession};
use crate::admin;
use crate::admin::{Admin, Phase};
use crate::banner::{self, Addresses};
use crate::edge::{Edge, Stage};
use crate::embedded::{Embedded, HostProgram, Hosts};
use crate::fleet::Fleet;
use crate::listeners::{self, Sockets};
use crate::prewarm::Prewarmer;
use crate::proxy::Proxy;
use crate::reload::Reloader;
use crate::shutdown::{InFlight, Signals};
use crate::tls::{Certificates, Resolver};
use crate::upgrade::{Successor, UpgradeSocket};

/// How long a router that takes over waits for hosts that may not be there.
const HEARD_WITHIN: Duration = Duration::from_secs(5);

/// Everything that clients and operators get in by.
pub(super) struct Door {
    pub(super) sockets: Sockets,
    pub(super) certificates: Option<Arc<Certificates>>,
    pub(super) admin_api: Arc<Admin>,
}

/// What is said once everything answers.
pub(super) struct Announcement<'s> {
    pub(super) addresses: Addresses,
    pub(super) settings: &'s Settings,
    pub(super) ready_file: Option<PathBuf>,
}

/// The proxy and what it shares with the rest.
pub(super) struct Router {
    pub(super) fleet: Arc<Fleet>,
    pub(super) in_flight: InFlight,
    pub(super) connections: InFlight,
    pub(super) phase: watch::Sender<Phase>,
    stage: watch::Sender<Stage>,
    stopping: watch::Sender<bool>,
    /// Accepts; `None` until the door is open.
    service: Option<JoinHandle<()>>,
}

impl Router {
    pub(super) fn new(fleet: Arc<Fleet>) -> Self {
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
    pub(super) fn open(&mut self, door: Door) -> Result<(), Failure> {
        let Door { sockets: Sockets { data, tls, admin }, certificates, admin_api } = door;
        let proxy = Proxy { fleet: Arc::clone(&self.fleet), in_flight: self.in_flight.clone() };
        let edge = Edge {
            proxy: Arc::new(http_proxy(&Arc::new(server_conf()), proxy)),
            fleet: Arc::clone(&self.fleet),
            connections: self.connections.clone(),
            stage: self.stage.subscribe(),
        };
        let mut service = Service::new("router".to_owned(), edge);
        let (names, descriptors) = listeners::for_pingora([data].into_iter().chain(tls))?;
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
    /// says that everything answers. What is returned waits for the process after this one.
    pub(super) async fn go_live(
        &mut self,
        closed: Option<Door>,
        succession: Succession,
        announcement: Announcement<'_>,
    ) -> Result<Option<UpgradeSocket>, Failure> {
        if let Some(door) = closed {
            // A host that has not been heard yet would be passed over, and its workers be cold elsewhere.
            let _ = tokio::time::timeout(HEARD_WITHIN, self.until(Fleet::all_heard)).await;
            self.open(door)?;
        }
        let socket = succession.take_over().await?;
        self.announce(announcement)?;
        Ok(socket)
    }

    /// Gets the hosts going and waits until they answer.
    pub(super) async fn bring_up(
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

    fn announce(&self, announcement: Announcement<'_>) -> Result<(), Failure> {
        let Announcement { addresses, settings, ready_file } = announcement;
        self.phase.send_replace(Phase::Serving);
        if let Some(path) = ready_file {
            banner::write_ready_file(&path, addresses, &self.fleet)?;
            tokio::spawn(banner::keep_ready_file(path, addresses, Arc::clone(&self.fleet)));
        }
        banner::print(addresses, &self.fleet, settings);
        Ok(())
    }

    /// Accepts no more and answers what is open, until clients have gone to the successor.
    pub(super) async fn linger(mut self, successor: Successor, limit: Duration, signals: &mut Signals) {
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
    pub(super) async fn stop(mut self, limit: Duration, signals: &mut Signals) {
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
