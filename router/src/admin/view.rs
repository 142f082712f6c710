//! What operators look at: the ring, the file in force, workers, explanations, plans.

use std::time::SystemTime;

use bytes::Bytes;
use http::StatusCode;
use serde_json::{Value, json};
use warmshard_config::placement::HostIndex;
use warmshard_config::wire::ErrorReply;

use super::{Admin, Query, Reply};
use crate::fleet::{Roster, Worker};
use crate::{shard_commands, surroundings};

/// How many workers `/workers` lists unless asked for another number.
const TOP: usize = 20;

impl Admin {
    /// Who is on the ring, with how much of it.
    pub(super) fn ring(&self) -> Reply {
        let roster = self.fleet.roster();
        let member = |member: &warmshard_config::placement::Member| {
            json!({
                "id": member.id,
                "weight": member.weight.get(),
                "share": f64::from(member.share.thousandths()) / 1000.0,
                "zone": member.zone,
            })
        };
        let members: Vec<Value> = roster.placement.membership().members().iter().map(member).collect();
        let settings = self.reloader.settings().placement;
        let source = if self.reloader.settings().etcd.is_some() { "etcd" } else { "file" };
        let pending = self.reloader.pending().map(|pending| {
            json!({
                "epoch": pending.epoch.to_string(),
                "takes_effect_at": pending.at.as_secs_f64(),
                "in_seconds": pending.wait.as_secs_f64(),
                "moved_percent": pending.moved_percent,
                "handoff": pending.handoff,
            })
        });
        super::json(
            StatusCode::OK,
            &json!({
                "epoch": roster.epoch().to_string(),
                "policy": format!("{:?}", settings.policy).to_lowercase(),
                "zones": format!("{:?}", settings.zones).to_lowercase(),
                "source": source,
                "members": members,
                "pending": pending,
            }),
        )
    }

    /// The last good shard file, and why a newer one is not in force.
    pub(super) fn config(&self) -> Reply {
        let status = self.reloader.status();
        let seconds = |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).map(|t| t.as_secs());
        super::json(
            StatusCode::OK,
            &json!({
                "file": status.file,
                "epoch": self.fleet.roster().epoch().to_string(),
                "in_force_since": seconds(status.since).unwrap_or_default(),
                "rejected": status.rejected,
                "record_rejected": status.record_rejected,
                "text": status.text,
            }),
        )
    }

    /// The busiest workers since this router started.
    pub(super) fn top_workers(&self, query: Query<'_>) -> Reply {
        let count = query.get("top").and_then(|count| count.parse().ok()).unwrap_or(TOP);
        let mut workers = self.fleet.workers().all();
        let known = workers.len();
        workers.sort_by_key(|worker| std::cmp::Reverse(worker.requests()));
        let view = |worker: &std::sync::Arc<Worker>| {
            json!({
                "worker": worker.name(),
                "requests": worker.requests(),
                "cold_starts": worker.cold_starts(),
                "in_flight": worker.in_flight(),
                "width": worker.width(),
                "warm_at": worker.warm_at(),
            })
        };
        let top: Vec<Value> = workers.iter().take(count).map(view).collect();
        super::json(StatusCode::OK, &json!({ "known": known, "workers": top }))
    }

    /// Why each candidate of a worker would be taken or passed over right now.
    pub(super) fn explain(&self, query: Query<'_>) -> Reply {
        let worker = match query.worker() {
            Ok(worker) => worker,
            Err(reply) => return *reply,
        };
        let roster = self.fleet.roster();
        // A worker that nobody called yet is looked at without being remembered.
        let explained = self.fleet.explain(&worker, &roster);
        let (chosen, reason) = match &explained.decision {
            Ok(decision) => (Some(id_of(&roster, decision.host)), decision.reason.as_str().to_owned()),
            Err(no_host) => (None, no_host.to_string()),
        };
        let candidates: Vec<Value> = explained
            .candidates
            .iter()
            .enumerate()
            .map(|(position, candidate)| {
                json!({
                    "position": position,
                    "host": id_of(&roster, candidate.host),
                    "standing": candidate.standing.as_str(),
                    "in_flight": candidate.in_flight,
                    "bound": candidate.bound,
                    "warm": candidate.warm,
                })
            })
            .collect();
        super::json(
            StatusCode::OK,
            &json!({
                "worker": worker,
                "epoch": roster.epoch().to_string(),
                "width": explained.width,
                "chosen": chosen,
                "reason": reason,
                "candidates": candidates,
            }),
        )
    }

    /// What the shard file in the body would do to the workers that were called.
    pub(super) fn plan(&self, body: &Bytes) -> Reply {
        let text = String::from_utf8_lossy(body);
        let path = self.reloader.status().file;
        let new = match surroundings::parse_shard_file(&path, &text) {
            Ok(new) => new,
            Err(problems) => {
                let error = ErrorReply::new("bad_shard_file", problems.to_string());
                let hint = "send the shard file to come as body: `curl --data-binary @new.toml …/plan`";
                return super::json(StatusCode::BAD_REQUEST, &error.with_hint(hint));
            }
        };
        let workers = self.reloader.workers();
        let plan = shard_commands::compare(&self.reloader.settings(), &new, workers);
        let host = |host: &warmshard_config::placement::HostPlan| {
            json!({
                "host": host.id,
                "workers_before": host.keys_before,
                "workers_after": host.keys_after,
                "requests_before": host.load_before,
                "requests_after": host.load_after,
                "fair_requests": host.fair_load,
                "over_its_share": host.is_over(shard_commands::OVER_PERCENT),
            })
        };
        let hosts: Vec<Value> = plan.hosts.iter().map(host).collect();
        super::json(
            StatusCode::OK,
            &json!({
                "workers": plan.keys,
                "moved": plan.moved,
                "moved_percent": plan.moved_percent(),
                "requests": plan.load,
                "moved_requests": plan.moved_load,
                "cold_starts_to_expect": plan.moved,
                "hosts": hosts,
            }),
        )
    }
}

fn id_of(roster: &Roster, host: HostIndex) -> String {
    roster.host(host).id().to_string()
}
