//! What is known of one request while it is in the router, and the line the
//! access log gets when it leaves.

use std::sync::Arc;
use std::time::{Duration, Instant};

use pingora::http::ResponseHeader;
use pingora::proxy::Session;
use pingora::{Error, ErrorSource, ErrorType};
use warmshard_config::cold_start::{Answer, Cause};
use warmshard_config::host_policy::Price;
use warmshard_config::placement::{Decision, HostIndex, Outcome, Reason};
use warmshard_config::units::HostId;
use warmshard_config::wire::StartKind;

use super::headers::{Said, ToClient};
use super::retry::Trouble;
use crate::fleet::{Host, Visit};
use crate::metric::{self, Answered};
use crate::respond::Failure;
use crate::shutdown::{Flight, InFlight, Raised};

/// The error raised when a host refuses, so that pingora stops reading its answer.
pub(crate) const HOST_REFUSED: ErrorType = ErrorType::Custom("HostRefused");
/// The same when the host refuses because it is shutting down.
pub(crate) const HOST_LEAVING: ErrorType = ErrorType::Custom("HostLeaving");
/// The same when another home of the worker may do for less; the price is in the attempt.
pub(crate) const HOST_NOT_WARM: ErrorType = ErrorType::Custom("HostNotWarm");

/// One request.
pub(crate) struct Request {
    id: String,
    began: Instant,
    /// The worker, and its hosts.
    pub(crate) visit: Option<Visit>,
    /// Hosts it was sent to in vain.
    pub(crate) tried: Vec<(HostIndex, Outcome)>,
    pub(crate) attempt: Option<Attempt>,
    /// What the host that answered said.
    said: Said,
    /// Why its start was cold.
    cold: Option<Cause>,
    /// The error that the client gets.
    pub(crate) failure: Option<Failure>,
    _flight: Flight,
}

/// One request at one host.
pub(crate) struct Attempt {
    pub(crate) host: Arc<Host>,
    index: HostIndex,
    reason: Reason,
    /// When the choice began.
    placed: Instant,
    /// Over how many hosts the worker was spread.
    width: u16,
    /// What the host is told that room costs elsewhere.
    pub(crate) elsewhere: Option<Price>,
    /// What it said that room costs there, when it refused for that.
    pub(crate) price: Price,
    pub(crate) body_began: bool,
    /// The place that the host has promised.
    pub(crate) lease: Option<String>,
    _raised: Raised,
}

/// Names a request in every log.
pub(crate) fn new_request_id() -> String {
    format!("{:016x}", rand::random::<u64>())
}

impl Request {
    pub(crate) fn begin(in_flight: &InFlight) -> Self {
        Self {
            id: new_request_id(),
            began: Instant::now(),
            visit: None,
            tried: Vec::new(),
            attempt: None,
            said: Said::default(),
            cold: None,
            failure: None,
            _flight: in_flight.begin(),
        }
    }

    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// `placed` is from before the choice: what became known meanwhile had no part in it.
    pub(crate) fn send_to(&mut self, host: Arc<Host>, decision: &Decision, placed: Instant) {
        let raised = host.begin_request();
        self.attempt = Some(Attempt {
            host,
            index: decision.host,
            reason: decision.reason,
            placed,
            width: self.visit.as_ref().map_or(1, |visit| visit.worker.width()),
            elsewhere: decision.elsewhere,
            price: Price::NOTHING,
            body_began: false,
            lease: None,
            _raised: raised,
        });
    }

    /// Leaves the current host behind.
    pub(crate) fn go_on(&mut self, outcome: Outcome, error: &Error) {
        let Some(attempt) = self.attempt.take() else {
            return;
        };
        tracing::debug!(request_id = self.id, host = %attempt.host.id(), ?outcome, %error, "on to the next host");
        metric::retried(outcome);
        if let (Outcome::NotWarm(_), Some(visit)) = (outcome, &self.visit) {
            visit.worker.not_warm(&visit.plan, attempt.index);
        }
        self.tried.push((attempt.index, outcome));
    }

