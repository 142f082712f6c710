//! The report of `loadtest run` and of one policy of `loadtest simulate`.

mod events;
mod text;
mod workers;

use std::collections::BTreeMap;

use serde::Serialize;
use warmshard_config::wire::StartKind;

use super::table::ms;
use crate::measure::{Interval, Measure, Summary, Timeline};
use crate::scenario::{Scenario, Traffic};

pub use events::{EventReport, Happened};
use workers::{Decile, Width, WorkerRow};

/// A generator that is later than this at the 99th percentile does not offer the load it
/// was asked for.
pub(crate) const LATE_MS: f64 = 10.0;
/// The format's name; its number rises when a change could break a reader.
pub(super) const FORMAT: &str = "warmshard-loadtest-run/2";

#[derive(Debug, Serialize)]
pub struct RunReport {
    format: &'static str,
    source: &'static str,
    target: String,
    traffic: String,
    duration_s: f64,
    warmup_s: f64,
    seed: u64,
    elapsed_s: f64,
    interrupted: bool,
    valid: bool,
    invalid_because: Vec<String>,
    requests: Requests,
    throughput_per_s: f64,
    body_bytes: u64,
    starts: BTreeMap<&'static str, u64>,
    cold_rate: Option<Interval>,
    causes: BTreeMap<String, u64>,
    latency_ms: Latencies<Option<Summary>>,
    latency_cdf_ms: Latencies<Vec<(f64, f64)>>,
    restore_ms: Option<Summary>,
    first_byte_ms: Option<Summary>,
    hop_ms: Option<Summary>,
    errors: BTreeMap<String, u64>,
    hosts: BTreeMap<String, HostRow>,
    busiest_over_mean: Option<f64>,
    workers: BTreeMap<String, WorkerRow>,
    workers_omitted: usize,
    deciles: Vec<Decile>,
    width: Width,
    evictions: Option<u64>,
    events: Vec<EventReport>,
    timeline: Slices,
    generator: Option<Generator>,
}

/// What a report is made of besides what was measured.
#[derive(Debug)]
pub(crate) struct Circumstances<'a> {
    pub(crate) scenario: &'a Scenario,
    /// `run` or `simulate`.
    pub(crate) source: &'static str,
    /// The URL that was connected to, or the policy that was simulated.
    pub(crate) target: String,
    pub(crate) elapsed_s: f64,
    pub(crate) interrupted: bool,
    pub(crate) planned: u64,
    pub(crate) dispatched: u64,
    /// Whether evictions can be seen.
    pub(crate) sees_evictions: bool,
    /// Hosts that count in the mean load, when those without requests are known, too.
    pub(crate) hosts: Option<usize>,
    pub(crate) happened: Vec<Happened>,
    pub(crate) generator: Option<Generator>,
}

#[derive(Debug, Serialize)]
struct Requests {
    planned: u64,
    dispatched: u64,
    warmup: u64,
    completed: u64,
    succeeded: u64,
    failed: u64,
    unfinished: u64,
}

/// Successful requests apart by how they started; `all` and `failed` hold the rest, too.
#[derive(Debug, Serialize)]
struct Latencies<T> {
    all: T,
    warm: T,
    cold: T,
    waited: T,
    spare: T,
    unlabelled: T,
    #[serde(skip_serializing_if = "Option::is_none")]
    failed: Option<T>,
}

#[derive(Debug, Serialize)]
struct HostRow {
    requests: u64,
    cold: u64,
}

