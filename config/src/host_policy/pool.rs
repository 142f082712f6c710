//! Which isolate a request gets.
//!
//! A slot is one isolate, or one being restored. A request takes a place in a
//! slot when it is admitted to it and gives it back when it has ended, so nobody
//! queues behind a slot that cannot take him:
//!
//! ```text
//!            lease                 restored              last request ended
//! (nothing) ──────▶ restoring ───────────▶ ready ◀──▶ ready, idle ───▶ dropped
//!                       │ failed             │ retired         evicted
//!                       ▼                    ▼
//!                    dropped             retiring ─── last request ended ──▶ dropped
//! ```
//!
//! A slot can also be restored ahead of need. It is a spare until its first request
//! comes, and makes room for others like any idle one. `relief` is about those that go without
//! another one in their place.

mod relief;

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::time::Duration;

use super::Refusal;
use crate::cold_start::Cause;
use crate::units::{DeploymentId, WorkerName};

/// What was used less long ago than this is not evicted for a spare, which may never be asked for.
pub const RECENTLY: Duration = Duration::from_secs(60);

/// What a pool may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolLimits {
    pub isolates: NonZeroU32,
    pub requests_per_isolate: NonZeroU32,
}

/// Names a slot; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SlotId(u64);

/// Where a request goes. Its place in the slot is taken already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// To an isolate that is there.
    Use {
        slot: SlotId,
    },
    /// To one that was restored ahead of need and had no request yet.
    Spare {
        slot: SlotId,
    },
    /// To one that somebody else's request is having restored.
    Wait {
        slot: SlotId,
    },
    /// To one that has to be restored; `evict` is dropped first to make room.
    Restore {
        slot: SlotId,
        evict: Option<SlotId>,
    },
    Refuse(Refusal),
}

/// What is to be done so that a worker's next request finds an isolate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Prewarm {
    /// Nothing: there is one with room.
    Ready {
        slot: SlotId,
    },
    /// One is being restored.
    Wait {
        slot: SlotId,
    },
    /// One has to be restored; `evict` is dropped first to make room.
    Restore {
        slot: SlotId,
        evict: Option<SlotId>,
    },
    Refuse(Refusal),
}

/// What to do after a request has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AfterRelease {
    Keep,
    /// It was to be dropped once idle, and now it is.
    Close,
}

/// What to do with the slots of a worker that are no longer wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Retired {
    /// Idle: dropped from the pool, to be closed.
    pub close: Vec<SlotId>,
    /// Busy: no new request gets them, and the last one to end closes them.
    pub later: usize,
}

/// The isolates of one deployment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    pub worker: WorkerName,
    pub deployment: DeploymentId,
    pub isolates: u32,
    pub in_flight: u32,
}

#[derive(Debug)]
struct Slot {
    worker: WorkerName,
    deployment: DeploymentId,
    phase: Phase,
    in_flight: u32,
    /// When a request last came or went.
    last_used: Duration,
    /// Why it had to be restored.
    cause: Cause,
    /// Restored ahead of need, and no request has come yet.
    spare: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Restoring,
    Ready,
    /// No new requests.
    Retiring,
}

/// The slots of one host. Times count from any fixed moment.
#[derive(Debug)]
pub struct Pool {
    limits: PoolLimits,
    slots: BTreeMap<SlotId, Slot>,
    next: u64,
    /// What was last restored of each worker.
    seen: BTreeMap<WorkerName, DeploymentId>,
}

impl Pool {
    pub fn new(limits: PoolLimits) -> Self {
        Self { limits, slots: BTreeMap::new(), next: 0, seen: BTreeMap::new() }
    }

