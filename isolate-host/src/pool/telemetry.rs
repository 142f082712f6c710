//! What a host counts. Every host has its own registry, and every counter its
//! handle at hand: counting is an addition.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Label, Level, Metadata, Recorder, Unit};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder};
use warmshard_config::host_policy::{Price, Refusal};
use warmshard_config::wire::{Load, PrewarmState, StartKind};

use super::capture_again::SnapshotRefusal;
use crate::isolate::GuestFault;

/// Bounds of the histogram of restores, in seconds.
const RESTORE_BOUNDS: [f64; 12] =
    [0.0005, 0.001, 0.0015, 0.002, 0.003, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 2.0];
/// Bounds of the histogram of preparing, in seconds.
const PREPARE_BOUNDS: [f64; 8] = [0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 20.0, 60.0];

const RESTORE_SECONDS: &str = "warmshard_restore_seconds";
const PREPARE_SECONDS: &str = "warmshard_prepare_seconds";

/// Why isolates were dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EvictionCause {
    /// To make room for another worker's.
    Limit,
    /// Memory was short.
    Memory,
    /// Nobody had called it for long.
    Idle,
    /// Through the control endpoint.
    Asked,
    /// A new version took over.
    Replaced,
    Shutdown,
}

impl EvictionCause {
    const ALL: [Self; 6] =
        [Self::Limit, Self::Memory, Self::Idle, Self::Asked, Self::Replaced, Self::Shutdown];

    fn as_str(self) -> &'static str {
        match self {
            Self::Limit => "limit",
            Self::Memory => "memory",
            Self::Idle => "idle",
            Self::Asked => "asked",
            Self::Replaced => "replaced",
            Self::Shutdown => "shutdown",
        }
    }
}

/// How a guest failed, as metrics tell it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FaultKind {
    Exception,
    Trap,
    Exited,
    CpuLimit,
    MemoryLimit,
    Gone,
}

impl FaultKind {
    const ALL: [Self; 6] =
        [Self::Exception, Self::Trap, Self::Exited, Self::CpuLimit, Self::MemoryLimit, Self::Gone];

    pub fn of(fault: &GuestFault) -> Self {
        match fault {
            GuestFault::Exception { .. } => Self::Exception,
            GuestFault::Trap { .. } => Self::Trap,
            GuestFault::Exited { .. } => Self::Exited,
            GuestFault::CpuLimit { .. } => Self::CpuLimit,
            GuestFault::MemoryLimit { .. } => Self::MemoryLimit,
            GuestFault::Gone => Self::Gone,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Exception => "exception",
            Self::Trap => "trap",
            Self::Exited => "exited",
            Self::CpuLimit => "cpu_limit",
            Self::MemoryLimit => "memory_limit",
            Self::Gone => "gone",
        }
    }
}

/// A counter, and its value for the status page.
struct Tally {
    name: String,
    total: AtomicU64,
    counter: Counter,
}

impl Tally {
    fn add(&self, count: u64) {
        self.total.fetch_add(count, Ordering::Relaxed);
        self.counter.increment(count);
    }
}

/// The counters of one host.
pub struct Telemetry {
    handle: PrometheusHandle,
    starts: [Tally; 4],
    evictions: [Tally; EvictionCause::ALL.len()],
    refusals: [Tally; Refusal::ALL.len()],
    faults: [Tally; 6],
    snapshots_refused: [Tally; 5],
    prewarms: [Tally; PrewarmState::ALL.len()],
    prewarms_refused: Tally,
    prewarms_failed: Tally,
    restores_failed: Tally,
    prepares_failed: Tally,
    captured_again: Tally,
    captures_failed: Tally,
    prepared_dropped: Tally,
    restore_seconds: Histogram,
    prepare_seconds: Histogram,
    prepared: Gauge,
    in_flight: Gauge,
    isolates: Gauge,
    memory: Gauge,
    memory_limit: Gauge,
}

