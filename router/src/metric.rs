//! Every metric of the router: its name, its labels and the one place that counts it.
//!
//! OpenTelemetry's names where they exist, Prometheus' conventions (base units,
//! `_total`), and never a label per worker: there may be thousands.

use std::time::Duration;

use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use metrics_exporter_prometheus::{BuildError, PrometheusBuilder, PrometheusHandle};
use warmshard_config::cold_start;
use warmshard_config::health::{Cause, State};
use warmshard_config::placement::{Outcome, Reason};
use warmshard_config::units::{Epoch, HostId};
use warmshard_config::wire::StartKind;

const REQUESTS: &str = "warmshard_router_requests_total";
const DURATION: &str = "http_server_request_duration_seconds";
const COLD_STARTS: &str = "faas_coldstarts_total";
const RESTORE: &str = "faas_init_duration_seconds";
const PLACEMENTS: &str = "warmshard_router_placements_total";
const WIDTH_CHANGES: &str = "warmshard_router_width_changes_total";
const RETRIES: &str = "warmshard_router_retries_total";
const IN_FLIGHT: &str = "warmshard_router_in_flight";
const CONNECTIONS: &str = "warmshard_router_connections";
const HOST_UP: &str = "warmshard_router_host_up";
const HOST_CHANGES: &str = "warmshard_router_host_changes_total";
const HOST_STARTS: &str = "warmshard_router_host_starts_total";
const TURNED_AWAY: &str = "warmshard_router_turned_away_total";
const PREWARMS: &str = "warmshard_router_prewarms_total";
const EJECTIONS: &str = "warmshard_router_ejections_total";
const RELOADS: &str = "warmshard_router_reloads_total";
const HANDOFFS: &str = "warmshard_router_handoffs_total";
const HANDOFF_SECONDS: &str = "warmshard_router_handoff_seconds";
const PENDING: &str = "warmshard_router_pending_epoch";
const RECORDS: &str = "warmshard_router_records_total";
const ETCD_UP: &str = "warmshard_router_etcd_up";
const INFO: &str = "warmshard_router_info";

/// From half a millisecond, where warm requests are, to a minute.
const SECONDS: [f64; 17] = [
    0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.02, 0.03, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 15.0, 60.0,
];

/// Installs the recorder that `GET /metrics` renders.
pub(crate) fn install() -> Result<PrometheusHandle, BuildError> {
    let recorder = PrometheusBuilder::new().set_buckets(&SECONDS)?.build_recorder();
    let handle = recorder.handle();
    metrics::set_global_recorder(recorder)?;
    describe();
    Ok(handle)
}

fn describe() {
    describe_counter!(REQUESTS, "Requests answered, by how they met their isolate, host and status class");
    describe_histogram!(DURATION, "Seconds from a request's headers to the end of its answer");
    describe_counter!(COLD_STARTS, "Requests that caused a restore");
    describe_histogram!(RESTORE, "Seconds a restore took, as the host measured it");
    describe_counter!(PLACEMENTS, "Hosts chosen, by reason");
    describe_counter!(WIDTH_CHANGES, "Times a worker was spread over more or fewer hosts");
    describe_counter!(RETRIES, "Requests sent on to the next host, by what happened at the one before");
    describe_gauge!(IN_FLIGHT, "Requests in flight");
    describe_gauge!(CONNECTIONS, "Open connections of clients");
    describe_gauge!(HOST_UP, "1 when the host is up");
    describe_counter!(HOST_CHANGES, "Changes of a host's health, by cause");
    describe_counter!(HOST_STARTS, "Times an embedded host was started");
    describe_counter!(
        TURNED_AWAY,
        "Connections and requests refused before they reached a worker, by reason"
    );
    describe_counter!(PREWARMS, "TLS handshakes that named a worker, by what came of having it warm");
    describe_counter!(EJECTIONS, "Hosts ejected for what they failed, or not since too many are");
    describe_counter!(RELOADS, "Times the shard file was read again, by what came of it");
    describe_counter!(HANDOFFS, "Workers that a host was asked to have warm before it gets them, by outcome");
    describe_histogram!(
        HANDOFF_SECONDS,
        "Seconds until every host that was asked had answered or time was up"
    );
    describe_gauge!(PENDING, "1 while a change of the membership waits for the moment it takes effect");
    describe_counter!(RECORDS, "Records found in etcd that say something new, by what came of them");
    describe_gauge!(ETCD_UP, "1 while etcd answers");
    describe_gauge!(INFO, "1 for the epoch in force; routers whose epochs differ place differently");
}

/// How a request ended, as its labels.
pub(crate) struct Answered<'r> {
    pub(crate) start: Option<StartKind>,
    /// Why the start was cold.
    pub(crate) cold: Option<cold_start::Cause>,
    pub(crate) host: Option<&'r HostId>,
    /// `2xx` and so on; `aborted` when the client left before an answer.
    pub(crate) status_class: &'static str,
    pub(crate) took: Duration,
    pub(crate) restore: Option<Duration>,
}

