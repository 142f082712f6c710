//! Hosts and placement from etcd: one record that every router follows.
//!
//! ```text
//! router publish ──▶ etcd ──watch──▶ follow ──▶ Reloader ──▶ coming ──▶ in force
//!                                      └──▶ copy on this machine, for a start without etcd
//! ```
//!
//! Who is there is decided by operators and changes by records; whether a host is
//! alive is seen by health checks. So etcd may come and go: the last good record
//! stays in force, and a record that has vanished is a change like any other, one
//! that is refused.

mod gateway;
mod record;

use std::sync::Arc;
use std::time::Duration;

use warmshard_config::shard_file::{Etcd, Settings};

use crate::metric;
use crate::reload::Reloader;
pub(crate) use gateway::Gateway;
pub(crate) use record::{Record, RecordError};

/// How long a call to an etcd that was gone is put off.
const TRY_AGAIN: Duration = Duration::from_secs(1);

/// A watch is renewed after this long: a connection that has died in silence is noticed by then.
const RENEW: Duration = Duration::from_secs(10);

/// The record that is in force when the router starts: etcd's, else the copy of the last good one.
/// Waits for etcd when there is neither.
pub(crate) async fn first_record(etcd: &Etcd) -> Record {
    let gateway = Gateway::new(etcd);
    let mut told = false;
    loop {
        let why = match gateway.get(&etcd.key()).await {
            Ok(found) => match found.record(etcd) {
                Ok(record) => {
                    record.keep(&etcd.copy);
                    return record;
                }
                Err(error) => describe(&error),
            },
            Err(error) => describe(&error),
        };
        match Record::kept(&etcd.copy, etcd) {
            Ok(record) => {
                tracing::warn!(why, copy = %etcd.copy.display(), "starting with the copy of the last good record");
                return record;
            }
            Err(error) if !told => {
                told = true;
                tracing::error!(
                    why,
                    copy = describe(&error),
                    "no record to start with, waiting for one in etcd"
                );
            }
            Err(_) => {}
        }
        tokio::time::sleep(TRY_AGAIN).await;
    }
}

/// Settings with the hosts that a start needs.
pub(crate) async fn complete(settings: Settings) -> Settings {
    match settings.etcd.clone() {
        Some(etcd) => {
            let record = first_record(&etcd).await;
            settings.with(record.published)
        }
        None => settings,
    }
}

/// Follows the record until its task is dropped.
pub(crate) async fn follow(etcd: Etcd, reloader: Arc<Reloader>) {
    let (gateway, key) = (Gateway::new(&etcd), etcd.key());
    let mut is_there = true;
    loop {
        match gateway.get(&key).await {
            Ok(found) => {
                if !is_there {
                    tracing::info!("etcd answers again");
                }
                is_there = true;
                metric::etcd_answers(true);
                let revision = found.revision;
                reloader.published(found.record(&etcd), &etcd);
                // Whatever ends the watch, a change, a compaction, a lost connection: the record is read again.
                let watch = gateway.watch(&key, revision + 1);
                if let Ok(Err(error)) = tokio::time::timeout(RENEW, watch).await {
                    tracing::debug!(why = describe(&error), "a watch ended");
                }
            }
            Err(error) => {
                metric::etcd_answers(false);
                if is_there {
                    tracing::error!(
                        why = describe(&error),
                        "etcd does not answer, the last record stays in force"
                    );
                }
                is_there = false;
                tokio::time::sleep(TRY_AGAIN).await;
            }
        }
    }
}

/// An error with its causes, on one line.
pub(crate) fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}
