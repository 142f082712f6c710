//! What this router has learned of each worker: its candidates at the current
//! epoch, its width, where it is warm.
//!
//! The table is read on every request and written on the first of a worker. Its
//! size is bounded, since anybody can invent names; a worker that does not fit
//! is served all the same, with nothing remembered.

use std::sync::atomic::{AtomicU16, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use dashmap::DashMap;
use warmshard_config::cold_start::{Answer, Cause, History};
use warmshard_config::placement::{Candidates, Elastic, HostIndex, Tally};
use warmshard_config::units::{HostId, ShardKey, WorkerName};

use super::Roster;

/// The most workers that are remembered.
const MOST_WORKERS: usize = 100_000;
/// How often forgotten workers are looked for once the table is full.
const SWEEP: Duration = Duration::from_secs(10);
/// Nobody called it for so long: it can be forgotten.
const FORGET: Duration = Duration::from_secs(3600);

/// A worker's candidates and the roster they are of.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) roster: Arc<Roster>,
    pub(crate) candidates: Box<[HostIndex]>,
}

impl Plan {
    fn new(worker: &WorkerName, roster: &Arc<Roster>) -> Self {
        let key = ShardKey::of_worker(worker.clone());
        let candidates = Candidates::of(&*roster.placement, &roster.spreading.zones, &key);
        Self { roster: Arc::clone(roster), candidates: candidates.hosts }
    }

    /// The hosts within a width.
    pub(super) fn window(&self, width: u16) -> &[HostIndex] {
        &self.candidates[..self.candidates.len().min(usize::from(width))]
    }
}

/// One worker.
#[derive(Debug)]
pub(crate) struct Worker {
    name: WorkerName,
    plan: ArcSwap<Plan>,
    learned: Mutex<Learned>,
    /// The learned width, to be read without the lock.
    width: AtomicU16,
    in_flight: AtomicU32,
    requests: AtomicU64,
    cold: AtomicU64,
    /// Seconds since the table was made when it was last called.
    called: AtomicU64,
}

/// What requests have taught.
#[derive(Debug, Default)]
pub(super) struct Learned {
    pub(super) elastic: Elastic,
    pub(super) history: History,
    pub(super) tally: Tally,
}

/// One request of a worker in flight, until it is dropped.
#[derive(Debug)]
pub(crate) struct Visit {
    pub(crate) worker: Arc<Worker>,
    pub(crate) plan: Arc<Plan>,
}

impl Drop for Visit {
    fn drop(&mut self) {
        self.worker.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Worker {
    fn new(name: WorkerName, roster: &Arc<Roster>) -> Self {
        let plan = Plan::new(&name, roster);
        Self {
            name,
            plan: ArcSwap::from_pointee(plan),
            learned: Mutex::default(),
            width: AtomicU16::new(1),
            in_flight: AtomicU32::new(0),
            requests: AtomicU64::new(0),
            cold: AtomicU64::new(0),
            called: AtomicU64::new(0),
        }
    }

    pub(crate) fn name(&self) -> &WorkerName {
        &self.name
    }

    pub(crate) fn width(&self) -> u16 {
        self.width.load(Ordering::Relaxed)
    }

    pub(crate) fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }

    pub(crate) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    pub(crate) fn cold_starts(&self) -> u64 {
        self.cold.load(Ordering::Relaxed)
    }

    /// The IDs of the hosts where it was warm when it was last heard of.
    pub(crate) fn warm_at(&self) -> Vec<HostId> {
        let learned = self.learned();
        let plan = self.plan.load();
        learned.history.warm().map(|host| plan.roster.host(host).id().clone()).collect()
    }

    pub(super) fn learned(&self) -> MutexGuard<'_, Learned> {
        self.learned.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set_width(&self, width: u16) {
        self.width.store(width, Ordering::Relaxed);
    }

    /// Its candidates in this roster, computed anew when they are of another one.
    pub(crate) fn plan(&self, roster: &Arc<Roster>) -> Arc<Plan> {
        let plan = self.plan.load_full();
        if Arc::ptr_eq(&plan.roster, roster) { plan } else { self.move_to(roster) }
    }

    /// Holding the lock, so that what was learned always goes with the plan.
    fn move_to(&self, roster: &Arc<Roster>) -> Arc<Plan> {
        let mut learned = self.learned();
        let old = self.plan.load_full();
        if Arc::ptr_eq(&old.roster, roster) {
            return old;
        }
        let new = Arc::new(Plan::new(&self.name, roster));
        let width = self.width();
        let renumber = |host| new.roster.index_of(old.roster.host(host).id());
        learned.history.membership_changed(renumber, old.window(width), new.window(width));
        self.plan.store(Arc::clone(&new));
        new
    }

    /// Takes in how a request was answered; the cause when its start was cold.
    pub(crate) fn answered(&self, plan: &Arc<Plan>, mut answer: Answer) -> Option<Cause> {
        let mut learned = self.learned();
        let current = self.plan.load();
        if !Arc::ptr_eq(&current, plan) {
            // It was sent at an earlier epoch; its host may be gone by now.
            answer.host = current.roster.index_of(plan.roster.host(answer.host).id())?;
        }
        let cause = learned.history.answered(&answer);
        if cause.is_some() {
            self.cold.fetch_add(1, Ordering::Relaxed);
        }
        cause
    }

    /// A host of this plan said that the worker is not warm there.
    pub(crate) fn not_warm(&self, plan: &Arc<Plan>, host: HostIndex) {
        let mut learned = self.learned();
        let current = self.plan.load();
        if let Some(host) = current.roster.index_of(plan.roster.host(host).id()) {
            learned.history.not_warm(host);
        }
    }

    fn host_lost(&self, host: &HostId) {
        let mut learned = self.learned();
        if let Some(index) = self.plan.load().roster.index_of(host) {
            learned.history.host_lost(index);
        }
    }

    /// Whether it was called within this time, and answered.
    pub(super) fn is_recent(&self, now: Duration, recent: Duration) -> bool {
        let silent = now.as_secs().saturating_sub(self.called.load(Ordering::Relaxed));
        silent <= recent.as_secs() && self.learned().history.seen()
    }

    fn can_be_forgotten(&self, now: u64) -> bool {
        let silent = now.saturating_sub(self.called.load(Ordering::Relaxed));
        self.in_flight() == 0 && (silent > FORGET.as_secs() || !self.learned().history.seen())
    }
}

/// All workers that were called.
#[derive(Debug)]
pub(crate) struct Workers {
    table: DashMap<WorkerName, Arc<Worker>>,
    /// Requests of all workers.
    tally: Mutex<Tally>,
    began: Instant,
    swept: AtomicU64,
}

impl Workers {
    pub(super) fn new() -> Self {
        Self {
            table: DashMap::new(),
            tally: Mutex::default(),
            began: Instant::now(),
            swept: AtomicU64::new(0),
        }
    }

