//! A place at a host, asked for before a body flows that is too large to be sent twice.

use std::time::Duration;

use http::{Method, StatusCode, header};
use pingora::proxy::Session;
use warmshard_config::shard_file::Timeouts;
use warmshard_config::units::{FleetKey, WorkerName};
use warmshard_config::wire::{self, Leased, control};

use crate::fleet::{Host, Place};
use crate::host_client::{Call, CallError};

/// pingora keeps this much of a body, to be sent again.
const KEPT_BY_PINGORA: u64 = 64 * 1024;
/// The host may have to prepare the worker first.
const LONGEST: Duration = Duration::from_secs(60);

/// What a host said.
pub(super) enum Answer {
    /// The request has a place under this name.
    Granted(String),
    /// Nothing was processed and nothing sent.
    Refused(String),
    /// The request itself will be told why, from its head alone.
    NoPlace,
    Unreachable(CallError),
}

/// Whether a request's body may be more than what can be sent again.
pub(super) fn is_needed(session: &mut Session) -> bool {
    let length = session.req_header().headers.get(header::CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.trim().parse::<u64>().ok());
    match length {
        Some(length) => length > KEPT_BY_PINGORA,
        // It may go on for any length.
        None => !session.as_mut().is_body_empty(),
    }
}

/// Asks a host for a place.
pub(super) async fn ask(
    host: &Host,
    place: Place,
    key: &FleetKey,
    worker: &WorkerName,
    timeouts: &Timeouts,
) -> Answer {
    let path = format!("{}?worker={worker}", control::LEASE);
    let timeout = timeouts.silence.min(LONGEST);
    let call = Call { host, place, method: Method::POST, path: &path, key: Some(key), timeout };
    let response = match call.exchange(timeouts.connect).await {
        Ok(response) => response,
        Err(error) => return Answer::Unreachable(error),
    };
    let refused = response.headers().get(wire::REFUSED).and_then(|why| why.to_str().ok());
    match (response.status(), refused) {
        (StatusCode::OK, _) => match serde_json::from_slice::<Leased>(response.body()) {
            Ok(leased) => Answer::Granted(leased.lease),
            Err(_) => Answer::NoPlace,
        },
        (StatusCode::SERVICE_UNAVAILABLE, Some(why)) => Answer::Refused(why.to_owned()),
        _ => Answer::NoPlace,
    }
}
