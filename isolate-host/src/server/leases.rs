//! Places taken ahead of a request whose body is too large to be sent twice.
//!
//! The router asks for a place, then sends the request to it. What it was promised
//! is kept whatever happens to the host's load meanwhile, and given back when nobody
//! comes for it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use warmshard_config::units::{DeploymentId, WorkerName, hex};
use warmshard_config::wire::Leased;

use super::Host;
use super::respond::Failure;
use crate::pool::{Instance, Lease, Runtime};

/// How long a place is kept. The request follows at once, on a connection of its own.
pub(super) const KEPT: Duration = Duration::from_secs(10);

/// A place in an isolate.
pub(super) struct Held<I: Instance> {
    worker: WorkerName,
    pub(super) deployment: DeploymentId,
    pub(super) lease: Lease<I>,
}

/// The places that are waiting for their requests, by the secret names they were given.
pub(super) struct Leases<I: Instance>(Mutex<HashMap<String, Held<I>>>);

impl<I: Instance> Leases<I> {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new(HashMap::new())))
    }

    /// Keeps a place for a while.
    fn hold(self: &Arc<Self>, name: String, held: Held<I>, time: Duration) {
        self.lock().insert(name.clone(), held);
        let leases = Arc::clone(self);
        tokio::spawn(async move {
            tokio::time::sleep(time).await;
            if let Some(held) = leases.lock().remove(&name) {
                tracing::debug!(worker = %held.worker, "nobody came for a place");
            }
        });
    }

    /// The place of this name, if it is for this worker. It can be had once.
    pub(super) fn take(&self, name: Option<&[u8]>, worker: Option<&[u8]>) -> Option<Held<I>> {
        let name = std::str::from_utf8(name?).ok()?;
        let mut leases = self.lock();
        leases.get(name).filter(|held| worker == Some(held.worker.as_str().as_bytes()))?;
        leases.remove(name)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Held<I>>> {
        // Nothing here panics half way through a change.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes a place for a request to come, as if it had come, and names it.
pub(super) async fn answer<R: Runtime>(
    host: &Arc<Host<R>>,
    worker: WorkerName,
    kept: Duration,
) -> Result<Leased, Failure> {
    if let Some(refusal) = host.intake().refusal() {
        host.telemetry.refused(refusal);
        return Err(Failure::Refused(refusal));
    }
    let ready = host.deployments.resolve(&worker).await?;
    let lease = host.isolates.lease(&worker, &ready.id, None, || host.deployments.restore(&ready)).await?;
    let mut name = [0; 16];
    getrandom::fill(&mut name).map_err(|_| Failure::NoEntropy)?;
    let name = hex(&name);
    host.leases.hold(name.clone(), Held { worker, deployment: ready.id, lease }, kept);
    Ok(Leased { lease: name })
}
