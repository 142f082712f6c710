//! What this router knows of its hosts and workers.
//!
//! ```text
//! Fleet ── Roster (one epoch: membership, order, numbers) ── Host (health, load, address)
//!      └── Workers ── Worker (candidates, width, where it is warm)
//! ```
//!
//! A roster is swapped as a whole; hosts outlive rosters by their IDs, so that a
//! reload forgets nothing about those that stay.

mod host;
mod moves;
mod roster;
mod workers;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::sync::{Notify, watch};
use warmshard_config::health::{Observation, State, may_eject};
use warmshard_config::placement::{
    Ask, Decision, HostIndex, Hosts as _, NoHost, Outcome, Placement, Standing, choose,
};
use warmshard_config::units::{HostId, WorkerName};
use warmshard_config::wire::{HostView, ReadyHost};

use crate::host_tls::HostTls;
use crate::metric;
pub(crate) use host::{Host, Place};
pub(crate) use moves::Move;
use roster::Seen;
pub(crate) use roster::{Roster, Spreading, Traffic};
pub(crate) use workers::{Visit, Worker, Workers};

/// All hosts, the placement over them, and the workers that were called.
#[derive(Debug)]
pub(crate) struct Fleet {
    roster: ArcSwap<Roster>,
    /// One change of the roster at a time.
    changing: Mutex<()>,
    /// Hosts that an epoch to come will have; probed, so that they are up when it takes effect.
    coming: Mutex<Vec<Arc<Host>>>,
    workers: Workers,
    changes: watch::Sender<()>,
    /// Wakes the prober when a host moved in.
    arrivals: Notify,
    /// How every host is spoken to over TLS, if they are.
    host_tls: Option<Arc<HostTls>>,
}

/// How long a host that said that it is shutting down, or is drained, is left alone.
const ASK_AGAIN: Duration = Duration::from_secs(5);

/// Why a worker's request would go where it would go.
#[derive(Debug)]
pub(crate) struct Explained {
    pub(crate) width: u16,
    pub(crate) decision: Result<Decision, NoHost>,
    /// Best first.
    pub(crate) candidates: Vec<ExplainedCandidate>,
}

#[derive(Debug)]
pub(crate) struct ExplainedCandidate {
    pub(crate) host: HostIndex,
    pub(crate) standing: Standing,
    pub(crate) in_flight: u32,
    /// So many may be in flight there before it is passed over.
    pub(crate) bound: u64,
    pub(crate) warm: bool,
}

impl Fleet {
    #[cfg(test)]
    pub(crate) fn new(placement: Box<dyn Placement>, spreading: Spreading, traffic: Traffic) -> Self {
        Self::over(None, placement, spreading, traffic)
    }

    /// Its hosts are spoken to over TLS, or without.
    pub(crate) fn over(
        host_tls: Option<Arc<HostTls>>,
        placement: Box<dyn Placement>,
        spreading: Spreading,
        traffic: Traffic,
    ) -> Self {
        let new = |id: &HostId| Arc::new(Host::new(id.clone(), host_tls.clone()));
        let roster = Roster::new(placement, spreading, traffic, new);
        for host in roster.hosts() {
            metric::host_is(host.id(), State::Unknown);
        }
        metric::epoch(roster.epoch());
        Self {
            roster: ArcSwap::from_pointee(roster),
            changing: Mutex::new(()),
            coming: Mutex::default(),
            workers: Workers::new(),
            changes: watch::Sender::new(()),
            arrivals: Notify::new(),
            host_tls,
        }
    }

    pub(crate) fn host_tls(&self) -> Option<&HostTls> {
        self.host_tls.as_deref()
    }

    /// A host of this ID as it is known, or a new one.
    fn known_or_new(&self, id: &HostId) -> Arc<Host> {
        self.known(id).unwrap_or_else(|| Arc::new(Host::new(id.clone(), self.host_tls.clone())))
    }

    pub(crate) fn roster(&self) -> Arc<Roster> {
        self.roster.load_full()
    }

    pub(crate) fn workers(&self) -> &Workers {
        &self.workers
    }

    pub(crate) fn host(&self, id: &HostId) -> Option<Arc<Host>> {
        let roster = self.roster.load();
        roster.index_of(id).map(|index| Arc::clone(roster.host(index)))
    }

