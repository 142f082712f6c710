//! Asks every host whether it is there, all the time.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Response, StatusCode};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use warmshard_config::health::Observation;
use warmshard_config::wire::{self, control};

use crate::fleet::{Fleet, Host};
use crate::host_client::{Call, CallError};

/// Hosts that have never answered are asked this often, so that a start is not
/// slowed by the interval.
const WHILE_STARTING: Duration = Duration::from_millis(50);

/// Probes forever; ends when its task is dropped.
pub(crate) async fn run(fleet: Arc<Fleet>) {
    loop {
        let round = Instant::now();
        probe_all(&fleet).await;
        let unheard = |host: &Arc<Host>| {
            use warmshard_config::health::State::Unknown;
            host.place().is_some() && host.state() == Unknown
        };
        let starting = fleet.to_probe().iter().any(unheard);
        let interval = fleet.roster().traffic.health.interval;
        let pause = if starting { interval.min(WHILE_STARTING) } else { interval };
        tokio::select! {
            () = sleep_until(round + pause) => {}
            () = fleet.arrival() => {}
        }
    }
}

async fn probe_all(fleet: &Arc<Fleet>) {
    let mut probes = JoinSet::new();
    for host in fleet.to_probe() {
        let fleet = Arc::clone(fleet);
        probes.spawn(async move { probe(&fleet, &host).await });
    }
    probes.join_all().await;
}

/// What a host that can be reached says.
enum Said {
    Ready,
    /// It takes no new requests.
    Leaving,
}

fn judge(response: &Response<Bytes>) -> Result<Said, CallError> {
    match response.status() {
        StatusCode::OK => Ok(Said::Ready),
        StatusCode::SERVICE_UNAVAILABLE if response.headers().contains_key(wire::REFUSED) => {
            Ok(Said::Leaving)
        }
        status => Err(CallError::Status(status)),
    }
}

async fn probe(fleet: &Fleet, host: &Host) {
    let Some(place) = host.place() else { return };
    let call = Call {
        host,
        place,
        method: Method::GET,
        path: control::HEALTHZ,
        key: None,
        timeout: fleet.roster().traffic.health.timeout,
    };
    let limit = call.timeout;
    let answer = call.exchange(limit).await;
    // What a process said that has been replaced meanwhile says nothing of its successor.
    if host.place() != Some(place) {
        return;
    }
    match answer.and_then(|response| judge(&response)) {
        Ok(Said::Ready) => fleet.observe(host, Observation::ProbeSucceeded),
        Ok(Said::Leaving) => {
            fleet.observe(host, Observation::ProbeSucceeded);
            fleet.leaving(host);
        }
        Err(error) => {
            tracing::debug!(host = %host.id(), %error, "probe failed");
            fleet.observe(host, Observation::ProbeFailed);
        }
    }
}
