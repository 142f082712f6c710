//! Making workers warm at the hosts that are about to get them.
//!
//! Every heir is asked for its workers in order, a few at a time, until all have
//! answered or time is up. An heir that hangs keeps nobody else waiting: the others
//! have their own queues, and the change takes effect when it is due.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use http::StatusCode;
use serde::Serialize;
use tokio::sync::Semaphore;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, timeout_at};
use warmshard_config::units::{FleetKey, HostId, WorkerName};
use warmshard_config::wire::PrewarmState;

use crate::fleet::{Host, Move};
use crate::host_client::CallError;
use crate::{host_client, metric};

/// A hand-off under way; given up when dropped.
#[derive(Debug)]
pub(crate) struct Handoff {
    progress: Arc<Progress>,
    task: AbortHandle,
}

impl Drop for Handoff {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[derive(Debug, Default)]
struct Progress {
    wanted: AtomicU32,
    ready: AtomicU32,
    failed: AtomicU32,
}

/// How far a hand-off has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Standing {
    /// Workers to be warm at hosts that will get them.
    pub(crate) wanted: u32,
    pub(crate) ready: u32,
    pub(crate) failed: u32,
}

impl Handoff {
    /// Begins to ask; ends by itself after `limit`. `find` says what moves, off the threads that serve.
    pub(crate) fn start(
        find: impl FnOnce() -> Vec<Move> + Send + 'static,
        key: FleetKey,
        concurrency: u32,
        limit: Duration,
    ) -> Self {
        let progress = Arc::new(Progress::default());
        let (told, deadline) = (Arc::clone(&progress), Instant::now() + limit);
        let task = tokio::spawn(async move {
            let moves = tokio::task::spawn_blocking(find).await.unwrap_or_default();
            run(moves, &key, concurrency, deadline, &told).await;
        });
        Self { progress, task: task.abort_handle() }
    }

    pub(crate) fn standing(&self) -> Standing {
        self.progress.standing()
    }
}

impl Progress {
    fn standing(&self) -> Standing {
        let [wanted, ready, failed] =
            [&self.wanted, &self.ready, &self.failed].map(|count| count.load(Ordering::Relaxed));
        Standing { wanted, ready, failed }
    }

    fn count(&self, outcome: Outcome) {
        metric::handed_over(outcome.as_str());
        let is_ready = matches!(outcome, Outcome::Warm | Outcome::Restored);
        let counter = if is_ready { &self.ready } else { &self.failed };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// Asks and waits, until the deadline at most.
pub(crate) async fn hand_over(
    moves: Vec<Move>,
    key: &FleetKey,
    concurrency: u32,
    limit: Duration,
) -> Standing {
    let progress = Progress::default();
    run(moves, key, concurrency, Instant::now() + limit, &progress).await;
    progress.standing()
}

async fn run(moves: Vec<Move>, key: &FleetKey, concurrency: u32, deadline: Instant, progress: &Progress) {
    let (began, wanted) = (Instant::now(), moves.len());
    if wanted == 0 {
        return;
    }
    progress.wanted.store(u32::try_from(wanted).unwrap_or(u32::MAX), Ordering::Relaxed);
    let mut calls = JoinSet::new();
    let mut queues: HashMap<HostId, Arc<Semaphore>> = HashMap::new();
    for Move { worker, heir } in moves {
        let new = || Arc::new(Semaphore::new(concurrency as usize));
        let queue = Arc::clone(queues.entry(heir.id().clone()).or_insert_with(new));
        let key = key.clone();
        calls.spawn(async move {
            // Places are given in the order they are asked for: those called most come first.
            let asked = async {
                let _place = queue.acquire_owned().await;
                ask(&heir, &worker, &key, deadline.saturating_duration_since(Instant::now())).await
            };
            timeout_at(deadline, asked).await.unwrap_or(Outcome::Late)
        });
    }
    while let Some(outcome) = calls.join_next().await {
        progress.count(outcome.unwrap_or(Outcome::Failed));
    }
    metric::handoff_took(began.elapsed());
    let Standing { ready, failed, .. } = progress.standing();
    tracing::info!(heirs = queues.len(), wanted, ready, failed, took = ?began.elapsed(), "handed workers over");
}

/// What became of one worker at one heir.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Warm,
    Restored,
    /// It goes on there.
    Preparing,
    /// The host has no room for a spare.
    Refused,
    Failed,
    /// Time was up.
    Late,
}

impl Outcome {
    fn as_str(self) -> &'static str {
        match self {
            Self::Warm => "warm",
            Self::Restored => "restored",
            Self::Preparing => "preparing",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::Late => "late",
        }
    }
}

async fn ask(heir: &Host, worker: &WorkerName, key: &FleetKey, timeout: Duration) -> Outcome {
    let Some(place) = heir.place() else { return Outcome::Failed };
    match host_client::prewarm(heir, place, worker, key, timeout).await {
        Ok(PrewarmState::Warm) => Outcome::Warm,
        Ok(PrewarmState::Restored) => Outcome::Restored,
        Ok(PrewarmState::Preparing) => Outcome::Preparing,
        Err(CallError::Status(StatusCode::SERVICE_UNAVAILABLE)) => Outcome::Refused,
        Err(CallError::Late(_)) => Outcome::Late,
        Err(error) => {
            tracing::debug!(host = %heir.id(), %worker, %error, "a worker was not handed over");
            Outcome::Failed
        }
    }
}
