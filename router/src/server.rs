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
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use pingora::proxy::http_proxy_service_with_name;
use pingora::server::configuration::ServerConf;
use pingora::services::Service;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use warmshard_config::shard_file::{self, Settings};
use warmshard_config::units::FleetKey;

use crate::admin::{Admin, Phase};
use crate::banner::{self, Addresses};
use crate::embedded::{Embedded, HostProgram, Hosts};
use crate::fleet::{Fleet, Spreading, Traffic};
use crate::proxy::Proxy;
use crate::reload::Reloader;
use crate::shutdown::{InFlight, Leash, Signals};
use crate::{admin, etcd, listeners, metric, probe};

/// What a start needs.
pub(crate) struct Start {
    /// The shard file, and what it said.
    pub(crate) file: PathBuf,
    pub(crate) text: String,
    pub(crate) settings: Settings,
    pub(crate) program: HostProgram,
    pub(crate) ready_file: Option<PathBuf>,
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
    let Start { file, text, settings, program, ready_file, leash } = start;
    let mut signals = Signals::listen(leash)?;
    let settings = tokio::select! {
        settings = etcd::complete(settings) => settings,
        signal = signals.next() => {
            tracing::info!(signal, "stopping before any host was known");
            return Ok(());
        }
    };
    let data = listeners::bind(settings.listen.data, "listen.data")?;
    let admin = listeners::bind(settings.listen.admin, "listen.admin")?;
    let addresses = Addresses { data: data.local_addr()?, admin: admin.local_addr()? };
    if let Some(path) = &ready_file {
        banner::remove_ready_file(path)?;
    }

    let metrics = metric::install()?;
    let key = settings.key.clone().unwrap_or_else(random_key);
    let traffic = Traffic::of(&settings, &key);
    let fleet = Fleet::new(settings.build_placement(), Spreading::from(&settings.placement), traffic);
    let router = Router::start(Arc::new(fleet), data)?;
    let reloader = Reloader::new(file, settings.clone(), text, Arc::clone(&router.fleet), key.clone());
    let reloader = Arc::new(reloader);
    let admin_api = Admin {
        fleet: Arc::clone(&router.fleet),
        reloader: Arc::clone(&reloader),
        token: settings.admin_token.clone(),
        phase: router.phase.subscribe(),
        metrics,
        in_flight: router.in_flight.clone(),
    };
    tokio::spawn(admin::serve(admin, Arc::new(admin_api)));
    tokio::spawn(probe::run(Arc::clone(&router.fleet)));

    let mut hosts = Hosts::none();
    let outcome = tokio::select! {
        started = router.bring_up(&settings, program, &key, &mut hosts, &reloader) => {
            started.and_then(|()| router.announce(addresses, &settings, ready_file))
        }
        signal = signals.next() => {
            tracing::info!(signal, "stopping before everything had started");
            router.stop(Duration::ZERO, &mut signals).await;
            hosts.stop(&mut signals).await;
            return Ok(());
        }
    };
    if outcome.is_ok() {
        tokio::spawn(Arc::clone(&reloader).run());
        if let Some(etcd) = settings.etcd.clone() {
            tokio::spawn(etcd::follow(etcd, Arc::clone(&reloader)));
        }
        let signal = signals.next().await;
        tracing::info!(signal, in_flight = router.in_flight.count(), "stopping");
    }
    let limit = if outcome.is_ok() { reloader.settings().timeouts.drain } else { Duration::ZERO };
    router.stop(limit, &mut signals).await;
    hosts.stop(&mut signals).await;
    tracing::info!("stopped");
    outcome
}

/// A new secret for hosts that nobody else talks to.
fn random_key() -> FleetKey {
    let bytes: [u8; 32] = rand::random();
    let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    FleetKey::parse(&text).expect("64 hexadecimal digits are a key")
}

/// The proxy and what it shares with the rest.
struct Router {
    fleet: Arc<Fleet>,
    in_flight: InFlight,
    phase: watch::Sender<Phase>,
    stopping: watch::Sender<bool>,
    service: JoinHandle<()>,
}

impl Router {
    fn start(fleet: Arc<Fleet>, data: TcpListener) -> Result<Self, Failure> {
        let in_flight = InFlight::new();
        let proxy = Proxy { fleet: Arc::clone(&fleet), in_flight: in_flight.clone() };
        let conf = Arc::new(server_conf());
        let mut service = http_proxy_service_with_name(&conf, proxy, "router");
        let (name, sockets) = listeners::hand_over(data)?;
        service.add_tcp(&name);
        let (stopping, stopped) = watch::channel(false);
        let service = tokio::spawn(async move {
            Service::start_service(&mut service, Some(sockets), stopped, 1).await;
        });
        Ok(Self { fleet, in_flight, phase: watch::Sender::new(Phase::Starting), stopping, service })
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

    /// Stops accepting, then waits for requests in flight; a second signal does not wait.
    async fn stop(self, limit: Duration, signals: &mut Signals) {
        self.phase.send_replace(Phase::Draining);
        self.stopping.send_replace(true);
        let drained = async {
            // Ends when the listener is closed and idle connections are let go.
            let _ = self.service.await;
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
