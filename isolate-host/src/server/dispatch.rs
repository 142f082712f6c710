//! The life of a request on a host, in order.

use std::sync::Arc;
use std::time::Instant;

use http::uri::{Authority, Scheme};
use http::{HeaderMap, Request, Response, Uri, header, request};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use warmshard_config::host_policy::admission::{Caller, Head, Intake, Verdict, admit};
use warmshard_config::units::WorkerName;
use warmshard_config::wire;

use super::answer::{self, Answered};
use super::leases::Held;
use super::replay::Replay;
use super::respond::{self, Failure};
use super::{Host, control};
use crate::isolate::{GuestFault, ResponseBody};
use crate::pool::{Instance, Runtime};

/// Isolates tried for one request: each of them was found dead before it saw any of it.
const MOST_ATTEMPTS: usize = 3;

/// Headers that concern one connection, not the request.
const HOP_BY_HOP: [header::HeaderName; 6] = [
    header::CONNECTION,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// Answers a request, whatever comes.
pub(super) async fn handle<R: Runtime>(
    host: &Arc<Host<R>>,
    request: Request<Incoming>,
    caller: Caller,
) -> Response<ResponseBody> {
    let began = Instant::now();
    let id = request_id(request.headers());
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let worker = request.headers().get(wire::WORKER).cloned();
    let mut response = match dispatch(host, request, caller, &id).await {
        Ok(response) => response,
        Err(failure) => respond::failure(&failure, &id),
    };
    respond::stamp(response.headers_mut(), host, began.elapsed());
    tracing::debug!(
        request = id,
        ?worker,
        %method,
        path,
        status = response.status().as_u16(),
        start = response.headers().get(wire::START).and_then(|start| start.to_str().ok()),
        micros = began.elapsed().as_micros() as u64,
        "answered"
    );
    response
}

async fn dispatch<R: Runtime>(
    host: &Arc<Host<R>>,
    request: Request<Incoming>,
    caller: Caller,
    id: &str,
) -> Result<Response<ResponseBody>, Failure> {
    let headers = request.headers();
    let value = |name: &str| headers.get(name).map(header::HeaderValue::as_bytes);
    let (key, worker) = (value(wire::KEY), value(wire::WORKER));
    let head = Head { path: request.uri().path(), key, worker, caller };
    // What was promised is kept; nobody else can know of it.
    let held = host.leases.take(value(wire::LEASE), head.worker);
    let intake = if held.is_some() { Intake::Open } else { host.intake() };
    // Decided before anything is awaited, so that the key is not held on to.
    let verdict = admit(head, &host.key.load(), intake);
    match verdict {
        Verdict::Serve(worker) => run(host, &worker, request, id, held).await,
        Verdict::Control => control::answer(host, request.method(), request.uri()).await,
        // Whoever asks learns in time that it is to go elsewhere.
        Verdict::Health if intake == Intake::Draining => Ok(respond::leaving()),
        Verdict::Health => Ok(respond::text("ok\n")),
        Verdict::Refuse(refusal) => {
            host.telemetry.refused(refusal);
            Err(Failure::Refused(refusal))
        }
        Verdict::Deny(denial) => Err(Failure::Denied(denial)),
    }
}

/// Resolve, lease, run.
async fn run<R: Runtime>(
    host: &Arc<Host<R>>,
    worker: &WorkerName,
    request: Request<Incoming>,
    id: &str,
    mut held: Option<Held<R::Instance>>,
) -> Result<Response<ResponseBody>, Failure> {
    let elsewhere = request.headers().get(wire::ELSEWHERE);
    // What cannot be read is as good as nothing: the request is taken.
    let elsewhere = elsewhere.and_then(|price| price.to_str().ok()?.parse().ok());
    let ready = host.deployments.resolve(worker).await?;
    let restore = || host.deployments.restore(&ready);
    let (head, body) = request.into_parts();
    let head = for_guest(head)?;
    let is_head = head.method == http::Method::HEAD;
    let body = Replay::new(body.map_err(Into::into).boxed_unsync());
    let mut attempt = 1;
    loop {
        let (lease, deployment) = match held.take() {
            Some(held) => (held.lease, held.deployment),
            None => (host.isolates.lease(worker, &ready.id, elsewhere, &restore).await?, ready.id.clone()),
        };
        let fetched = lease.isolate().fetch(Request::from_parts(head.clone(), body.handle())).await;
        match fetched {
            Ok(response) => {
                let answered = Answered { deployment: &deployment, is_head };
                return answer::from_guest(response, lease, answered)
                    .inspect_err(|failure| note(host, worker, failure, id));
            }
            Err(GuestFault::Gone) if attempt < MOST_ATTEMPTS && body.is_untouched() => {
                attempt += 1;
                lease.died();
            }
            Err(fault) => {
                if !lease.isolate().is_alive() {
                    lease.died();
                }
                let failure = Failure::Guest(fault);
                note(host, worker, &failure, id);
                return Err(failure);
            }
        }
    }
}

/// A worker's fault, counted and logged where it can be found by the request's ID.
fn note<R: Runtime>(host: &Host<R>, worker: &WorkerName, failure: &Failure, id: &str) {
    if let Failure::Guest(fault) = failure {
        host.telemetry.faulted(fault);
        tracing::warn!(%worker, request = id, %fault, "a request failed in the worker");
    }
}

/// The head as the worker sees it: an absolute address, and nothing of ours.
fn for_guest(mut head: request::Parts) -> Result<request::Parts, Failure> {
    let proto = head.headers.get("x-forwarded-proto").and_then(|proto| proto.to_str().ok());
    let scheme = if proto == Some("https") { Scheme::HTTPS } else { Scheme::HTTP };
    let name = head.headers.get(header::HOST).map_or(Ok("localhost"), |host| host.to_str());
    let authority = name.ok().and_then(|name| name.parse::<Authority>().ok()).ok_or(Failure::BadHost)?;
    let mut parts = head.uri.into_parts();
    parts.scheme = Some(scheme);
    parts.authority = Some(authority);
    parts.path_and_query = Some(parts.path_and_query.unwrap_or_else(|| "/".parse().expect("a path")));
    head.uri = Uri::from_parts(parts).map_err(|_| Failure::BadHost)?;
    strip(&mut head.headers);
    Ok(head)
}

/// Takes out what concerns one connection or only us.
pub(super) fn strip(headers: &mut HeaderMap) {
    for name in HOP_BY_HOP {
        headers.remove(name);
    }
    headers.remove("keep-alive");
    let ours: Vec<_> = headers.keys().filter(|name| wire::is_ours(name.as_str())).cloned().collect();
    for name in ours {
        headers.remove(name);
    }
}

/// The ID the router gave, fit for a log; `-` without one.
fn request_id(headers: &HeaderMap) -> String {
    let given = headers.get(wire::REQUEST_ID).and_then(|id| id.to_str().ok());
    let fits = |id: &&str| {
        !id.is_empty()
            && id.len() <= 64
            && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    given.filter(fits).unwrap_or("-").to_owned()
}
