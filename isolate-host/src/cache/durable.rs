//! Files that appear whole or not at all, even when the power goes.
//!
//! Written under a temporary name in the same folder, synced, renamed, and the
//! folder synced too: a rename alone may reach the disk before the bytes do.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::Path;

/// How temporary files are named; readers of a folder skip such names.
pub const TEMPORARY_PREFIX: &str = ".tmp-";

/// Replaces `path` by a file with these bytes.
pub fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    write_with(path, |file| file.write_all(bytes))
}

/// Replaces `path` by a file that `fill` writes; nothing changes when it fails.
pub fn write_with(path: &Path, fill: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
    let folder = path.parent().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    let mut temporary = temporary_in(folder)?;
    fill(temporary.as_file_mut())?;
    temporary.as_file().sync_all()?;
    temporary.persist(path).map_err(|refused| refused.error)?;
    sync_folder_of(path)
}

/// Writes a file that never changes: one that is there already stays as it is.
///
/// For content named by itself, which live isolates may have mapped.
pub fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    let mut temporary = temporary_in(folder)?;
    temporary.write_all(bytes)?;
    place_new(temporary, path)
}

/// Like [`write_new`] for a file already written, in the same folder as `path` or on its file system.
pub fn place_new(temporary: tempfile::NamedTempFile, path: &Path) -> io::Result<()> {
    temporary.as_file().sync_all()?;
    match temporary.persist_noclobber(path) {
        Ok(_) => {}
        Err(refused) if refused.error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(refused) => return Err(refused.error),
    }
    sync_folder_of(path)
}

/// Temporary files are made for their owner alone; these become files like any other.
///
/// Each is locked for as long as it is written: one that nobody holds was left by a process that
/// was killed. Whoever looks for those may come between making and locking; then it is made anew.
fn temporary_in(folder: &Path) -> io::Result<tempfile::NamedTempFile> {
    let like_any_other = fs::Permissions::from_mode(0o666);
    loop {
        let made = tempfile::Builder::new()
            .prefix(TEMPORARY_PREFIX)
            .permissions(like_any_other.clone())
            .tempfile_in(folder)?;
        if made.as_file().try_lock().is_ok() && made.as_file().metadata()?.nlink() > 0 {
            return Ok(made);
        }
    }
}

/// Removes what killed processes left below a folder. A failure here harms nobody.
pub fn remove_leftovers(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_leftovers(&path);
        } else if entry.file_name().to_string_lossy().starts_with(TEMPORARY_PREFIX)
            && let Ok(file) = File::open(&path)
            && file.try_lock().is_ok()
        {
            // Still under the lock: whoever made it this moment sees that it is gone.
            let _ = fs::remove_file(&path);
        }
    }
}

/// Copies a whole file; pages of zeros become holes.
pub fn copy_sparse(from: &File, to: &mut File) -> io::Result<()> {
    const PAGE: usize = 4096;
    let mut buffer = vec![0; 256 * PAGE];
    let mut at = 0;
    loop {
        let count = match from.read_at(&mut buffer, at)? {
            0 => return to.set_len(at),
            count => count,
        };
        for (index, page) in buffer[..count].chunks(PAGE).enumerate() {
            if page.iter().any(|&byte| byte != 0) {
                to.write_all_at(page, at + (index * PAGE) as u64)?;
            }
        }
        at += count as u64;
    }
}

/// Makes a rename into the folder of `path` durable.
pub fn sync_folder_of(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

/// Syncs every file and folder below `root`, before the whole is renamed into place.
pub fn sync_tree(root: &Path) -> io::Result<()> {
    for entry in fs::read_dir(root)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            sync_tree(&entry.path())?;
        } else if kind.is_file() {
            File::open(entry.path())?.sync_all()?;
        }
    }
    File::open(root)?.sync_all()
}
