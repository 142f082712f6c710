//! The life of a request in the router, phase by phase in the order they run.
//!
//! ```text
//!    early_request_filter      how long the client's connection is kept
//!    request_filter            host name → worker → candidates, or 404
//! ┌▶ upstream_peer             the best candidate that is eligible, or 503; for a large
//! │                            body one that has promised a place
//! │  fail_to_connect           ──▶ next candidate
//! │  upstream_request_filter   what the host is told
//! │  request_body_filter       marks that the body began to flow
//! │  upstream_response_filter  a refusal, or the head of the answer
//! └─ error_while_proxy         refused, or lost and safe to repeat ──▶ next candidate
//!    fail_to_proxy             the error as JSON
//!    logging                   access log and metrics, once for each request
//! ```
//!
//! Bodies stream both ways through short queues. pingora keeps up to 64 KiB of a
//! request's body so that it can be sent again; a larger one, or one of unknown length,
//! flows only to a host that has promised a place for it. A client that goes away takes
//! the connection to the host with it, which is how the host learns of it.

mod headers;
mod lease;
mod request;
pub(crate) mod retry;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::modules::http::HttpModules;
use pingora::prelude::HttpPeer;
use pingora::proxy::{FailToProxy, ProxyHttp, ProxyWarnLogContext, Session};
use pingora::{Error, ErrorType, Result};
use warmshard_config::health::Observation;
use warmshard_config::host_policy::Refusal;
use warmshard_config::placement::{Asked, NoRoute, Outcome};
use warmshard_config::shard_file::Timeouts;
use warmshard_config::wire::Fault;

use crate::fleet::{Fleet, Host, Place, Visit};
use crate::metric;
use crate::respond::{self, Failure};
use crate::shutdown::InFlight;
use headers::ToHost;
pub(crate) use request::new_request_id;
use request::{HOST_LEAVING, HOST_NOT_WARM, HOST_REFUSED, Request, final_head};
use retry::{Situation, Trouble};

/// Hosts keep an idle connection longer than this, so that it is the router who
/// closes it and no request meets a connection that is just being closed.
const IDLE_HOST_CONNECTION: Duration = Duration::from_secs(30);

/// What every request needs.
#[derive(Debug)]
pub(crate) struct Proxy {
    pub(crate) fleet: Arc<Fleet>,
    pub(crate) in_flight: InFlight,
}

impl Proxy {
    fn peer(host: &Host, place: Place, timeouts: &Timeouts) -> HttpPeer {
        let mut peer = HttpPeer::new(place.address, host.tls().is_some(), String::new());
        if let Some(tls) = host.tls() {
            tls.apply(&mut peer, host.id());
        }
        let options = &mut peer.options;
        options.connection_timeout = Some(timeouts.connect);
        options.total_connection_timeout = Some(timeouts.connect);
        options.read_timeout = Some(timeouts.silence);
        options.write_timeout = Some(timeouts.silence);
        options.idle_timeout = Some(IDLE_HOST_CONNECTION);
        peer
    }

    /// The request's worker and its candidates.
    fn visit(&self, session: &Session) -> Result<Visit, NoRoute> {
        let head = session.req_header();
        let header = |name: &str| head.headers.get(name)?.to_str().ok();
        let asked = Asked { host: headers::host_name(head), path: head.uri.path(), header: &header };
        let roster = self.fleet.roster();
        let worker = roster.traffic.routes.find(&asked)?;
        Ok(self.fleet.workers().visit(&worker, &roster))
    }

    /// Has the host of this attempt keep a place, or leaves it behind. Returns whether to go there.
    async fn reserve(&self, request: &mut Request, place: Place) -> bool {
        let (Some(visit), Some(attempt)) = (&request.visit, &mut request.attempt) else { return false };
        let traffic = &visit.plan.roster.traffic;
        let (outcome, error) = match lease::ask(
            &attempt.host,
            place,
            &traffic.key,
            visit.worker.name(),
            &traffic.timeouts,
        )
        .await
        {
            lease::Answer::Granted(name) => {
                attempt.lease = Some(name);
                return true;
            }
            lease::Answer::NoPlace => return true,
            lease::Answer::Refused(why) => {
                self.fleet.observe(&attempt.host, Observation::Answered);
                let leaving = why == Refusal::Draining.as_str();
                if leaving {
                    self.fleet.leaving(&attempt.host);
                }
                let outcome = if leaving { Outcome::Leaving } else { Outcome::Refused };
                (outcome, Error::explain(HOST_REFUSED, why))
            }
            lease::Answer::Unreachable(error) => {
                self.fleet.observe(&attempt.host, Observation::ConnectionFailed);
                (Outcome::Failed, Error::explain(ErrorType::ConnectError, error.to_string()))
            }
        };
        request.go_on(outcome, &error);
        false
    }

