//! An isolate: one wasmtime store holding one Python interpreter of one deployment.
//!
//! This file is the boundary the rest of the host sees. Behind it an isolate is
//! an actor on the host's threads: Python never owns a thread, it is called when
//! there is something to do and returns when nothing is ready.
//!
//! ```text
//! Engine ──prepare──▶ Prepared ──restore──▶ Isolate ──fetch──▶ response
//!    └────capture──▶ a snapshot file
//! ```

mod actor;
mod body;
mod engine;
pub mod exchange;
mod fault;
pub mod guest;
mod handle;
mod host_module;
pub mod limits;
pub mod marshal;
mod parking;
mod prepared;
pub mod program;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
pub use warmshard_config::units::{DeploymentId, WorkerName};
use warmshard_config::worker_config::WorkerConfig;

pub use engine::{CaptureError, Engine, EngineOptions, Objects, SnapshotFile};
pub use fault::GuestFault;
pub use handle::Isolate;
pub use limits::Limits;
pub use prepared::{PrepareError, Prepared, RestoreError};

use crate::emscripten::entropy::CaptureSeed;
use crate::emscripten::files::Layer;

pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
pub type RequestBody = UnsyncBoxBody<Bytes, BoxError>;
pub type ResponseBody = UnsyncBoxBody<Bytes, BoxError>;

/// What a deployment in the store gives a host: data only.
#[derive(Debug, Clone)]
pub struct StoredDeployment {
    pub worker: WorkerName,
    pub id: DeploymentId,
    pub config: WorkerConfig,
    /// Sources at `/session/metadata`, packages at `/session/metadata/python_modules`.
    pub files: Layer,
    pub snapshot: std::path::PathBuf,
}

/// What a capture starts from.
#[derive(Debug, Clone)]
pub struct CaptureInput {
    pub worker: WorkerName,
    pub deployment: DeploymentId,
    pub config: WorkerConfig,
    pub files: Layer,
    /// From the deployment's store: `Store::capture_seed`.
    pub seed: CaptureSeed,
}
