//! The counted starts so far.

use std::time::Duration;

use crate::measure::{Spread, milliseconds};

/// One timed start of either kind.
#[derive(Debug)]
pub(crate) struct Measured {
    pub(crate) took: Duration,
    /// The restore within it, as the host reports it.
    pub(crate) restore: Option<Duration>,
    pub(crate) body: Vec<u8>,
}

#[derive(Debug, Default)]
pub(crate) struct Samples {
    cold: Vec<Duration>,
    restore: Vec<Duration>,
    native: Vec<Duration>,
    cold_body: Option<Vec<u8>>,
    native_body: Option<Vec<u8>>,
}

impl Samples {
    /// `counted` is none for a warm-up run: its answer is looked at, its time is not.
    pub(super) fn saw_cold(&mut self, measured: Measured, counted: Option<usize>) {
        self.cold_body.get_or_insert(measured.body);
        if counted.is_some() {
            self.cold.push(measured.took);
            self.restore.extend(measured.restore);
        }
    }

    pub(super) fn saw_native(&mut self, measured: Measured, counted: Option<usize>) {
        self.native_body.get_or_insert(measured.body);
        if counted.is_some() {
            self.native.push(measured.took);
        }
    }

    pub(crate) fn cold(&self) -> &[Duration] {
        &self.cold
    }

    pub(crate) fn restore(&self) -> &[Duration] {
        &self.restore
    }

    pub(crate) fn native(&self) -> &[Duration] {
        &self.native
    }

    /// Whether both kinds gave the same first answer; none before both did.
    pub(crate) fn same_body(&self) -> Option<bool> {
        Some(self.cold_body.as_ref()? == self.native_body.as_ref()?)
    }

    pub(super) fn summary(&self) -> String {
        let medians = [("cold", &self.cold), ("native", &self.native)].map(|(name, values)| {
            let last = *values.last()?;
            let spread = Spread::of(values)?;
            Some(format!("{name} {} ms, median {} ms", milliseconds(last), spread.p50))
        });
        let known: Vec<String> = medians.into_iter().flatten().collect();
        if known.is_empty() { "warming up".to_owned() } else { known.join("; ") }
    }
}

#[cfg(test)]
impl Samples {
    pub(crate) fn saw_cold_of(&mut self, took: Duration, restore: Duration, body: Vec<u8>) {
        self.saw_cold(Measured { took, restore: Some(restore), body }, Some(0));
    }

    pub(crate) fn saw_native_of(&mut self, took: Duration, body: Vec<u8>) {
        self.saw_native(Measured { took, restore: None, body }, Some(0));
    }
}
