//! Content under its SHA-256, checked whenever it is brought into use.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use warmshard_config::units::hex;

use super::{StoreError, io_at};
use crate::cache::durable;

/// Names a blob of the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BlobRef {
    pub sha256: Sha256Hex,
    pub size: u64,
}

/// 64 lowercase hex digits: safe as a file name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Sha256Hex(String);

impl Sha256Hex {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn of(bytes: &[u8]) -> Self {
        Self::finish(Sha256::new_with_prefix(bytes))
    }

    fn finish(hasher: Sha256) -> Self {
        Self(hex(&hasher.finalize()))
    }
}

impl TryFrom<String> for Sha256Hex {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        if text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            Ok(Self(text))
        } else {
            Err(format!("found `{}`, expected 64 lowercase hex digits", text.escape_debug()))
        }
    }
}

impl From<Sha256Hex> for String {
    fn from(hex: Sha256Hex) -> Self {
        hex.0
    }
}

pub(super) fn put(root: &Path, bytes: &[u8]) -> Result<BlobRef, StoreError> {
    let blob = BlobRef { sha256: Sha256Hex::of(bytes), size: bytes.len() as u64 };
    let path = place(root, &blob)?;
    // What is there under this name is kept when it is what the name says.
    if verify(root, &blob).is_err() {
        durable::write(&path, bytes).map_err(io_at(&path))?;
    }
    Ok(blob)
}

/// Keeps what an open file holds; runs of zeros become holes.
pub(super) fn put_file(root: &Path, file: &File) -> Result<BlobRef, StoreError> {
    let (sha256, size) = hash_file(file).map_err(io_at(root))?;
    let blob = BlobRef { sha256, size };
    let path = place(root, &blob)?;
    if verify(root, &blob).is_err() {
        durable::write_with(&path, |to| durable::copy_sparse(file, to)).map_err(io_at(&path))?;
        // The source may have changed between hashing and copying.
        verify(root, &blob)?;
    }
    Ok(blob)
}

/// The content of a blob that is what its name says.
pub(super) fn read(root: &Path, blob: &BlobRef) -> Result<Bytes, StoreError> {
    let path = path(root, blob);
    let bytes = std::fs::read(&path).map_err(missing_or(blob, &path))?;
    check(blob, Sha256Hex::of(&bytes))?;
    Ok(bytes.into())
}

/// The path of a blob that is what its name says.
pub(super) fn verify(root: &Path, blob: &BlobRef) -> Result<PathBuf, StoreError> {
    let path = path(root, blob);
    let hashed = File::open(&path).and_then(|file| hash_file(&file));
    let (found, _) = hashed.map_err(missing_or(blob, &path))?;
    check(blob, found)?;
    Ok(path)
}

fn check(blob: &BlobRef, found: Sha256Hex) -> Result<(), StoreError> {
    if found == blob.sha256 {
        return Ok(());
    }
    Err(StoreError::BlobDamaged { found: found.into(), expected: blob.sha256.clone().into() })
}

fn path(root: &Path, blob: &BlobRef) -> PathBuf {
    let name = blob.sha256.as_str();
    root.join("blobs/sha256").join(&name[..2]).join(name)
}

fn place(root: &Path, blob: &BlobRef) -> Result<PathBuf, StoreError> {
    let path = path(root, blob);
    let folder = path.parent().unwrap_or(root);
    std::fs::create_dir_all(folder).map_err(io_at(folder))?;
    Ok(path)
}

fn missing_or(blob: &BlobRef, path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    let (digest, path) = (blob.sha256.as_str().to_owned(), path.to_owned());
    move |source| match source.kind() {
        io::ErrorKind::NotFound => StoreError::BlobMissing { digest },
        _ => StoreError::Io { path, source },
    }
}

fn hash_file(file: &File) -> io::Result<(Sha256Hex, u64)> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    let mut size = 0;
    loop {
        match file.read_at(&mut buffer, size)? {
            0 => return Ok((Sha256Hex::finish(hasher), size)),
            count => {
                hasher.update(&buffer[..count]);
                size += count as u64;
            }
        }
    }
}
