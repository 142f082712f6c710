//! The control endpoints, reached with the fleet's key and without a worker.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use http::{Method, Response, StatusCode, Uri};
use warmshard_config::units::WorkerName;
use warmshard_config::wire::{Drained, Evicted, HostStatus, IsolateGroup, MemoryStatus, control};

use super::respond::{self, Failure};
use super::{Host, leases, prewarm};
use crate::isolate::ResponseBody;
use crate::pool::Runtime;

pub(super) async fn answer<R: Runtime>(
    host: &Arc<Host<R>>,
    method: &Method,
    uri: &Uri,
) -> Result<Response<ResponseBody>, Failure> {
    match (uri.path(), method) {
        (control::STATUS, &Method::GET) => Ok(json(&status(host))),
        (control::METRICS, &Method::GET) => {
            let text = host.telemetry.render(host.isolates.load());
            Ok(respond::with_type(StatusCode::OK, "text/plain; version=0.0.4", text))
        }
        (control::EVICT, &Method::POST) => {
            let evicted = host.isolates.evict(&worker(uri)?) as u64;
            Ok(json(&Evicted { evicted }))
        }
        (control::PREPARE, &Method::POST) => {
            let ready = host.deployments.prepare(&worker(uri)?).await?;
            Ok(json(&serde_json::json!({ "deployment": ready.id.as_str() })))
        }
        (control::PREWARM, &Method::POST) => {
            Ok(json(&prewarm::answer(host, worker(uri)?, prewarm::WAIT).await?))
        }
        (control::LEASE, &Method::POST) => Ok(json(&leases::answer(host, worker(uri)?, leases::KEPT).await?)),
        (control::DRAIN, &Method::POST) => Ok(json(&drain(host, true))),
        (control::UNDRAIN, &Method::POST) => Ok(json(&drain(host, false))),
        (
            control::STATUS
            | control::METRICS
            | control::EVICT
            | control::PREPARE
            | control::PREWARM
            | control::LEASE
            | control::DRAIN
            | control::UNDRAIN,
            _,
        ) => Err(Failure::BadMethod),
        _ => Err(Failure::NoEndpoint),
    }
}

/// Refuses new requests from now on, or takes them again; those in flight go on.
fn drain<R: Runtime>(host: &Host<R>, draining: bool) -> Drained {
    host.draining.store(draining, Ordering::Relaxed);
    tracing::info!(draining, "told to drain or to go on");
    Drained { draining, in_flight: host.isolates.load().in_flight }
}

fn status<R: Runtime>(host: &Host<R>) -> HostStatus {
    let group = |group: warmshard_config::host_policy::pool::Group| IsolateGroup {
        worker: group.worker,
        deployment: group.deployment.short().to_owned(),
        count: group.isolates,
    };
    HostStatus {
        host_id: host.id.clone(),
        in_flight: host.isolates.load().in_flight,
        isolates: host.isolates.groups().into_iter().map(group).collect(),
        memory: MemoryStatus {
            used: host.memory.used(),
            soft_limit: host.memory.limits().soft(),
            hard_limit: host.memory.limits().hard(),
        },
        counters: host.telemetry.counters(),
    }
}

/// `?worker=NAME`. Names need no escapes, so there is nothing to decode.
fn worker(uri: &Uri) -> Result<WorkerName, Failure> {
    let pairs = uri.query().unwrap_or_default().split('&');
    let name = pairs.filter_map(|pair| pair.strip_prefix("worker=")).next();
    name.and_then(|name| WorkerName::parse(name).ok()).ok_or(Failure::BadQuery)
}

fn json<T: serde::Serialize>(value: &T) -> Response<ResponseBody> {
    let mut text = serde_json::to_string(value).expect("names and numbers always serialise");
    text.push('\n');
    respond::json(StatusCode::OK, text)
}