    fn observe(&self, request: &Request, observation: Observation) {
        if let Some(attempt) = &request.attempt {
            self.fleet.observe(&attempt.host, observation);
        }
    }
}

/// Whether the client's connection is encrypted.
fn over_tls(session: &Session) -> bool {
    session.digest().is_some_and(|digest| digest.ssl_digest.is_some())
}

#[async_trait]
impl ProxyHttp for Proxy {
    type CTX = Request;

    fn new_ctx(&self) -> Request {
        Request::begin(&self.in_flight)
    }

    /// None: bodies pass as they are.
    fn init_downstream_modules(&self, _: &mut HttpModules) {}

    async fn early_request_filter(&self, session: &mut Session, _: &mut Request) -> Result<()> {
        // A client that asked to close gets that, and so does everybody when the router stops.
        if session.get_keepalive().is_some() && !session.is_process_shutting_down() {
            let idle = self.fleet.roster().traffic.timeouts.client_idle;
            session.set_keepalive(Some(idle.as_secs().max(1)));
        }
        Ok(())
    }

    async fn request_filter(&self, session: &mut Session, request: &mut Request) -> Result<bool> {
        match self.visit(session) {
            Ok(visit) => {
                request.visit = Some(visit);
                Ok(false)
            }
            Err(no_route) => {
                let failure = Failure::NoRoute(no_route);
                respond::answer(session, &failure, request.id()).await?;
                request.failure = Some(failure);
                Ok(true)
            }
        }
    }

    async fn upstream_peer(&self, session: &mut Session, request: &mut Request) -> Result<Box<HttpPeer>> {
        let is_large = lease::is_needed(session);
        loop {
            let Some(visit) = &request.visit else {
                return Error::e_explain(ErrorType::InternalError, "no worker was found for this request");
            };
            let timeouts = visit.plan.roster.traffic.timeouts;
            let placed = Instant::now();
            let (host, place, decision) = match self.fleet.choose(visit, &request.tried) {
                Ok(chosen) => chosen,
                Err(no_host) => {
                    request.failure = Some(Failure::NoHost(no_host));
                    return Error::e_explain(ErrorType::Custom("NoHost"), no_host.to_string());
                }
            };
            metric::placed(decision.reason);
            request.send_to(Arc::clone(&host), &decision, placed);
            if is_large && !self.reserve(request, place).await {
                continue;
            }
            let mut peer = Self::peer(&host, place, &timeouts);
            if is_large {
                // A connection that was idle may be closed just now, and the body cannot be sent again.
                peer.group_key = rand::random();
                peer.options.idle_timeout = Some(Duration::ZERO);
            }
            return Ok(Box::new(peer));
        }
    }

    fn fail_to_connect(
        &self,
        _: &mut Session,
        _: &HttpPeer,
        request: &mut Request,
        mut error: Box<Error>,
    ) -> Box<Error> {
        self.observe(request, Observation::ConnectionFailed);
        // Nothing was sent, so any request may go elsewhere.
        request.go_on(Outcome::Failed, &error);
        error.set_retry(true);
        error
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        to_host: &mut RequestHeader,
        request: &mut Request,
    ) -> Result<()> {
        let Some(visit) = &request.visit else {
            return Error::e_explain(ErrorType::InternalError, "no worker was found for this request");
        };
        // A host is only given the choice while the request can be sent again.
        let is_large = lease::is_needed(session);
        let elsewhere = request.attempt.as_ref().and_then(|attempt| attempt.elsewhere).filter(|_| !is_large);
        let client = session.client_addr().and_then(|address| address.as_inet());
        let told = ToHost {
            key: &visit.plan.roster.traffic.key,
            worker: visit.worker.name(),
            request_id: request.id(),
            lease: request.attempt.as_ref().and_then(|attempt| attempt.lease.as_deref()),
            client: client.map(SocketAddr::ip),
            elsewhere,
            host: headers::host_name(session.req_header()),
            scheme: if over_tls(session) { "https" } else { "http" },
        };
        headers::prepare_request(to_host, &told)
    }

