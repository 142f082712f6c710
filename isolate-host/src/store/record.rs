//! One version of a worker as the store describes it.

use std::path::Path;

use serde::{Deserialize, Serialize};
use warmshard_config::units::{DeploymentId, WorkerName};
use warmshard_config::worker_config::WorkerConfig;

use super::blobs::BlobRef;
use super::{StoreError, io_at};

/// Raised whenever the record or what its blobs hold changes its meaning.
pub const FORMAT_VERSION: u64 = 1;

/// What `deployments/<id>.json` says. Fields it does not know are refused: they
/// would mean something to whoever wrote them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeploymentRecord {
    pub format: u64,
    pub worker: WorkerName,
    /// SHA-256 of the format, the settings, the files and the runtime's fingerprint.
    pub id: DeploymentId,
    /// Seconds since 1970; told to people, part of nothing.
    pub created: u64,
    pub config: WorkerConfig,
    /// An uncompressed tar archive: the worker's sources and its packages.
    pub files: BlobRef,
    pub snapshot: BlobRef,
    /// What the snapshot was taken with.
    pub runtime: String,
    /// What the worker asked for, as it was written.
    pub requirements: Vec<String>,
}

/// Read first: what a newer version wrote is named by its version, not by a field.
#[derive(Deserialize)]
struct Versioned {
    format: u64,
}

impl DeploymentRecord {
    pub(super) fn read(path: &Path, worker: &WorkerName, id: &DeploymentId) -> Result<Self, StoreError> {
        let text = std::fs::read(path).map_err(io_at(path))?;
        let malformed = |source| StoreError::Malformed { path: path.to_owned(), source };
        let Versioned { format } = serde_json::from_slice(&text).map_err(malformed)?;
        if format != FORMAT_VERSION {
            return Err(StoreError::Format { id: id.clone(), found: format });
        }
        let record: Self = serde_json::from_slice(&text).map_err(malformed)?;
        if record.id != *id || record.worker != *worker {
            return Err(StoreError::Mismatch {
                path: path.to_owned(),
                worker: record.worker,
                found: record.id,
                expected: id.clone(),
            });
        }
        Ok(record)
    }
}
