//! A run in slices of time, by the moment requests were due: what an event did shows here.

use std::time::Duration;

use hdrhistogram::Histogram;

/// About as many slices as a plot can show.
const SLICES: f64 = 240.0;
/// The lengths a slice may have, in seconds.
const LENGTHS: [f64; 12] = [0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3600.0];

/// Slices of one length from the start of the run to its end.
#[derive(Debug)]
pub struct Timeline {
    length: Duration,
    slices: Vec<Slice>,
}

/// One slice.
#[derive(Debug, Default)]
pub struct Slice {
    pub requests: u64,
    pub failed: u64,
    pub cold: u64,
    pub waited: u64,
    /// Answers that said how they started.
    pub labelled: u64,
    pub evictions: u64,
    /// Workers with a request, and pairs of a worker and a host that answered for it.
    pub workers: u64,
    pub pairs: u64,
    /// Cold starts by cause, in the order of [`super::Measure::causes`].
    pub causes: Vec<u64>,
    latency: Option<Box<Histogram<u32>>>,
}

impl Timeline {
    pub fn new(duration: Duration) -> Self {
        let wanted = duration.as_secs_f64() / SLICES;
        let length = LENGTHS.into_iter().find(|&length| length >= wanted).unwrap_or(wanted);
        let count = (duration.as_secs_f64() / length).ceil().max(1.0) as usize;
        let slices = std::iter::repeat_with(Slice::default).take(count).collect();
        Self { length: Duration::from_secs_f64(length), slices }
    }

    pub fn length(&self) -> Duration {
        self.length
    }

    pub fn slices(&self) -> &[Slice] {
        &self.slices
    }

    /// The number of the slice a moment is in; the last one holds what comes later.
    pub fn index(&self, due: Duration) -> usize {
        let index = due.as_nanos() / self.length.as_nanos().max(1);
        usize::try_from(index).unwrap_or(usize::MAX).min(self.slices.len() - 1)
    }

    pub fn slice_mut(&mut self, index: usize) -> &mut Slice {
        &mut self.slices[index]
    }
}

impl Slice {
    pub(super) fn add_latency(&mut self, latency: Duration) {
        let histogram = self.latency.get_or_insert_with(|| {
            let bounds = Histogram::new_with_bounds(1, 3_600_000_000, 2);
            Box::new(bounds.expect("the bounds are valid"))
        });
        histogram.saturating_record(u64::try_from(latency.as_micros()).unwrap_or(u64::MAX).max(1));
    }

    pub(super) fn add_cause(&mut self, cause: usize) {
        if self.causes.len() <= cause {
            self.causes.resize(cause + 1, 0);
        }
        self.causes[cause] += 1;
    }

    /// In milliseconds; none without requests.
    pub fn latency_at(&self, quantile: f64) -> Option<f64> {
        self.latency.as_ref().map(|histogram| histogram.value_at_quantile(quantile) as f64 / 1000.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_have_round_lengths_and_cover_the_run() {
        for (seconds, length, count) in [(10, 0.25, 40), (60, 0.25, 240), (90, 0.5, 180), (86_400, 900.0, 96)]
        {
            let timeline = Timeline::new(Duration::from_secs(seconds));
            let found = (timeline.length().as_secs_f64(), timeline.slices().len());
            assert_eq!(found, (length, count), "{seconds} s");
        }
    }

    #[test]
    fn what_comes_after_the_end_is_in_the_last_slice() {
        let timeline = Timeline::new(Duration::from_secs(10));
        assert_eq!(timeline.index(Duration::ZERO), 0);
        assert_eq!(timeline.index(Duration::from_millis(9_999)), 39);
        assert_eq!(timeline.index(Duration::from_secs(99)), 39);
    }
}
