//! One host as this router knows it: where it is, how it is, what it has to do.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use warmshard_config::health::{Ejection, Health, HealthPolicy, State};
use warmshard_config::placement::Standing;
use warmshard_config::units::{HostId, WorkerName};
use warmshard_config::wire::Load;

use crate::host_tls::HostTls;
use crate::shutdown::{Gauge, Raised};

/// Where a host runs right now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) address: SocketAddr,
    /// Only for a host that this router started.
    pub(crate) pid: Option<u32>,
}

/// What a host said about its load longer ago than this says nothing any more.
const LOAD_IS_FRESH: Duration = Duration::from_secs(1);

/// One host, for as long as its ID is in the membership.
#[derive(Debug)]
pub(crate) struct Host {
    id: HostId,
    /// `None` while it is being started.
    pub(super) place: ArcSwapOption<Place>,
    health: Mutex<Health>,
    said: Said,
    /// It said that it takes no requests, until then: milliseconds since it is known.
    leaving_until: AtomicU64,
    /// An operator wants it empty.
    drained: AtomicBool,
    /// An operator wants it left alone until then, or it failed too much: milliseconds since it is known.
    ejected_until: AtomicU64,
    ejection: Mutex<Ejection>,
    /// Whether there is anything that a good answer would make good.
    blamed: AtomicBool,
    in_flight: Arc<Gauge>,
    known_since: Instant,
    /// How it is spoken to over TLS, if it is.
    tls: Option<Arc<HostTls>>,
}

/// What it last said about its load, to be read without a lock.
#[derive(Debug, Default)]
struct Said {
    in_flight: AtomicU32,
    isolates: AtomicU32,
    /// Milliseconds since the host is known, plus one; zero for never.
    at: AtomicU64,
}

impl Host {
    pub(super) fn new(id: HostId, tls: Option<Arc<HostTls>>) -> Self {
        Self {
            id,
            place: ArcSwapOption::empty(),
            health: Mutex::default(),
            said: Said::default(),
            leaving_until: AtomicU64::new(0),
            drained: AtomicBool::new(false),
            ejected_until: AtomicU64::new(0),
            ejection: Mutex::default(),
            blamed: AtomicBool::new(false),
            in_flight: Arc::default(),
            known_since: Instant::now(),
            tls,
        }
    }

    pub(crate) fn id(&self) -> &HostId {
        &self.id
    }

    pub(crate) fn tls(&self) -> Option<&HostTls> {
        self.tls.as_deref()
    }

    pub(crate) fn place(&self) -> Option<Place> {
        self.place.load().as_deref().copied()
    }

    pub(super) fn health(&self) -> MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn state(&self) -> State {
        self.health().state()
    }

    pub(crate) fn begin_request(&self) -> Raised {
        self.in_flight.raise()
    }

    pub(crate) fn set_load(&self, load: Load) {
        self.said.in_flight.store(load.in_flight, Ordering::Relaxed);
        self.said.isolates.store(load.isolates, Ordering::Relaxed);
        let at = u64::try_from(self.known_since.elapsed().as_millis()).unwrap_or(u64::MAX - 1);
        self.said.at.store(at + 1, Ordering::Relaxed);
    }

    /// What it last said, however long ago.
    pub(crate) fn load(&self) -> Option<Load> {
        if self.said.at.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let [in_flight, isolates] =
            [&self.said.in_flight, &self.said.isolates].map(|number| number.load(Ordering::Relaxed));
        Some(Load { in_flight, isolates })
    }

    /// This router's requests in flight there.
    pub(crate) fn own_in_flight(&self) -> u32 {
        u32::try_from(self.in_flight.value()).unwrap_or(u32::MAX)
    }

    /// All requests in flight there, as far as is known.
    pub(super) fn in_flight(&self, now: Instant) -> u32 {
        let own = self.own_in_flight();
        let age = now.saturating_duration_since(self.known_since);
        let heard = Duration::from_millis(self.said.at.load(Ordering::Relaxed));
        if heard.is_zero() || age.saturating_sub(heard) > LOAD_IS_FRESH {
            return own;
        }
        own.max(self.said.in_flight.load(Ordering::Relaxed))
    }