/// A run over time, one list per quantity: the n-th value is of the n-th slice.
#[derive(Debug, Serialize)]
struct Slices {
    slice_s: f64,
    requests: Vec<u64>,
    failed: Vec<u64>,
    cold: Vec<u64>,
    waited: Vec<u64>,
    labelled: Vec<u64>,
    evictions: Vec<u64>,
    width: Vec<Option<f64>>,
    p50_ms: Vec<Option<f64>>,
    p99_ms: Vec<Option<f64>>,
    causes: BTreeMap<String, Vec<u64>>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Generator {
    pub(crate) lag_ms: Option<Summary>,
    pub(crate) late_ms: f64,
    pub(crate) queued: u64,
    pub(crate) connections_opened: u64,
    pub(crate) connections_limit: usize,
}

impl RunReport {
    pub(crate) fn of(circumstances: Circumstances<'_>, measure: &Measure) -> Self {
        let scenario = circumstances.scenario;
        let mut invalid_because = circumstances.generator.as_ref().map_or(vec![], Generator::problems);
        let failed = circumstances.happened.iter().filter_map(|happened| happened.failure.as_ref());
        invalid_because.extend(failed.map(|failure| format!("an event failed: {failure}")));
        let hosts: BTreeMap<String, HostRow> = measure
            .hosts()
            .into_iter()
            .map(|(host, count)| (host, HostRow { requests: count.requests, cold: count.cold }))
            .collect();
        let counted_s = (circumstances.elapsed_s - scenario.warmup.as_secs_f64()).max(f64::MIN_POSITIVE);
        let (workers, workers_omitted) = workers::rows(&scenario.workers, measure);
        Self {
            format: FORMAT,
            source: circumstances.source,
            target: circumstances.target,
            traffic: describe(scenario),
            duration_s: scenario.duration.as_secs_f64(),
            warmup_s: scenario.warmup.as_secs_f64(),
            seed: scenario.seed,
            elapsed_s: circumstances.elapsed_s,
            interrupted: circumstances.interrupted,
            valid: invalid_because.is_empty(),
            invalid_because,
            requests: Requests::of(circumstances.planned, circumstances.dispatched, measure),
            throughput_per_s: measure.succeeded() as f64 / counted_s,
            body_bytes: measure.body_bytes(),
            starts: starts(measure),
            cold_rate: measure.cold_rate(),
            causes: measure.causes().map(|(cause, count)| (cause.to_owned(), count)).collect(),
            latency_ms: latencies(measure),
            latency_cdf_ms: cdfs(measure),
            restore_ms: measure.restore(),
            first_byte_ms: measure.first_byte(),
            hop_ms: measure.hop(),
            errors: measure.errors().iter().map(|(kind, n)| (kind.name().into_owned(), *n)).collect(),
            busiest_over_mean: busiest_over_mean(&hosts, circumstances.hosts),
            hosts,
            workers,
            workers_omitted,
            deciles: workers::deciles(measure),
            width: workers::width(measure),
            evictions: circumstances.sees_evictions.then(|| measure.evictions()),
            events: events::reports(circumstances.happened, measure.timeline()),
            timeline: slices(measure),
            generator: circumstances.generator,
        }
    }

    pub(crate) fn every_request_failed(&self) -> bool {
        self.requests.succeeded == 0
    }

    pub(crate) fn cold_rate(&self) -> Option<Interval> {
        self.cold_rate
    }

    pub(crate) fn causes(&self) -> &BTreeMap<String, u64> {
        &self.causes
    }

    pub(crate) fn busiest_over_mean(&self) -> Option<f64> {
        self.busiest_over_mean
    }

    pub(crate) fn target(&self) -> &str {
        &self.target
    }

    pub(crate) fn p99_ms(&self) -> Option<f64> {
        self.latency_ms.all.map(|summary| summary.p99)
    }

