//! What this router knows of its hosts. The membership and its order are fixed;
//! each host's address, process and health change while requests run.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use arc_swap::ArcSwapOption;
use tokio::sync::{Notify, watch};
use warmshard_config::health::{Health, HealthPolicy, Observation, State};
use warmshard_config::placement::{Decision, Member, NoHost, Outcome, Placement, Standing, choose};
use warmshard_config::units::{Epoch, HostId, ShardKey, WorkerName};
use warmshard_config::wire::{HostView, Load, ReadyHost};

use crate::metric;
use crate::shutdown::{Gauge, Raised};

/// Where a host runs right now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) address: SocketAddr,
    /// Only for a host that this router started.
    pub(crate) pid: Option<u32>,
}

/// One host of the membership.
#[derive(Debug)]
pub(crate) struct Host {
    member: Member,
    /// `None` while it is being started.
    place: ArcSwapOption<Place>,
    health: Mutex<Health>,
    load: Mutex<Option<Load>>,
    in_flight: Arc<Gauge>,
}

impl Host {
    pub(crate) fn id(&self) -> &HostId {
        &self.member.id
    }

    pub(crate) fn place(&self) -> Option<Place> {
        self.place.load().as_deref().copied()
    }

    pub(crate) fn state(&self) -> State {
        self.health.lock().unwrap_or_else(PoisonError::into_inner).state()
    }

    pub(crate) fn begin_request(&self) -> Raised {
        self.in_flight.raise()
    }

    pub(crate) fn set_load(&self, load: Load) {
        *self.load.lock().unwrap_or_else(PoisonError::into_inner) = Some(load);
    }

    fn standing(&self) -> Standing {
        if self.place().is_none() {
            return Standing::Absent;
        }
        let health = *self.health.lock().unwrap_or_else(PoisonError::into_inner);
        match health.state() {
            State::Up if health.is_settling(Instant::now()) => Standing::Settling,
            State::Up => Standing::Eligible,
            State::Down | State::Unknown => Standing::Down,
        }
    }
}

/// All hosts, and the placement over them.
#[derive(Debug)]
pub(crate) struct Fleet {
    placement: Box<dyn Placement>,
    /// In the order of the shard file.
    hosts: Vec<Arc<Host>>,
    by_id: HashMap<HostId, Arc<Host>>,
    policy: HealthPolicy,
    changes: watch::Sender<()>,
    /// Wakes the prober when a host moved in.
    arrivals: Notify,
}

impl Fleet {
    pub(crate) fn new(members: Vec<Member>, placement: Box<dyn Placement>, policy: HealthPolicy) -> Self {
        let host = |member| {
            Arc::new(Host {
                member,
                place: ArcSwapOption::empty(),
                health: Mutex::default(),
                load: Mutex::default(),
                in_flight: Arc::default(),
            })
        };
        let hosts: Vec<Arc<Host>> = members.into_iter().map(host).collect();
        let by_id = hosts.iter().map(|host| (host.id().clone(), Arc::clone(host))).collect();
        for host in &hosts {
            metric::host_is(host.id(), State::Unknown);
        }
        metric::epoch(placement.epoch());
        let (changes, arrivals) = (watch::Sender::new(()), Notify::new());
        Self { placement, hosts, by_id, policy, changes, arrivals }
    }

    pub(crate) fn hosts(&self) -> &[Arc<Host>] {
        &self.hosts
    }

    pub(crate) fn host(&self, id: &HostId) -> Option<&Arc<Host>> {
        self.by_id.get(id)
    }

    pub(crate) fn epoch(&self) -> Epoch {
        self.placement.epoch()
    }

    pub(crate) fn policy(&self) -> &HealthPolicy {
        &self.policy
    }

    /// A worker's hosts, best first.
    pub(crate) fn candidates(&self, worker: &WorkerName) -> Vec<HostId> {
        self.placement.candidates(&ShardKey::of_worker(worker.clone()))
    }