    /// Puts another roster in place. Requests under way end with the one they
    /// began with; hosts that stay keep their health and their connections.
    pub(crate) fn change(&self, placement: Box<dyn Placement>, spreading: Spreading, traffic: Traffic) {
        let _one_at_a_time = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let old = self.roster.load_full();
        let new = Arc::new(Roster::new(placement, spreading, traffic, |id| self.known_or_new(id)));
        metric::epoch_is_over(old.epoch());
        metric::epoch(new.epoch());
        self.roster.store(Arc::clone(&new));
        self.coming().retain(|host| new.index_of(host.id()).is_none());
        for gone in old.hosts().iter().filter(|host| new.index_of(host.id()).is_none()) {
            metric::host_is(gone.id(), State::Down);
        }
        self.changes.send_replace(());
    }

    /// These hosts, and only these, may be in an epoch to come.
    pub(crate) fn expect(&self, hosts: &[(HostId, Place)]) {
        let roster = self.roster();
        let new = hosts.iter().filter(|(id, _)| roster.index_of(id).is_none());
        let expected: Vec<Arc<Host>> = new
            .map(|(id, place)| {
                let host = self.known_or_new(id);
                host.place.store(Some(Arc::new(*place)));
                host
            })
            .collect();
        *self.coming() = expected;
        self.arrivals.notify_one();
    }

    fn coming(&self) -> MutexGuard<'_, Vec<Arc<Host>>> {
        self.coming.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A host of this epoch or one that is expected.
    pub(crate) fn known(&self, id: &HostId) -> Option<Arc<Host>> {
        let is_coming = || self.coming().iter().find(|host| host.id() == id).map(Arc::clone);
        self.host(id).or_else(is_coming)
    }

    /// Every host whose health matters.
    pub(crate) fn to_probe(&self) -> Vec<Arc<Host>> {
        let coming = self.coming().clone();
        self.roster.load().hosts().iter().cloned().chain(coming).collect()
    }

    /// The time that workers' histories count in.
    pub(crate) fn age(&self) -> Duration {
        self.workers.began().elapsed()
    }

    /// The host to send a request to next.
    pub(crate) fn choose(
        &self,
        visit: &Visit,
        tried: &[(HostIndex, Outcome)],
    ) -> Result<(Arc<Host>, Place, Decision), NoHost> {
        let (roster, worker) = (&visit.plan.roster, &visit.worker);
        // Homes that were asked for their price have not been tried yet.
        let asked = |(_, outcome): &&(HostIndex, Outcome)| matches!(outcome, Outcome::NotWarm(_));
        if tried.len() - tried.iter().filter(asked).count() >= roster.traffic.retries.hosts as usize {
            return Err(NoHost::of(tried));
        }
        let now = Instant::now();
        let decision = self.place(visit, tried, now)?;
        if let Some(width) = decision.needs {
            self.widen(worker, roster, width, now);
        }
        // It had a place a moment ago; if it has just lost it, it is as if it had none.
        let host = roster.host(decision.host);
        let place = host.place().ok_or(NoHost::NoneRunning(visit.plan.candidates.len()))?;
        Ok((Arc::clone(host), place, decision))
    }

    /// What would become of a request of a worker right now, learning nothing from it.
    pub(crate) fn explain(&self, worker: &WorkerName, roster: &Arc<Roster>) -> Explained {
        let worker = self.workers.look_at(worker, roster);
        let plan = worker.plan(roster);
        let (width, now) = (worker.width(), Instant::now());
        let learned = worker.learned();
        let seen = Seen { roster, history: Some(&learned.history), now };
        let (bound, homes) = (roster.spreading.bound, roster.spreading.homes);
        let even = self.workers.share(&learned, roster);
        let other_home = learned.history.other_home();
        let ask = Ask { even, homes, other_home, ..Ask::new(&plan.candidates, width, &[]) };
        let candidate = |&host: &HostIndex| ExplainedCandidate {
            host,
            standing: seen.standing(host),
            in_flight: seen.in_flight(host),
            bound: bound.of(host, &seen),
            warm: seen.is_warm(host),
        };
        let candidates = plan.candidates.iter().map(candidate).collect();
        Explained { width, decision: choose(ask, &seen, &bound), candidates }
    }

