//! Overlay entries as bytes: counted strings and little-endian numbers.

use bytes::{Buf, BufMut, Bytes};

use super::export::{OverlayEntry, OverlayKind};
use super::kinds::Timestamp;

/// Why bytes are no overlay.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    #[error("the saved files end in the middle of entry {entry}")]
    Short { entry: u32 },
    #[error("found the kind {found} in entry {entry} of the saved files, expected 0 to 4")]
    Kind { entry: u32, found: u8 },
    #[error("found {count} bytes of content in entry {entry} of the saved files, expected none for its kind")]
    Content { entry: u32, count: usize },
    #[error("found text that is not UTF-8 in entry {entry} of the saved files")]
    Text { entry: u32 },
    #[error("found {count} bytes after the last entry of the saved files, expected none")]
    Rest { count: usize },
}

/// Writes entries as [`decode_overlay`] reads them.
pub fn encode_overlay(entries: &[OverlayEntry]) -> Vec<u8> {
    let mut out = Vec::new();
    out.put_u32_le(u32::try_from(entries.len()).expect("the quota allows fewer than 2^32 nodes"));
    for entry in entries {
        let (tag, payload): (u8, &[u8]) = match &entry.kind {
            OverlayKind::Directory { lower: None } => (0, b""),
            OverlayKind::Directory { lower: Some(path) } => (1, path.as_bytes()),
            OverlayKind::File(content) => (2, content),
            OverlayKind::Symlink(target) => (3, target.as_bytes()),
            OverlayKind::Removed => (4, b""),
        };
        out.put_u8(tag);
        put_bytes(&mut out, entry.path.as_bytes());
        out.put_u64_le(entry.ino);
        out.put_u32_le(entry.permissions);
        for time in [entry.atime, entry.mtime, entry.ctime] {
            out.put_i64_le(time.seconds);
            out.put_u32_le(time.nanoseconds);
        }
        put_bytes(&mut out, payload);
    }
    out
}

/// Reads entries; file contents are slices of `bytes`, not copies.
pub fn decode_overlay(mut bytes: Bytes) -> Result<Vec<OverlayEntry>, CodecError> {
    let count = bytes.try_get_u32_le().map_err(|_| CodecError::Short { entry: 0 })?;
    // The count is not to be believed: room grows with what is really there.
    let mut entries = Vec::new();
    for entry in 0..count {
        entries.push(decode_entry(&mut bytes, entry)?);
    }
    match bytes.len() {
        0 => Ok(entries),
        count => Err(CodecError::Rest { count }),
    }
}

fn decode_entry(bytes: &mut Bytes, entry: u32) -> Result<OverlayEntry, CodecError> {
    let short = |_| CodecError::Short { entry };
    let tag = bytes.try_get_u8().map_err(short)?;
    let path = text(take_bytes(bytes, entry)?, entry)?;
    let ino = bytes.try_get_u64_le().map_err(short)?;
    let permissions = bytes.try_get_u32_le().map_err(short)?;
    let mut time = || {
        let seconds = bytes.try_get_i64_le().map_err(short)?;
        let nanoseconds = bytes.try_get_u32_le().map_err(short)?;
        Ok(Timestamp { seconds, nanoseconds })
    };
    let (atime, mtime, ctime) = (time()?, time()?, time()?);
    let payload = take_bytes(bytes, entry)?;
    if matches!(tag, 0 | 4) && !payload.is_empty() {
        return Err(CodecError::Content { entry, count: payload.len() });
    }
    let kind = match tag {
        0 => OverlayKind::Directory { lower: None },
        1 => OverlayKind::Directory { lower: Some(text(payload, entry)?) },
        2 => OverlayKind::File(payload),
        3 => OverlayKind::Symlink(text(payload, entry)?),
        4 => OverlayKind::Removed,
        found => return Err(CodecError::Kind { entry, found }),
    };
    Ok(OverlayEntry { path, ino, permissions, atime, mtime, ctime, kind })
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.put_u64_le(bytes.len() as u64);
    out.put_slice(bytes);
}

fn take_bytes(bytes: &mut Bytes, entry: u32) -> Result<Bytes, CodecError> {
    let short = CodecError::Short { entry };
    let length = bytes.try_get_u64_le().map_err(|_| short.clone())?;
    match usize::try_from(length) {
        Ok(length) if length <= bytes.len() => Ok(bytes.split_to(length)),
        _ => Err(short),
    }
}

fn text(bytes: Bytes, entry: u32) -> Result<String, CodecError> {
    String::from_utf8(bytes.into()).map_err(|_| CodecError::Text { entry })
}
