//! The deployment store: a folder that says which version of a worker is current
//! and holds what is needed to run it. Only data, never machine code.
//!
//! ```text
//! blobs/sha256/ab/abcd…        files and snapshots, named by their content, never changed
//! deployments/<id>.json        one version of a worker: settings and the blobs it consists of
//! workers/<name>.json          which version is current
//! captured-again/<id>.<…>.json a snapshot that a host took itself, for its own runtime
//! locks/<name>                 held by whoever deploys that worker
//! secret                       what the seeds of its deployments are derived from; mode 600
//! ```
//!
//! Everything is written beside its place, synced and renamed, and the pointer
//! comes last: a deployment that was interrupted is not there. Blobs are checked
//! against their names when they are brought into use.

mod blobs;
mod captured_again;
mod pointer;
mod record;
mod secret;

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use warmshard_config::units::{DeploymentId, WorkerName};

pub use blobs::{BlobRef, Sha256Hex};
pub use record::{DeploymentRecord, FORMAT_VERSION};
pub use secret::{SECRET_FILE, SecretError};

use crate::cache::durable;
use crate::emscripten::entropy::CaptureSeed;
use crate::emscripten::files::{Layer, LayerError};
use crate::isolate::CaptureInput;
use crate::progress::Progress;
use pointer::{Pointer, PointerCache};

/// Versions of a worker its pointer remembers.
const HISTORY: usize = 20;

/// Why the store could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("cannot use `{path}` of the store")]
    Io { path: PathBuf, source: io::Error },
    #[error("`{path}` of the store is malformed")]
    Malformed { path: PathBuf, source: serde_json::Error },
    #[error("the deployment `{id}` has format {found}, expected {FORMAT_VERSION}; deploy the worker again")]
    Format { id: DeploymentId, found: u64 },
    #[error(
        "`{path}` of the store describes the deployment `{found}` of the worker `{worker}`, expected `{expected}`"
    )]
    Mismatch { path: PathBuf, worker: WorkerName, found: DeploymentId, expected: DeploymentId },
    #[error("the blob `{digest}` of the store is missing; deploy the worker again")]
    BlobMissing { digest: String },
    #[error(
        "the blob `{expected}` of the store has the content of `{found}`: it was damaged or changed; deploy the worker again"
    )]
    BlobDamaged { found: String, expected: String },
    #[error("the files of the deployment `{id}` cannot be unpacked")]
    Files { id: DeploymentId, source: LayerError },
    #[error("no worker `{0}` is deployed in this store")]
    UnknownWorker(WorkerName),
    #[error(transparent)]
    Secret(#[from] SecretError),
}

/// An opened store folder.
#[derive(Debug)]
pub struct Store {
    root: PathBuf,
    pointers: PointerCache,
}

/// Held while a worker is deployed.
#[derive(Debug)]
pub struct DeployLock {
    _file: File,
}