    /// Counts a request of a worker that is about to be placed.
    pub(super) fn count(&self, learned: &mut Learned, others: u32) {
        let now = self.began.elapsed();
        learned.tally.count(now, others);
        self.tally().count(now, 0);
    }

    /// Over how many hosts a worker is to be spread for its share of all requests.
    pub(super) fn share(&self, learned: &Learned, roster: &Roster) -> u16 {
        learned.tally.width(&self.tally(), roster.hosts().len()).min(roster.spreading.width.most)
    }

    fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn began(&self) -> Instant {
        self.began
    }

    /// Counts a request of a worker in.
    pub(crate) fn visit(&self, name: &WorkerName, roster: &Arc<Roster>) -> Visit {
        let known = self.table.get(name).map(|worker| Arc::clone(&worker));
        let worker = known.unwrap_or_else(|| self.admit(name, roster));
        worker.in_flight.fetch_add(1, Ordering::Relaxed);
        worker.requests.fetch_add(1, Ordering::Relaxed);
        worker.called.store(self.began.elapsed().as_secs(), Ordering::Relaxed);
        let plan = worker.plan(roster);
        Visit { worker, plan }
    }

    fn admit(&self, name: &WorkerName, roster: &Arc<Roster>) -> Arc<Worker> {
        if self.table.len() >= MOST_WORKERS {
            self.sweep();
            if self.table.len() >= MOST_WORKERS {
                return Arc::new(Worker::new(name.clone(), roster));
            }
        }
        let new = || Arc::new(Worker::new(name.clone(), roster));
        Arc::clone(&self.table.entry(name.clone()).or_insert_with(new))
    }

    /// Forgets who has not been called for long or never answered; not too often.
    fn sweep(&self) {
        let now = self.began.elapsed().as_secs();
        let last = self.swept.load(Ordering::Relaxed);
        let is_due = last == 0 || now.saturating_sub(last) >= SWEEP.as_secs();
        if is_due
            && self.swept.compare_exchange(last, now.max(1), Ordering::Relaxed, Ordering::Relaxed).is_ok()
        {
            self.table.retain(|_, worker| !worker.can_be_forgotten(now));
        }
    }

    /// A worker as it is; one that nobody called yet is not remembered.
    pub(super) fn look_at(&self, name: &WorkerName, roster: &Arc<Roster>) -> Arc<Worker> {
        let known = self.table.get(name).map(|worker| Arc::clone(&worker));
        known.unwrap_or_else(|| Arc::new(Worker::new(name.clone(), roster)))
    }

    pub(crate) fn all(&self) -> Vec<Arc<Worker>> {
        self.table.iter().map(|worker| Arc::clone(&worker)).collect()
    }

    /// A host died or cannot be reached: nobody is warm there any more.
    pub(super) fn host_lost(&self, host: &HostId) {
        for worker in self.all() {
            worker.host_lost(host);
        }
    }
}
