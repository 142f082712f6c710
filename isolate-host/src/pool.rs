//! The warm pool: isolates that are there, and what restores more of them.
//!
//! ```text
//!            ┌─ Deployments: worker ─▶ its current version, prepared (single flight)
//! request ───┤
//!            └─ Isolates: version ─▶ a place in an isolate, restored if need be
//! ```
//!
//! What to do is decided in `warmshard_config::host_policy`; this does it, counts
//! it and logs it. Both halves work on the [`Runtime`] trait: the real one is the
//! engine with the store, tests bring their own.

mod capture_again;
mod deployments;
mod engine;
mod isolates;
mod memory;
mod telemetry;

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use warmshard_config::units::{DeploymentId, WorkerName};

pub use capture_again::SnapshotRefusal;
pub(crate) use deployments::chain;
pub use deployments::{Deployments, Ready, ResolveError};
pub use engine::EngineRuntime;
pub use isolates::{Isolates, Lease, LeaseError};
pub use memory::Memory;
pub use telemetry::{EvictionCause, FaultKind, Telemetry};

use crate::isolate::{BoxError, GuestFault, RequestBody, ResponseBody};

/// What a pool stands on.
pub trait Runtime: Send + Sync + 'static {
    /// A deployment that is ready to be restored.
    type Prepared: Send + Sync + 'static;
    type Instance: Instance;

    /// The current version of a worker; quick.
    fn current(&self, worker: &WorkerName) -> Result<Option<DeploymentId>, BoxError>;

    /// Every worker with its current version.
    fn workers(&self) -> Result<Vec<(WorkerName, DeploymentId)>, BoxError>;

    /// Makes a version ready; may take long. Counts what it finds wrong on the way.
    fn prepare(
        &self,
        worker: &WorkerName,
        id: &DeploymentId,
        telemetry: &Telemetry,
    ) -> impl Future<Output = Result<Self::Prepared, BoxError>> + Send;

    /// Restores an isolate; milliseconds.
    fn restore(
        &self,
        prepared: &Arc<Self::Prepared>,
    ) -> impl Future<Output = Result<Self::Instance, BoxError>> + Send;

    /// Bytes of memory that isolates, prepared deployments and the process itself take; quick.
    fn memory_used(&self) -> io::Result<u64>;

    /// Gives back what is only kept to be quicker next time.
    fn let_go_of_spares(&self);
}

/// One isolate. Clones are the same isolate.
pub trait Instance: Clone + Send + Sync + 'static {
    fn is_alive(&self) -> bool;

    /// Ends it once no request is in flight.
    fn close(&self);

    fn restore_time(&self) -> Duration;

    /// Has it answer a request; dropping the future or the response's body cancels it.
    fn fetch(
        &self,
        request: Request<RequestBody>,
    ) -> impl Future<Output = Result<Response<ResponseBody>, GuestFault>> + Send;
}

#[cfg(test)]
pub(crate) mod fake;
#[cfg(test)]
mod tests;
