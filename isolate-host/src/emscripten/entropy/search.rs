//! Finding copies of known bytes in memory, also where they have become text or numbers.
//!
//! A copy is recognised by a window of it: long enough not to turn up by chance, short
//! enough to survive that a program changed a few bits (a version in a UUID) or cut the
//! value in two. A draw shorter than a window is not recognised.
//!
//! | form | window | as what |
//! |---|---|---|
//! | bytes | 8 bytes | in order, in reverse order (an integer of the other endianness), or with the bytes of each 32-bit word reversed |
//! | hexadecimal | 12 digits | of the bytes in either order, at any digit, upper or lower case, in text of 1, 2 or 4 bytes per character |
//! | digits of an `int` | 60 bits | two neighbouring 30-bit digits of a CPython `int` on 32 bits, made of the bytes in either order, at any bit |
//!
//! By chance a window is met once in 2^48 places (hexadecimal, and there only inside runs
//! of 12 digits) or 2^60; memory has some 2^26 of them, and draws some 2^15 windows.

use std::collections::HashMap;

/// How a copy is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Form {
    Bytes,
    Hexadecimal,
    IntDigits,
}

impl Form {
    pub fn name(self) -> &'static str {
        match self {
            Self::Bytes => "bytes",
            Self::Hexadecimal => "hexadecimal text",
            Self::IntDigits => "an int",
        }
    }
}

/// A copy that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hit {
    pub(super) at: usize,
    pub(super) length: usize,
    pub(super) form: Form,
    /// Which of the draws.
    pub(super) draw: u32,
}

const BYTES: usize = 8;
const HEX_DIGITS: usize = 12;
/// Bits of a digit of a CPython `int`, and how a digit is stored.
const DIGIT_BITS: usize = 30;
const DIGIT_SIZE: usize = 4;
/// Pages of zeros are passed over.
const PAGE: usize = 4096;
/// More hits than this say nothing new.
const MOST_HITS: usize = 1 << 14;

/// What to look for.
pub(super) struct Patterns {
    bytes: Windows,
    hex: Windows,
    digits: Windows,
}

impl Patterns {
    pub(super) fn of<'a>(draws: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut patterns = Self { bytes: Windows::new(), hex: Windows::new(), digits: Windows::new() };
        for (draw, bytes) in draws.enumerate() {
            patterns.add(draw as u32, bytes);
        }
        patterns
    }

    fn add(&mut self, draw: u32, bytes: &[u8]) {
        let reversed: Vec<u8> = bytes.iter().rev().copied().collect();
        let words_reversed: Vec<u8> = bytes.chunks(4).flat_map(|word| word.iter().rev().copied()).collect();
        for order in [bytes, &reversed, &words_reversed] {
            for window in order.windows(BYTES) {
                self.bytes.insert(u64::from_le_bytes(window.try_into().expect("eight bytes")), draw);
            }
        }
        for order in [bytes, &reversed] {
            each_window(order, 4, HEX_DIGITS * 4, |window| self.hex.insert(window, draw));
            each_window(order, 1, 2 * DIGIT_BITS, |window| self.digits.insert(window, draw));
        }
    }

    /// Every copy in `memory`, by address; neighbouring windows of one draw are one copy.
    pub(super) fn find(&self, memory: &[u8]) -> Vec<Hit> {
        let mut hits = Hits::default();
        if self.bytes.is_empty() && self.hex.is_empty() {
            return hits.found;
        }
        self.find_bytes(memory, &mut hits);
        self.find_digits(memory, &mut hits);
        self.find_hex::<1>(memory, &mut hits);
        self.find_hex::<2>(memory, &mut hits);
        self.find_hex::<4>(memory, &mut hits);
        hits.found.sort_by_key(|hit| (hit.at, hit.length));
        hits.found
    }

    fn find_bytes(&self, memory: &[u8], hits: &mut Hits) {
        for range in used(memory, BYTES - 1) {
            let start = range.start;
            for (at, window) in memory[range].windows(BYTES).enumerate() {
                let window = u64::from_le_bytes(window.try_into().expect("eight bytes"));
                if let Some(draw) = self.bytes.get(window) {
                    hits.add(start + at, BYTES, Form::Bytes, draw);
                }
            }
        }
    }

    fn find_digits(&self, memory: &[u8], hits: &mut Hits) {
        const MOST: u32 = 1 << DIGIT_BITS;
        for range in used(memory, DIGIT_SIZE) {
            let start = range.start;
            let digits = memory[range].chunks_exact(DIGIT_SIZE);
            let mut low = u32::MAX;
            for (index, digit) in digits.enumerate() {
                let high = u32::from_le_bytes(digit.try_into().expect("four bytes"));
                if low < MOST && high < MOST {
                    let window = u64::from(high) << DIGIT_BITS | u64::from(low);
                    if let Some(draw) = self.digits.get(window) {
                        let at = start + (index - 1) * DIGIT_SIZE;
                        hits.add(at, 2 * DIGIT_SIZE, Form::IntDigits, draw);
                    }
                }
                low = high;
            }
        }
    }

    /// Text of `WIDTH` bytes per character.
    fn find_hex<const WIDTH: usize>(&self, memory: &[u8], hits: &mut Hits) {
        const MASK: u64 = (1 << (4 * HEX_DIGITS)) - 1;
        for range in used(memory, HEX_DIGITS * WIDTH) {
            let start = range.start;
            let (mut window, mut run) = (0u64, 0usize);
            for (index, character) in memory[range].chunks_exact(WIDTH).enumerate() {
                let value = NIBBLES[usize::from(character[0])];
                if value == NO_DIGIT || character[1..].iter().any(|&byte| byte != 0) {
                    run = 0;
                    continue;
                }
                window = (window << 4 | u64::from(value)) & MASK;
                run += 1;
                if run >= HEX_DIGITS
                    && let Some(draw) = self.hex.get(window)
                {
                    let at = start + (index + 1 - HEX_DIGITS) * WIDTH;
                    hits.add(at, HEX_DIGITS * WIDTH, Form::Hexadecimal, draw);
                }
            }
        }
    }
}

