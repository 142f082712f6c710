//! Having a worker warm before its next request comes.

use std::sync::Arc;
use std::time::Duration;

use warmshard_config::host_policy::Refusal;
use warmshard_config::host_policy::memory::Pressure;
use warmshard_config::units::WorkerName;
use warmshard_config::wire::{PrewarmState, Prewarmed};

use super::Host;
use super::respond::Failure;
use crate::pool::{LeaseError, Runtime};

/// How long the caller waits at most. Restoring takes milliseconds, preparing up to a second;
/// capturing again may take longer and goes on without anybody waiting.
pub(super) const WAIT: Duration = Duration::from_secs(5);

/// Sees to it that there is an isolate, and says how; waits no longer than told.
pub(super) async fn answer<R: Runtime>(
    host: &Arc<Host<R>>,
    worker: WorkerName,
    wait: Duration,
) -> Result<Prewarmed, Failure> {
    let state = wait_for(host, &worker, wait).await;
    match &state {
        Ok(state) => host.telemetry.prewarmed(*state),
        Err(Failure::Refused(_) | Failure::Lease(LeaseError::Refused(_))) => host.telemetry.prewarm_refused(),
        Err(_) => host.telemetry.prewarm_failed(),
    }
    Ok(Prewarmed { worker, state: state? })
}

async fn wait_for<R: Runtime>(
    host: &Arc<Host<R>>,
    worker: &WorkerName,
    wait: Duration,
) -> Result<PrewarmState, Failure> {
    // What takes no requests needs no spares.
    if let Some(refusal) = host.intake().refusal() {
        return Err(Failure::Refused(refusal));
    }
    if host.memory.pressure() > Pressure::None {
        return Err(Failure::Refused(Refusal::OutOfMemory));
    }
    // In a task of its own: a caller that hangs up does not stop what others may wait for.
    let task = tokio::spawn({
        let (host, worker) = (Arc::clone(host), worker.clone());
        async move { prewarm(&host, &worker).await }
    });
    match tokio::time::timeout(wait, task).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(_)) => Err(Failure::Lease(LeaseError::Broken)),
        Err(_) => Ok(PrewarmState::Preparing),
    }
}

async fn prewarm<R: Runtime>(host: &Host<R>, worker: &WorkerName) -> Result<PrewarmState, Failure> {
    let ready = host.deployments.resolve(worker).await?;
    let restore = || host.deployments.restore(&ready);
    Ok(host.isolates.prewarm(worker, &ready.id, restore).await?)
}