impl Store {
    /// Opens the store at a folder, which is created when absent.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self, StoreError> {
        let root = root.into();
        for part in ["blobs/sha256", "deployments", "workers", captured_again::FOLDER, "locks"] {
            let path = root.join(part);
            fs::create_dir_all(&path).map_err(io_at(&path))?;
            durable::remove_leftovers(&path);
        }
        Ok(Self { root, pointers: PointerCache::default() })
    }

    pub fn path(&self) -> &Path {
        &self.root
    }

    /// The current version of a worker; quick enough for every request.
    ///
    /// A version deployed by another process is seen within a moment.
    pub fn current(&self, worker: &WorkerName) -> Result<Option<DeploymentId>, StoreError> {
        self.pointers.current(worker, &self.pointer_path(worker))
    }

    /// Every worker with its current version, by name.
    pub fn workers(&self) -> Result<Vec<(WorkerName, DeploymentId)>, StoreError> {
        let folder = self.root.join("workers");
        let mut all = Vec::new();
        for entry in fs::read_dir(&folder).map_err(io_at(&folder))? {
            let name = entry.map_err(io_at(&folder))?.file_name();
            // Temporary files of a deploy under way, or killed, bear no worker's name.
            let worker = name.to_str().and_then(|name| name.strip_suffix(".json")).map(WorkerName::parse);
            let Some(Ok(worker)) = worker else { continue };
            if let Some(pointer) = Pointer::read(&self.pointer_path(&worker))? {
                all.push((worker, pointer.current));
            }
        }
        all.sort();
        Ok(all)
    }

    /// Takes the right to deploy a worker, waiting for whoever has it.
    pub fn lock(&self, worker: &WorkerName, progress: &dyn Progress) -> Result<DeployLock, StoreError> {
        let path = self.root.join("locks").join(worker.as_str());
        let file =
            OpenOptions::new().write(true).create(true).truncate(false).open(&path).map_err(io_at(&path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let step = progress.step(&format!("wait for another deploy of `{worker}`"));
                file.lock().map_err(io_at(&path))?;
                step.done();
            }
            Err(TryLockError::Error(error)) => return Err(io_at(&path)(error)),
        }
        Ok(DeployLock { _file: file })
    }

    /// What the store says about one version of a worker.
    pub fn record(&self, worker: &WorkerName, id: &DeploymentId) -> Result<DeploymentRecord, StoreError> {
        DeploymentRecord::read(&self.record_path(id), worker, id)
    }

    /// Makes a version current. Its blobs must be in the store.
    pub fn publish(&self, record: &DeploymentRecord, _held: &DeployLock) -> Result<(), StoreError> {
        let path = self.record_path(&record.id);
        durable::write(&path, &to_json(record)).map_err(io_at(&path))?;
        let path = self.pointer_path(&record.worker);
        let mut history = Pointer::read(&path)?.map(|pointer| pointer.history).unwrap_or_default();
        history.retain(|id| *id != record.id);
        history.insert(0, record.id.clone());
        history.truncate(HISTORY);
        let pointer = Pointer { current: record.id.clone(), history };
        durable::write(&path, &to_json(&pointer)).map_err(io_at(&path))?;
        self.pointers.forget(&record.worker);
        Ok(())
    }

    /// One version of a worker with its files unpacked and checked: what a snapshot is made from.
    ///
    /// Reads all of it: for when a deployment is prepared, not for a request.
    pub fn source(
        &self,
        worker: &WorkerName,
        id: &DeploymentId,
    ) -> Result<(CaptureInput, DeploymentRecord), StoreError> {
        let record = self.record(worker, id)?;
        let archive = blobs::read(&self.root, &record.files)?;
        let files = Layer::from_tar(&archive, crate::deploy::bundle::guest_path)
            .map_err(|source| StoreError::Files { id: id.clone(), source })?;
        let (worker, deployment) = (record.worker.clone(), record.id.clone());
        let (config, seed) = (record.config.clone(), self.capture_seed(id)?);
        let input = CaptureInput { worker, deployment, config, files, seed };
        Ok((input, record))
    }

    /// The snapshot of a version for a runtime, by its fingerprint: the file is what its name says.
    pub fn snapshot(&self, record: &DeploymentRecord, runtime: &str) -> Result<PathBuf, StoreError> {
        captured_again::find(&self.root, record, runtime)
    }

    /// Keeps a snapshot that was taken because the one there is could not be used. From now on
    /// [`Self::snapshot`] gives this one for the runtime.
    pub fn keep_snapshot(
        &self,
        record: &DeploymentRecord,
        runtime: &str,
        snapshot: &File,
        _held: &DeployLock,
    ) -> Result<(), StoreError> {
        captured_again::keep(&self.root, record, runtime, snapshot)
    }

    /// What a deployment is captured with: derived from its content and the store's secret,
    /// which is made when this is asked for the first time.
    pub fn capture_seed(&self, id: &DeploymentId) -> Result<CaptureSeed, StoreError> {
        Ok(secret::Secret::open(&self.root)?.seed_of(id))
    }

    /// Keeps bytes under the name of their content.
    pub fn put(&self, bytes: &[u8]) -> Result<BlobRef, StoreError> {
        blobs::put(&self.root, bytes)
    }

    /// Keeps a file's content under its name.
    pub fn put_file(&self, file: &File) -> Result<BlobRef, StoreError> {
        blobs::put_file(&self.root, file)
    }

    /// The path of a blob whose content is what its name says.
    pub fn verified(&self, blob: &BlobRef) -> Result<PathBuf, StoreError> {
        blobs::verify(&self.root, blob)
    }

    fn pointer_path(&self, worker: &WorkerName) -> PathBuf {
        self.root.join("workers").join(format!("{worker}.json"))
    }

    fn record_path(&self, id: &DeploymentId) -> PathBuf {
        self.root.join("deployments").join(format!("{id}.json"))
    }
}

fn to_json<T: serde::Serialize>(value: &T) -> Vec<u8> {
    let mut text = serde_json::to_vec_pretty(value).expect("names, numbers and text always serialise");
    text.push(b'\n');
    text
}

fn io_at(path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    let path = path.to_owned();
    move |source| StoreError::Io { path, source }
}

#[cfg(test)]
mod tests;
