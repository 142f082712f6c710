//! Undoing what an isolate wrote: its memory becomes the image again, page by page.
//!
//! An isolate shares the image's pages until it writes to them; the kernel knows which
//! it has made its own. Copying the image over those few hundred pages costs less than
//! mapping memory anew and taking a page fault for each of them again.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

const PAGE: usize = 4096;

/// Makes `memory` equal to `image`. Both have the same length, and `memory` was mapped from it.
pub(crate) fn renew(memory: &mut [u8], image: &[u8]) -> io::Result<()> {
    for page in private_pages(memory)? {
        let range = page * PAGE..((page + 1) * PAGE).min(image.len());
        memory[range.clone()].copy_from_slice(&image[range]);
    }
    Ok(())
}

/// The pages of a mapping that belong to this process alone, in memory or swapped out.
fn private_pages(memory: &[u8]) -> io::Result<impl Iterator<Item = usize> + use<>> {
    /// Bytes the kernel tells about each page.
    const ENTRY: usize = 8;
    let mut entries = vec![0; memory.len() / PAGE * ENTRY];
    let first = memory.as_ptr() as usize / PAGE;
    File::open("/proc/self/pagemap")?.read_exact_at(&mut entries, (first * ENTRY) as u64)?;
    let pages = memory.len() / PAGE;
    let private = (0..pages).filter(move |page| {
        let entry = &entries[page * ENTRY..][..ENTRY];
        is_private(u64::from_le_bytes(entry.try_into().expect("eight bytes")))
    });
    Ok(private)
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
        renew(memory, &image).unwrap();
        assert!(*memory == *image);
    }
}