impl Telemetry {
    pub fn new() -> Self {
        let bounds = |builder: PrometheusBuilder, name: &str, bounds: &[f64]| {
            builder
                .set_buckets_for_metric(Matcher::Full(name.to_owned()), bounds)
                .expect("the bounds are not empty")
        };
        let builder = bounds(PrometheusBuilder::new(), RESTORE_SECONDS, &RESTORE_BOUNDS);
        let recorder = bounds(builder, PREPARE_SECONDS, &PREPARE_BOUNDS).build_recorder();
        let make = Maker { recorder: &recorder };
        Self {
            handle: recorder.handle(),
            starts: StartKind::ALL.map(|kind| {
                make.tally("starts", "kind", kind.as_str(), "Requests by how they met their isolate")
            }),
            evictions: EvictionCause::ALL
                .map(|cause| make.tally("evictions", "cause", cause.as_str(), "Isolates dropped, by cause")),
            refusals: Refusal::ALL.map(|reason| {
                make.tally("refusals", "reason", reason.as_str(), "Requests passed on to the next host")
            }),
            faults: FaultKind::ALL.map(|kind| {
                make.tally("guest_faults", "kind", kind.as_str(), "Requests a worker failed, by how")
            }),
            snapshots_refused: SnapshotRefusal::ALL.map(|reason| {
                make.tally("snapshots_refused", "reason", reason.as_str(), "Snapshots not used, by why")
            }),
            prewarms: PrewarmState::ALL.map(|state| {
                make.tally(
                    "prewarms",
                    "state",
                    state.as_str(),
                    "Workers to be warm ahead of need, by outcome",
                )
            }),
            prewarms_refused: make.tally(
                "prewarms_refused",
                "",
                "",
                "Workers to be warm ahead of need for which there was no room",
            ),
            prewarms_failed: make.tally(
                "prewarms_failed",
                "",
                "",
                "Workers to be warm ahead of need for which no isolate was to be had",
            ),
            restores_failed: make.tally("restores_failed", "", "", "Restores that failed"),
            prepares_failed: make.tally("prepares_failed", "", "", "Deployments that could not be prepared"),
            captured_again: make.tally(
                "captured_again",
                "",
                "",
                "Deployments captured again because their snapshot was refused",
            ),
            captures_failed: make.tally(
                "captures_failed",
                "",
                "",
                "Deployments that could not be captured again",
            ),
            prepared_dropped: make.tally(
                "prepared_dropped",
                "",
                "",
                "Prepared deployments dropped from memory because others were used more recently",
            ),
            restore_seconds: make.histogram(RESTORE_SECONDS, "Time to restore an isolate"),
            prepare_seconds: make.histogram(PREPARE_SECONDS, "Time to get a deployment ready"),
            in_flight: make.gauge("warmshard_requests_in_flight", "Requests in isolates or waiting for one"),
            prepared: make.gauge("warmshard_prepared_deployments", "Deployments ready to be restored"),
            isolates: make.gauge("warmshard_isolates", "Isolates live or being restored"),
            memory: make.gauge("warmshard_memory_bytes", "Memory the host takes"),
            memory_limit: make
                .gauge("warmshard_memory_limit_bytes", "Memory from which on requests are refused"),
        }
    }

    pub fn started(&self, kind: StartKind) {
        find(&self.starts, &StartKind::ALL, kind).add(1);
    }

    pub fn evicted(&self, cause: EvictionCause, count: usize) {
        find(&self.evictions, &EvictionCause::ALL, cause).add(count as u64);
    }

    pub fn refused(&self, refusal: Refusal) {
        let reason = match refusal {
            Refusal::NotWarm(_) => Refusal::NotWarm(Price::NOTHING),
            other => other,
        };
        find(&self.refusals, &Refusal::ALL, reason).add(1);
    }

    pub fn prewarmed(&self, state: PrewarmState) {
        find(&self.prewarms, &PrewarmState::ALL, state).add(1);
    }

    pub fn prewarm_refused(&self) {
        self.prewarms_refused.add(1);
    }

    pub fn prewarm_failed(&self) {
        self.prewarms_failed.add(1);
    }

    pub fn faulted(&self, fault: &GuestFault) {
        find(&self.faults, &FaultKind::ALL, FaultKind::of(fault)).add(1);
    }

