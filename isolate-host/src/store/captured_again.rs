//! Snapshots a host took itself, because it could not use the one of the deploy.
//!
//! `captured-again/<id>.<runtime>.json`: the record of a deployment stays as it is, and
//! each runtime has its own file beside it. Hosts of two versions on one store do not
//! undo each other's work.

use std::fs::File;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use warmshard_config::units::DeploymentId;

use super::blobs::{self, BlobRef};
use super::record::{DeploymentRecord, FORMAT_VERSION};
use super::{StoreError, io_at, to_json};
use crate::cache::durable;

pub(super) const FOLDER: &str = "captured-again";

/// What such a file says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct CapturedAgain {
    format: u64,
    deployment: DeploymentId,
    runtime: String,
    snapshot: BlobRef,
}

/// The verified snapshot of a version for this runtime: the host's own if there is one, else the deploy's.
pub(super) fn find(root: &Path, record: &DeploymentRecord, runtime: &str) -> Result<PathBuf, StoreError> {
    // One that cannot be read or has lost its blob is no better than none.
    let own = read(root, &record.id, runtime).and_then(|own| blobs::verify(root, &own.snapshot).ok());
    own.map_or_else(|| blobs::verify(root, &record.snapshot), Ok)
}

/// Keeps a snapshot for this runtime.
pub(super) fn keep(
    root: &Path,
    record: &DeploymentRecord,
    runtime: &str,
    snapshot: &File,
) -> Result<(), StoreError> {
    let snapshot = blobs::put_file(root, snapshot)?;
    // The deploy's own snapshot, mended: the same content has the same bytes.
    if snapshot == record.snapshot {
        return Ok(());
    }
    let captured = CapturedAgain {
        format: FORMAT_VERSION,
        deployment: record.id.clone(),
        runtime: runtime.to_owned(),
        snapshot,
    };
    let path = path(root, &record.id, runtime);
    durable::write(&path, &to_json(&captured)).map_err(io_at(&path))
}

fn read(root: &Path, id: &DeploymentId, runtime: &str) -> Option<CapturedAgain> {
    let text = std::fs::read(path(root, id, runtime)).ok()?;
    let captured: CapturedAgain = serde_json::from_slice(&text).ok()?;
    let is_it =
        captured.format == FORMAT_VERSION && captured.deployment == *id && captured.runtime == runtime;
    is_it.then_some(captured)
}

fn path(root: &Path, id: &DeploymentId, runtime: &str) -> PathBuf {
    root.join(FOLDER).join(format!("{id}.{runtime}.json"))
}
