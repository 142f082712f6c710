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
//!
//! Who makes room is the idle isolate that is worth least, see [`super::habit`]; workers that are
//! called on a clock are due to be restored again shortly before their next call. A request that
//! may go elsewhere is refused where room costs more than there.

mod relief;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};
use std::num::NonZeroU32;
use std::time::Duration;

use super::habit::{Expected, Habit};
use super::{Price, Refusal};
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
    /// What its worker's calls led to expect when it was last used.
    expected: Expected,
}

impl Slot {
    /// Calls a second that it is expected to answer, see [`super::habit`].
    fn worth(&self, now: Duration) -> f64 {
        self.expected.worth(self.last_used, now)
    }
}

/// What a host knows of a worker that it was asked for.
#[derive(Debug, Default)]
struct Known {
    habit: Habit,
    /// What was last restored, if anything was.
    deployment: Option<DeploymentId>,
    /// Of any deployment, those that retire too.
    slots: Vec<SlotId>,
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
    in_flight: u32,
    workers: HashMap<WorkerName, Known>,
    /// Workers on a clock, by when to have an isolate ready; those called since are passed over.
    agenda: BinaryHeap<Reverse<(Duration, WorkerName)>>,
}

impl Pool {
    pub fn new(limits: PoolLimits) -> Self {
        Self {
            limits,
            slots: BTreeMap::new(),
            next: 0,
            in_flight: 0,
            workers: HashMap::new(),
            agenda: BinaryHeap::new(),
        }
    }

    /// Finds a place for a request and takes it. Where the worker is not warm, a request that may
    /// have room elsewhere at some price is refused if room here costs more.
    pub fn lease(
        &mut self,
        worker: &WorkerName,
        deployment: &DeploymentId,
        elsewhere: Option<Price>,
        now: Duration,
    ) -> Decision {
        let found = self.find(worker, deployment);
        if let (None, Some(elsewhere)) = (found, elsewhere)
            && let Some(price) = self.price(worker, deployment, now).filter(|price| *price > elsewhere)
        {
            return Decision::Refuse(Refusal::NotWarm(price));
        }
        let (slot, evict) = match found {
            Some((slot, _)) => (slot, None),
            None => match self.open(worker, deployment, Duration::ZERO, now) {
                Some(opened) => opened,
                None => return Decision::Refuse(Refusal::AtCapacity),
            },
        };
        let was_spare = self.take(slot, now);
        match found {
            Some((slot, Phase::Restoring)) => Decision::Wait { slot },
            Some((slot, _)) if was_spare => Decision::Spare { slot },
            Some((slot, _)) => Decision::Use { slot },
            None => Decision::Restore { slot, evict },
        }
    }

    /// Sees to it that the next request finds an isolate, at nobody's expense: what is busy
    /// or was used [`RECENTLY`] stays, unless it is on a clock and not wanted yet.
    pub fn prewarm(&mut self, worker: &WorkerName, deployment: &DeploymentId, now: Duration) -> Prewarm {
        match self.find(worker, deployment) {
            Some((slot, Phase::Restoring)) => Prewarm::Wait { slot },
            Some((slot, _)) => Prewarm::Ready { slot },
            None => match self.open(worker, deployment, RECENTLY, now) {
                Some((slot, evict)) => Prewarm::Restore { slot, evict },
                None => Prewarm::Refuse(Refusal::AtCapacity),
            },
        }
    }

    /// What it would cost to restore a worker here that is not warm; `None` when it is.
    fn price(&self, worker: &WorkerName, deployment: &DeploymentId, now: Duration) -> Option<Price> {
        if self.is_there(worker, deployment) {
            return None;
        }
        if !self.is_full() {
            return Some(Price::NOTHING);
        }
        // Those between two calls of a rhythm are gone soon, whoever comes.
        let worths = self.idle().map(|(_, slot)| slot.worth(now)).filter(|worth| *worth >= 0.0);
        Some(worths.min_by(f64::total_cmp).map_or(Price::MOST, Price::of_worth))
    }

    /// When [`Pool::due`] has something to say at the earliest.
    pub fn next_due(&self) -> Option<Duration> {
        self.agenda.peek().map(|Reverse((at, _))| *at)
    }

    /// Workers on a clock that are about to be called and have no isolate, each once: to be
    /// [prewarmed](Pool::prewarm).
    pub fn due(&mut self, now: Duration) -> Vec<WorkerName> {
        let mut due = Vec::new();
        while let Some(Reverse((at, _))) = self.agenda.peek()
            && *at <= now
        {
            let Some(Reverse((at, worker))) = self.agenda.pop() else { break };
            // Those that were called since are noted for another moment.
            let is_awaited = |known: &Known| known.habit.awaited().is_some_and(|awaited| awaited.from == at);
            if self.workers.get(&worker).is_some_and(|known| known.slots.is_empty() && is_awaited(known)) {
                due.push(worker);
            }
        }
        due
    }