    pub fn restored(&self, took: Duration) {
        self.restore_seconds.record(took.as_secs_f64());
    }

    pub fn restore_failed(&self) {
        self.restores_failed.add(1);
    }

    pub fn snapshot_refused(&self, reason: SnapshotRefusal) {
        find(&self.snapshots_refused, &SnapshotRefusal::ALL, reason).add(1);
    }

    /// A deployment whose snapshot was refused was captured again, or could not be.
    pub fn captured_again(&self, succeeded: bool) {
        if succeeded { self.captured_again.add(1) } else { self.captures_failed.add(1) }
    }

    pub fn prepared_dropped(&self, count: usize) {
        self.prepared_dropped.add(count as u64);
    }

    /// How many deployments are ready now.
    pub fn prepared_now(&self, count: usize) {
        self.prepared.set(count as f64);
    }

    /// Bytes taken now, and those from which on requests are refused.
    pub fn memory_now(&self, used: u64, limit: u64) {
        self.memory.set(used as f64);
        self.memory_limit.set(limit as f64);
    }

    pub fn prepared(&self, took: Duration) {
        self.prepare_seconds.record(took.as_secs_f64());
    }

    pub fn prepare_failed(&self) {
        self.prepares_failed.add(1);
    }

    /// The totals by name, such as `starts_cold`.
    pub fn counters(&self) -> BTreeMap<String, u64> {
        let groups: [&[Tally]; 6] = [
            &self.starts,
            &self.evictions,
            &self.refusals,
            &self.faults,
            &self.snapshots_refused,
            &self.prewarms,
        ];
        let single = [
            &self.prewarms_refused,
            &self.prewarms_failed,
            &self.restores_failed,
            &self.prepares_failed,
            &self.captured_again,
            &self.captures_failed,
            &self.prepared_dropped,
        ];
        let all = groups.into_iter().flatten().chain(single);
        all.map(|tally| (tally.name.clone(), tally.total.load(Ordering::Relaxed))).collect()
    }

    /// Everything in the text format of Prometheus.
    pub fn render(&self, load: Load) -> String {
        self.in_flight.set(f64::from(load.in_flight));
        self.isolates.set(f64::from(load.isolates));
        self.handle.run_upkeep();
        self.handle.render()
    }
}

impl Default for Telemetry {
    fn default() -> Self {
        Self::new()
    }
}

/// The counter of one case among all cases.
fn find<'a, K: PartialEq + Copy>(tallies: &'a [Tally], all: &[K], case: K) -> &'a Tally {
    let at = all.iter().position(|other| *other == case).unwrap_or_default();
    &tallies[at]
}

struct Maker<'a> {
    recorder: &'a PrometheusRecorder,
}

impl Maker<'_> {
    const METADATA: Metadata<'static> = Metadata::new("isolate_host", Level::INFO, None);

    fn tally(&self, name: &str, label: &'static str, value: &'static str, text: &'static str) -> Tally {
        let metric = format!("warmshard_{name}_total");
        self.recorder.describe_counter(KeyName::from(metric.clone()), Some(Unit::Count), text.into());
        let (key, name) = if label.is_empty() {
            (Key::from_name(metric), name.to_owned())
        } else {
            (Key::from_parts(metric, vec![Label::new(label, value)]), format!("{name}_{value}"))
        };
        let counter = self.recorder.register_counter(&key, &Self::METADATA);
        // Shown as 0 before the first event, so that a rate can be taken from the start.
        counter.increment(0);
        Tally { name, total: AtomicU64::new(0), counter }
    }

    fn histogram(&self, name: &'static str, text: &'static str) -> Histogram {
        self.recorder.describe_histogram(KeyName::from(name), Some(Unit::Seconds), text.into());
        self.recorder.register_histogram(&Key::from_name(name), &Self::METADATA)
    }

    fn gauge(&self, name: &'static str, text: &'static str) -> Gauge {
        self.recorder.describe_gauge(KeyName::from(name), Some(Unit::Count), text.into());
        self.recorder.register_gauge(&Key::from_name(name), &Self::METADATA)
    }
}
