//! The pages a deployment's first request writes to, made private before it does.
//!
//! A restored isolate shares its memory with the image until it writes. Each first
//! write is a page fault, and a first request takes some thousand of them. Which ones
//! hardly differs from isolate to isolate, so the first isolate that has answered a
//! request is looked at, and later ones get those pages in a few system calls at
//! restore (record and prefetch, as in REAP, ASPLOS 2021). Only page numbers are kept.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::mm::{Advice, madvise};
use wasmtime::{Memory, Store};

use crate::isolate::guest::Guest;

const PAGE: usize = 4096;
/// Ranges this many pages apart are one: a page too many costs less than a system call.
const BRIDGE: usize = 2;

/// The recorded pages of one deployment's image, as byte ranges.
#[derive(Debug, Default)]
pub struct WorkingSet {
    taken: AtomicBool,
    ranges: OnceLock<Vec<Range<usize>>>,
}

impl WorkingSet {
    /// True for the first caller only: that one records.
    pub fn take_turn(&self) -> bool {
        !self.taken.swap(true, Ordering::Relaxed)
    }

    /// Notes which pages of the image this isolate has made its own so far.
    pub fn record(&self, store: &Store<Guest>, image_pages: usize) {
        let memory = store.data().parts().memory;
        match private_pages(memory.data_ptr(store) as usize, image_pages) {
            Ok(pages) => {
                let ranges = ranges_of(&pages);
                tracing::debug!(pages = pages.len(), ranges = ranges.len(), "recorded a working set");
                let _ = self.ranges.set(ranges);
            }
            Err(error) => tracing::debug!(%error, "cannot record a working set"),
        }
    }

    /// Gives a freshly restored memory its own copies of the recorded pages.
    pub fn prefetch(&self, store: &Store<Guest>, memory: Memory) {
        for range in self.ranges.get().into_iter().flatten() {
            if range.end > memory.data_size(store) || !populate(store, memory, range) {
                return;
            }
        }
    }
}

#[expect(unsafe_code, reason = "advice about a memory mapping takes a raw pointer")]
fn populate(store: &Store<Guest>, memory: Memory, range: &Range<usize>) -> bool {
    // SAFETY: the range is within the memory, as the caller has checked, and the store
    // is not running. Populating changes no content and unmaps nothing: each page is
    // only made private, as a write of its own bytes would do.
    unsafe {
        let start = memory.data_ptr(store).add(range.start);
        madvise(start.cast(), range.len(), Advice::LinuxPopulateWrite).is_ok()
    }
}

/// Pages of a mapping that are present and belong to this process alone.
fn private_pages(start: usize, count: usize) -> io::Result<Vec<usize>> {
    const PRESENT: u64 = 1 << 63;
    const FILE_OR_SHARED: u64 = 1 << 61;
    let mut entries = vec![0; count * 8];
    File::open("/proc/self/pagemap")?.read_exact_at(&mut entries, (start / PAGE * 8) as u64)?;
    let entries = entries.chunks_exact(8).map(|entry| u64::from_le_bytes(entry.try_into().expect("eight bytes")));
    let private = entries.enumerate().filter(|(_, entry)| entry & (PRESENT | FILE_OR_SHARED) == PRESENT);
    Ok(private.map(|(page, _)| page).collect())
}

/// Byte ranges that cover the pages, close ones joined.
fn ranges_of(pages: &[usize]) -> Vec<Range<usize>> {
    let mut ranges: Vec<Range<usize>> = Vec::new();
    for &page in pages {
        let (start, end) = (page * PAGE, (page + 1) * PAGE);
        match ranges.last_mut() {
            Some(last) if start <= last.end + BRIDGE * PAGE => last.end = end,
            _ => ranges.push(start..end),
        }
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn close_pages_are_one_range() {
        let page = |n: usize| n * PAGE;
        assert_eq!(ranges_of(&[]), []);
        assert_eq!(ranges_of(&[3, 4, 7, 20]), [page(3)..page(8), page(20)..page(21)]);
    }
}