    /// Takes in what the host said; `now` is the time that workers' histories count in.
    pub(crate) fn answered(&mut self, said: Said, now: Duration) {
        if let (Some(visit), Some(attempt), Some(start)) = (&self.visit, &self.attempt, said.start) {
            let answer = Answer {
                host: attempt.index,
                start,
                deployment: said.deployment,
                host_says: said.cold,
                reason: attempt.reason,
                busy: visit.worker.in_flight() > 1,
                placed: now.saturating_sub(attempt.placed.elapsed()),
                now,
            };
            self.cold = visit.worker.answered(&visit.plan, answer);
        }
        self.said = said;
    }

    /// What the client is told beside the worker's own answer.
    pub(crate) fn told(&self) -> ToClient<'_> {
        let placed = self.attempt.as_ref().map(|attempt| (attempt.reason, attempt.width));
        ToClient { request_id: &self.id, placed, cold: self.cold }
    }

    /// What an error of pingora's means for this request.
    pub(crate) fn trouble(&self, error: &Error) -> Trouble {
        match (error.etype(), error.esource()) {
            (kind, _) if *kind == HOST_REFUSED => Trouble::Refused,
            (kind, _) if *kind == HOST_LEAVING => Trouble::Leaving,
            (kind, _) if *kind == HOST_NOT_WARM => {
                Trouble::NotWarm(self.attempt.as_ref().map_or(Price::NOTHING, |attempt| attempt.price))
            }
            (_, ErrorSource::Downstream) => Trouble::Client,
            (ErrorType::ReadTimedout | ErrorType::WriteTimedout, ErrorSource::Upstream) => Trouble::Silent,
            (
                ErrorType::ReadError | ErrorType::WriteError | ErrorType::ConnectionClosed,
                ErrorSource::Upstream,
            ) => Trouble::Lost,
            (_, ErrorSource::Upstream) => Trouble::Garbage,
            (_, ErrorSource::Internal | ErrorSource::Unset) => Trouble::Router,
        }
    }

    /// One line and the metrics, when everything is over.
    pub(crate) fn log(&self, session: &Session, error: Option<&Error>) {
        let took = self.began.elapsed();
        let status = final_head(session).map(|head| head.status.as_u16());
        let host = self.attempt.as_ref().map(|attempt| attempt.host.id());
        let start = self.said.start;
        metric::answered(&Answered {
            start,
            cold: self.cold,
            host,
            status_class: metric::status_class(status),
            took,
            restore: self.said.restore,
        });
        let head = session.req_header();
        tracing::info!(
            target: "access",
            request_id = self.id,
            worker = self.visit.as_ref().map(|visit| visit.worker.name().as_str()),
            method = %head.method,
            // Not the query: it may carry secrets.
            path = head.uri.path(),
            status,
            start = start.map(StartKind::as_str),
            cold = self.cold.map(Cause::as_str),
            host = host.map(HostId::as_str),
            placed = self.attempt.as_ref().map(|attempt| attempt.reason.as_str()),
            width = self.attempt.as_ref().map(|attempt| attempt.width),
            attempt = self.tried.len() + 1,
            epoch = self.visit.as_ref().map(|visit| tracing::field::display(visit.plan.roster.epoch())),
            restore_us = self.said.restore.map(micros),
            took_us = micros(took),
            sent = session.body_bytes_sent(),
            failure = self.failure.as_ref().map(Failure::code),
            error = error.map(tracing::field::display),
            "request",
        );
    }
}

/// The head of the answer the client got, without informational ones.
pub(crate) fn final_head(session: &Session) -> Option<&ResponseHeader> {
    session.response_written().filter(|head| !head.status.is_informational() || head.status == 101)
}

/// As a number that every log format has.
fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
