//! The limit: a fleet that is one pool of all its slots and knows every request to come. When a
//! slot is needed it drops whose next request is furthest (Belady, 1966), which no policy that
//! has to restore on demand can beat. What is left is first calls, and too few slots.
//!
//! One slot serves a worker however many requests it has at once: a limit leaves that out.

use std::collections::BTreeSet;
use std::time::Duration;

use http::{HeaderValue, StatusCode};
use warmshard_config::cold_start::Cause;
use warmshard_config::wire::StartKind;

use super::fleet::Fleet;
use super::policy::PolicyName;
use crate::client::Reply;
use crate::measure::{Measure, Sample};
use crate::report::{Circumstances, RunReport};
use crate::scenario::Scenario;
use crate::schedule::Arrival;

/// No request to come.
const NEVER: u64 = u64::MAX;

pub(super) fn run(scenario: &Scenario, fleet: &Fleet) -> anyhow::Result<RunReport> {
    let slots = fleet.members.len() * fleet.limits.isolates.get() as usize;
    let mut pool = Pool::new(slots, scenario.workers.len());
    let mut measure = Measure::new(scenario.workers.len(), scenario.duration, scenario.warmup);
    let mut sent = 0;
    let mut serve = |arrival: Arrival, next: u64| {
        sent += 1;
        let met = pool.serve(arrival.worker, next);
        if met.evicted {
            measure.record_evictions(arrival.due(), 1);
        }
        measure.record(&sample(scenario, arrival, &met));
    };
    match (scenario.load()?, scenario.recorded()?) {
        (Some(load), _) if load.foresees() => {
            let mut stream = load.stream();
            while let Some(arrival) = stream.next() {
                let next = stream.next_due(arrival.worker).unwrap_or(NEVER);
                serve(arrival, next);
            }
        }
        (Some(_), _) => {
            with_next(scenario.schedule()?.arrivals()).for_each(|(arrival, next)| serve(arrival, next));
        }
        (None, Some(trace)) => with_next(&trace.arrivals).for_each(|(arrival, next)| serve(arrival, next)),
        (None, None) => {}
    }
    let circumstances = Circumstances {
        scenario,
        source: "simulate",
        target: PolicyName::Clairvoyant.to_string(),
        elapsed_s: scenario.duration.as_secs_f64(),
        interrupted: false,
        planned: sent,
        dispatched: sent,
        sees_evictions: true,
        hosts: None,
        happened: Vec::new(),
        generator: None,
    };
    Ok(RunReport::of(circumstances, &measure))
}

/// Each arrival with the moment of its worker's next one.
fn with_next(arrivals: &[Arrival]) -> impl Iterator<Item = (Arrival, u64)> {
    let workers = arrivals.iter().map(|arrival| arrival.worker as usize + 1).max().unwrap_or(0);
    let mut coming = vec![NEVER; workers];
    let mut next = vec![NEVER; arrivals.len()];
    for (index, arrival) in arrivals.iter().enumerate().rev() {
        next[index] = std::mem::replace(&mut coming[arrival.worker as usize], arrival.due_ns);
    }
    arrivals.iter().copied().zip(next)
}

fn sample(scenario: &Scenario, arrival: Arrival, met: &Met) -> Sample {
    let cold = met.cause.is_some();
    let restore = cold.then_some(scenario.simulated.restore);
    let latency = scenario.simulated.usual() + restore.unwrap_or(Duration::ZERO);
    let reply = Reply {
        status: StatusCode::OK,
        start: Some(if cold { StartKind::Cold } else { StartKind::Warm }),
        restore,
        host: None,
        body_bytes: 0,
        first_byte: latency,
        at_host: None,
        cause: met.cause.map(|cause| HeaderValue::from_static(cause.as_str())),
    };
    Sample { worker: arrival.worker, due: arrival.due(), latency, lag: None, outcome: Ok(reply) }
}

/// Workers by their next request.
#[derive(Debug)]
struct Pool {
    slots: usize,
    resident: BTreeSet<(u64, u32)>,
    /// By worker: its next request while it is resident, and whether it ever was.
    next: Vec<Option<u64>>,
    seen: Vec<bool>,
}

#[derive(Debug, PartialEq, Eq)]
struct Met {
    cause: Option<Cause>,
    evicted: bool,
}

impl Pool {
    fn new(slots: usize, workers: usize) -> Self {
        Self { slots, resident: BTreeSet::new(), next: vec![None; workers], seen: vec![false; workers] }
    }

    /// A request of a worker, whose next one will come then.
    fn serve(&mut self, worker: u32, next: u64) -> Met {
        let index = worker as usize;
        let mut met = Met { cause: None, evicted: false };
        match self.next[index] {
            Some(known) => {
                self.resident.remove(&(known, worker));
            }
            None => {
                met.cause = Some(if self.seen[index] { Cause::Evicted } else { Cause::First });
                self.seen[index] = true;
                if self.resident.len() >= self.slots
                    && let Some((_, furthest)) = self.resident.pop_last()
                {
                    self.next[furthest as usize] = None;
                    met.evicted = true;
                }
            }
        }
        self.next[index] = Some(next);
        self.resident.insert((next, worker));
        met
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Cold starts of the workers asked for in turn.
    fn cold(slots: usize, requests: &[u32]) -> usize {
        let arrivals: Vec<Arrival> = requests
            .iter()
            .enumerate()
            .map(|(index, &worker)| Arrival { due_ns: index as u64, worker })
            .collect();
        let mut pool = Pool::new(slots, 10);
        with_next(&arrivals)
            .filter(|(arrival, next)| pool.serve(arrival.worker, *next).cause.is_some())
            .count()
    }

    #[test]
    fn it_misses_as_rarely_as_can_be() {
        // The textbook's sequence: 9 page faults with three frames.
        let textbook = [7, 0, 1, 2, 0, 3, 0, 4, 2, 3, 0, 3, 2, 1, 2, 0, 1, 7, 0, 1];
        assert_eq!(cold(3, &textbook), 9);
        assert_eq!(cold(6, &textbook), 6, "only first calls");
        assert_eq!(cold(1, &[1, 2, 1, 2]), 4);
    }
}
