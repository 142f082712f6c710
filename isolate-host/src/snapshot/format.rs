//! The snapshot file: a header that is judged before anything else is read.
//!
//! `docs/snapshot-format.md` has it byte by byte. There is one way to write a
//! snapshot: offsets follow from lengths, so a reader computes them and refuses
//! a file that says otherwise.

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use sha2::{Digest, Sha256};
use warmshard_config::units::hex;

use super::check::check_alone;
use super::manifest::{Manifest, Mismatch};

pub const MAGIC: &[u8; 8] = b"WARMSNAP";
/// Raised whenever a byte or a field of the manifest changes its meaning.
pub const VERSION: u32 = 2;
pub const HEADER: usize = 192;
/// Bytes of the header that its own checksum covers.
const SUMMED: usize = 160;
/// Where the image begins: on a boundary every page size divides.
pub const IMAGE_ALIGNMENT: u64 = 65536;

/// Why a file is not a snapshot this host can use.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    #[error("cannot read the snapshot `{path}`")]
    Read { path: PathBuf, source: io::Error },
    #[error("the snapshot has {found} bytes, expected at least {expected}: it is truncated")]
    Truncated { found: u64, expected: u64 },
    #[error("found `{}` at the start, expected `WARMSNAP`: the file is not a snapshot", found.escape_ascii())]
    Magic { found: [u8; 8] },
    #[error("the snapshot has format version {found}, this host reads version {VERSION}")]
    Version { found: u32 },
    #[error("the snapshot's header says it has {found} bytes, expected {HEADER}")]
    HeaderLength { found: u32 },
    #[error("the snapshot's header has SHA-256 {found}, expected {expected}: it is damaged")]
    HeaderHash { found: String, expected: String },
    #[error("the snapshot's {section} has {found} bytes, expected at most {limit}")]
    TooLarge { section: Section, found: u64, limit: u64 },
    #[error("the snapshot's {section} begins at byte {found}, expected {expected}")]
    Offset { section: Section, found: u64, expected: u64 },
    #[error("the snapshot has {found} bytes, expected {expected}: something follows its image")]
    Trailing { found: u64, expected: u64 },
    #[error("found bytes other than 0 in the snapshot between its files and its image")]
    Padding,
    #[error("the snapshot's {section} has SHA-256 {found}, expected {expected}: it is damaged")]
    SectionHash { section: Section, found: String, expected: String },
    #[error("the snapshot's manifest cannot be read, at `{field}`")]
    Manifest { field: String, source: serde_json::Error },
    #[error(transparent)]
    Mismatch(#[from] Mismatch),
}

/// The three parts behind the header, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Section {
    Manifest,
    Files,
    Image,
}

impl Section {
    pub const ALL: [Self; 3] = [Self::Manifest, Self::Files, Self::Image];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Manifest => "manifest",
            Self::Files => "files",
            Self::Image => "image",
        }
    }

    /// Larger ones are a mistake or an attack: nothing of that size is read.
    pub fn limit(self) -> u64 {
        match self {
            Self::Manifest => 64 << 20,
            Self::Files => 1 << 30,
            Self::Image => 1 << 32,
        }
    }
}

impl std::fmt::Display for Section {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A snapshot's parts, verified.
#[derive(Debug, Clone)]
pub struct Snapshot {
    pub header: Header,
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
        let file = File::open(path).map_err(failed)?;
        let length = file.metadata().map_err(failed)?.len();
        Self::assemble(length, |range| {
            let mut bytes = vec![0; (range.end - range.start) as usize];
            file.read_exact_at(&mut bytes, range.start).map_err(failed)?;
            Ok(bytes.into())
        })
    }

    /// The same for bytes that are in memory.
    pub fn parse(file: &Bytes) -> Result<Self, SnapshotError> {
        Self::assemble(file.len() as u64, |range| Ok(file.slice(range.start as usize..range.end as usize)))
    }

    /// `read` is asked only for ranges within the `length` bytes there are, and for nothing but the
    /// header before that is judged.
    fn assemble(
        length: u64,
        read: impl Fn(Range<u64>) -> Result<Bytes, SnapshotError>,
    ) -> Result<Self, SnapshotError> {
        let header = Header::judge(&read(0..length.min(HEADER as u64))?, length)?;
        let [manifest, files, image] = header.sections.clone();
        if read(files.end..image.start)?.iter().any(|&byte| byte != 0) {
            return Err(SnapshotError::Padding);
        }
        let section = |section: Section, range| {
            let bytes = read(range)?;
            let (found, expected) = (Sha256::digest(&bytes), header.hashes[section as usize]);
            if found[..] == expected {
                return Ok(bytes);
            }
            Err(SnapshotError::SectionHash { section, found: hex(&found), expected: hex(&expected) })
        };
        let manifest = parse_manifest(&section(Section::Manifest, manifest)?)?;
        let files = section(Section::Files, files)?;
        let image = section(Section::Image, image)?;
        check_alone(&manifest, &image)?;
        let image_hash = hex(&header.hashes[Section::Image as usize]);
        Ok(Self { header, manifest, files, image, image_hash })
    }
}

