//! What operators do: reload, drain, eject, evict, prewarm.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, StatusCode};
use serde_json::json;
use tokio::task::JoinSet;
use warmshard_config::units::{HostId, WorkerName, parse_duration};
use warmshard_config::wire::{ErrorReply, Evicted, control};

use super::{Admin, Query, Reply};
use crate::fleet::Host;
use crate::handoff;
use crate::host_client::{Call, CallError};
use crate::reload::{Force, Outcome};

/// How long a host may take to drop isolates.
const EVICT_LIMIT: Duration = Duration::from_secs(10);
/// How long it may take to get a worker ready, which may mean compiling its packages.
const PREPARE_LIMIT: Duration = Duration::from_secs(120);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Drain {
    Yes,
    No,
}

impl Admin {
    /// Reads the shard file again.
    pub(super) fn reload(&self, query: Query<'_>) -> Reply {
        let force = if query.get("force") == Some("true") { Force::Yes } else { Force::No };
        let outcome = self.reloader.reload(force);
        let epoch = self.fleet.roster().epoch().to_string();
        match outcome {
            Outcome::Applied { moved_percent } => super::json(
                StatusCode::OK,
                &json!({ "outcome": "applied", "epoch": epoch, "moved_percent": moved_percent }),
            ),
            Outcome::Certificates => {
                super::json(StatusCode::OK, &json!({ "outcome": "certificates", "epoch": epoch }))
            }
            Outcome::Coming { moved_percent, epoch: coming, at } => super::json(
                StatusCode::OK,
                &json!({
                    "outcome": "coming",
                    "epoch": epoch,
                    "moved_percent": moved_percent,
                    "coming_epoch": coming.to_string(),
                    "takes_effect_at": at.as_secs_f64(),
                }),
            ),
            Outcome::Unchanged => {
                super::json(StatusCode::OK, &json!({ "outcome": "unchanged", "epoch": epoch }))
            }
            Outcome::Refused(why) => {
                let error = ErrorReply::new("reload_refused", why.to_string());
                let hint =
                    "the file in force stays; `POST /reload?force=true` takes a large change all the same";
                super::json(StatusCode::CONFLICT, &error.with_hint(hint))
            }
            Outcome::Invalid(problems) => {
                let error = ErrorReply::new("bad_shard_file", problems.to_string());
                super::json(StatusCode::BAD_REQUEST, &error.with_hint("the file in force stays"))
            }
        }
    }

    fn host(&self, query: Query<'_>) -> Result<Arc<Host>, Box<Reply>> {
        let id = query.parse("host", HostId::parse)?;
        self.fleet.host(&id).ok_or_else(|| {
            let error = ErrorReply::new("unknown_host", format!("found no host `{id}` in the membership"));
            Box::new(super::json(StatusCode::NOT_FOUND, &error.with_hint("GET /hosts lists them")))
        })
    }

    /// Has this router pass a host over, or use it again. Before it is passed over, the hosts
    /// that get its workers make them warm, unless `now=true`.
    pub(super) async fn drain(&self, query: Query<'_>, drain: Drain) -> Reply {
        let host = match self.host(query) {
            Ok(host) => host,
            Err(reply) => return *reply,
        };
        let policy = self.reloader.settings().handoff;
        if drain == Drain::Yes && query.get("now") != Some("true") && !policy.wait.is_zero() {
            let (moves, key) =
                (self.fleet.moves_from(&host, &policy), self.fleet.roster().traffic.key.clone());
            handoff::hand_over(moves, &key, policy.concurrency, policy.wait).await;
        }
        let changed = self.fleet.drain(&host, drain == Drain::Yes);
        let in_flight = host.own_in_flight();
        super::json(
            StatusCode::OK,
            &json!({ "host": host.id(), "drained": drain == Drain::Yes, "changed": changed, "in_flight": in_flight }),
        )
    }

    /// Has this router leave a host alone for a while.
    pub(super) fn eject(&self, query: Query<'_>) -> Reply {
        let host = match self.host(query) {
            Ok(host) => host,
            Err(reply) => return *reply,
        };
        let time = match query.parse("for", parse_duration) {
            Ok(time) => time,
            Err(reply) => return *reply,
        };
        self.fleet.eject(&host, time);
        super::json(StatusCode::OK, &json!({ "host": host.id(), "ejected_for_seconds": time.as_secs_f64() }))
    }

    /// Has every host drop a worker's idle isolates.
    pub(super) async fn evict(&self, query: Query<'_>) -> Reply {
        let worker = match query.worker() {
            Ok(worker) => worker,
            Err(reply) => return *reply,
        };
        let hosts = self.fleet.roster().hosts().to_vec();
        let answers = self.ask(&hosts, control::EVICT, &worker, EVICT_LIMIT).await;
        let mut evicted = 0;
        let mut failed = Vec::new();
        for (host, answer) in answers {
            let answer = answer.map_err(|error| error.to_string());
            let parse =
                |bytes: Bytes| serde_json::from_slice::<Evicted>(&bytes).map_err(|error| error.to_string());
            match answer.and_then(parse) {
                Ok(answer) => evicted += answer.evicted,
                Err(error) => failed.push(format!("{}: {error}", host.id())),
            }
        }
        if failed.is_empty() {
            return super::json(StatusCode::OK, &Evicted { evicted });
        }
        let message =
            format!("{evicted} isolates were dropped, but not all hosts answered: {}", failed.join("; "));
        super::json(StatusCode::BAD_GATEWAY, &ErrorReply::new("hosts_unreachable", message))
    }

    /// Has a worker's hosts have it warm: the home, or as many as it is spread over.
    pub(super) async fn prewarm(&self, query: Query<'_>) -> Reply {
        let worker = match query.worker() {
            Ok(worker) => worker,
            Err(reply) => return *reply,
        };
        let roster = self.fleet.roster();
        let explained = self.fleet.explain(&worker, &roster);
        let wanted = explained.candidates.iter().take(usize::from(explained.width));
        let hosts: Vec<Arc<Host>> = wanted.map(|candidate| Arc::clone(roster.host(candidate.host))).collect();
        let mut ready = Vec::new();
        let mut failed = Vec::new();
        for (host, answer) in self.ask(&hosts, control::PREWARM, &worker, PREPARE_LIMIT).await {
            match answer {
                Ok(_) => ready.push(host.id().clone()),
                Err(error) => failed.push(format!("{}: {error}", host.id())),
            }
        }
        if failed.is_empty() {
            return super::json(StatusCode::OK, &json!({ "worker": worker, "ready_at": ready }));
        }
        let error = ErrorReply::new("not_warm", failed.join("; "));
        super::json(StatusCode::BAD_GATEWAY, &error.with_hint("the hosts' logs say more"))
    }

    /// Asks hosts about a worker, all at the same time; those without a process are left out.
    async fn ask(
        &self,
        hosts: &[Arc<Host>],
        endpoint: &str,
        worker: &WorkerName,
        limit: Duration,
    ) -> Vec<(Arc<Host>, Result<Bytes, CallError>)> {
        let key = self.fleet.roster().traffic.key.clone();
        let mut calls = JoinSet::new();
        for host in hosts {
            let Some(place) = host.place() else { continue };
            let (host, key, path) = (Arc::clone(host), key.clone(), format!("{endpoint}?worker={worker}"));
            calls.spawn(async move {
                let call = Call {
                    host: &host,
                    place,
                    method: Method::POST,
                    path: &path,
                    key: Some(&key),
                    timeout: limit,
                };
                let answer = call.send().await;
                (host, answer)
            });
        }
        calls.join_all().await
    }
}
