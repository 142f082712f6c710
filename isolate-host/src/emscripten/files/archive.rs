//! Layers from archives and folders. What is in them is not trusted: a path that
//! climbs out, a link or a device is refused, and the total size is bounded.

use std::io::{Cursor, Read};
use std::path::Path;

use bytes::Bytes;

use super::layer::{Layer, LayerBuilder, LayerError, is_plain};

/// More than this in one archive is a mistake or an attack.
const LARGEST_TOTAL: u64 = 2 << 30;

impl Layer {
    /// The entries of an uncompressed tar archive; their contents are slices of it, not copies.
    ///
    /// `place` says where an entry goes, from its path in the archive; `None` leaves it out.
    pub fn from_tar(archive: &Bytes, place: impl Fn(&str) -> Option<String>) -> Result<Self, LayerError> {
        let mut builder = Self::builder();
        let mut reader = tar::Archive::new(Cursor::new(archive));
        for entry in reader.entries().map_err(LayerError::Archive)? {
            let entry = entry.map_err(LayerError::Archive)?;
            let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            let path = relative(&path)?;
            let Some(target) = place(path) else { continue };
            match entry.header().entry_type() {
                tar::EntryType::Directory => builder.folder(&target)?,
                tar::EntryType::Regular => builder.file(&target, slice_of(archive, &entry, path)?)?,
                _ => {
                    return Err(LayerError::Special { path: path.to_owned() });
                }
            };
        }
        Ok(builder.build())
    }

    /// The entries of a zip archive, inflated.
    pub fn from_zip(archive: &Bytes, place: impl Fn(&str) -> Option<String>) -> Result<Self, LayerError> {
        let mut builder = Self::builder();
        let mut zip = zip::ZipArchive::new(Cursor::new(archive))?;
        let mut left = LARGEST_TOTAL;
        for index in 0..zip.len() {
            let mut entry = zip.by_index(index)?;
            let name = entry.name().to_owned();
            let path = relative(&name)?;
            let Some(target) = place(path) else { continue };
            if entry.is_dir() {
                builder.folder(&target)?;
            } else if entry.is_file() {
                // The size the header claims is not to be believed.
                let mut content = Vec::new();
                entry.by_ref().take(left + 1).read_to_end(&mut content).map_err(LayerError::Archive)?;
                left = left
                    .checked_sub(content.len() as u64)
                    .ok_or(LayerError::TooLarge { limit: LARGEST_TOTAL })?;
                builder.file(&target, content)?;
            } else {
                return Err(LayerError::Special { path: name });
            }
        }
        Ok(builder.build())
    }

    /// The files below a folder of this machine, placed below `prefix`.
    ///
    /// `keep` is asked with the path relative to the folder, for files and folders;
    /// symbolic links are refused rather than followed out of it.
    pub fn from_folder(folder: &Path, prefix: &str, keep: impl Fn(&str) -> bool) -> Result<Self, LayerError> {
        let mut builder = Self::builder();
        let mut left = LARGEST_TOTAL;
        let mut pending = vec![String::new()];
        while let Some(below) = pending.pop() {
            let here = folder.join(&below);
            let at = |source| LayerError::Io { path: here.display().to_string(), source };
            for entry in std::fs::read_dir(&here).map_err(at)? {
                let entry = entry.map_err(at)?;
                let name = entry.file_name();
                let name = name
                    .to_str()
                    .filter(|name| is_plain(name))
                    .ok_or_else(|| LayerError::Path { path: entry.path().display().to_string() })?;
                let path = if below.is_empty() { name.to_owned() } else { format!("{below}/{name}") };
                if !keep(&path) {
                    continue;
                }
                let kind = entry.file_type().map_err(at)?;
                let target = format!("{}/{path}", prefix.trim_end_matches('/'));
                if kind.is_dir() {
                    builder.folder(&target)?;
                    pending.push(path);
                } else if kind.is_file() {
                    add_file(&mut builder, &entry.path(), &target, &mut left)?;
                } else {
                    return Err(LayerError::Special { path: entry.path().display().to_string() });
                }
            }
        }
        Ok(builder.build())
    }
}

fn add_file(builder: &mut LayerBuilder, path: &Path, target: &str, left: &mut u64) -> Result<(), LayerError> {
    let content =
        std::fs::read(path).map_err(|source| LayerError::Io { path: path.display().to_string(), source })?;
    *left = left.checked_sub(content.len() as u64).ok_or(LayerError::TooLarge { limit: LARGEST_TOTAL })?;
    builder.file(target, content)?;
    Ok(())
}

fn slice_of<R: Read>(archive: &Bytes, entry: &tar::Entry<'_, R>, path: &str) -> Result<Bytes, LayerError> {
    let short = || {
        LayerError::Archive(std::io::Error::new(
            std::io::ErrorKind::UnexpectedEof,
            format!("the archive ends inside `{path}`"),
        ))
    };
    let begin = usize::try_from(entry.raw_file_position()).map_err(|_| short())?;
    let length = usize::try_from(entry.size()).map_err(|_| short())?;
    let end = begin.checked_add(length).filter(|&end| end <= archive.len()).ok_or_else(short)?;
    Ok(archive.slice(begin..end))
}

/// An archive's path without a trailing slash, when it stays inside the archive.
fn relative(path: &str) -> Result<&str, LayerError> {
    let trimmed = path.strip_suffix('/').unwrap_or(path);
    if trimmed.contains('\\') || !trimmed.split('/').all(is_plain) {
        return Err(LayerError::Path { path: path.to_owned() });
    }
    Ok(trimmed)
}
