//! What a run adds up to: one histogram per start kind, and counts.
//!
//! Latency is counted from the moment a request was *meant* to start. A request that was
//! sent late, because the server kept every connection busy or the generator was slow,
//! is late by that much here too.

mod names;
mod summary;
mod timeline;

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;

use warmshard_config::wire::StartKind;

use crate::client::{Failure, Reply};

use names::Names;
pub(crate) use summary::milliseconds;
pub use summary::{Interval, Spread, Summary};
pub use timeline::{Slice, Timeline};

/// One request, once it is over.
#[derive(Debug)]
pub struct Sample {
    /// Index into the list of workers.
    pub worker: u32,
    /// When it was meant to start, from the start of the run.
    pub due: Duration,
    /// From the intended start to the last byte, or to the failure.
    pub latency: Duration,
    /// From the intended start to the attempt to send; none for a request that had to
    /// wait for a free connection, whose delay is not the generator's.
    pub lag: Option<Duration>,
    pub outcome: Result<Reply, Failure>,
}

/// One worker's requests.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WorkerCount {
    pub requests: u64,
    pub cold: u64,
    pub failed: u64,
    /// The hosts that have answered for it.
    pub hosts: Vec<u16>,
    /// Those of the slice of time it was last asked for in.
    recent: (u32, Vec<u16>),
}

/// One host's answers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HostCount {
    pub requests: u64,
    pub cold: u64,
}

#[derive(Debug)]
pub struct Measure {
    all: Histogram<u64>,
    failed: Histogram<u64>,
    /// One per start kind, and a last one for answers that do not say.
    by_start: [Histogram<u64>; StartKind::ALL.len() + 1],
    restore: Histogram<u64>,
    first_byte: Histogram<u64>,
    hop: Histogram<u64>,
    lag: Histogram<u64>,
    errors: BTreeMap<Failure, u64>,
    hosts: Names<HostCount>,
    causes: Names<u64>,
    workers: Vec<WorkerCount>,
    body_bytes: u64,
    evictions: u64,
    timeline: Timeline,
    counted_from: Duration,
    /// Requests of the warm-up, which are counted nowhere else.
    warmup: u64,
    /// Latencies since the last look, for the progress line.
    recent: Histogram<u64>,
}

/// What happened since the last look, and the totals that go with it.
#[derive(Debug)]
pub struct Glance {
    pub recent: u64,
    pub recent_p99: Duration,
    pub cold: u64,
    pub succeeded: u64,
    pub failed: u64,
}

impl Measure {
    pub fn new(workers: usize, duration: Duration, counted_from: Duration) -> Self {
        Self {
            all: histogram(),
            failed: histogram(),
            by_start: std::array::from_fn(|_| histogram()),
            restore: histogram(),
            first_byte: histogram(),
            hop: histogram(),
            lag: histogram(),
            errors: BTreeMap::new(),
            hosts: Names::default(),
            causes: Names::default(),
            workers: vec![WorkerCount::default(); workers],
            body_bytes: 0,
            evictions: 0,
            timeline: Timeline::new(duration),
            counted_from,
            warmup: 0,
            recent: histogram(),
        }
    }

    pub fn record(&mut self, sample: &Sample) {
        add(&mut self.recent, sample.latency);
        if sample.due < self.counted_from {
            self.warmup += 1;
            return;
        }
        add(&mut self.all, sample.latency);
        if let Some(lag) = sample.lag {
            add(&mut self.lag, lag);
        }
        let at = self.timeline.index(sample.due);
        let slice = self.timeline.slice_mut(at);
        slice.requests += 1;
        slice.add_latency(sample.latency);
        let worker = &mut self.workers[sample.worker as usize];
        worker.requests += 1;
        let at_slice = at as u32 + 1;
        if worker.recent.0 != at_slice {
            worker.recent.0 = at_slice;
            worker.recent.1.clear();
            slice.workers += 1;
        }
        match &sample.outcome {
            Ok(reply) if reply.status.as_u16() < 400 => self.record_reply(reply, sample, at),
            Ok(reply) => self.record_failure(Failure::Status(reply.status.as_u16()), sample, at),
            Err(failure) => self.record_failure(*failure, sample, at),
        }
    }