    /// The slot that is best for a request: one that is ready before one that is being restored,
    /// then the one with the most room, since requests of one isolate share one thread's time.
    /// Among equals the one used last, whose memory is likeliest warm.
    fn find(&self, worker: &WorkerName, deployment: &DeploymentId) -> Option<(SlotId, Phase)> {
        let most = self.limits.requests_per_isolate.get();
        self.slots_of(worker)
            .filter(|(_, slot)| slot.phase != Phase::Retiring && slot.in_flight < most)
            .filter(|(_, slot)| slot.deployment == *deployment)
            .min_by_key(|(id, slot)| {
                (slot.phase == Phase::Restoring, slot.in_flight, Reverse(slot.last_used), *id)
            })
            .map(|(id, slot)| (id, slot.phase))
    }

    /// Adds a slot that is being restored, with no request in it yet. Where the pool is full
    /// [another](Pool::least_worth) makes room and is the second one returned; `None` when none can.
    fn open(
        &mut self,
        worker: &WorkerName,
        deployment: &DeploymentId,
        unused_for: Duration,
        now: Duration,
    ) -> Option<(SlotId, Option<SlotId>)> {
        let evict = if self.is_full() { Some(self.least_worth(unused_for, now)?) } else { None };
        let cause = self.cause_of_restore(worker, deployment);
        if let Some(evicted) = evict {
            self.remove(evicted);
        }
        let slot = SlotId(self.next);
        self.next += 1;
        let known = self.workers.entry(worker.clone()).or_default();
        known.deployment = Some(deployment.clone());
        known.slots.push(slot);
        let restoring = Slot {
            worker: worker.clone(),
            deployment: deployment.clone(),
            phase: Phase::Restoring,
            in_flight: 0,
            last_used: now,
            cause,
            spare: true,
            expected: known.habit.expected(),
        };
        self.slots.insert(slot, restoring);
        Some((slot, evict))
    }

    /// Why a slot had to be restored.
    pub fn cause(&self, slot: SlotId) -> Option<Cause> {
        self.slots.get(&slot).map(|slot| slot.cause)
    }

    /// As far as this host can know: what happened at others is the router's business.
    fn cause_of_restore(&self, worker: &WorkerName, deployment: &DeploymentId) -> Cause {
        if self.is_there(worker, deployment) {
            return Cause::ScaleOut;
        }
        match self.workers.get(worker).and_then(|known| known.deployment.as_ref()) {
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
        self.in_flight -= used.in_flight.min(1);
        used.in_flight = used.in_flight.saturating_sub(1);
        used.last_used = now;
        self.close_if_done(slot)
    }

    /// A slot's restore failed, or its isolate died: drops it with what is in flight there. True
    /// when it was still there.
    pub fn remove(&mut self, slot: SlotId) -> bool {
        let Some(removed) = self.slots.remove(&slot) else { return false };
        self.in_flight -= removed.in_flight;
        if let Some(known) = self.workers.get_mut(&removed.worker) {
            known.slots.retain(|other| *other != slot);
        }
        true
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
        self.in_flight
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

    fn slots_of(&self, worker: &WorkerName) -> impl Iterator<Item = (SlotId, &Slot)> {
        let slots = self.workers.get(worker).map_or(&[][..], |known| &known.slots);
        slots.iter().filter_map(|id| Some((*id, self.slots.get(id)?)))
    }

    /// Whether a request of it would be warm, or would add an isolate to those that are.
    fn is_there(&self, worker: &WorkerName, deployment: &DeploymentId) -> bool {
        self.slots_of(worker).any(|(_, slot)| slot.deployment == *deployment && slot.phase != Phase::Retiring)
    }

    fn is_full(&self) -> bool {
        self.slots.len() >= self.limits.isolates.get() as usize
    }

    fn idle(&self) -> impl Iterator<Item = (SlotId, &Slot)> {
        let is_idle = |slot: &Slot| slot.phase == Phase::Ready && slot.in_flight == 0;
        self.slots.iter().filter(move |(_, slot)| is_idle(slot)).map(|(id, slot)| (*id, slot))
    }

    /// The idle slot worth least of those unused for so long, or that nobody needs before they
    /// are due again; among equals the longest unused.
    fn least_worth(&self, unused_for: Duration, now: Duration) -> Option<SlotId> {
        self.idle()
            .map(|(id, slot)| (slot.worth(now), slot.last_used, id))
            .filter(|(worth, last_used, _)| *worth < 0.0 || now.saturating_sub(*last_used) >= unused_for)
            .min_by(|one, other| one.0.total_cmp(&other.0).then((one.1, one.2).cmp(&(other.1, other.2))))
            .map(|(.., id)| id)
    }

    /// Puts a request into a slot, notes the call, and says whether that was a spare until now.
    fn take(&mut self, slot: SlotId, now: Duration) -> bool {
        let Some(slot) = self.slots.get_mut(&slot) else { return false };
        self.in_flight += 1;
        slot.in_flight += 1;
        slot.last_used = now;
        if let Some(known) = self.workers.get_mut(&slot.worker) {
            known.habit.called(now);
            slot.expected = known.habit.expected();
            if let Some(awaited) = slot.expected.awaited {
                self.agenda.push(Reverse((awaited.from, slot.worker.clone())));
            }
        }
        std::mem::replace(&mut slot.spare, false)
    }

    fn close_if_done(&mut self, slot: SlotId) -> AfterRelease {
        let done =
            self.slots.get(&slot).is_some_and(|slot| slot.phase == Phase::Retiring && slot.in_flight == 0);
        if done {
            self.remove(slot);
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
            self.remove(*id);
        }
        retired
    }
}

#[cfg(test)]
mod tests;
