//! Which version of a worker is current, and a memory of it that is cheap to ask.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use dashmap::DashMap;
use serde::{Deserialize, Serialize};
use warmshard_config::units::{DeploymentId, WorkerName};

use super::{StoreError, io_at};

/// How long an answer is given again before the file is looked at.
const FRESH: Duration = Duration::from_millis(200);

/// What `workers/<name>.json` says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Pointer {
    pub(super) current: DeploymentId,
    /// Newest first, the current one included.
    pub(super) history: Vec<DeploymentId>,
}

impl Pointer {
    /// `None` when there is no such worker.
    pub(super) fn read(path: &Path) -> Result<Option<Self>, StoreError> {
        let text = match fs::read(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io_at(path)(error)),
        };
        let malformed = |source| StoreError::Malformed { path: path.to_owned(), source };
        serde_json::from_slice(&text).map(Some).map_err(malformed)
    }
}

/// Tells one state of a file from the next: every change is a rename of a new file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FileIdentity {
    inode: u64,
    modified: (i64, i64),
    size: u64,
}

impl FileIdentity {
    fn of(path: &Path) -> io::Result<Self> {
        let found = fs::metadata(path)?;
        let modified = (found.mtime(), found.mtime_nsec());
        Ok(Self { inode: found.ino(), modified, size: found.size() })
    }
}

#[derive(Debug, Clone)]
struct Known {
    checked: Instant,
    file: FileIdentity,
    current: DeploymentId,
}

/// Pointers of workers that exist. Others are not remembered: whoever asks for
/// random names must not fill the memory.
#[derive(Debug, Default)]
pub(super) struct PointerCache {
    known: DashMap<WorkerName, Known>,
}

impl PointerCache {
    pub(super) fn current(
        &self,
        worker: &WorkerName,
        path: &Path,
    ) -> Result<Option<DeploymentId>, StoreError> {
        let now = Instant::now();
        let known = self.known.get(worker).map(|known| known.clone());
        if let Some(known) = &known
            && now.duration_since(known.checked) < FRESH
        {
            return Ok(Some(known.current.clone()));
        }
        let file = match FileIdentity::of(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.forget(worker);
                return Ok(None);
            }
            Err(error) => return Err(io_at(path)(error)),
        };
        // The identity is taken before the content: a change in between is seen next time.
        let current = match known {
            Some(known) if known.file == file => known.current,
            _ => match Pointer::read(path)? {
                Some(pointer) => pointer.current,
                None => return Ok(None),
            },
        };
        self.known.insert(worker.clone(), Known { checked: now, file, current: current.clone() });
        Ok(Some(current))
    }

    pub(super) fn forget(&self, worker: &WorkerName) {
        self.known.remove(worker);
    }
}
