//! A deployment that is local, verified and compiled: restoring it takes about a millisecond.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use tokio::sync::mpsc;
use wasmtime::Store;

use super::actor::Actor;
use super::engine::Engine;
use super::exchange::{Event, Exchange};
use super::guest::Guest;
use super::handle::Isolate;
use super::marshal::Value;
use super::{DeploymentId, StoredDeployment, WorkerName};
use crate::emscripten::files::LayerError;
use crate::linker::library::LibraryError;
use crate::pyodide::code_cache::CompileError;
use crate::secrets::WorkerSecrets;
use crate::snapshot::format::SnapshotError;
use crate::snapshot::restore::{Plan, PlanError};

/// Why a deployment could not be made ready.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    #[error("the snapshot is refused")]
    Snapshot(#[from] SnapshotError),
    #[error("the snapshot is refused")]
    Plan(#[from] PlanError),
    #[error(transparent)]
    Library(#[from] LibraryError),
    #[error(transparent)]
    Compile(#[from] CompileError),
    #[error("the deployment's files cannot be used")]
    Files(#[from] LayerError),
    #[error("the host is shutting down")]
    Stopping,
}

/// Why an isolate could not be restored.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    #[error("cannot restore an isolate: {0}")]
    Wasm(String),
    #[error(
        "cannot restore an isolate: this process has {found} memory mappings, and the kernel allows {most}; raise \
         `vm.max_map_count` with `sysctl -w vm.max_map_count={}`, or keep fewer isolates with `--max-isolates`",
        most.saturating_mul(4)
    )]
    Mappings { found: usize, most: usize },
    #[error(
        "cannot restore an isolate: the kernel has no memory for it ({0}); keep fewer isolates with \
         `--max-isolates`, or see what limits this process (`ulimit -v`, its control group)"
    )]
    Memory(String),
}

impl RestoreError {
    /// Tells what to do about a kernel that maps nothing any more.
    fn new(error: &wasmtime::Error) -> Self {
        let text = format!("{error:#}");
        if !error.chain().any(is_out_of_memory) {
            return Self::Wasm(text);
        }
        let found = std::fs::read_to_string("/proc/self/maps").map_or(0, |maps| maps.lines().count());
        let most = std::fs::read_to_string("/proc/sys/vm/max_map_count");
        match most.ok().and_then(|most| most.trim().parse::<usize>().ok()) {
            // An isolate takes several, so it is refused a little below the limit.
            Some(most) if found + 64 >= most => Self::Mappings { found, most },
            _ => Self::Memory(text),
        }
    }
}

/// Whether the kernel said ENOMEM: no memory, or no mapping.
fn is_out_of_memory(cause: &(dyn std::error::Error + 'static)) -> bool {
    match (cause.downcast_ref::<Errno>(), cause.downcast_ref::<std::io::Error>()) {
        (Some(&errno), _) => errno == Errno::NOMEM,
        (None, Some(error)) => error.raw_os_error() == Some(Errno::NOMEM.raw_os_error()),
        (None, None) => false,
    }
}

/// One deployment, ready.
pub struct Prepared {
    pub(super) engine: Arc<Engine>,
    pub(super) deployment: StoredDeployment,
    pub(super) plan: Plan,
    pub(super) vars: Value,
    pub(super) secrets: WorkerSecrets,
    pub(super) config: Value,
    /// Unique among what this engine has prepared.
    pub(super) key: u64,
}

impl Prepared {
    pub fn worker(&self) -> &WorkerName {
        &self.deployment.worker
    }

    pub fn deployment(&self) -> &DeploymentId {
        &self.deployment.id
    }

    /// Restores one isolate. Runs where it is awaited: it takes less time than waking a thread.
    pub async fn restore(self: &Arc<Self>) -> Result<Isolate, RestoreError> {
        let began = Instant::now();
        let (mailbox, messages) = mpsc::unbounded_channel();
        let mut exchange = Exchange::new(&self.config);
        exchange.mailbox = Some(mailbox.clone());
        exchange.inbox.push_back(Event::Resume(self.resume_event()));
        let wasm = |error: wasmtime::Error| RestoreError::new(&error);
        let store = self.store(exchange).await.map_err(wasm)?;
        let meter = store.data().cpu.clone();
        let actor = Actor::new(store, self.plan.manifest().pump, messages).map_err(wasm)?;
        let restore_time: Duration = began.elapsed();
        let prepared = Arc::clone(self);
        self.engine.guests().spawn(async move {
            if let Some(store) = actor.run().await {
                prepared.park(store);
            }
        });
        Ok(Isolate::new(mailbox, meter, restore_time))
    }

    /// What the first POLL after restore tells Python.
    fn resume_event(&self) -> Value {
        let secrets = self.secrets.values();
        let text = |text: &String| Value::str(text.clone());
        Value::Dict(vec![
            (Value::str("vars"), self.vars.clone()),
            (
                Value::str("secrets"),
                Value::Dict(secrets.iter().map(|(name, value)| (text(name), text(value))).collect()),
            ),
            (Value::str("host_id"), Value::str(self.engine.host_id())),
        ])
    }

    /// A store in the snapshot's state: one that an ended isolate left, else a new one.
    async fn store(&self, exchange: Exchange) -> wasmtime::Result<Store<Guest>> {
        let limits = self.engine.limits();
        let Some(parked) = self.engine.parking().take(self.key) else {
            return self.plan.restore(exchange, limits).await;
        };
        self.plan.renew(parked, exchange, limits)
    }

    /// Keeps what an isolate leaves for the next one of this deployment.
    fn park(&self, store: Store<Guest>) {
        match self.plan.park(store) {
            Ok(Some(parked)) => self.engine.parking().put(self.key, parked),
            Ok(None) => {}
            Err(error) => {
                let worker = self.worker();
                tracing::warn!(%worker, %error, "cannot tell what an isolate wrote; it is not used again");
            }
        }
    }
}

impl Drop for Prepared {
    fn drop(&mut self) {
        // Nobody can restore from it any more: what its isolates left is of no use.
        self.engine.parking().forget(self.key);
        self.engine.images().fetch_sub(self.plan.mapped(), Ordering::Relaxed);
    }
}