fn parse_manifest(json: &[u8]) -> Result<Manifest, SnapshotError> {
    let mut reader = serde_json::Deserializer::from_slice(json);
    let malformed = |error: serde_path_to_error::Error<serde_json::Error>| SnapshotError::Manifest {
        field: error.path().to_string(),
        source: error.into_inner(),
    };
    let manifest = serde_path_to_error::deserialize(&mut reader).map_err(malformed)?;
    let rest = |source| SnapshotError::Manifest { field: ".".to_owned(), source };
    reader.end().map_err(rest)?;
    Ok(manifest)
}

/// The first bytes of a snapshot, judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Where each section is, in the order of [`Section::ALL`].
    pub sections: [Range<u64>; 3],
    /// The SHA-256 each section has to have.
    pub hashes: [[u8; 32]; 3],
}

impl Header {
    /// Everything that can be said before any section is looked at. `start` are the file's first
    /// bytes, as many as there are of [`HEADER`]; `length` is that of the whole file.
    pub fn judge(start: &[u8], length: u64) -> Result<Self, SnapshotError> {
        let Some(header) = start.first_chunk::<HEADER>() else {
            let is_magic = start.iter().zip(MAGIC).all(|(found, expected)| found == expected);
            return Err(match start.first_chunk() {
                Some(found) if !is_magic => SnapshotError::Magic { found: *found },
                _ => SnapshotError::Truncated { found: length, expected: HEADER as u64 },
            });
        };
        let magic = array::<8>(header, 0);
        if magic != *MAGIC {
            return Err(SnapshotError::Magic { found: magic });
        }
        let version = u32::from_le_bytes(array(header, 8));
        if version != VERSION {
            return Err(SnapshotError::Version { found: version });
        }
        let own_length = u32::from_le_bytes(array(header, 12));
        if own_length != HEADER as u32 {
            return Err(SnapshotError::HeaderLength { found: own_length });
        }
        let (hash, expected) = (Sha256::digest(&header[..SUMMED]), &header[SUMMED..]);
        if hash[..] != *expected {
            return Err(SnapshotError::HeaderHash { found: hex(&hash), expected: hex(expected) });
        }
        let word = |at| u64::from_le_bytes(array(header, at));
        let lengths = Section::ALL.map(|section| word(24 + 16 * section as usize));
        for (section, found) in Section::ALL.into_iter().zip(lengths) {
            if found > section.limit() {
                return Err(SnapshotError::TooLarge { section, found, limit: section.limit() });
            }
        }
        let sections = layout(lengths);
        for (section, range) in Section::ALL.into_iter().zip(&sections) {
            let (found, expected) = (word(16 + 16 * section as usize), range.start);
            if found != expected {
                return Err(SnapshotError::Offset { section, found, expected });
            }
        }
        let (found, expected) = (length, sections[Section::Image as usize].end);
        if found < expected {
            return Err(SnapshotError::Truncated { found, expected });
        }
        if found > expected {
            return Err(SnapshotError::Trailing { found, expected });
        }
        Ok(Self { sections, hashes: [array(header, 64), array(header, 96), array(header, 128)] })
    }
}

/// Where sections of these lengths lie: one behind the other, the image on a boundary.
fn layout([manifest, files, image]: [u64; 3]) -> [Range<u64>; 3] {
    let manifest_at = HEADER as u64;
    let files_at = manifest_at + manifest;
    let image_at = (files_at + files).next_multiple_of(IMAGE_ALIGNMENT);
    [manifest_at..files_at, files_at..files_at + files, image_at..image_at + image]
}

fn array<const N: usize>(header: &[u8; HEADER], at: usize) -> [u8; N] {
    header[at..at + N].try_into().expect("within the header")
}

/// Writes a snapshot. Pages of zeros in the image become holes.
pub fn write(file: &mut File, manifest: &Manifest, files: &[u8], image: &[u8]) -> io::Result<()> {
    let manifest = serde_json::to_vec(manifest).map_err(io::Error::other)?;
    let sections = [&manifest[..], files, image];
    let places = layout(sections.map(|section| section.len() as u64));
    file.write_all(&encode_header(sections))?;
    file.write_all(&manifest)?;
    file.write_all(files)?;
    let [.., image_at] = places;
    write_sparse(file, image_at.start, image)?;
    file.set_len(image_at.end)
}

/// The header of a snapshot with these sections.
pub fn encode_header(sections: [&[u8]; 3]) -> Vec<u8> {
    let mut header = Vec::with_capacity(HEADER);
    header.extend(MAGIC);
    header.extend(VERSION.to_le_bytes());
    header.extend((HEADER as u32).to_le_bytes());
    for place in layout(sections.map(|section| section.len() as u64)) {
        header.extend(place.start.to_le_bytes());
        header.extend((place.end - place.start).to_le_bytes());
    }
    for section in sections {
        header.extend(Sha256::digest(section));
    }
    header.extend(Sha256::digest(&header));
    header
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

#[cfg(test)]
mod tests;
