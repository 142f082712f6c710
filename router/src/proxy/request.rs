//! What is known of one request while it is in the router, and the line the
//! access log gets when it leaves.

use std::sync::Arc;
use std::time::{Duration, Instant};

use pingora::http::ResponseHeader;
use pingora::proxy::Session;
use pingora::{Error, ErrorSource, ErrorType};
use warmshard_config::placement::{Outcome, Reason};
use warmshard_config::units::{HostId, WorkerName};
use warmshard_config::wire::StartKind;

use super::headers::Said;
use super::retry::Trouble;
use crate::fleet::Host;
use crate::metric::{self, Answered};
use crate::respond::Failure;
use crate::shutdown::{Flight, InFlight, Raised};

/// The error raised when a host refuses, so that pingora stops reading its answer.
pub(crate) const HOST_REFUSED: ErrorType = ErrorType::Custom("HostRefused");

/// One request.
pub(crate) struct Request {
    id: String,
    began: Instant,
    pub(crate) worker: Option<WorkerName>,
    /// The worker's hosts, best first.
    pub(crate) candidates: Vec<HostId>,
    /// Hosts it was sent to in vain.
    pub(crate) tried: Vec<(HostId, Outcome)>,
    pub(crate) attempt: Option<Attempt>,
    /// What the host that answered said.
    said: Said,
    /// The error that the client gets.
    pub(crate) failure: Option<Failure>,
    _flight: Flight,
}

/// One request at one host.
pub(crate) struct Attempt {
    pub(crate) host: Arc<Host>,
    reason: Reason,
    pub(crate) body_began: bool,
    _raised: Raised,
}

impl Request {
    pub(crate) fn begin(in_flight: &InFlight) -> Self {
        Self {
            id: format!("{:016x}", rand::random::<u64>()),
            began: Instant::now(),
            worker: None,
            candidates: Vec::new(),
            tried: Vec::new(),
            attempt: None,
            said: Said::default(),
            failure: None,
            _flight: in_flight.begin(),
        }
    }

    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    pub(crate) fn send_to(&mut self, host: Arc<Host>, reason: Reason) {
        let raised = host.begin_request();
        self.attempt = Some(Attempt { host, reason, body_began: false, _raised: raised });
    }

    /// Leaves the current host behind.
    pub(crate) fn go_on(&mut self, outcome: Outcome, error: &Error) {
        let Some(attempt) = self.attempt.take() else {
            return;
        };
        let host = attempt.host.id().clone();
        tracing::debug!(request_id = self.id, %host, ?outcome, %error, "on to the next host");
        metric::retried(outcome);
        self.tried.push((host, outcome));
    }

    pub(crate) fn answered(&mut self, said: Said) {
        self.said = said;
    }

    /// What an error of pingora's means for this request.
    pub(crate) fn trouble(&self, error: &Error) -> Trouble {
        match (error.etype(), error.esource()) {
            (kind, _) if *kind == HOST_REFUSED => Trouble::Refused,
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
            host,
            status_class: metric::status_class(status),
            took,
            restore: self.said.restore,
        });
        let head = session.req_header();
        tracing::info!(
            target: "access",
            request_id = self.id,
            worker = self.worker.as_ref().map(WorkerName::as_str),
            method = %head.method,
            // Not the query: it may carry secrets.
            path = head.uri.path(),
            status,
            start = start.map(StartKind::as_str),
            host = host.map(HostId::as_str),
            placed = self.attempt.as_ref().map(|attempt| attempt.reason.as_str()),
            tried = self.tried.len(),
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
