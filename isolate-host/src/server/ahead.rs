//! Restores isolates of workers that are called on a clock shortly before their next call.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::MissedTickBehavior;

use super::{Host, prewarm};
use crate::pool::Runtime;

/// How often is looked for such workers; they are expected no more exactly than to two seconds.
const LOOK: Duration = Duration::from_millis(500);

/// Does so until dropped.
pub(super) async fn look<R: Runtime>(host: &Arc<Host<R>>) {
    let mut ticks = tokio::time::interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        ticks.tick().await;
        for worker in host.isolates.due() {
            let host = Arc::clone(host);
            // What goes wrong is counted there; the worker's next call meets the same, and says it.
            tokio::spawn(async move { prewarm::answer(&host, worker, prewarm::WAIT).await });
        }
    }
}
