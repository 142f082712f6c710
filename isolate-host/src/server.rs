//! The host's HTTP server: requests from routers in, workers' answers out.
//!
//! ```text
//! listen ─▶ dispatch: admit ─▶ resolve ─▶ lease (restore) ─▶ run ─▶ answer
//!               ├─▶ control                                    └─▶ respond (every error)
//! ```
//!
//! Admission looks at the head alone. Bodies stream both ways and are never
//! gathered; a client that goes away drops the request's future, which cancels it
//! in Python.

mod answer;
mod control;
mod dispatch;
mod listen;
mod replay;
mod respond;

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use warmshard_config::host_policy::admission::Intake;
use warmshard_config::host_policy::pool::PoolLimits;
use warmshard_config::units::{FleetKey, HostId};

pub use listen::{Shutdown, serve};

use crate::pool::{Deployments, Isolates, Runtime, Telemetry};

/// How much a host keeps.
#[derive(Debug, Clone, Copy)]
pub struct HostLimits {
    pub pool: PoolLimits,
    /// Deployments ready to be restored that have no isolate; the others come on top.
    pub prepared: NonZeroUsize,
}

/// Everything requests share.
pub struct Host<R: Runtime> {
    id: HostId,
    key: FleetKey,
    deployments: Arc<Deployments<R>>,
    isolates: Arc<Isolates<R::Instance>>,
    telemetry: Arc<Telemetry>,
    draining: AtomicBool,
}

impl<R: Runtime> Host<R> {
    pub fn new(id: HostId, key: FleetKey, limits: HostLimits, runtime: Arc<R>) -> Arc<Self> {
        let telemetry = Arc::new(Telemetry::new());
        let isolates = Isolates::new(limits.pool, Arc::clone(&telemetry));
        let deployments =
            Deployments::new(runtime, Arc::clone(&isolates), Arc::clone(&telemetry), limits.prepared);
        Arc::new(Self { id, key, deployments, isolates, telemetry, draining: AtomicBool::new(false) })
    }

    /// Gets workers ready ahead of need; see [`Deployments::prepare_all`].
    pub fn deployments(&self) -> &Arc<Deployments<R>> {
        &self.deployments
    }

    fn intake(&self) -> Intake {
        if self.draining.load(Ordering::Relaxed) { Intake::Draining } else { Intake::Open }
    }
}

#[cfg(test)]
mod tests;
