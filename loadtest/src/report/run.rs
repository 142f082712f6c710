//! The report of `loadtest run`.

mod text;

use std::collections::BTreeMap;

use serde::Serialize;
use warmshard_config::wire::StartKind;

use super::table::ms;
use crate::cli::RunArgs;
use crate::driver::{Ending, Run};
use crate::measure::{Interval, Measure, Summary};
use crate::schedule::{Arrivals, Rate};

/// A generator that is later than this at the 99th percentile does not offer the load it
/// was asked for.
const LATE_MS: f64 = 10.0;

#[derive(Debug, Serialize)]
pub struct RunReport {
    format: &'static str,
    target: String,
    rate: Rate,
    arrivals: Arrivals,
    duration_s: f64,
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
    latency_ms: Latencies,
    restore_ms: Option<Summary>,
    errors: BTreeMap<String, u64>,
    hosts: BTreeMap<String, u64>,
    workers: BTreeMap<String, Worker>,
    generator: Generator,
}

#[derive(Debug, Serialize)]
struct Requests {
    planned: u64,
    dispatched: u64,
    completed: u64,
    succeeded: u64,
    failed: u64,
    unfinished: u64,
}

/// Successful requests apart by how they started; `all` and `failed` hold the rest, too.
#[derive(Debug, Serialize)]
struct Latencies {
    all: Option<Summary>,
    warm: Option<Summary>,
    cold: Option<Summary>,
    waited: Option<Summary>,
    spare: Option<Summary>,
    unlabelled: Option<Summary>,
    failed: Option<Summary>,
}

#[derive(Debug, Serialize)]
struct Worker {
    requests: u64,
    cold: u64,
    failed: u64,
}

#[derive(Debug, Serialize)]
struct Generator {
    lag_ms: Option<Summary>,
    late_ms: f64,
    queued: u64,
    connections_opened: u64,
    connections_limit: usize,
}

impl RunReport {
    pub(crate) fn of(args: &RunArgs, run: &Run, ending: Ending) -> Self {
        let measure = run.measure();
        let elapsed_s = run.elapsed().as_secs_f64();
        let generator = Generator {
            lag_ms: measure.lag(),
            late_ms: LATE_MS,
            queued: run.queued(),
            connections_opened: run.connections_opened(),
            connections_limit: args.connections.get(),
        };
        let invalid_because = generator.problems();
        let names = args.workers.iter().map(ToString::to_string);
        let workers = names.zip(measure.workers()).map(|(name, count)| {
            (name, Worker { requests: count.requests, cold: count.cold, failed: count.failed })
        });
        Self {
            format: "warmshard-loadtest-run/1",
            target: args.target.to_string(),
            rate: args.rate,
            arrivals: args.arrivals,
            duration_s: args.duration.as_secs_f64(),
            seed: args.seed,
            elapsed_s,
            interrupted: ending == Ending::Interrupted,
            valid: invalid_because.is_empty(),
            invalid_because,
            requests: Requests::of(run, &measure),
            throughput_per_s: measure.succeeded() as f64 / elapsed_s.max(f64::MIN_POSITIVE),
            body_bytes: measure.body_bytes(),
            starts: starts(&measure),
            cold_rate: measure.cold_rate(),
            latency_ms: Latencies::of(&measure),
            restore_ms: measure.restore(),
            errors: measure.errors().iter().map(|(kind, n)| (kind.name().into_owned(), *n)).collect(),
            hosts: measure.hosts(),
            workers: workers.collect(),
            generator,
        }
    }

    pub(crate) fn every_request_failed(&self) -> bool {
        self.requests.succeeded == 0
    }
}

impl Requests {
    fn of(run: &Run, measure: &Measure) -> Self {
        let dispatched = run.dispatched();
        let completed = measure.completed();
        Self {
            planned: run.plan().schedule.len() as u64,
            dispatched,
            completed,
            succeeded: measure.succeeded(),
            failed: measure.failed(),
            unfinished: dispatched.saturating_sub(completed),
        }
    }
}

impl Latencies {
    fn of(measure: &Measure) -> Self {
        Self {
            all: measure.latency(),
            warm: measure.latency_of(Some(StartKind::Warm)),
            cold: measure.latency_of(Some(StartKind::Cold)),
            waited: measure.latency_of(Some(StartKind::Waited)),
            spare: measure.latency_of(Some(StartKind::Spare)),
            unlabelled: measure.latency_of(None),
            failed: measure.failed_latency(),
        }
    }

    fn named(&self) -> [(&'static str, Option<&Summary>); 7] {
        [
            ("all", self.all.as_ref()),
            ("warm", self.warm.as_ref()),
            ("cold", self.cold.as_ref()),
            ("waited", self.waited.as_ref()),
            ("spare", self.spare.as_ref()),
            ("unlabelled", self.unlabelled.as_ref()),
            ("failed", self.failed.as_ref()),
        ]
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