/// Stretches of memory between pages of zeros, each with `more` bytes of what follows, so
/// that a window may cross its end.
fn used(memory: &[u8], more: usize) -> impl Iterator<Item = std::ops::Range<usize>> {
    let mut at = 0;
    let is_used = |at: usize| memory[at..(at + PAGE).min(memory.len())].iter().any(|&byte| byte != 0);
    std::iter::from_fn(move || {
        while at < memory.len() && !is_used(at) {
            at += PAGE;
        }
        if at >= memory.len() {
            return None;
        }
        let start = at;
        while at < memory.len() && is_used(at) {
            at += PAGE;
        }
        Some(start..(at + more).min(memory.len()))
    })
}

/// Windows of `length` bits, most significant bit first, `step` bits apart.
fn each_window(bytes: &[u8], step: usize, length: usize, mut each: impl FnMut(u64)) {
    let mask = (1u64 << length) - 1;
    let mut window = 0u64;
    let mut bits = 0;
    for &byte in bytes {
        for shift in (0..8 / step).rev() {
            let part = u64::from(byte) >> (shift * step) & ((1 << step) - 1);
            window = (window << step | part) & mask;
            bits += step;
            if bits >= length {
                each(window);
            }
        }
    }
}

/// Windows and the draw each is of, behind a filter that turns nearly everything away.
struct Windows {
    filter: Vec<u64>,
    draws: HashMap<u64, u32>,
}

const FILTER_BITS: u32 = 22;

impl Windows {
    fn new() -> Self {
        Self { filter: vec![0; (1 << FILTER_BITS) / 64], draws: HashMap::new() }
    }

    fn is_empty(&self) -> bool {
        self.draws.is_empty()
    }

    /// The word and the bit of the filter a window belongs to (Fibonacci hashing).
    fn slot(window: u64) -> (usize, u64) {
        let hash = window.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - FILTER_BITS);
        ((hash / 64) as usize, 1 << (hash % 64))
    }

    fn insert(&mut self, window: u64, draw: u32) {
        let (word, bit) = Self::slot(window);
        self.filter[word] |= bit;
        self.draws.entry(window).or_insert(draw);
    }

    fn get(&self, window: u64) -> Option<u32> {
        let (word, bit) = Self::slot(window);
        if self.filter[word] & bit == 0 {
            return None;
        }
        self.draws.get(&window).copied()
    }
}

#[derive(Default)]
struct Hits {
    found: Vec<Hit>,
}

impl Hits {
    /// Takes a window in. Windows of one form come by address.
    fn add(&mut self, at: usize, length: usize, form: Form, draw: u32) {
        if let Some(last) = self.found.last_mut()
            && (last.form, last.draw) == (form, draw)
            && (last.at..=last.at + last.length).contains(&at)
        {
            last.length = last.length.max(at + length - last.at);
        } else if self.found.len() < MOST_HITS {
            self.found.push(Hit { at, length, form, draw });
        }
    }
}