/// The class of a status, as metrics label it.
pub(crate) fn status_class(status: Option<u16>) -> &'static str {
    match status {
        Some(100..=199) => "1xx",
        Some(200..=299) => "2xx",
        Some(300..=399) => "3xx",
        Some(400..=499) => "4xx",
        Some(_) => "5xx",
        None => "aborted",
    }
}

pub(crate) fn answered(request: &Answered<'_>) {
    let start = request.start.map_or("none", StartKind::as_str);
    let host = request.host.map_or_else(|| "none".to_owned(), ToString::to_string);
    if request.start == Some(StartKind::Cold) {
        let cause = request.cold.map_or("unknown", cold_start::Cause::as_str);
        counter!(COLD_STARTS, "host" => host.clone(), "cause" => cause).increment(1);
    }
    if let Some(restore) = request.restore {
        histogram!(RESTORE).record(restore.as_secs_f64());
    }
    histogram!(DURATION, "start" => start).record(request.took.as_secs_f64());
    let status = request.status_class;
    counter!(REQUESTS, "start" => start, "host" => host, "status" => status).increment(1);
}

pub(crate) fn placed(reason: Reason) {
    counter!(PLACEMENTS, "reason" => reason.as_str()).increment(1);
}

/// `grown` or `shrunk`.
pub(crate) fn width_changed(how: &'static str) {
    counter!(WIDTH_CHANGES, "how" => how).increment(1);
}

pub(crate) fn retried(outcome: Outcome) {
    let cause = match outcome {
        Outcome::Refused => "refused",
        Outcome::Leaving => "leaving",
        Outcome::NotWarm(_) => "not_warm",
        Outcome::Failed => "failed",
    };
    counter!(RETRIES, "cause" => cause).increment(1);
}

pub(crate) fn in_flight(count: usize) {
    gauge!(IN_FLIGHT).set(count as f64);
}

pub(crate) fn connections(count: usize) {
    gauge!(CONNECTIONS).set(count as f64);
}

pub(crate) fn host_changed(host: &HostId, to: State, cause: Cause) {
    host_is(host, to);
    let labels =
        [("host", host.to_string()), ("to", to.as_str().to_owned()), ("cause", cause.as_str().to_owned())];
    counter!(HOST_CHANGES, &labels).increment(1);
}

pub(crate) fn host_is(host: &HostId, state: State) {
    let up = if state == State::Up { 1.0 } else { 0.0 };
    gauge!(HOST_UP, "host" => host.to_string()).set(up);
}

pub(crate) fn host_started(host: &HostId) {
    counter!(HOST_STARTS, "host" => host.to_string()).increment(1);
}

pub(crate) fn epoch_is_over(epoch: Epoch) {
    gauge!(INFO, "epoch" => epoch.to_string(), "version" => env!("CARGO_PKG_VERSION")).set(0.0);
}

/// `ejected` or `withheld`.
pub(crate) fn ejected(host: &HostId, outcome: &'static str) {
    counter!(EJECTIONS, "host" => host.to_string(), "outcome" => outcome).increment(1);
}

/// The state a host reported, `unknown`, `refused`, `failed`, `recent` or `too_many`.
pub(crate) fn prewarmed(outcome: &'static str) {
    counter!(PREWARMS, "outcome" => outcome).increment(1);
}

/// For a reason that is a code of an error reply, or `too_many_connections`.
pub(crate) fn turned_away(reason: &'static str) {
    counter!(TURNED_AWAY, "reason" => reason).increment(1);
}

/// `applied`, `certificates`, `unchanged`, `invalid` or `refused`.
pub(crate) fn reloaded(outcome: &'static str) {
    counter!(RELOADS, "outcome" => outcome).increment(1);
}

/// What became of one worker at one host that will get it.
pub(crate) fn handed_over(outcome: &'static str) {
    counter!(HANDOFFS, "outcome" => outcome).increment(1);
}

pub(crate) fn handoff_took(time: Duration) {
    histogram!(HANDOFF_SECONDS).record(time.as_secs_f64());
}

/// `applied`, `coming` or `refused`.
pub(crate) fn published(outcome: &'static str) {
    counter!(RECORDS, "outcome" => outcome).increment(1);
}

pub(crate) fn etcd_answers(answers: bool) {
    gauge!(ETCD_UP).set(f64::from(u8::from(answers)));
}

pub(crate) fn pending(is_pending: bool) {
    gauge!(PENDING).set(f64::from(u8::from(is_pending)));
}

pub(crate) fn epoch(epoch: Epoch) {
    let version = env!("CARGO_PKG_VERSION");
    gauge!(INFO, "epoch" => epoch.to_string(), "version" => version).set(1.0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_have_classes() {
        let of = |status| status_class(Some(status));
        assert_eq!([of(101), of(200), of(304), of(404), of(503)], ["1xx", "2xx", "3xx", "4xx", "5xx"]);
        assert_eq!(status_class(None), "aborted");
    }
}
