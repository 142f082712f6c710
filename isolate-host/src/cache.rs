//! The host's private cache: what can be made again, at the price of time.
//!
//! Compiled machine code lives here, and loading it equals running it, so the
//! folder must belong to this user and be writable by nobody else. Entries appear
//! whole or not at all: they are written beside their place and renamed. Whoever
//! makes an entry holds its lock, so that two processes do not do the work twice.

pub mod durable;

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::progress::Progress;

/// Why the cache cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    #[error(
        "found no place for the cache: neither `WARMSHARD_CACHE`, `XDG_CACHE_HOME` nor `HOME` is set; set one of them"
    )]
    NoPlace,
    #[error("cannot use the cache at `{path}`")]
    Io { path: PathBuf, source: io::Error },
    #[error(
        "the cache `{path}` is not a folder, expected one (a symbolic link is refused too); set `WARMSHARD_CACHE` to another place"
    )]
    NotAFolder { path: PathBuf },
    #[error(
        "the cache `{path}` belongs to user {found}, expected {expected}: compiled code is only taken from a folder of one's own; set `WARMSHARD_CACHE` to another place"
    )]
    ForeignOwner { path: PathBuf, found: u32, expected: u32 },
    #[error(
        "the cache `{path}` has mode {found:04o}, expected no write permission for group or others; run `chmod 700` on it"
    )]
    Writable { path: PathBuf, found: u32 },
    #[error(
        "found the cache key `{found}`, expected 1 to 200 characters `a-z`, `A-Z`, `0-9`, `.`, `_`, `-`, not starting with `.`"
    )]
    Key { found: String },
}

/// An opened private cache folder.
#[derive(Debug, Clone)]
pub struct CacheDir {
    root: PathBuf,
}

impl CacheDir {
    /// Opens the cache at its usual place, as the environment names it.
    pub fn open_default() -> Result<Self, CacheError> {
        Self::open(default_place(|name| std::env::var_os(name)).ok_or(CacheError::NoPlace)?)
    }

    /// Opens or creates the cache at `root`, and refuses one that others could write to.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self, CacheError> {
        let root = root.into();
        create_private(&root)?;
        check_private(&root)?;
        let cache = Self { root };
        for part in ["locks", "tmp"] {
            create_private(&cache.root.join(part))?;
        }
        cache.remove_leftovers();
        Ok(cache)
    }

    pub fn path(&self) -> &Path {
        &self.root
    }

    /// The folder for one kind of entry, such as `compiled`; created when absent.
    pub fn section(&self, name: &str) -> Result<PathBuf, CacheError> {
        let path = self.root.join(checked(name)?);
        create_private(&path)?;
        check_private(&path)?;
        Ok(path)
    }

    /// A fresh private folder on the same file system, removed when dropped unless published.
    pub fn temp_dir(&self) -> Result<TemporaryFolder, CacheError> {
        let place = self.root.join("tmp");
        loop {
            let folder =
                tempfile::Builder::new().prefix("make-").tempdir_in(&place).map_err(io_at(&place))?;
            // Whoever removes leftovers may come between making and locking; then it is made anew.
            let lock = File::open(folder.path());
            if let Ok(lock) = lock
                && lock.try_lock().is_ok()
                && folder.path().exists()
            {
                return Ok(TemporaryFolder { folder, _lock: lock });
            }
        }
    }

    /// Makes a finished temporary folder visible as `section/key`, in one step.
    ///
    /// When another process was quicker its entry stays and ours is dropped.
    pub fn publish(&self, made: TemporaryFolder, section: &str, key: &str) -> Result<PathBuf, CacheError> {
        let target = self.section(section)?.join(checked(key)?);
        durable::sync_tree(made.path()).map_err(io_at(made.path()))?;
        match fs::rename(made.path(), &target) {
            Ok(()) => {
                // Renamed away: nothing is left for the guard to remove.
                let _ = made.keep();
            }
            Err(_) if target.is_dir() => {}
            Err(error) => return Err(io_at(&target)(error)),
        }
        durable::sync_folder_of(&target).map_err(io_at(&target))?;
        Ok(target)
    }

    /// Takes the lock `key`, waiting for whoever holds it and saying so.
    ///
    /// The kernel releases it when the holder ends, however that happens.
    pub fn lock(&self, key: &str, progress: &dyn Progress) -> Result<CacheLock, CacheError> {
        let path = self.root.join("locks").join(format!("{}.lock", checked(key)?));
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(io_at(&path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let step = progress.step(&format!("wait for another process that is making `{key}`"));
                file.lock().map_err(io_at(&path))?;
                step.done();
            }
            Err(TryLockError::Error(error)) => return Err(io_at(&path)(error)),
        }
        Ok(CacheLock { _file: file })
    }

    /// What killed processes left: temporary folders nobody holds, half-written entries. A failure
    /// here harms nobody.
    fn remove_leftovers(&self) {
        if let Ok(entries) = fs::read_dir(self.root.join("tmp")) {
            for path in entries.flatten().map(|entry| entry.path()) {
                if File::open(&path).is_ok_and(|folder| folder.try_lock().is_ok()) {
                    let _ = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
                }
            }
        }
        durable::remove_leftovers(&self.root.join("compiled"));
    }
}

/// A private folder that lasts until it is dropped; locked, so that nobody takes it for a leftover.
#[derive(Debug)]
pub struct TemporaryFolder {
    folder: tempfile::TempDir,
    _lock: File,
}

impl TemporaryFolder {
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Lets it stay where it is.
    fn keep(self) -> PathBuf {
        self.folder.keep()
    }
}

/// Held while an entry is made; released when dropped or when the process ends.
#[derive(Debug)]
pub struct CacheLock {
    _file: File,
}

fn default_place(var: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let set = |name: &str| var(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("WARMSHARD_CACHE")
        .or_else(|| set("XDG_CACHE_HOME").map(|dir| dir.join("warmshard")))
        .or_else(|| set("HOME").map(|dir| dir.join(".cache").join("warmshard")))
}

fn create_private(path: &Path) -> Result<(), CacheError> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(io_at(path))
}

fn check_private(path: &Path) -> Result<(), CacheError> {
    let found = fs::symlink_metadata(path).map_err(io_at(path))?;
    let expected = rustix::process::geteuid().as_raw();
    if !found.is_dir() {
        Err(CacheError::NotAFolder { path: path.to_owned() })
    } else if found.uid() != expected {
        Err(CacheError::ForeignOwner { path: path.to_owned(), found: found.uid(), expected })
    } else if found.mode() & 0o022 != 0 {
        Err(CacheError::Writable { path: path.to_owned(), found: found.mode() & 0o7777 })
    } else {
        Ok(())
    }
}

/// Keys become file names: nothing in them may climb out of the cache.
fn checked(key: &str) -> Result<&str, CacheError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if key.is_empty() || key.len() > 200 || key.starts_with('.') || !key.chars().all(allowed) {
        return Err(CacheError::Key { found: key.to_owned() });
    }
    Ok(key)
}

fn io_at(path: &Path) -> impl FnOnce(io::Error) -> CacheError {
    let path = path.to_owned();
    move |source| CacheError::Io { path, source }
}

#[cfg(test)]
mod tests;
