//! A host that does not exist: its pool is real, its isolates are moments at which they are ready.

use std::collections::HashMap;
use std::time::Duration;

use warmshard_config::cold_start::Cause;
use warmshard_config::host_policy::pool::{AfterRelease, Decision, Pool, PoolLimits, Prewarm, SlotId};
use warmshard_config::host_policy::{Price, Refusal};
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
        /// Why it was cold, as far as the host knows.
        cause: Option<Cause>,
    },
    Refused,
    NotWarm(Price),
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
    /// When it looks next for workers to restore ahead of their calls.
    looks_at: Option<Duration>,
}

/// How often a host looks for such workers; as in the host.
const LOOK: Duration = Duration::from_millis(500);

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
            looks_at: None,
        }
    }

    /// `elsewhere` is what room costs at another host, `restore` how long a restore would take.
    pub(super) fn admit(
        &mut self,
        worker: &WorkerName,
        deployment: &DeploymentId,
        elsewhere: Option<Price>,
        now: Duration,
        restore: Duration,
    ) -> Admission {
        match self.state {
            State::Dead => return Admission::Unreachable,
            State::Leaving => return Admission::Leaving,
            State::Serving => {}
        }
        let (slot, start, ready, evicted) = match self.pool.lease(worker, deployment, elsewhere, now) {
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
            Decision::Refuse(Refusal::NotWarm(price)) => return Admission::NotWarm(price),
            Decision::Refuse(_) => return Admission::Refused,
        };
        self.in_flight += 1;
        let cause = self.pool.cause(slot).filter(|_| start == StartKind::Cold);
        Admission::Taken { slot, start, ready, evicted, cause }
    }

    /// When to look next for workers to restore ahead, if that is news.
    pub(super) fn next_look(&mut self, now: Duration) -> Option<Duration> {
        let due = self.pool.next_due()?.max(now);
        let tick = u32::try_from(due.as_nanos().div_ceil(LOOK.as_nanos())).unwrap_or(u32::MAX);
        let at = LOOK * tick;
        if self.looks_at.is_some_and(|known| known <= at) {
            return None;
        }
        self.looks_at = Some(at);
        Some(at)
    }

    /// Has isolates restored that are about to be called: their slots, and how many were dropped
    /// for them.
    pub(super) fn look_ahead(
        &mut self,
        deployment: impl Fn(&WorkerName) -> Option<DeploymentId>,
        now: Duration,
        restore: Duration,
    ) -> (Vec<SlotId>, u64) {
        self.looks_at = None;
        if self.state != State::Serving {
            return (Vec::new(), 0);
        }
        let (mut slots, mut evicted) = (Vec::new(), 0);
        for worker in self.pool.due(now) {
            let Some(deployment) = deployment(&worker) else { continue };
            if let Prewarm::Restore { slot, evict } = self.pool.prewarm(&worker, &deployment, now) {
                self.restoring.insert(slot, now + restore);
                evicted += u64::from(evict.is_some());
                slots.push(slot);
            }
        }
        (slots, evicted)
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