    async fn request_body_filter(
        &self,
        _: &mut Session,
        _: &mut Option<Bytes>,
        _: bool,
        request: &mut Request,
    ) -> Result<()> {
        if let Some(attempt) = &mut request.attempt {
            attempt.body_began = true;
        }
        Ok(())
    }

    async fn upstream_response_filter(
        &self,
        _: &mut Session,
        response: &mut ResponseHeader,
        request: &mut Request,
    ) -> Result<()> {
        if response.status.is_informational() {
            return Ok(());
        }
        self.observe(request, Observation::Answered);
        let said = headers::read_response(response);
        if let (Some(attempt), Some(load)) = (&request.attempt, said.load) {
            attempt.host.set_load(load);
        }
        if let Some(why) = said.refused {
            let leaving = why == Refusal::Draining.as_str();
            let kind = match (said.price, &mut request.attempt) {
                (Some(price), Some(attempt)) => {
                    attempt.price = price;
                    HOST_NOT_WARM
                }
                _ if leaving => HOST_LEAVING,
                _ => HOST_REFUSED,
            };
            return Error::e_explain(kind, why);
        }
        if let (Some(visit), Some(attempt)) = (&request.visit, &request.attempt) {
            if said.fault == Some(Fault::Host) && response.status.is_server_error() {
                self.fleet.failed(&attempt.host, visit.worker.name());
            } else {
                attempt.host.answered(&visit.plan.roster.traffic.health);
            }
        }
        request.answered(said, self.fleet.age());
        headers::prepare_response(response, &request.told())
    }

    fn error_while_proxy(
        &self,
        _: &HttpPeer,
        session: &mut Session,
        mut error: Box<Error>,
        request: &mut Request,
        reused_connection: bool,
    ) -> Box<Error> {
        let body_began = request.attempt.as_ref().is_some_and(|attempt| attempt.body_began);
        let situation = Situation {
            trouble: request.trouble(&error),
            response_began: final_head(session).is_some(),
            idempotent: session.req_header().method.is_idempotent(),
            nothing_sent: *error.etype() == ErrorType::WriteError && !body_began,
            body_kept: !session.as_ref().retry_buffer_truncated(),
        };
        // A connection that was idle until now may have been closed for any reason.
        let lost = situation.trouble == Trouble::Lost && !reused_connection;
        if (lost || situation.trouble == Trouble::Garbage) && !situation.response_began {
            self.observe(request, Observation::ConnectionFailed);
        }
        if situation.trouble == Trouble::Silent
            && !situation.response_began
            && let (Some(visit), Some(attempt)) = (&request.visit, &request.attempt)
        {
            self.fleet.failed(&attempt.host, visit.worker.name());
        }
        if let (Trouble::Leaving, Some(attempt)) = (situation.trouble, &request.attempt) {
            self.fleet.leaving(&attempt.host);
        }
        let next = retry::next_step(&situation);
        match next {
            Some(outcome) => request.go_on(outcome, &error),
            None => request.failure = Some(Failure::of(&situation, &error)),
        }
        error.set_retry(next.is_some());
        error
    }

    async fn fail_to_proxy(
        &self,
        session: &mut Session,
        error: &Error,
        request: &mut Request,
    ) -> FailToProxy {
        let failure = request.failure.take().unwrap_or_else(|| Failure::outside_attempts(error));
        let status = respond::answer_and_close(session, &failure, request.id()).await;
        request.failure = Some(failure);
        FailToProxy { error_code: status, can_reuse_downstream: false }
    }

    async fn logging(&self, session: &mut Session, error: Option<&Error>, request: &mut Request) {
        request.log(session, error);
    }

    /// The access log says it, with the worker and the reason.
    fn suppress_error_log(&self, _: &Session, _: &Request, _: &Error) -> bool {
        true
    }

    fn suppress_proxy_warn_log(&self, _: &Session, _: &Request, _: &Error, _: ProxyWarnLogContext) -> bool {
        true
    }
}
