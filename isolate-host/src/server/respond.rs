//! Every error of the host as a reply, and the headers every reply has.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use warmshard_config::host_policy::Refusal;
use warmshard_config::host_policy::admission::Denial;
use warmshard_config::wire::{self, ErrorReply, Fault};

use super::Host;
use crate::isolate::{GuestFault, ResponseBody};
use crate::pool::{LeaseError, ResolveError, Runtime, chain};

/// Why a request got no answer from a worker.
#[derive(Debug, Clone, thiserror::Error)]
pub(super) enum Failure {
    #[error(transparent)]
    Denied(#[from] Denial),
    #[error("the host cannot take the request: {0}")]
    Refused(Refusal),
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    #[error(transparent)]
    Lease(#[from] LeaseError),
    #[error(transparent)]
    Guest(GuestFault),
    #[error("found no valid name in the `host` header")]
    BadHost,
    #[error("the machine gives no random numbers")]
    NoEntropy,
    #[error("found no such control endpoint")]
    NoEndpoint,
    #[error("found another method than the control endpoint takes")]
    BadMethod,
    #[error("found no valid worker's name in the query, expected `?worker=NAME`")]
    BadQuery,
}

struct Reply {
    status: StatusCode,
    fault: Fault,
    code: &'static str,
    /// For the client: nothing of a worker's own text is in it.
    message: String,
    hint: Option<&'static str>,
}

/// The reply to a request that failed.
pub(super) fn failure(failure: &Failure, id: &str) -> Response<ResponseBody> {
    let Reply { status, fault, code, message, hint } = reply(failure);
    if fault == Fault::Host {
        tracing::warn!(request = id, code, error = chain(failure), "a request failed on this host");
    }
    let mut error = ErrorReply::new(code, message);
    if let Some(hint) = hint {
        error = error.with_hint(hint);
    }
    if id != "-" {
        error = error.with_request_id(id);
    }
    let mut response = json(status, error.to_json());
    response.headers_mut().insert(wire::FAULT, HeaderValue::from_static(fault.as_str()));
    if let Failure::Refused(refusal) | Failure::Lease(LeaseError::Refused(refusal)) = failure {
        response.headers_mut().insert(wire::REFUSED, HeaderValue::from_static(refusal.as_str()));
        if let Refusal::NotWarm(price) = refusal {
            response.headers_mut().insert(wire::PRICE, HeaderValue::from(price.0));
        }
    }
    response
}

fn reply(failure: &Failure) -> Reply {
    use Fault::{Client, Host};
    let make = |status: u16, fault, code, message: String, hint| Reply {
        status: StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
        fault,
        code,
        message,
        hint,
    };
    let said = failure.to_string();
    match failure {
        Failure::Denied(Denial::NoKey | Denial::WrongKey) => {
            make(401, Client, "bad_fleet_key", said, Some("give router and hosts of a fleet the same key"))
        }
        Failure::Denied(Denial::NoWorker) => make(400, Client, "missing_worker", said, None),
        Failure::Denied(Denial::BadWorker(_)) => make(400, Client, "bad_worker_name", chain(failure), None),
        Failure::Refused(refusal) | Failure::Lease(LeaseError::Refused(refusal)) => {
            make(503, Host, refusal.as_str(), said, Some("another host may take it; try again"))
        }
        Failure::Resolve(ResolveError::Unknown(_)) => {
            make(404, Client, "unknown_worker", said, Some("deploy it with `isolate-host deploy`"))
        }
        Failure::Resolve(ResolveError::Store(_)) => make(500, Host, "store_unreadable", said, None),
        Failure::Resolve(ResolveError::Prepare { .. }) => make(
            500,
            Host,
            "snapshot_refused",
            said,
            Some("the host's log says why; deploy the worker again"),
        ),
        Failure::Resolve(ResolveError::Broken) => make(500, Host, "prepare_broken_off", said, None),
        Failure::Lease(LeaseError::Restore(_) | LeaseError::Broken) => {
            make(500, Host, "restore_failed", said, Some("the host's log says why"))
        }
        Failure::Guest(fault) => guest_reply(fault),
        Failure::BadHost => make(400, Client, "bad_host_header", said, None),
        Failure::NoEntropy => make(500, Host, "no_entropy", said, None),
        Failure::NoEndpoint => make(404, Client, "unknown_endpoint", said, None),
        Failure::BadMethod => make(405, Client, "bad_method", said, None),
        Failure::BadQuery => make(400, Client, "bad_query", said, None),
    }
}

/// What a client may know of a worker's failure; the rest is in the log.
fn guest_reply(fault: &GuestFault) -> Reply {
    let of = |code, message: &str| Reply {
        status: StatusCode::INTERNAL_SERVER_ERROR,
        fault: Fault::Guest,
        code,
        message: message.to_owned(),
        hint: Some("the host's log has more, under the request's ID"),
    };
    match fault {
        GuestFault::Exception { .. } => of("worker_exception", "the worker raised an exception"),
        GuestFault::Trap { .. } => of("worker_crashed", "the worker's interpreter crashed"),
        GuestFault::Exited { .. } => of("worker_exited", "the worker ended its own process"),
        GuestFault::CpuLimit { .. } => of("cpu_limit_exceeded", &fault.to_string()),
        GuestFault::MemoryLimit { .. } => of("memory_limit_exceeded", &fault.to_string()),
        GuestFault::Gone => of("worker_crashed", "the worker's isolates ended before they took the request"),
    }
}

/// Marks any reply with who made it and how loaded it is.
pub(super) fn stamp<R: Runtime>(headers: &mut HeaderMap, host: &Host<R>, took: Duration) {
    let value = |text: &str| HeaderValue::from_str(text).ok();
    headers.extend(value(host.id.as_str()).map(|id| (header::HeaderName::from_static(wire::HOST), id)));
    let load = value(&host.isolates.load().to_string());
    headers.extend(load.map(|load| (header::HeaderName::from_static(wire::LOAD), load)));
    headers.insert(wire::HOST_US, HeaderValue::from(took.as_micros() as u64));
}

pub(super) fn json(status: StatusCode, text: String) -> Response<ResponseBody> {
    with_type(status, "application/json", text)
}

pub(super) fn text(text: &'static str) -> Response<ResponseBody> {
    with_type(StatusCode::OK, "text/plain; charset=utf-8", text.to_owned())
}

/// To who asks whether the host is there: it is, and takes no new requests.
pub(super) fn leaving() -> Response<ResponseBody> {
    let mut response = with_type(StatusCode::SERVICE_UNAVAILABLE, "text/plain", "draining\n".to_owned());
    response.headers_mut().insert(wire::REFUSED, HeaderValue::from_static(Refusal::Draining.as_str()));
    response
}

pub(super) fn with_type(status: StatusCode, kind: &'static str, text: String) -> Response<ResponseBody> {
    let body = Full::new(Bytes::from(text)).map_err(|never| match never {}).boxed_unsync();
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
