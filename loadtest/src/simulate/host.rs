//! A host that does not exist: its pool is real, its isolates are moments at which they are ready.

use std::collections::HashMap;
use std::time::Duration;

use warmshard_config::host_policy::Refusal;
use warmshard_config::host_policy::pool::{AfterRelease, Decision, Pool, PoolLimits, SlotId};
use warmshard_config::units::{DeploymentId, WorkerName};
use warmshard_config::wire::StartKind;

/// What becomes of a request at a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Admission {
    Taken {
        slot: SlotId,
        start: StartKind,
        /// When its isolate is ready.
        ready: Duration,
        /// Another isolate made room for it.
        evicted: bool,
    },
    Refused,
    Leaving,
    Unreachable,
}

#[derive(Debug)]
pub(super) struct Host {
    pool: Pool,
    limits: PoolLimits,
    restoring: HashMap<SlotId, Duration>,
    pub(super) in_flight: u32,
    state: State,
    /// Of its process: what an earlier one had in flight is lost.
    pub(super) life: u32,
    /// When the last one ended.
    pub(super) died: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Serving,
    Leaving,
    Dead,
}

impl Host {
    pub(super) fn new(limits: PoolLimits) -> Self {
        Self {
            pool: Pool::new(limits),
            limits,
            restoring: HashMap::new(),
            in_flight: 0,
            state: State::Serving,
            life: 0,
            died: Duration::ZERO,
        }
    }

    /// `restore` is how long a restore would take.
    pub(super) fn admit(
        &mut self,
        worker: &WorkerName,
        deployment: &DeploymentId,
        now: Duration,
        restore: Duration,
    ) -> Admission {
        match self.state {
            State::Dead => return Admission::Unreachable,
            State::Leaving => return Admission::Leaving,
            State::Serving => {}
        }
        let (slot, start, ready, evicted) = match self.pool.lease(worker, deployment, now) {
            Decision::Use { slot } => (slot, StartKind::Warm, now, false),
            Decision::Spare { slot } => (slot, StartKind::Spare, now, false),
            Decision::Wait { slot } => {
                (slot, StartKind::Waited, self.restoring.get(&slot).copied().unwrap_or(now), false)
            }
            Decision::Restore { slot, evict } => {
                self.restoring.insert(slot, now + restore);
                (slot, StartKind::Cold, now + restore, evict.is_some())
            }
            Decision::Refuse(Refusal::Draining) => return Admission::Leaving,
            Decision::Refuse(_) => return Admission::Refused,
        };
        self.in_flight += 1;
        Admission::Taken { slot, start, ready, evicted }
    }

    pub(super) fn restored(&mut self, slot: SlotId, life: u32) {
        if life == self.life {
            self.restoring.remove(&slot);
            // Nothing has to be closed where there is nothing.
            let _: AfterRelease = self.pool.restored(slot);
        }
    }

    /// Whether the request that ends here still has its host.
    pub(super) fn finished(&mut self, slot: SlotId, life: u32, now: Duration) -> bool {
        if life != self.life {
            return false;
        }
        self.in_flight = self.in_flight.saturating_sub(1);
        let _: AfterRelease = self.pool.release(slot, now);
        true
    }

    /// Its process ends, and everything in it.
    pub(super) fn kill(&mut self, now: Duration) {
        let (limits, life) = (self.limits, self.life + 1);
        *self = Self { state: State::Dead, life, died: now, ..Self::new(limits) };
    }

    /// Takes no new requests.
    pub(super) fn drain(&mut self) {
        if self.state == State::Serving {
            self.state = State::Leaving;
        }
    }

    /// Serves again: a dead one with a new process.
    pub(super) fn serve(&mut self) {
        self.state = State::Serving;
    }

    /// Drops isolates of other versions than the current ones.
    pub(super) fn replace(&mut self, current: impl Fn(&WorkerName) -> Option<DeploymentId>) {
        for group in self.pool.groups() {
            if let Some(current) = current(&group.worker)
                && current != group.deployment
            {
                self.pool.replace(&group.worker, &current);
            }
        }
    }
}
