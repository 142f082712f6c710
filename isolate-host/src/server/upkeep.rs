//! What a host does by itself, beside its requests: it stays within its memory, and lets go of
//! isolates that nobody calls.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::MissedTickBehavior;
use warmshard_config::host_policy::memory::Pressure;

use super::Host;
use crate::pool::{Runtime, chain};

/// How often is looked. Reading two numbers of the kernel takes some microseconds, and a busy
/// host takes some megabytes in such a time.
const LOOK: Duration = Duration::from_millis(250);

/// Looks after the host until dropped.
pub async fn upkeep<R: Runtime>(host: Arc<Host<R>>) {
    let mut ticks = tokio::time::interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let host = Arc::clone(&host);
        // Unmapping takes a while: not on threads that serve.
        if tokio::task::spawn_blocking(move || look(&host)).await.is_err() {
            tracing::error!("looking after the host failed");
        }
    }
}

pub(super) fn look<R: Runtime>(host: &Host<R>) {
    match host.runtime.memory_used() {
        Ok(used) => stay_within(host, used),
        Err(error) => tracing::error!(error = chain(&error), "cannot tell how much memory this host takes"),
    }
    if let Some(unused_for) = host.hibernate_after {
        host.isolates.hibernate(unused_for);
    }
}

/// Gives back a little, what costs least first; the next look sees what that brought.
fn stay_within<R: Runtime>(host: &Host<R>, used: u64) {
    let limits = host.memory.limits();
    let before = host.memory.set_used(used);
    host.telemetry.memory_now(used, limits.hard());
    let pressure = host.memory.pressure();
    if pressure != before {
        let (soft, hard) = (limits.soft(), limits.hard());
        match pressure {
            Pressure::None => tracing::info!(used, soft, "memory suffices again"),
            Pressure::Soft => tracing::warn!(used, soft, "memory is short: idle isolates go"),
            Pressure::Hard => tracing::error!(
                used,
                hard,
                "memory is over: requests are refused; keep fewer isolates, or raise `--max-memory`"
            ),
        }
    }
    if pressure == Pressure::None {
        return;
    }
    host.runtime.let_go_of_spares();
    if !host.deployments.drop_longest_unused() {
        host.isolates.relieve(limits.surplus(used, host.isolates.load().isolates));
    }
}