    /// The host to send a request to next.
    pub(crate) fn choose(
        &self,
        candidates: &[HostId],
        tried: &[(HostId, Outcome)],
    ) -> Result<(Arc<Host>, Place, Decision), NoHost> {
        let standing = |id: &HostId| self.host(id).map_or(Standing::Absent, |host| host.standing());
        let decision = choose(candidates, standing, tried)?;
        // It had a place a moment ago; if it has just lost it, it is as if it had none.
        let host = self.host(&decision.host).ok_or(NoHost::NoneRunning(candidates.len()))?;
        let place = host.place().ok_or(NoHost::NoneRunning(candidates.len()))?;
        Ok((Arc::clone(host), place, decision))
    }

    /// Takes in what somebody observed about a host, and logs what follows.
    pub(crate) fn observe(&self, host: &Host, observation: Observation) {
        let transition = {
            let mut health = host.health.lock().unwrap_or_else(PoisonError::into_inner);
            health.on(observation, Instant::now(), &self.policy)
        };
        let Some(change) = transition else { return };
        metric::host_changed(host.id(), change.to, change.cause);
        let (host, from, to) = (host.id(), change.from.as_str(), change.to.as_str());
        let cause = change.cause.as_str();
        if change.to == State::Down {
            tracing::warn!(%host, from, to, cause, "host is down");
        } else {
            tracing::info!(%host, from, to, cause, "host changed");
        }
        self.changes.send_replace(());
    }

    /// A new process took a host's place.
    pub(crate) fn arrived(&self, host: &Host, place: Place) {
        self.observe(host, Observation::Replaced);
        host.place.store(Some(Arc::new(place)));
        self.changes.send_replace(());
        self.arrivals.notify_one();
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
        self.hosts.iter().any(|host| host.state() == State::Up)
    }

    /// Where all hosts run, once all of them are up.
    pub(crate) fn all_up(&self) -> Option<Vec<ReadyHost>> {
        let ready = |host: &Arc<Host>| {
            let place = host.place().filter(|_| host.state() == State::Up)?;
            Some(ReadyHost { id: host.id().clone(), pid: place.pid, addr: place.address })
        };
        self.hosts.iter().map(ready).collect()
    }

    pub(crate) fn views(&self) -> Vec<HostView> {
        let view = |host: &Arc<Host>| {
            let place = host.place();
            HostView {
                id: host.id().clone(),
                addr: place.map(|place| place.address),
                pid: place.and_then(|place| place.pid),
                weight: host.member.weight.get(),
                health: host.state().as_str().to_owned(),
                in_flight: u32::try_from(host.in_flight.value()).unwrap_or(u32::MAX),
                load: *host.load.lock().unwrap_or_else(PoisonError::into_inner),
            }
        };
        self.hosts.iter().map(view).collect()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use warmshard_config::placement::{Reason, Ring};
    use warmshard_config::units::Weight;

    use super::*;

    pub(crate) fn fleet_of(ids: &[&str]) -> Fleet {
        let member = |id: &&str| Member { id: HostId::parse(id).unwrap(), weight: Weight::ONE };
        let members: Vec<Member> = ids.iter().map(member).collect();
        let ring = Ring::new(&members, Ring::DEFAULT_VNODES, Ring::DEFAULT_SEED);
        Fleet::new(members, Box::new(ring), HealthPolicy::default())
    }

    fn place(port: u16) -> Place {
        Place { address: ([127, 0, 0, 1], port).into(), pid: Some(u32::from(port)) }
    }

    #[test]
    fn a_host_that_comes_back_elsewhere_keeps_its_workers() {
        let fleet = fleet_of(&["a", "b"]);
        let candidates = fleet.candidates(&WorkerName::parse("fastapi").unwrap());
        let [home, other] = [0, 1].map(|n| Arc::clone(fleet.host(&candidates[n]).unwrap()));
        let chosen = || {
            let (host, place, decision) = fleet.choose(&candidates, &[])?;
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
        fleet.arrived(&fleet.hosts()[0], place(1));
        assert!(changes.has_changed().unwrap());
        changes.mark_unchanged();
        fleet.observe(&fleet.hosts()[0], Observation::ProbeSucceeded);
        assert!(changes.has_changed().unwrap());
    }
}
