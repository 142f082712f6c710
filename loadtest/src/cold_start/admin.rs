//! What is asked of a router's admin listener.

use std::net::SocketAddr;
use std::time::Duration;

use http::{Method, Request};
use warmshard_config::units::WorkerName;
use warmshard_config::wire::Evicted;

use crate::client::{self, Body, Failure};

const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Debug, thiserror::Error)]
pub(crate) enum EvictError {
    #[error("cannot ask the admin listener at {admin} to evict `{worker}`; is the router running?")]
    Unreachable { admin: SocketAddr, worker: WorkerName, source: Failure },
    #[error(
        "asked the admin listener at {admin} to evict `{worker}`, found the answer {status} `{body}`, expected 200"
    )]
    Refused { admin: SocketAddr, worker: WorkerName, status: u16, body: String },
    #[error(
        "asked the admin listener at {admin} to evict, found the answer `{body}`, expected {{\"evicted\":N}}"
    )]
    NotUnderstood { admin: SocketAddr, body: String, source: serde_json::Error },
}

/// Drops every idle isolate of a worker on every host; how many there were.
pub(crate) async fn evict(admin: SocketAddr, worker: &WorkerName) -> Result<u64, EvictError> {
    let mut request = Request::new(Body::default());
    *request.method_mut() = Method::POST;
    *request.uri_mut() =
        format!("/evict?worker={worker}").parse().expect("worker names are letters, digits, `-` and `_`");
    let host = admin.to_string().parse().expect("an address is a valid header");
    request.headers_mut().insert(http::header::HOST, host);

    let answer = tokio::time::timeout(PATIENCE, client::once(admin, request)).await;
    let (reply, body) = answer
        .unwrap_or(Err(Failure::Timeout))
        .map_err(|source| EvictError::Unreachable { admin, worker: worker.clone(), source })?;
    let text = || String::from_utf8_lossy(&body).trim().to_owned();
    if !reply.status.is_success() {
        let status = reply.status.as_u16();
        return Err(EvictError::Refused { admin, worker: worker.clone(), status, body: text() });
    }
    let evicted: Evicted = serde_json::from_slice(&body).map_err(|source| EvictError::NotUnderstood {
        admin,
        body: text(),
        source,
    })?;
    Ok(evicted.evicted)
}
