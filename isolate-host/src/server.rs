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

mod ahead;
mod answer;
mod control;
mod dispatch;
mod leases;
mod listen;
mod prewarm;
mod replay;
mod respond;
mod tls;
mod upkeep;

use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;

use warmshard_config::host_policy::admission::Intake;
use warmshard_config::host_policy::memory::{MemoryLimits, Pressure};
use warmshard_config::host_policy::pool::PoolLimits;
use warmshard_config::units::{FleetKey, HostId};

pub use listen::{Listener, Shutdown, serve};
pub use tls::{HostTls, TlsError, TlsFiles};
pub use upkeep::upkeep;

use crate::pool::{Deployments, Isolates, Memory, Runtime, Telemetry};

/// How much a host keeps.
#[derive(Debug, Clone, Copy)]
pub struct HostLimits {
    pub pool: PoolLimits,
    /// Deployments ready to be restored that have no isolate; the others come on top.
    pub prepared: NonZeroUsize,
    pub memory: MemoryLimits,
    /// Isolates that nobody has used for so long are dropped; `None` for never.
    pub hibernate_after: Option<Duration>,
}

/// Everything requests share.
pub struct Host<R: Runtime> {
    id: HostId,
    key: ArcSwap<FleetKey>,
    runtime: Arc<R>,
    deployments: Arc<Deployments<R>>,
    isolates: Arc<Isolates<R::Instance>>,
    telemetry: Arc<Telemetry>,
    memory: Arc<Memory>,
    hibernate_after: Option<Duration>,
    leases: Arc<leases::Leases<R::Instance>>,
    draining: AtomicBool,
    /// More requests in flight are refused; zero for no such limit.
    most_in_flight: AtomicU32,
}

impl<R: Runtime> Host<R> {
    pub fn new(id: HostId, key: FleetKey, limits: HostLimits, runtime: Arc<R>) -> Arc<Self> {
        let telemetry = Arc::new(Telemetry::new());
        let isolates = Isolates::new(limits.pool, Arc::clone(&telemetry));
        let memory = Arc::new(Memory::new(limits.memory));
        let deployments = Deployments::new(
            Arc::clone(&runtime),
            Arc::clone(&isolates),
            Arc::clone(&telemetry),
            Arc::clone(&memory),
            limits.prepared,
        );
        Arc::new(Self {
            id,
            key: ArcSwap::from_pointee(key),
            runtime,
            deployments,
            isolates,
            telemetry,
            memory,
            hibernate_after: limits.hibernate_after,
            leases: leases::Leases::new(),
            draining: AtomicBool::new(false),
            most_in_flight: AtomicU32::new(0),
        })
    }

    /// Refuses requests while so many are in flight; `None` for no such limit.
    pub fn limit_in_flight(&self, most: Option<NonZeroU32>) {
        self.most_in_flight.store(most.map_or(0, NonZeroU32::get), Ordering::Relaxed);
    }

    /// Another key, or several, from now on.
    pub fn set_key(&self, key: FleetKey) {
        self.key.store(Arc::new(key));
    }

    /// Gets workers ready ahead of need; see [`Deployments::prepare_all`].
    pub fn deployments(&self) -> &Arc<Deployments<R>> {
        &self.deployments
    }

    fn intake(&self) -> Intake {
        if self.draining.load(Ordering::Relaxed) {
            return Intake::Draining;
        }
        if self.memory.pressure() == Pressure::Hard {
            return Intake::OutOfMemory;
        }
        let most = self.most_in_flight.load(Ordering::Relaxed);
        if most > 0 && self.isolates.load().in_flight >= most { Intake::Full } else { Intake::Open }
    }
}

#[cfg(test)]
mod tests;