    /// Finds a place for a request and takes it.
    pub fn lease(&mut self, worker: &WorkerName, deployment: &DeploymentId, now: Duration) -> Decision {
        if let Some(slot) = self.roomiest(deployment, Phase::Ready) {
            let was_spare = self.take(slot, now);
            return if was_spare { Decision::Spare { slot } } else { Decision::Use { slot } };
        }
        if let Some(slot) = self.roomiest(deployment, Phase::Restoring) {
            self.take(slot, now);
            return Decision::Wait { slot };
        }
        let Some(evict) = self.room(Duration::ZERO, now) else {
            return Decision::Refuse(Refusal::AtCapacity);
        };
        let slot = self.insert(worker, deployment, evict, now);
        self.take(slot, now);
        Decision::Restore { slot, evict }
    }

    /// Sees to it that the next request finds an isolate, at nobody's expense: what is busy
    /// or was used [`RECENTLY`] stays.
    pub fn prewarm(&mut self, worker: &WorkerName, deployment: &DeploymentId, now: Duration) -> Prewarm {
        if let Some(slot) = self.roomiest(deployment, Phase::Ready) {
            return Prewarm::Ready { slot };
        }
        if let Some(slot) = self.roomiest(deployment, Phase::Restoring) {
            return Prewarm::Wait { slot };
        }
        let Some(evict) = self.room(RECENTLY, now) else {
            return Prewarm::Refuse(Refusal::AtCapacity);
        };
        let slot = self.insert(worker, deployment, evict, now);
        Prewarm::Restore { slot, evict }
    }

    /// Whom to evict so that there is room for one more, if anybody; `None` when there can be no room.
    fn room(&self, idle_for: Duration, now: Duration) -> Option<Option<SlotId>> {
        let is_full = self.slots.len() >= self.limits.isolates.get() as usize;
        if !is_full {
            return Some(None);
        }
        let idlest = self.longest_idle()?;
        let idle = now.saturating_sub(self.slots[&idlest].last_used);
        (idle >= idle_for).then_some(Some(idlest))
    }

    /// A slot that is being restored, with no request in it yet.
    fn insert(
        &mut self,
        worker: &WorkerName,
        deployment: &DeploymentId,
        evict: Option<SlotId>,
        now: Duration,
    ) -> SlotId {
        let cause = self.cause_of_restore(worker, deployment);
        if let Some(evicted) = evict {
            self.slots.remove(&evicted);
        }
        self.seen.insert(worker.clone(), deployment.clone());
        let slot = SlotId(self.next);
        self.next += 1;
        let (worker, deployment) = (worker.clone(), deployment.clone());
        let restoring = Slot {
            worker,
            deployment,
            phase: Phase::Restoring,
            in_flight: 0,
            last_used: now,
            cause,
            spare: true,
        };
        self.slots.insert(slot, restoring);
        slot
    }

    /// Why a slot had to be restored.
    pub fn cause(&self, slot: SlotId) -> Option<Cause> {
        self.slots.get(&slot).map(|slot| slot.cause)
    }

    /// As far as this host can know: what happened at others is the router's business.
    fn cause_of_restore(&self, worker: &WorkerName, deployment: &DeploymentId) -> Cause {
        let is_there = |slot: &Slot| slot.deployment == *deployment && slot.phase != Phase::Retiring;
        if self.slots.values().any(is_there) {
            return Cause::ScaleOut;
        }
        match self.seen.get(worker) {
            None => Cause::First,
            Some(seen) if seen == deployment => Cause::Evicted,
            Some(_) => Cause::NewVersion,
        }
    }

    /// A restore succeeded. `Close` when nobody waits for it any more and it is not wanted.
    pub fn restored(&mut self, slot: SlotId) -> AfterRelease {
        let Some(restored) = self.slots.get_mut(&slot) else {
            return AfterRelease::Close;
        };
        match restored.phase {
            Phase::Restoring => {
                restored.phase = Phase::Ready;
                AfterRelease::Keep
            }
            Phase::Ready => AfterRelease::Keep,
            Phase::Retiring => self.close_if_done(slot),
        }
    }

    /// A request has ended, or was given up while it waited.
    pub fn release(&mut self, slot: SlotId, now: Duration) -> AfterRelease {
        // A slot that failed or died is gone, and its requests with it.
        let Some(used) = self.slots.get_mut(&slot) else {
            return AfterRelease::Keep;
        };
        used.in_flight = used.in_flight.saturating_sub(1);
        used.last_used = now;
        self.close_if_done(slot)
    }

