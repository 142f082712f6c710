//! The isolates of a host: leasing, restoring, dropping.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use warmshard_config::cold_start::Cause;
use warmshard_config::host_policy::pool::{
    AfterRelease, Decision, Group, Pool, PoolLimits, Prewarm, Retired, SlotId,
};
use warmshard_config::host_policy::{Price, Refusal};
use warmshard_config::units::{DeploymentId, WorkerName};
use warmshard_config::wire::{Load, PrewarmState, StartKind};

use super::Instance;
use super::telemetry::{EvictionCause, Telemetry};
use crate::isolate::BoxError;

/// Why a request got no isolate.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LeaseError {
    #[error("the host cannot take the request: {0}")]
    Refused(Refusal),
    #[error("an isolate could not be restored")]
    Restore(#[source] Arc<BoxError>),
    #[error("restoring an isolate was broken off")]
    Broken,
}

/// What a restore came to; everybody who waits for it gets to know.
type Restored<I> = Option<Result<I, LeaseError>>;

/// A place, how it was come by, and where its isolate will be.
type Taken<I> = (Place<I>, Start, watch::Receiver<Restored<I>>);

/// How a request met its isolate, and why that had to be restored.
#[derive(Debug, Clone, Copy)]
struct Start {
    kind: StartKind,
    cause: Option<Cause>,
}

impl Start {
    fn of(kind: StartKind) -> Self {
        Self { kind, cause: None }
    }
}

/// The isolates of one host.
pub struct Isolates<I> {
    inner: Mutex<Inner<I>>,
    telemetry: Arc<Telemetry>,
    began: Instant,
}

struct Inner<I> {
    policy: Pool,
    slots: HashMap<SlotId, watch::Receiver<Restored<I>>>,
}

impl<I: Instance> Inner<I> {
    fn isolate(&self, slot: SlotId) -> Option<I> {
        self.slots.get(&slot)?.borrow().as_ref()?.as_ref().ok().cloned()
    }

    fn is_alive(&self, slot: SlotId) -> bool {
        self.isolate(slot).is_some_and(|isolate| isolate.is_alive())
    }

    /// Drops a slot whose isolate is no longer there.
    fn forget(&mut self, slot: SlotId) {
        self.policy.remove(slot);
        self.slots.remove(&slot);
    }

    /// Forgets a slot the policy has dropped and closes its isolate.
    fn drop_slot(&mut self, slot: SlotId) {
        if let Some(isolate) = self.isolate(slot) {
            isolate.close();
        }
        self.slots.remove(&slot);
    }
}

impl<I: Instance> Isolates<I> {
    pub fn new(limits: PoolLimits, telemetry: Arc<Telemetry>) -> Arc<Self> {
        let inner = Inner { policy: Pool::new(limits), slots: HashMap::new() };
        Arc::new(Self { inner: Mutex::new(inner), telemetry, began: Instant::now() })
    }

    /// Finds an isolate for a request, or has one restored. `elsewhere` is what room costs at
    /// another host that the request may go to.
    ///
    /// A restore goes on when its request is given up: others may wait for it.
    pub async fn lease<F>(
        self: &Arc<Self>,
        worker: &WorkerName,
        deployment: &DeploymentId,
        elsewhere: Option<Price>,
        restore: impl Fn() -> F,
    ) -> Result<Lease<I>, LeaseError>
    where
        F: Future<Output = Result<I, BoxError>> + Send + 'static,
    {
        let (place, start, restored) = self.take_place(worker, deployment, elsewhere, restore)?;
        let isolate = outcome(restored).await?;
        self.telemetry.started(start.kind);
        Ok(Lease { isolate, start, place })
    }

    /// Sees to it that the worker's next request finds an isolate; waits for it.
    pub async fn prewarm<F>(
        self: &Arc<Self>,
        worker: &WorkerName,
        deployment: &DeploymentId,
        restore: impl Fn() -> F,
    ) -> Result<PrewarmState, LeaseError>
    where
        F: Future<Output = Result<I, BoxError>> + Send + 'static,
    {
        let restored = {
            let mut inner = self.lock();
            let slot = loop {
                match inner.policy.prewarm(worker, deployment, self.began.elapsed()) {
                    Prewarm::Ready { slot } if inner.is_alive(slot) => return Ok(PrewarmState::Warm),
                    Prewarm::Ready { slot } => inner.forget(slot),
                    Prewarm::Wait { slot } => break slot,
                    Prewarm::Restore { slot, evict } => {
                        self.restore_into(&mut inner, slot, evict, restore());
                        break slot;
                    }
                    Prewarm::Refuse(refusal) => return Err(LeaseError::Refused(refusal)),
                }
            };
            inner.slots.get(&slot).cloned().ok_or(LeaseError::Broken)?
        };
        outcome(restored).await.map(|_| PrewarmState::Restored)
    }