    fn record_reply(&mut self, reply: &Reply, sample: &Sample, at: usize) {
        add(&mut self.by_start[slot(reply.start)], sample.latency);
        add(&mut self.first_byte, reply.first_byte);
        if let Some(restore) = reply.restore {
            add(&mut self.restore, restore);
        }
        if let Some(at_host) = reply.at_host {
            add(&mut self.hop, reply.first_byte.saturating_sub(at_host));
        }
        self.body_bytes += reply.body_bytes;
        let is_cold = reply.start == Some(StartKind::Cold);
        let slice = self.timeline.slice_mut(at);
        slice.labelled += u64::from(reply.start.is_some());
        slice.cold += u64::from(is_cold);
        slice.waited += u64::from(reply.start == Some(StartKind::Waited));
        if is_cold {
            let cause = reply.cause.as_ref().map_or(&b"unknown"[..], |cause| cause.as_bytes());
            let (index, count) = self.causes.entry(cause);
            *count += 1;
            slice.add_cause(index);
        }
        let worker = &mut self.workers[sample.worker as usize];
        worker.cold += u64::from(is_cold);
        if let Some(host) = &reply.host {
            let (index, count) = self.hosts.entry(host.as_bytes());
            count.requests += 1;
            count.cold += u64::from(is_cold);
            let index = u16::try_from(index).unwrap_or(u16::MAX);
            if !worker.recent.1.contains(&index) {
                worker.recent.1.push(index);
                slice.pairs += 1;
                if !worker.hosts.contains(&index) {
                    worker.hosts.push(index);
                }
            }
        }
    }

    /// Isolates were dropped to make room for others.
    pub fn record_evictions(&mut self, at: Duration, evictions: u64) {
        if at >= self.counted_from {
            self.evictions += evictions;
            let index = self.timeline.index(at);
            self.timeline.slice_mut(index).evictions += evictions;
        }
    }

    fn record_failure(&mut self, failure: Failure, sample: &Sample, at: usize) {
        self.timeline.slice_mut(at).failed += 1;
        add(&mut self.failed, sample.latency);
        *self.errors.entry(failure).or_default() += 1;
        self.workers[sample.worker as usize].failed += 1;
    }

    /// Totals, and the requests that ended since the last call.
    pub fn glance(&mut self) -> Glance {
        let glance = Glance {
            recent: self.recent.len(),
            recent_p99: Duration::from_nanos(self.recent.value_at_quantile(0.99)),
            cold: self.started(Some(StartKind::Cold)),
            succeeded: self.succeeded(),
            failed: self.failed(),
        };
        self.recent.reset();
        glance
    }

    pub fn completed(&self) -> u64 {
        self.all.len()
    }

    pub fn failed(&self) -> u64 {
        self.failed.len()
    }

    pub fn succeeded(&self) -> u64 {
        self.completed() - self.failed()
    }

    /// Successful requests that met this on their host.
    pub fn started(&self, start: Option<StartKind>) -> u64 {
        self.by_start[slot(start)].len()
    }

    /// Cold starts among the successful answers that say how they started, with the
    /// interval that holds the true rate with 95 % confidence.
    pub fn cold_rate(&self) -> Option<Interval> {
        let labelled = self.succeeded() - self.started(None);
        Interval::of_share(self.started(Some(StartKind::Cold)), labelled)
    }

    pub fn latency(&self) -> Option<Summary> {
        Summary::of(&self.all)
    }

    pub fn failed_latency(&self) -> Option<Summary> {
        Summary::of(&self.failed)
    }

    pub fn latency_of(&self, start: Option<StartKind>) -> Option<Summary> {
        Summary::of(&self.by_start[slot(start)])
    }

    pub fn restore(&self) -> Option<Summary> {
        Summary::of(&self.restore)
    }

    pub fn lag(&self) -> Option<Summary> {
        Summary::of(&self.lag)
    }

    pub fn errors(&self) -> &BTreeMap<Failure, u64> {
        &self.errors
    }

    /// Answers per host, by name.
    pub fn hosts(&self) -> BTreeMap<String, HostCount> {
        self.hosts.iter().map(|(host, count)| (host.to_owned(), *count)).collect()
    }

    /// Cold starts by cause, in the order in which causes appeared.
    pub fn causes(&self) -> impl Iterator<Item = (&str, u64)> {
        self.causes.iter().map(|(cause, count)| (cause, *count))
    }

    pub fn evictions(&self) -> u64 {
        self.evictions
    }

    pub fn timeline(&self) -> &Timeline {
        &self.timeline
    }

    /// Requests of the warm-up.
    pub fn warmup(&self) -> u64 {
        self.warmup
    }

    pub fn first_byte(&self) -> Option<Summary> {
        Summary::of(&self.first_byte)
    }

    /// What router and network add to the host's own time.
    pub fn hop(&self) -> Option<Summary> {
        Summary::of(&self.hop)
    }

    /// The distribution as points of quantile and milliseconds; empty without values.
    pub fn cdf_of(&self, start: Option<StartKind>) -> Vec<(f64, f64)> {
        summary::cdf(&self.by_start[slot(start)])
    }

    pub fn cdf(&self) -> Vec<(f64, f64)> {
        summary::cdf(&self.all)
    }

    /// In the order of the list of workers.
    pub fn workers(&self) -> &[WorkerCount] {
        &self.workers
    }

    pub fn body_bytes(&self) -> u64 {
        self.body_bytes
    }
}

fn slot(start: Option<StartKind>) -> usize {
    match start {
        Some(StartKind::Warm) => 0,
        Some(StartKind::Cold) => 1,
        Some(StartKind::Waited) => 2,
        Some(StartKind::Spare) => 3,
        None => 4,
    }
}

