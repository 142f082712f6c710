//! The workers' side of a report: one by one, by popularity, and over how many hosts.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use serde::Serialize;
use warmshard_config::units::WorkerName;

use crate::measure::Measure;

/// More workers than this are not listed one by one: only those with the most cold starts.
const MOST_LISTED: usize = 1000;

#[derive(Debug, Serialize)]
pub(super) struct WorkerRow {
    requests: u64,
    cold: u64,
    failed: u64,
    hosts: usize,
}

/// A tenth of the workers that had requests, the first one being the most popular.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Decile {
    pub(super) workers: usize,
    pub(super) requests: u64,
    pub(super) cold: u64,
    pub(super) cold_rate: Option<f64>,
}

/// Over how many hosts workers are spread.
#[derive(Debug, Serialize)]
pub(super) struct Width {
    /// Hosts per worker, weighted by requests.
    mean: Option<f64>,
    /// Workers by how many hosts have answered for them.
    workers: BTreeMap<usize, usize>,
}

/// The rows, and how many workers had requests and are not among them.
pub(super) fn rows(names: &[WorkerName], measure: &Measure) -> (BTreeMap<String, WorkerRow>, usize) {
    let counts = measure.workers();
    let mut listed: Vec<usize> = (0..counts.len()).collect();
    if listed.len() > MOST_LISTED {
        listed.retain(|&index| counts[index].requests > 0);
        listed.sort_by_key(|&index| Reverse((counts[index].cold, counts[index].requests)));
    }
    let omitted = listed.len().saturating_sub(MOST_LISTED);
    listed.truncate(MOST_LISTED);
    let row = |index: usize| {
        let count = &counts[index];
        let (requests, cold, failed) = (count.requests, count.cold, count.failed);
        (names[index].to_string(), WorkerRow { requests, cold, failed, hosts: count.hosts.len() })
    };
    (listed.into_iter().map(row).collect(), omitted)
}

pub(super) fn deciles(measure: &Measure) -> Vec<Decile> {
    let mut counts: Vec<(u64, u64)> =
        measure.workers().iter().map(|count| (count.requests, count.cold)).collect();
    counts.retain(|&(requests, _)| requests > 0);
    counts.sort_unstable_by_key(|&count| Reverse(count));
    let edge = |tenth: usize| counts.len() * tenth / 10;
    let decile = |tenth: usize| {
        let part = &counts[edge(tenth)..edge(tenth + 1)];
        let (requests, cold) = part.iter().fold((0, 0), |sum, count| (sum.0 + count.0, sum.1 + count.1));
        let cold_rate = (requests > 0).then(|| cold as f64 / requests as f64);
        Decile { workers: part.len(), requests, cold, cold_rate }
    };
    if counts.is_empty() { Vec::new() } else { (0..10).map(decile).collect() }
}

pub(super) fn width(measure: &Measure) -> Width {
    let mut workers = BTreeMap::new();
    let (mut hosts, mut requests) = (0.0, 0.0);
    for count in measure.workers().iter().filter(|count| !count.hosts.is_empty()) {
        *workers.entry(count.hosts.len()).or_insert(0) += 1;
        hosts += count.hosts.len() as f64 * count.requests as f64;
        requests += count.requests as f64;
    }
    Width { mean: (requests > 0.0).then(|| (hosts / requests * 1000.0).round() / 1000.0), workers }
}
