//! Filling the holes of the guest's heap before a snapshot is taken.
//!
//! After an import the heap is full of small holes, and the next allocations go there: a
//! restored isolate's first request would write a few bytes here and a few there, and
//! make a page its own for each. With the holes taken, new objects lie one after the
//! other on pages of their own.
//!
//! ```text
//! before  ▓▓░▓ ▓▓▓░ ░▓▓▓ ▓▓▓▓ ▓░▓▓ ....     the next allocations go to ░
//! after   ▓▓▓▓ ▓▓▓▓ ▓▓▓▓ ▓▓▓▓ ▓▓▓▓ ....     the next allocations go to .
//! ```
//!
//! Pyodide's CPython is built without an allocator of its own, so there is one heap, that
//! of Emscripten's `malloc` (dlmalloc). It serves a small request from a free chunk of
//! exactly that size, else from the chunk it split last, else from a larger one; a large
//! request from the smallest chunk that is large enough. So holes are asked for from the
//! largest to the smallest, the small ones size by size.
//!
//! What fills a hole is never given back: at most some megabytes of an image, on pages
//! that were in it anyway.

use wasmtime::Store;

use super::boot;
use crate::isolate::guest::Guest;

/// Requests up to this are served by exact size, in steps (dlmalloc's `MAX_SMALL_REQUEST`).
const LARGEST_SMALL: u32 = 248;
const SMALL_STEP: u32 = 8;
/// The largest hole worth filling. Larger ones are as good as fresh memory.
const LARGEST: u32 = 1 << 15;
/// Blocks that follow each other for this long lie in fresh memory.
const ROW: u32 = 1 << 15;
/// The most a block takes beyond what was asked for: a header, rounding and the least chunk.
const MOST_OVERHEAD: u32 = 16;
/// More than any heap has in holes; a heap that takes more is not as we think it is.
const MOST_BYTES: u32 = 128 << 20;

/// Takes every hole; how many bytes that were.
pub async fn fill_holes(store: &mut Store<Guest>) -> wasmtime::Result<u32> {
    let mut filled = 0;
    for size in sizes() {
        filled += fill(store, size, MOST_BYTES - filled).await?;
    }
    tracing::debug!(bytes = filled, "filled the holes of the heap");
    Ok(filled)
}

fn sizes() -> impl Iterator<Item = u32> {
    let large = std::iter::successors(Some(LARGEST), |size| Some(size / 2));
    let small = (1..=LARGEST_SMALL / SMALL_STEP).rev().map(|step| step * SMALL_STEP);
    large.take_while(|size| *size > LARGEST_SMALL).chain(small)
}

/// Allocates blocks of one size until they come one after the other, and frees those.
async fn fill(store: &mut Store<Guest>, size: u32, most: u32) -> wasmtime::Result<u32> {
    let allocate = boot::export::<u32, u32>(store, "malloc")?;
    let free = boot::export::<u32, ()>(store, "free")?;
    let (mut row, mut filled) = (Row::default(), 0);
    while row.span() < ROW {
        let block = boot::invoke(store, &allocate, size).await?;
        if block == 0 || filled > most {
            return Err(wasmtime::format_err!("the holes of the guest's heap have no end"));
        }
        filled += size * row.push(block, size);
    }
    // The last first: each joins the free memory behind it.
    for block in row.0.into_iter().rev() {
        boot::invoke(store, &free, block).await?;
    }
    Ok(filled)
}

/// Blocks of one size, each right behind the one before.
#[derive(Debug, Default)]
struct Row(Vec<u32>);

impl Row {
    /// How many blocks turned out to be no part of it, and so lie in holes.
    fn push(&mut self, block: u32, size: u32) -> u32 {
        let follows = |last: &u32| (size..=size + MOST_OVERHEAD).contains(&block.wrapping_sub(*last));
        let in_holes = if self.0.last().is_none_or(follows) { 0 } else { self.0.len() };
        if in_holes > 0 {
            self.0.clear();
        }
        self.0.push(block);
        in_holes as u32
    }

    fn span(&self) -> u32 {
        match (self.0.first(), self.0.last()) {
            (Some(first), Some(last)) => last.wrapping_sub(*first),
            _ => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_small_size_is_asked_for_after_the_large_ones() {
        let sizes: Vec<u32> = sizes().collect();
        assert!(sizes.is_sorted_by(|a, b| a > b));
        assert_eq!(sizes[..3], [1 << 15, 1 << 14, 1 << 13]);
        assert_eq!(sizes[sizes.len() - 31..], (1..=31).rev().map(|step| step * 8).collect::<Vec<_>>());
    }

    #[test]
    fn only_neighbours_make_a_row() {
        let mut row = Row::default();
        let blocks = [100, 9000, 9040, 9080, 200, 240, 280];
        assert_eq!(blocks.map(|block| row.push(block, 36)), [0, 1, 0, 0, 3, 0, 0]);
        assert_eq!(row.span(), 80);
    }
}
