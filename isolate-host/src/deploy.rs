//! From a worker's folder to a deployment in the store.
//!
//! ```text
//! folder ─▶ project ─▶ packages ─▶ bundle ─▶ id ──▶ current already? done
//!                                             └───▶ capture ─▶ store ─▶ prepare ─▶ publish
//! ```
//!
//! Nothing of a worker runs on this machine but inside an isolate: packages are
//! only unpacked. The pointer to the new version is written last, after the
//! snapshot has proved to be usable, so a deploy that fails changes nothing.

pub mod bundle;
mod lock_file;
mod packages;
mod pip;
mod project;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use sha2::{Digest, Sha256};
use warmshard_config::units::{DeploymentId, WorkerName, hex};
use warmshard_config::worker_config::{Problem, WorkerConfig};

pub use lock_file::{LOCK_FILE, LockError};
pub use packages::{PackageOptions, PackagesError, Reuse, write_lock};
pub use pip::{PipError, PipOptions};
pub use project::ProjectError;

use tokio::runtime::Handle;

use crate::cache::{CacheDir, CacheError};
use crate::emscripten::files::{Layer, LayerError};
use crate::isolate::{
    CaptureError, CaptureInput, Engine, EngineOptions, GuestFault, PrepareError, RestoreError,
    StoredDeployment,
};
use crate::progress::Progress;
use crate::pyodide::{RuntimeError, fingerprint};
use crate::snapshot::format::Snapshot;
use crate::store::{DeployLock, DeploymentRecord, FORMAT_VERSION, Store, StoreError};

/// What to deploy, and how its packages are found.
#[derive(Debug, Clone)]
pub struct DeployRequest {
    pub folder: PathBuf,
    /// Goes before the name in the worker's files.
    pub name: Option<WorkerName>,
    pub packages: PackageOptions,
}

/// What a deploy came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deployed {
    pub worker: WorkerName,
    pub id: DeploymentId,
    pub change: Change,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// A new version, with a snapshot of its own.
    New,
    /// A version the store had already is current again.
    Restored,
    /// The content is that of the current version.
    Unchanged,
}

/// Why a deploy failed; nothing was published.
#[derive(Debug, thiserror::Error)]
pub enum DeployError {
    #[error(transparent)]
    Project(#[from] ProjectError),
    #[error(transparent)]
    Packages(#[from] PackagesError),
    #[error("the worker's files cannot be packed")]
    Files(#[from] LayerError),
    #[error("the worker's files cannot be packed")]
    Pack(#[source] std::io::Error),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Cache(#[from] CacheError),
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    #[error(transparent)]
    Capture(#[from] CaptureError),
    #[error("the snapshot that was just taken cannot be used")]
    Prepare(#[from] PrepareError),
    #[error("the snapshot that was just taken cannot be restored")]
    Restore(#[from] RestoreError),
    #[error("the snapshot that was just taken does not run")]
    Prove(#[source] GuestFault),
}

/// Deploys a worker; `warn` is told what was found in its files but is not acted on.
///
/// Blocks on files and on pip between its awaits: for a tool, not for a server.
pub async fn deploy(
    request: &DeployRequest,
    store: &Store,
    cache: &CacheDir,
    progress: &dyn Progress,
    warn: &dyn Fn(&Problem),
) -> Result<Deployed, DeployError> {
    let project = project::read(&request.folder, request.name.as_ref())?;
    project.settings.warnings.iter().for_each(warn);
    let lock = store.lock(&project.settings.config.name, progress)?;
    let packages = packages::collect(&project, &request.packages, cache, progress)?;
    let archive = Bytes::from(bundle::pack(&project.sources, &packages).map_err(DeployError::Pack)?);
    let config = project.settings.config;
    let id = deployment_id(&config, &archive, &fingerprint());
    let worker = config.name.clone();
    if let Some(change) = reuse(store, &worker, &id, &lock)? {
        return Ok(Deployed { worker, id, change });
    }
    let files = Layer::from_tar(&archive, bundle::guest_path)?;
    let engine = Engine::open(cache, EngineOptions::default(), Handle::current(), progress)?;
    let input = CaptureInput {
        worker: worker.clone(),
        deployment: id.clone(),
        config: config.clone(),
        files,
        seed: store.capture_seed(&id)?,
    };
    let captured = engine.capture(input.clone(), progress).await?;
    let step = progress.step("store the deployment");
    let record = DeploymentRecord {
        format: FORMAT_VERSION,
        worker: worker.clone(),
        id: id.clone(),
        created: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
        files: store.put(&archive)?,
        snapshot: store.put_file(&captured.file)?,
        config,
        runtime: fingerprint(),
        requirements: project.settings.requirements.iter().map(ToString::to_string).collect(),
    };
    step.done();
    prove(&engine, input, store.verified(&record.snapshot)?, progress).await?;
    store.publish(&record, &lock)?;
    Ok(Deployed { worker, id, change: Change::New })
}

/// Makes a version current that the store has whole.
fn reuse(
    store: &Store,
    worker: &WorkerName,
    id: &DeploymentId,
    lock: &DeployLock,
) -> Result<Option<Change>, DeployError> {
    let whole = |record: &DeploymentRecord| {
        let is_readable = |path: PathBuf| Snapshot::read(&path).is_ok();
        store.verified(&record.files).is_ok() && store.verified(&record.snapshot).is_ok_and(is_readable)
    };
    // A record that is missing, damaged or of another format is simply made anew.
    let Some(record) = store.record(worker, id).ok().filter(whole) else {
        return Ok(None);
    };
    // A pointer that cannot be read is written anew as well.
    if store.current(worker).ok().flatten().as_ref() == Some(id) {
        return Ok(Some(Change::Unchanged));
    }
    store.publish(&record, lock)?;
    Ok(Some(Change::Restored))
}

/// Prepares and restores the new snapshot and lets its event loop turn once, which checks
/// it and compiles what the first request would wait for. No handler runs.
async fn prove(
    engine: &Arc<Engine>,
    input: CaptureInput,
    snapshot: PathBuf,
    progress: &dyn Progress,
) -> Result<(), DeployError> {
    let CaptureInput { worker, deployment: id, config, files, seed: _ } = input;
    let step = progress.step(&format!("prepare `{worker}`"));
    let stored = StoredDeployment { worker, id, config, files, snapshot };
    let isolate = engine.prepare(&stored).await?.restore().await?;
    isolate.ping().await.map_err(DeployError::Prove)?;
    isolate.close();
    step.done();
    Ok(())
}

/// Names a version by everything that makes it what it is.
fn deployment_id(config: &WorkerConfig, archive: &[u8], runtime: &str) -> DeploymentId {
    let config = serde_json::to_vec(config).expect("settings always serialise");
    let mut hasher = Sha256::new();
    hasher.update(b"warmshard deployment\0");
    hasher.update(FORMAT_VERSION.to_le_bytes());
    // Each part goes in with its length: no two sets of parts give the same bytes.
    for part in [&config[..], archive, runtime.as_bytes()] {
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    DeploymentId::parse(&hex(&hasher.finalize())).expect("64 lowercase hex digits")
}

/// Shows a path as the user wrote it, or where it leads when that says nothing.
fn shown(path: &Path) -> String {
    path.display().to_string()
}

#[cfg(test)]
mod tests;