    /// Decides with what was learned of the worker; its width may change.
    fn place(&self, visit: &Visit, tried: &[(HostIndex, Outcome)], now: Instant) -> Result<Decision, NoHost> {
        let (roster, worker) = (&visit.plan.roster, &visit.worker);
        let mut learned = worker.learned();
        let before = worker.width();
        let since = now.saturating_duration_since(self.workers.began());
        let policy = &roster.spreading.width;
        if tried.is_empty() {
            self.workers.count(&mut learned, worker.in_flight().saturating_sub(1));
        }
        let even = self.workers.share(&learned, roster);
        let width = learned.elastic.at(since, worker.in_flight(), policy).max(even);
        worker.set_width(width);
        if width != before {
            metric::width_changed(if width < before { "shrunk" } else { "grown" });
            tracing::debug!(worker = %worker.name(), width, before, "worker is spread over another number of hosts");
        }
        let ask = Ask {
            even,
            homes: roster.spreading.homes,
            other_home: learned.history.other_home(),
            turn: worker.requests(),
            ..Ask::new(&visit.plan.candidates, width, tried)
        };
        choose(ask, &Seen { roster, history: Some(&learned.history), now }, &roster.spreading.bound)
    }

    fn widen(&self, worker: &Worker, roster: &Roster, width: u16, now: Instant) {
        let mut learned = worker.learned();
        let since = now.saturating_duration_since(self.workers.began());
        let policy = &roster.spreading.width;
        if learned.elastic.needs(width, since, worker.in_flight(), policy) {
            worker.set_width(learned.elastic.width().max(worker.width()));
            metric::width_changed("grown");
            tracing::info!(
                worker = %worker.name(),
                width = learned.elastic.width(),
                in_flight = worker.in_flight(),
                "worker is spread over more hosts"
            );
        }
    }

    /// Takes in what somebody observed about a host, and logs what follows.
    pub(crate) fn observe(&self, host: &Host, observation: Observation) {
        let transition = host.health().on(observation, Instant::now(), &self.roster.load().traffic.health);
        let Some(change) = transition else { return };
        metric::host_changed(host.id(), change.to, change.cause);
        let (from, to) = (change.from.as_str(), change.to.as_str());
        let cause = change.cause.as_str();
        if change.to == State::Down {
            tracing::warn!(host = %host.id(), from, to, cause, "host is down");
            self.workers.host_lost(host.id());
        } else {
            tracing::info!(host = %host.id(), from, to, cause, "host changed");
            host.stays();
        }
        self.changes.send_replace(());
    }

    /// A new process took a host's place.
    pub(crate) fn arrived(&self, host: &Host, place: Place) {
        self.observe(host, Observation::Replaced);
        host.stays();
        host.place.store(Some(Arc::new(place)));
        self.changes.send_replace(());
        self.arrivals.notify_one();
    }

    /// A host said that it takes no requests: it is asked again after a while, or when it was replaced.
    pub(crate) fn leaving(&self, host: &Host) {
        if host.leaves_until(Instant::now() + ASK_AGAIN) {
            tracing::info!(host = %host.id(), "host takes no requests");
        }
    }

    /// An operator wants a host empty, or to be used again. Returns whether that is a change.
    pub(crate) fn drain(&self, host: &Host, draining: bool) -> bool {
        let changed = host.set_drained(draining);
        if changed {
            tracing::info!(host = %host.id(), draining, "an operator changed a host's state");
            self.changes.send_replace(());
        }
        changed
    }

    /// An operator wants a host left alone for a while.
    pub(crate) fn eject(&self, host: &Host, time: Duration) {
        tracing::warn!(host = %host.id(), ?time, "an operator ejected a host");
        host.eject_until(Instant::now() + time);
        self.changes.send_replace(());
    }

    /// A host could be reached and failed a request of a worker by itself: with an error of its own, or
    /// by never answering. Enough of that ejects it, unless too many are ejected already.
    pub(crate) fn failed(&self, host: &Host, worker: &WorkerName) {
        let roster = self.roster.load();
        let policy = &roster.traffic.health;
        let Some(time) = host.failed(worker, policy) else { return };
        let now = Instant::now();
        let ejected = roster.hosts().iter().filter(|host| host.ejections(now).1.is_some()).count();
        if !may_eject(ejected, roster.hosts().len(), policy) {
            metric::ejected(host.id(), "withheld");
            return;
        }
        tracing::warn!(host = %host.id(), ?time, "host fails what it is asked and is ejected");
        metric::ejected(host.id(), "ejected");
        host.eject_for_failing(time);
        self.changes.send_replace(());
    }

    /// A host's process ended.
    pub(crate) fn left(&self, host: &Host) {
        host.place.store(None);
        self.observe(host, Observation::Died);
        self.changes.send_replace(());
    }

    /// Resolves when a host has moved in since the last call.
    pub(crate) async fn arrival(&self) {
        self.arrivals.notified().await;
    }

