//! Has a worker warm before its first request: the name in a ClientHello says
//! which one it will be, a round trip before the request says it.
//!
//! Anybody can send a ClientHello with any name, so a name costs one small call at
//! most, now and then, and never holds up the handshake. Whether there is such a
//! worker, and whether it is warm already, the host knows.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::StatusCode;
use warmshard_config::placement::Asked;
use warmshard_config::prewarm::Recent;
use warmshard_config::units::WorkerName;
use warmshard_config::wire::PrewarmState;

use crate::fleet::{Fleet, Host, Place};
use crate::host_client::CallError;
use crate::shutdown::Gauge;
use crate::{host_client, metric};

/// A host that takes longer to answer is no help to the request.
const LIMIT: Duration = Duration::from_secs(5);

pub(crate) struct Prewarmer {
    fleet: Arc<Fleet>,
    recent: Mutex<Recent>,
    calls: Arc<Gauge>,
}

impl Prewarmer {
    pub(crate) fn new(fleet: Arc<Fleet>) -> Arc<Self> {
        Arc::new(Self { fleet, recent: Mutex::default(), calls: Arc::default() })
    }

    /// A client is about to ask for something under this name. Returns at once.
    pub(crate) fn hello(self: &Arc<Self>, name: &str) {
        let roster = self.fleet.roster();
        let policy = roster.traffic.prewarm;
        if !policy.on_handshake {
            return;
        }
        let Ok(worker) = roster.traffic.routes.find(&Asked::of_host(name)) else { return };
        let raised = self.calls.raise();
        let allowed = {
            let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
            recent.may_ask(&worker, self.fleet.age(), self.calls.value(), &policy)
        };
        if let Err(skipped) = allowed {
            return metric::prewarmed(skipped.as_str());
        }
        let Ok(decision) = self.fleet.explain(&worker, &roster).decision else { return };
        let host = Arc::clone(roster.host(decision.host));
        let Some(place) = host.place() else { return };
        let key = roster.traffic.key.clone();
        tokio::spawn(async move {
            let answer = host_client::prewarm(&host, place, &worker, &key, LIMIT).await;
            note(&worker, &host, place, &answer);
            drop(raised);
        });
    }
}

fn note(worker: &WorkerName, host: &Host, place: Place, answer: &Result<PrewarmState, CallError>) {
    let outcome = match answer {
        Ok(state) => state.as_str(),
        Err(CallError::Status(StatusCode::NOT_FOUND)) => "unknown",
        Err(CallError::Status(StatusCode::SERVICE_UNAVAILABLE)) => "refused",
        Err(_) => "failed",
    };
    metric::prewarmed(outcome);
    match answer {
        Ok(_) => tracing::info!(%worker, host = %host.id(), outcome, "a handshake asked for a worker"),
        // Names that clients make up are not worth a line in the log.
        Err(error) => {
            tracing::debug!(%worker, host = %host.id(), address = %place.address, outcome, %error, "no spare");
        }
    }
}