    /// Workers on a clock that are about to be called and have no isolate here.
    pub fn due(&self) -> Vec<WorkerName> {
        self.lock().policy.due(self.began.elapsed())
    }

    fn take_place<F>(
        self: &Arc<Self>,
        worker: &WorkerName,
        deployment: &DeploymentId,
        elsewhere: Option<Price>,
        restore: impl Fn() -> F,
    ) -> Result<Taken<I>, LeaseError>
    where
        F: Future<Output = Result<I, BoxError>> + Send + 'static,
    {
        let mut inner = self.lock();
        loop {
            let now = self.began.elapsed();
            let (slot, start) = match inner.policy.lease(worker, deployment, elsewhere, now) {
                Decision::Use { slot } | Decision::Spare { slot } if !inner.is_alive(slot) => {
                    // It died since its last request: another one has to do.
                    inner.forget(slot);
                    continue;
                }
                Decision::Use { slot } => (slot, Start::of(StartKind::Warm)),
                Decision::Spare { slot } => (slot, Start::of(StartKind::Spare)),
                Decision::Wait { slot } => (slot, Start::of(StartKind::Waited)),
                Decision::Restore { slot, evict } => {
                    self.restore_into(&mut inner, slot, evict, restore());
                    (slot, Start { kind: StartKind::Cold, cause: inner.policy.cause(slot) })
                }
                Decision::Refuse(refusal) => {
                    self.telemetry.refused(refusal);
                    return Err(LeaseError::Refused(refusal));
                }
            };
            let place = Place { isolates: Arc::clone(self), slot };
            let Some(restored) = inner.slots.get(&slot).cloned() else {
                // Every slot of the policy has its receiver; without one the place is given back.
                drop(inner);
                drop(place);
                return Err(LeaseError::Broken);
            };
            return Ok((place, start, restored));
        }
    }

    /// Fills a slot, in the place of another one if need be.
    fn restore_into<F>(
        self: &Arc<Self>,
        inner: &mut Inner<I>,
        slot: SlotId,
        evict: Option<SlotId>,
        restore: F,
    ) where
        F: Future<Output = Result<I, BoxError>> + Send + 'static,
    {
        if let Some(evicted) = evict {
            inner.drop_slot(evicted);
            self.telemetry.evicted(EvictionCause::Limit, 1);
        }
        inner.slots.insert(slot, self.spawn_restore(slot, restore));
    }

    fn spawn_restore<F>(self: &Arc<Self>, slot: SlotId, restore: F) -> watch::Receiver<Restored<I>>
    where
        F: Future<Output = Result<I, BoxError>> + Send + 'static,
    {
        let (sender, receiver) = watch::channel(None);
        let mut attempt = Attempt { isolates: Arc::clone(self), slot, sender, ended: false };
        tokio::spawn(async move {
            let restored = restore.await;
            attempt.end(restored.map_err(|error| LeaseError::Restore(Arc::new(error))));
        });
        receiver
    }

    /// Drops a worker's isolates: the idle ones now, busy ones after their requests. Says how many.
    pub fn evict(&self, worker: &WorkerName) -> usize {
        let retired = self.retire(EvictionCause::Asked, |policy| policy.evict(worker));
        retired.close.len() + retired.later
    }

    /// Drops a worker's isolates of every version but this one.
    pub fn replace(&self, worker: &WorkerName, current: &DeploymentId) {
        self.retire(EvictionCause::Replaced, |policy| policy.replace(worker, current));
    }

    /// Drops everything, for the end.
    pub fn drain(&self) {
        self.retire(EvictionCause::Shutdown, Pool::drain);
    }

    /// Drops up to so many idle isolates for want of memory, those worth least first.
    pub fn relieve(&self, most: u32) {
        self.let_go(EvictionCause::Memory, |policy, now| policy.relieve(most, now));
    }