    /// Hears of every change of a host's place or health.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    pub(crate) fn any_up(&self) -> bool {
        self.roster.load().hosts().iter().any(|host| host.state() == State::Up)
    }

    /// Whether every host is known to be up or down.
    pub(crate) fn all_heard(&self) -> bool {
        self.roster.load().hosts().iter().all(|host| host.state() != State::Unknown)
    }

    /// Where all hosts run, once all of them are up.
    pub(crate) fn all_up(&self) -> Option<Vec<ReadyHost>> {
        let ready = |host: &Arc<Host>| {
            let place = host.place().filter(|_| host.state() == State::Up)?;
            Some(ReadyHost { id: host.id().clone(), pid: place.pid, addr: place.address })
        };
        self.roster.load().hosts().iter().map(ready).collect()
    }

    pub(crate) fn views(&self) -> Vec<HostView> {
        let roster = self.roster.load();
        let view = |(member, host): (&warmshard_config::placement::Member, &Arc<Host>)| {
            let place = host.place();
            let (ejections, ejected_for) = host.ejections(Instant::now());
            HostView {
                id: host.id().clone(),
                addr: place.map(|place| place.address),
                pid: place.and_then(|place| place.pid),
                weight: member.weight.get(),
                share: f64::from(member.share.thousandths()) / 1000.0,
                zone: member.zone.as_ref().map(ToString::to_string),
                health: host.state().as_str().to_owned(),
                standing: host.standing(Instant::now()).as_str().to_owned(),
                ejected_for_seconds: ejected_for.map(|time| time.as_secs_f64()),
                ejections,
                in_flight: host.own_in_flight(),
                load: host.load(),
            }
        };
        let members = roster.placement.membership().members();
        members.iter().zip(roster.hosts()).map(view).collect()
    }
}
#[cfg(test)]
pub(crate) mod tests {
    use warmshard_config::placement::{Member, Membership, Reason, Ring};
    use warmshard_config::units::Weight;

    use super::*;

    pub(crate) fn fleet_of(ids: &[&str]) -> Fleet {
        let member = |id: &&str| Member::new(HostId::parse(id).unwrap(), Weight::ONE);
        let members = Membership::new(ids.iter().map(member));
        let ring = Ring::new(members, Ring::DEFAULT_VNODES, Ring::DEFAULT_SEED);
        Fleet::new(Box::new(ring), Spreading::default(), Traffic::default())
    }

    fn place(port: u16) -> Place {
        Place { address: ([127, 0, 0, 1], port).into(), pid: Some(u32::from(port)) }
    }

    #[test]
    fn a_host_that_comes_back_elsewhere_keeps_its_workers() {
        let fleet = fleet_of(&["a", "b"]);
        let visit = fleet.workers().visit(&WorkerName::parse("fastapi").unwrap(), &fleet.roster());
        let [home, other] = [0, 1].map(|n| Arc::clone(visit.plan.roster.host(visit.plan.candidates[n])));
        let chosen = || {
            let (host, place, decision) = fleet.choose(&visit, &[])?;
            Ok((host.id().clone(), place.address.port(), decision.reason))
        };
        assert_eq!(chosen(), Err(NoHost::NoneRunning(2)));
        for (host, port) in [(&home, 1), (&other, 2)] {
            fleet.arrived(host, place(port));
            fleet.observe(host, Observation::ProbeSucceeded);
        }
        assert_eq!(chosen(), Ok((home.id().clone(), 1, Reason::Home)));
        assert_eq!(fleet.all_up().unwrap().len(), 2);
        fleet.left(&home);
        assert_eq!(chosen(), Ok((other.id().clone(), 2, Reason::HomeAbsent)));
        assert_eq!(fleet.all_up(), None);
        fleet.arrived(&home, place(3));
        assert_eq!(chosen(), Ok((other.id().clone(), 2, Reason::HomeDown)));
        fleet.observe(&home, Observation::ProbeSucceeded);
        assert_eq!(chosen(), Ok((other.id().clone(), 2, Reason::HomeSettling)));
        fleet.left(&other);
        assert_eq!(chosen(), Ok((home.id().clone(), 3, Reason::Home)));
    }

    #[test]
    fn changes_are_heard() {
        let fleet = fleet_of(&["a"]);
        let mut changes = fleet.changes();
        assert!(!changes.has_changed().unwrap());
        let host = Arc::clone(&fleet.roster().hosts()[0]);
        fleet.arrived(&host, place(1));
        assert!(changes.has_changed().unwrap());
        changes.mark_unchanged();
        fleet.observe(&host, Observation::ProbeSucceeded);
        assert!(changes.has_changed().unwrap());
    }
}
