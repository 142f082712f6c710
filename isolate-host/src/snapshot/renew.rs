//! Undoing what an isolate wrote: its memory becomes the image again, page by page.
//!
//! An isolate shares the image's pages until it writes to them; the kernel knows which
//! it has made its own. Copying the image over those few hundred pages costs less than
//! mapping memory anew and taking a page fault for each of them again.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

const PAGE: usize = 4096;

/// The pages an isolate has made its own, as ranges of bytes. They are looked up when it
/// ends: nothing runs in it until it is renewed, so the request that asks for that is
/// spared the search.
#[derive(Debug)]
pub(crate) struct Written(Vec<Range<usize>>);

impl Written {
    /// Asks the kernel.
    pub(crate) fn find(memory: &[u8]) -> io::Result<Self> {
        let mut ranges: Vec<Range<usize>> = Vec::new();
        for page in private_pages(memory)? {
            let range = page * PAGE..(page + 1) * PAGE;
            match ranges.last_mut() {
                Some(last) if last.end == range.start => last.end = range.end,
                _ => ranges.push(range),
            }
        }
        Ok(Self(ranges))
    }

    pub(crate) fn bytes(&self) -> usize {
        self.0.iter().map(Range::len).sum()
    }

    /// Makes `memory` equal to `image`. Both have the same length, `memory` was mapped from
    /// `image`, and nobody has written to it since these pages were looked up.
    pub(crate) fn undo(&self, memory: &mut [u8], image: &[u8]) {
        for range in &self.0 {
            memory[range.clone()].copy_from_slice(&image[range.clone()]);
        }
    }
}

/// The pages of a mapping that belong to this process alone, in memory or swapped out.
fn private_pages(memory: &[u8]) -> io::Result<impl Iterator<Item = usize> + use<>> {
    /// Bytes the kernel tells about each page.
    const ENTRY: usize = 8;
    let pages = memory.len() / PAGE;
    let mut entries = vec![0; pages * ENTRY];
    let first = memory.as_ptr() as usize / PAGE;
    File::open("/proc/self/pagemap")?.read_exact_at(&mut entries, (first * ENTRY) as u64)?;
    Ok((0..pages).filter(move |page| {
        let entry = &entries[page * ENTRY..][..ENTRY];
        is_private(u64::from_le_bytes(entry.try_into().expect("eight bytes")))
    }))
}

/// Reads an entry of `/proc/self/pagemap` (Linux, Documentation/admin-guide/mm/pagemap.rst).
fn is_private(entry: u64) -> bool {
    const PRESENT: u64 = 1 << 63;
    const SWAPPED: u64 = 1 << 62;
    const FILE_OR_SHARED: u64 = 1 << 61;
    entry & (PRESENT | SWAPPED) != 0 && entry & FILE_OR_SHARED == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_undone() {
        let image: Vec<u8> = (0..16 * PAGE).map(|at| (at % 251) as u8).collect();
        // On a page boundary, as linear memory is.
        let mut buffer = vec![0; image.len() + PAGE];
        let start = buffer.as_ptr().align_offset(PAGE);
        let memory = &mut buffer[start..start + image.len()];
        memory.copy_from_slice(&image);
        memory[5 * PAGE + 7] ^= 0xff;
        memory[15 * PAGE..].fill(1);
        Written::find(memory).unwrap().undo(memory, &image);
        assert!(*memory == *image);
    }
}