    /// Drops the isolates that nobody has used for so long.
    pub fn hibernate(&self, unused_for: Duration) {
        self.let_go(EvictionCause::Idle, |policy, now| policy.hibernate(unused_for, now));
    }

    fn let_go(&self, cause: EvictionCause, choose: impl FnOnce(&mut Pool, Duration) -> Vec<SlotId>) {
        let mut inner = self.lock();
        let dropped = choose(&mut inner.policy, self.began.elapsed());
        dropped.iter().for_each(|slot| inner.drop_slot(*slot));
        self.telemetry.evicted(cause, dropped.len());
    }

    pub fn load(&self) -> Load {
        let inner = self.lock();
        Load { in_flight: inner.policy.in_flight(), isolates: inner.policy.isolates() }
    }

    pub fn groups(&self) -> Vec<Group> {
        self.lock().policy.groups()
    }

    fn retire(&self, cause: EvictionCause, retire: impl FnOnce(&mut Pool) -> Retired) -> Retired {
        let mut inner = self.lock();
        let retired = retire(&mut inner.policy);
        retired.close.iter().for_each(|slot| inner.drop_slot(*slot));
        self.telemetry.evicted(cause, retired.close.len() + retired.later);
        retired
    }

    fn release(&self, slot: SlotId) {
        let mut inner = self.lock();
        if inner.policy.release(slot, self.began.elapsed()) == AfterRelease::Close {
            inner.drop_slot(slot);
        }
    }

    fn remove(&self, slot: SlotId) {
        let mut inner = self.lock();
        inner.policy.remove(slot);
        inner.slots.remove(&slot);
    }

    fn lock(&self) -> MutexGuard<'_, Inner<I>> {
        // Nothing here panics half way through a change.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a restore comes to, waited for.
async fn outcome<I: Instance>(mut restored: watch::Receiver<Restored<I>>) -> Result<I, LeaseError> {
    let outcome = match restored.wait_for(Option::is_some).await {
        Ok(outcome) => (*outcome).clone(),
        Err(_) => None,
    };
    outcome.unwrap_or(Err(LeaseError::Broken))
}

/// A restore under way. However it ends, its slot does not stay behind.
struct Attempt<I: Instance> {
    isolates: Arc<Isolates<I>>,
    slot: SlotId,
    sender: watch::Sender<Restored<I>>,
    ended: bool,
}

impl<I: Instance> Attempt<I> {
    fn end(&mut self, result: Result<I, LeaseError>) {
        self.ended = true;
        let mut inner = self.isolates.lock();
        match &result {
            Ok(isolate) => {
                self.isolates.telemetry.restored(isolate.restore_time());
                if inner.policy.restored(self.slot) == AfterRelease::Close {
                    isolate.close();
                    inner.slots.remove(&self.slot);
                }
            }
            Err(error) => {
                tracing::debug!(?error, "a restore failed");
                self.isolates.telemetry.restore_failed();
                inner.policy.remove(self.slot);
                inner.slots.remove(&self.slot);
            }
        }
        // Under the lock: whoever finds the slot ready finds the isolate in it.
        self.sender.send_replace(Some(result));
    }
}

impl<I: Instance> Drop for Attempt<I> {
    fn drop(&mut self) {
        if !self.ended {
            self.end(Err(LeaseError::Broken));
        }
    }
}

/// A request's place in a slot, given back when dropped.
struct Place<I: Instance> {
    isolates: Arc<Isolates<I>>,
    slot: SlotId,
}

impl<I: Instance> Drop for Place<I> {
    fn drop(&mut self) {
        self.isolates.release(self.slot);
    }
}

/// An isolate with a place for one request, until dropped.
pub struct Lease<I: Instance> {
    isolate: I,
    start: Start,
    place: Place<I>,
}

impl<I: Instance> Lease<I> {
    pub fn isolate(&self) -> &I {
        &self.isolate
    }

    pub fn start(&self) -> StartKind {
        self.start.kind
    }

    /// Why the start was cold, as far as this host knows.
    pub fn cold_cause(&self) -> Option<Cause> {
        self.start.cause
    }

    /// How long the restore took that this request caused or waited for.
    pub fn restore_time(&self) -> Option<Duration> {
        matches!(self.start.kind, StartKind::Cold | StartKind::Waited).then(|| self.isolate.restore_time())
    }

    /// The isolate turned out to be dead: nobody else is to get it.
    pub fn died(self) {
        self.place.isolates.remove(self.place.slot);
    }
}