/// Nanoseconds, from 1 µs to an hour, to three significant digits.
fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1_000, 3_600_000_000_000, 3).expect("the bounds are valid")
}

fn add(histogram: &mut Histogram<u64>, value: Duration) {
    histogram.saturating_record(u64::try_from(value.as_nanos()).unwrap_or(u64::MAX));
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderValue, StatusCode};

    fn reply(start: impl Into<Option<StartKind>>, status: u16) -> Reply {
        let start = start.into();
        Reply {
            status: StatusCode::from_u16(status).unwrap(),
            start,
            restore: (start == Some(StartKind::Cold)).then(|| Duration::from_micros(900)),
            host: Some(HeaderValue::from_static("host-a")),
            body_bytes: 10,
            first_byte: Duration::from_micros(950),
            at_host: Some(Duration::from_micros(700)),
            cause: (start == Some(StartKind::Cold)).then(|| HeaderValue::from_static("first")),
        }
    }

    fn sample(worker: u32, milliseconds: u64, outcome: Result<Reply, Failure>) -> Sample {
        let latency = Duration::from_millis(milliseconds);
        Sample { worker, due: Duration::ZERO, latency, lag: Some(Duration::from_micros(50)), outcome }
    }

    fn measure(workers: usize) -> Measure {
        Measure::new(workers, Duration::from_secs(10), Duration::ZERO)
    }

    #[test]
    fn requests_are_told_apart_by_how_they_started() {
        let mut measure = measure(2);
        for _ in 0..98 {
            measure.record(&sample(0, 1, Ok(reply(StartKind::Warm, 200))));
        }
        measure.record(&sample(1, 20, Ok(reply(StartKind::Cold, 200))));
        measure.record(&sample(1, 30, Ok(reply(StartKind::Waited, 200))));
        assert_eq!(measure.started(Some(StartKind::Warm)), 98);
        assert_eq!(measure.started(Some(StartKind::Cold)), 1);
        let rate = measure.cold_rate().unwrap();
        assert_eq!((rate.hits, rate.of), (1, 100));
        let worker = &measure.workers()[1];
        assert_eq!((worker.requests, worker.cold, worker.failed), (2, 1, 0));
        assert_eq!(
            measure.hosts(),
            BTreeMap::from([("host-a".to_owned(), HostCount { requests: 100, cold: 1 })])
        );
        let cold = measure.latency_of(Some(StartKind::Cold)).unwrap();
        assert!((cold.p50 - 20.0).abs() < 0.05, "{cold:?}");
        assert_eq!(measure.restore().unwrap().n, 1);
        assert_eq!(measure.causes().collect::<Vec<_>>(), [("first", 1)]);
        assert!((measure.hop().unwrap().p50 - 0.25).abs() < 0.001);
        let slice = &measure.timeline().slices()[0];
        assert_eq!((slice.requests, slice.cold, slice.workers, slice.pairs), (100, 1, 2, 2));
        assert_eq!(measure.latency_of(Some(StartKind::Spare)), None);
    }

    #[test]
    fn failures_are_counted_by_kind_and_stay_in_the_latency() {
        let mut measure = measure(1);
        measure.record(&sample(0, 1, Ok(reply(StartKind::Warm, 200))));
        measure.record(&sample(0, 5, Ok(reply(StartKind::Warm, 503))));
        measure.record(&sample(0, 10_000, Err(Failure::Timeout)));
        assert_eq!(measure.failed(), 2);
        assert_eq!(measure.succeeded(), 1);
        assert_eq!(measure.errors()[&Failure::Status(503)], 1);
        assert_eq!(measure.errors()[&Failure::Timeout], 1);
        // The request that never got its answer is not left out: it waited ten seconds.
        assert!(measure.latency().unwrap().max > 9_990.0);
        assert_eq!(measure.started(Some(StartKind::Warm)), 1);
    }

    #[test]
    fn answers_without_the_header_do_not_dilute_the_cold_rate() {
        let mut measure = measure(1);
        measure.record(&sample(0, 1, Ok(reply(None, 200))));
        assert_eq!(measure.cold_rate(), None);
        measure.record(&sample(0, 1, Ok(reply(StartKind::Cold, 200))));
        assert_eq!(measure.cold_rate().unwrap().of, 1);
    }

    #[test]
    fn a_glance_covers_what_came_since_the_last_one() {
        let mut measure = measure(1);
        measure.record(&sample(0, 50, Ok(reply(StartKind::Cold, 200))));
        assert_eq!(measure.glance().recent, 1);
        measure.record(&sample(0, 1, Ok(reply(StartKind::Warm, 200))));
        let glance = measure.glance();
        assert_eq!((glance.recent, glance.cold, glance.succeeded), (1, 1, 2));
        assert!(glance.recent_p99 < Duration::from_millis(2));
    }
}