    /// A slot's restore failed, or its isolate died. True when it was still there.
    pub fn remove(&mut self, slot: SlotId) -> bool {
        self.slots.remove(&slot).is_some()
    }

    /// Lets go of a worker's isolates.
    pub fn evict(&mut self, worker: &WorkerName) -> Retired {
        self.retire(|slot| slot.worker == *worker)
    }

    /// Lets go of a worker's isolates of any other version than this one.
    pub fn replace(&mut self, worker: &WorkerName, current: &DeploymentId) -> Retired {
        self.retire(|slot| slot.worker == *worker && slot.deployment != *current)
    }

    /// Lets go of everything.
    pub fn drain(&mut self) -> Retired {
        self.retire(|_| true)
    }

    /// Requests in flight, those that wait for a restore included.
    pub fn in_flight(&self) -> u32 {
        self.slots.values().map(|slot| slot.in_flight).sum()
    }

    pub fn isolates(&self) -> u32 {
        u32::try_from(self.slots.len()).unwrap_or(u32::MAX)
    }

    /// The isolates by deployment, in order of the workers' names.
    pub fn groups(&self) -> Vec<Group> {
        let mut groups: BTreeMap<_, Group> = BTreeMap::new();
        for slot in self.slots.values() {
            let group = groups.entry((&slot.worker, &slot.deployment)).or_insert_with(|| Group {
                worker: slot.worker.clone(),
                deployment: slot.deployment.clone(),
                isolates: 0,
                in_flight: 0,
            });
            group.isolates += 1;
            group.in_flight += slot.in_flight;
        }
        groups.into_values().collect()
    }

    /// The slot with the most room: requests of one isolate share one thread's
    /// time. Among equals the one used last, whose memory is likeliest warm.
    fn roomiest(&self, deployment: &DeploymentId, phase: Phase) -> Option<SlotId> {
        let most = self.limits.requests_per_isolate.get();
        self.slots
            .iter()
            .filter(|(_, slot)| {
                slot.phase == phase && slot.deployment == *deployment && slot.in_flight < most
            })
            .min_by_key(|(id, slot)| (slot.in_flight, std::cmp::Reverse(slot.last_used), **id))
            .map(|(id, _)| *id)
    }

    fn longest_idle(&self) -> Option<SlotId> {
        self.slots
            .iter()
            .filter(|(_, slot)| slot.phase == Phase::Ready && slot.in_flight == 0)
            .min_by_key(|(id, slot)| (slot.last_used, **id))
            .map(|(id, _)| *id)
    }

    /// Puts a request into a slot, and says whether that was a spare until now.
    fn take(&mut self, slot: SlotId, now: Duration) -> bool {
        let Some(slot) = self.slots.get_mut(&slot) else { return false };
        slot.in_flight += 1;
        slot.last_used = now;
        std::mem::replace(&mut slot.spare, false)
    }

    fn close_if_done(&mut self, slot: SlotId) -> AfterRelease {
        let done =
            self.slots.get(&slot).is_some_and(|slot| slot.phase == Phase::Retiring && slot.in_flight == 0);
        if done {
            self.slots.remove(&slot);
            return AfterRelease::Close;
        }
        AfterRelease::Keep
    }

    fn retire(&mut self, unwanted: impl Fn(&Slot) -> bool) -> Retired {
        let mut retired = Retired::default();
        for (id, slot) in &mut self.slots {
            if slot.phase == Phase::Retiring || !unwanted(slot) {
                continue;
            }
            if slot.in_flight == 0 && slot.phase == Phase::Ready {
                retired.close.push(*id);
            } else {
                retired.later += 1;
            }
            slot.phase = Phase::Retiring;
        }
        for id in &retired.close {
            self.slots.remove(id);
        }
        retired
    }
}

#[cfg(test)]
mod tests;