    pub(crate) fn failed(&self) -> u64 {
        self.requests.failed
    }
}

impl Requests {
    fn of(planned: u64, dispatched: u64, measure: &Measure) -> Self {
        let completed = measure.completed();
        Self {
            planned,
            dispatched,
            warmup: measure.warmup(),
            completed,
            succeeded: measure.succeeded(),
            failed: measure.failed(),
            unfinished: dispatched.saturating_sub(completed + measure.warmup()),
        }
    }
}

/// The load in words.
fn describe(scenario: &Scenario) -> String {
    let workers = scenario.workers.len();
    match &scenario.traffic {
        Traffic::Drawn { rate, popularity, arrivals, shape } => {
            let rate = rate.map_or("its own rate".to_owned(), |rate| format!("{rate}/s"));
            let word = |value: serde_json::Value| match value {
                serde_json::Value::String(word) => word,
                other => other.to_string(),
            };
            let word_of = |value: Result<serde_json::Value, _>| value.map(word).unwrap_or_default();
            format!(
                "{} arrivals at {rate} over {workers} workers ({}), shape {}",
                word_of(serde_json::to_value(arrivals)),
                word_of(serde_json::to_value(popularity)),
                word_of(serde_json::to_value(shape)),
            )
        }
        Traffic::Recorded { trace, part } => {
            format!("{} from second {} at speed {}", trace.display(), part.start_s, part.speed)
        }
    }
}

fn latencies(measure: &Measure) -> Latencies<Option<Summary>> {
    let of = |start| measure.latency_of(Some(start));
    Latencies {
        all: measure.latency(),
        warm: of(StartKind::Warm),
        cold: of(StartKind::Cold),
        waited: of(StartKind::Waited),
        spare: of(StartKind::Spare),
        unlabelled: measure.latency_of(None),
        failed: Some(measure.failed_latency()),
    }
}

fn cdfs(measure: &Measure) -> Latencies<Vec<(f64, f64)>> {
    let of = |start| measure.cdf_of(Some(start));
    Latencies {
        all: measure.cdf(),
        warm: of(StartKind::Warm),
        cold: of(StartKind::Cold),
        waited: of(StartKind::Waited),
        spare: of(StartKind::Spare),
        unlabelled: measure.cdf_of(None),
        failed: None,
    }
}

impl Latencies<Option<Summary>> {
    fn named(&self) -> [(&'static str, Option<&Summary>); 7] {
        [
            ("all", self.all.as_ref()),
            ("warm", self.warm.as_ref()),
            ("cold", self.cold.as_ref()),
            ("waited", self.waited.as_ref()),
            ("spare", self.spare.as_ref()),
            ("unlabelled", self.unlabelled.as_ref()),
            ("failed", self.failed.as_ref().and_then(Option::as_ref)),
        ]
    }
}

/// The requests of the busiest host over those of an average one.
fn busiest_over_mean(hosts: &BTreeMap<String, HostRow>, known: Option<usize>) -> Option<f64> {
    let busiest = hosts.values().map(|host| host.requests).max()?;
    let total: u64 = hosts.values().map(|host| host.requests).sum();
    let mean = total as f64 / known.unwrap_or(hosts.len()).max(1) as f64;
    (mean > 0.0).then(|| (busiest as f64 / mean * 1000.0).round() / 1000.0)
}

fn slices(measure: &Measure) -> Slices {
    let timeline: &Timeline = measure.timeline();
    let all = timeline.slices();
    let of = |value: fn(&crate::measure::Slice) -> u64| all.iter().map(value).collect();
    let width = |slice: &crate::measure::Slice| {
        (slice.workers > 0).then(|| (slice.pairs as f64 / slice.workers as f64 * 1000.0).round() / 1000.0)
    };
    let causes = measure.causes().enumerate().map(|(index, (cause, _))| {
        let counts = all.iter().map(|slice| slice.causes.get(index).copied().unwrap_or(0));
        (cause.to_owned(), counts.collect())
    });
    Slices {
        slice_s: timeline.length().as_secs_f64(),
        requests: of(|slice| slice.requests),
        failed: of(|slice| slice.failed),
        cold: of(|slice| slice.cold),
        waited: of(|slice| slice.waited),
        labelled: of(|slice| slice.labelled),
        evictions: of(|slice| slice.evictions),
        width: all.iter().map(width).collect(),
        p50_ms: all.iter().map(|slice| slice.latency_at(0.5)).collect(),
        p99_ms: all.iter().map(|slice| slice.latency_at(0.99)).collect(),
        causes: causes.collect(),
    }
}

impl Generator {
    fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if let Some(lag) = self.lag_ms
            && lag.p99 > LATE_MS
        {
            problems.push(format!(
                "the generator could not keep up: 1 % of the requests were sent more than {} ms late, \
                 expected at most {LATE_MS} ms; lower --rate or use a machine with free processors",
                ms(lag.p99)
            ));
        }
        if self.queued > 0 {
            problems.push(format!(
                "{} requests had to wait for one of the {} connections; raise --connections or lower --rate \
                 (their latency does include the wait)",
                self.queued, self.connections_limit
            ));
        }
        problems
    }
}

fn starts(measure: &Measure) -> BTreeMap<&'static str, u64> {
    let kinds = StartKind::ALL.into_iter().map(|kind| (kind.as_str(), measure.started(Some(kind))));
    kinds.chain([("unlabelled", measure.started(None))]).collect()
}

#[cfg(test)]
mod tests;