const NO_DIGIT: u8 = 0xff;
/// The value of a hexadecimal digit by its character.
const NIBBLES: [u8; 256] = {
    let mut table = [NO_DIGIT; 256];
    let mut value = 0;
    while value < 16 {
        table[b"0123456789abcdef"[value] as usize] = value as u8;
        table[b"0123456789ABCDEF"[value] as usize] = value as u8;
        value += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use warmshard_config::units::hex;

    use super::*;

    /// The digits of the number that `bytes`, most significant first, are.
    fn int_digits(bytes: &[u8]) -> Vec<u8> {
        let mut bits: Vec<u8> =
            bytes.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1)).collect();
        bits.reverse();
        let digits = bits.chunks(DIGIT_BITS).map(|digit| {
            digit.iter().enumerate().fold(0u32, |value, (at, bit)| value | u32::from(*bit) << at)
        });
        digits.flat_map(u32::to_le_bytes).collect()
    }

    fn reversed(bytes: &[u8]) -> Vec<u8> {
        bytes.iter().rev().copied().collect()
    }

    /// Every way a draw of 16 bytes may be copied, with its name.
    fn copies(draw: &[u8]) -> Vec<(&'static str, Form, Vec<u8>)> {
        let wide = |text: &str, width: usize| -> Vec<u8> {
            text.bytes().flat_map(|byte| [&[byte][..], &vec![0; width - 1]].concat()).collect()
        };
        let uuid = {
            let text = hex(draw);
            format!("{}-{}-4{}-a{}-{}", &text[..8], &text[8..12], &text[13..16], &text[17..20], &text[20..])
        };
        vec![
            ("raw", Form::Bytes, draw.to_vec()),
            ("reversed", Form::Bytes, reversed(draw)),
            ("words reversed", Form::Bytes, draw.chunks(4).flat_map(reversed).collect()),
            ("lower hex", Form::Hexadecimal, hex(draw).into_bytes()),
            ("upper hex", Form::Hexadecimal, hex(draw).to_uppercase().into_bytes()),
            ("hex of the little-endian number", Form::Hexadecimal, hex(&reversed(draw)).into_bytes()),
            ("hex without its first digit", Form::Hexadecimal, hex(draw).as_bytes()[1..].to_vec()),
            ("hex in 16-bit text", Form::Hexadecimal, wide(&hex(draw), 2)),
            ("hex in 32-bit text", Form::Hexadecimal, wide(&hex(draw), 4)),
            ("uuid", Form::Hexadecimal, uuid.into_bytes()),
            ("big-endian int", Form::IntDigits, int_digits(draw)),
            ("little-endian int", Form::IntDigits, int_digits(&reversed(draw))),
        ]
    }

    proptest! {
        #[test]
        fn every_copy_is_found(draw: [u8; 16], place in 1usize..3000) {
            // What looks like text or zeros by chance is no test of the search.
            prop_assume!(draw.iter().collect::<std::collections::HashSet<_>>().len() > 8);
            prop_assume!(draw[0] >= 0x80 && draw[15] >= 0x80);
            let other = [0x5a; 32];
            let patterns = Patterns::of([&other[..], &draw[..]].into_iter());
            for (name, form, copy) in copies(&draw) {
                let mut memory = vec![0xee; 16384];
                let at = PAGE + place * 4;
                memory[at..at + copy.len()].copy_from_slice(&copy);
                let found = patterns.find(&memory);
                let hit = found.iter().find(|hit| hit.form == form);
                let hit = hit.ok_or_else(|| TestCaseError::fail(format!("{name} was not found")))?;
                prop_assert_eq!(hit.draw, 1);
                prop_assert!(hit.at >= at && hit.at + hit.length <= at + copy.len(), "{name}: {hit:?}");
            }
        }

        #[test]
        fn nothing_is_found_where_nothing_is(draw: [u8; 32], seed: u64) {
            let mut state = seed | 1;
            let memory: Vec<u8> = std::iter::repeat_with(|| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (state >> 56) as u8
            }).take(1 << 16).collect();
            prop_assert_eq!(Patterns::of([&draw[..]].into_iter()).find(&memory), []);
        }
    }

    #[test]
    fn a_copy_across_pages_and_beside_zeros_is_found_whole() {
        let draw: Vec<u8> = (1..=40).map(|at| at * 5).collect();
        let patterns = Patterns::of([&draw[..]].into_iter());
        for at in [PAGE - 20, 3 * PAGE - 40, 2 * PAGE] {
            let mut memory = vec![0; 4 * PAGE];
            memory[at..at + draw.len()].copy_from_slice(&draw);
            let found = patterns.find(&memory);
            assert_eq!(found, [Hit { at, length: 40, form: Form::Bytes, draw: 0 }], "at {at}");
        }
    }

    #[test]
    fn a_short_draw_is_no_pattern() {
        assert_eq!(Patterns::of([&[1, 2, 3][..]].into_iter()).find(&[1, 2, 3, 1, 2, 3]), []);
        assert_eq!(Patterns::of(std::iter::empty()).find(&[1; 100]), []);
    }
}