    /// It takes no requests until then. Returns whether that is news.
    pub(super) fn leaves_until(&self, then: Instant) -> bool {
        let before = self.leaving_until.swap(self.age(then), Ordering::Relaxed);
        before <= self.age(Instant::now())
    }

    /// It takes requests, as far as is known.
    pub(super) fn stays(&self) {
        self.leaving_until.store(0, Ordering::Relaxed);
    }

    /// Returns whether that is a change.
    pub(super) fn set_drained(&self, drained: bool) -> bool {
        if !drained {
            self.ejected_until.store(0, Ordering::Relaxed);
        }
        self.drained.swap(drained, Ordering::Relaxed) != drained
    }

    pub(super) fn eject_until(&self, then: Instant) {
        self.ejected_until.store(self.age(then), Ordering::Relaxed);
    }

    fn ejection(&self) -> MutexGuard<'_, Ejection> {
        self.ejection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It failed a request by itself. Returns for how long that would eject it.
    pub(super) fn failed(&self, worker: &WorkerName, policy: &HealthPolicy) -> Option<Duration> {
        self.blamed.store(true, Ordering::Relaxed);
        self.ejection().failed(worker, Instant::now(), policy)
    }

    pub(super) fn eject_for_failing(&self, time: Duration) {
        let now = Instant::now();
        self.ejection().eject(now, time);
        self.eject_until(now + time);
    }

    /// It answered a request as it should.
    pub(crate) fn answered(&self, policy: &HealthPolicy) {
        if self.blamed.load(Ordering::Relaxed) {
            let mut ejection = self.ejection();
            ejection.answered(Instant::now(), policy);
            self.blamed.store(*ejection != Ejection::default(), Ordering::Relaxed);
        }
    }

    /// How often it was ejected lately, and for how long it still is.
    pub(super) fn ejections(&self, now: Instant) -> (u32, Option<Duration>) {
        let until = Duration::from_millis(self.ejected_until.load(Ordering::Relaxed));
        let left = until.checked_sub(Duration::from_millis(self.age(now))).filter(|left| !left.is_zero());
        (self.ejection().times(), left)
    }

    /// Milliseconds since the host is known.
    fn age(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.known_since).as_millis()).unwrap_or(u64::MAX)
    }

    fn is_before(&self, now: Instant, until: &AtomicU64) -> bool {
        let until = until.load(Ordering::Relaxed);
        until != 0 && self.age(now) < until
    }

    pub(crate) fn standing(&self, now: Instant) -> Standing {
        if self.place.load().is_none() {
            return Standing::Absent;
        }
        let health = *self.health();
        match health.state() {
            State::Down | State::Unknown => Standing::Down,
            State::Up if self.drained.load(Ordering::Relaxed) => Standing::Draining,
            State::Up if self.is_before(now, &self.leaving_until) => Standing::Draining,
            State::Up if self.is_before(now, &self.ejected_until) => Standing::Ejected,
            State::Up if health.is_settling(now) => Standing::Settling,
            State::Up => Standing::Eligible,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_host_says_counts_while_it_is_fresh() {
        let host = Host::new(HostId::parse("a").unwrap(), None);
        assert_eq!(host.load(), None);
        let _own = [host.begin_request(), host.begin_request()];
        let now = Instant::now();
        assert_eq!(host.in_flight(now), 2);
        let load = Load { in_flight: 9, isolates: 4 };
        host.set_load(load);
        assert_eq!(host.load(), Some(load));
        assert_eq!(host.in_flight(Instant::now()), 9);
        assert_eq!(host.in_flight(now + LOAD_IS_FRESH * 2), 2);
        host.set_load(Load { in_flight: 1, isolates: 4 });
        assert_eq!(host.in_flight(Instant::now()), 2, "our own are not forgotten");
    }
}
