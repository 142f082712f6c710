//! The snapshot file: a header that is judged before anything else is read.
//!
//! ```text
//! offset  size  content (integers little endian)
//!      0     8  magic "WARMSNAP"
//!      8     4  format version
//!     12     4  header length, 192
//!     16    16  manifest: offset, length      JSON
//!     32    16  files: offset, length         the writable layer, as `files::encode_overlay` writes it
//!     48    16  image: offset, length         linear memory from address 0; offset a multiple of 65536
//!     64    96  SHA-256 of manifest, files, image
//!    160    32  SHA-256 of bytes 0 to 159
//! ```

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::manifest::Manifest;
use crate::pyodide::code_cache::hex;

pub const MAGIC: &[u8; 8] = b"WARMSNAP";
pub const VERSION: u32 = 1;
const HEADER: usize = 192;
/// Where the image begins: on a boundary every page size divides.
const IMAGE_ALIGNMENT: u64 = 65536;
/// Largest file that is read: linear memory is at most 4 GiB.
const FILE_LIMIT: u64 = 5 << 30;

/// Why a file is not a snapshot this host can use.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    #[error("cannot read the snapshot `{path}`")]
    Read { path: PathBuf, source: io::Error },
    #[error("the snapshot has {found} bytes, expected at least {expected}: it is truncated")]
    Truncated { found: u64, expected: u64 },
    #[error("found {found:?} at the start, expected {MAGIC:?}: the file is not a snapshot")]
    Magic { found: [u8; 8] },
    #[error("snapshot has format version {found}, this host reads version {VERSION}")]
    Version { found: u32 },
    #[error("the snapshot's header has SHA-256 {found}, expected {expected}: it is damaged")]
    HeaderHash { found: String, expected: String },
    #[error("the snapshot's {section} reaches from byte {} to {}, expected it within bytes {HEADER} to {file}", range.start, range.end)]
    Bounds { section: &'static str, range: Range<u64>, file: u64 },
    #[error("the snapshot's {section} has SHA-256 {found}, expected {expected}: it is damaged")]
    SectionHash { section: &'static str, found: String, expected: String },
    #[error("the snapshot's manifest cannot be read")]
    Manifest(#[source] serde_json::Error),
}

/// A snapshot's parts, verified.
#[derive(Debug, Clone)]
pub struct Snapshot {
    pub manifest: Manifest,
    /// The writable layer, still encoded.
    pub files: Bytes,
    pub image: Bytes,
    /// SHA-256 of the image: names what is made of it.
    pub image_hash: String,
}

impl Snapshot {
    /// Reads and verifies a file: header first, then each section's checksum, then the manifest.
    pub fn read(path: &Path) -> Result<Self, SnapshotError> {
        let failed = |source| SnapshotError::Read { path: path.to_owned(), source };
        let length = std::fs::metadata(path).map_err(failed)?.len();
        if length > FILE_LIMIT {
            return Err(SnapshotError::Bounds { section: "file", range: 0..length, file: FILE_LIMIT });
        }
        Self::parse(&Bytes::from(std::fs::read(path).map_err(failed)?))
    }

    /// The same for bytes that are in memory.
    pub fn parse(file: &Bytes) -> Result<Self, SnapshotError> {
        let header = Header::judge(file)?;
        let section = |name: &'static str, index: usize| {
            let range = header.sections[index].clone();
            let bytes = file.slice(range.start as usize..range.end as usize);
            let found = Sha256::digest(&bytes);
            if found[..] == header.hashes[index] {
                Ok(bytes)
            } else {
                Err(SnapshotError::SectionHash {
                    section: name,
                    found: hex(&found),
                    expected: hex(&header.hashes[index]),
                })
            }
        };
        let manifest = section("manifest", 0)?;
        let files = section("files", 1)?;
        let image = section("image", 2)?;
        let manifest = serde_json::from_slice(&manifest).map_err(SnapshotError::Manifest)?;
        Ok(Self { manifest, files, image, image_hash: hex(&header.hashes[2]) })
    }
}

struct Header {
    sections: [Range<u64>; 3],
    hashes: [[u8; 32]; 3],
}

impl Header {
    /// Everything that can be said before any section is looked at.
    fn judge(file: &[u8]) -> Result<Self, SnapshotError> {
        let found = file.len() as u64;
        let Some(header) = file.first_chunk::<HEADER>() else {
            return Err(SnapshotError::Truncated { found, expected: HEADER as u64 });
        };
        let magic = array::<8>(header, 0);
        if magic != *MAGIC {
            return Err(SnapshotError::Magic { found: magic });
        }
        let version = u32::from_le_bytes(array(header, 8));
        if version != VERSION {
            return Err(SnapshotError::Version { found: version });
        }
        let (hash, expected) = (Sha256::digest(&header[..160]), &header[160..]);
        if hash[..] != *expected {
            return Err(SnapshotError::HeaderHash { found: hex(&hash), expected: hex(expected) });
        }
        let word = |at| u64::from_le_bytes(array(header, at));
        let mut sections = [const { 0..0 }; 3];
        for (index, name) in ["manifest", "files", "image"].into_iter().enumerate() {
            let (start, length) = (word(16 + 16 * index), word(24 + 16 * index));
            let range = start..start.saturating_add(length);
            if range.end > found && range.start <= found {
                return Err(SnapshotError::Truncated { found, expected: range.end });
            }
            if range.start < HEADER as u64 || range.end > found {
                return Err(SnapshotError::Bounds { section: name, range, file: found });
            }
            sections[index] = range;
        }
        Ok(Self { sections, hashes: [array(header, 64), array(header, 96), array(header, 128)] })
    }
}

fn array<const N: usize>(header: &[u8; HEADER], at: usize) -> [u8; N] {
    header[at..at + N].try_into().expect("within the header")
}

/// Writes a snapshot. Pages of zeros in the image become holes.
pub fn write(file: &mut File, manifest: &Manifest, files: &[u8], image: &[u8]) -> io::Result<()> {
    let manifest = serde_json::to_vec(manifest).map_err(io::Error::other)?;
    let manifest_at = HEADER as u64;
    let files_at = manifest_at + manifest.len() as u64;
    let image_at = (files_at + files.len() as u64).next_multiple_of(IMAGE_ALIGNMENT);
    let mut header = Vec::with_capacity(HEADER);
    header.extend(MAGIC);
    header.extend(VERSION.to_le_bytes());
    header.extend((HEADER as u32).to_le_bytes());
    for (at, section) in [(manifest_at, &manifest[..]), (files_at, files), (image_at, image)] {
        header.extend(at.to_le_bytes());
        header.extend((section.len() as u64).to_le_bytes());
    }
    for section in [&manifest[..], files, image] {
        header.extend(Sha256::digest(section));
    }
    header.extend(Sha256::digest(&header));
    file.write_all(&header)?;
    file.write_all(&manifest)?;
    file.write_all(files)?;
    write_sparse(file, image_at, image)?;
    file.set_len(image_at + image.len() as u64)
}

fn write_sparse(file: &mut File, at: u64, image: &[u8]) -> io::Result<()> {
    const PAGE: usize = 4096;
    let zero = [0; PAGE];
    for (index, page) in image.chunks(PAGE).enumerate() {
        if *page != zero[..page.len()] {
            file.seek(SeekFrom::Start(at + (index * PAGE) as u64))?;
            file.write_all(page)?;
        }
    }
    Ok(())
}
