//! One policy from the first arrival to the last answer, in virtual time.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use http::{HeaderValue, StatusCode};
use warmshard_config::cold_start::{Answer, Cause};
use warmshard_config::health::{HealthPolicy, Observation};
use warmshard_config::host_policy::pool::SlotId;
use warmshard_config::placement::{Candidates, HostIndex, Member, Outcome, Placement, Ramp, Reason};
use warmshard_config::units::{DeploymentId, HostId, ShardKey, Share, Weight, WorkerName};
use warmshard_config::wire::StartKind;

use super::agenda::Agenda;
use super::fleet::{self, Fleet};
use super::host::{Admission, Host};
use super::policy::PolicyName;
use super::router::{Roster, Router};
use crate::client::{Failure, Reply};
use crate::measure::{Measure, Sample};
use crate::report::{Circumstances, Happened, RunReport};
use crate::scenario::{Action, Event, Scenario, Simulated};
use crate::schedule::{Arrival, random::Random};

/// Candidates that are kept of each worker: a request that goes further down the list does so
/// because more hosts than this are down or full. All of them would be gigabytes.
const KEPT_CANDIDATES: usize = 64;
/// How long a connection to a host that is gone takes to fail.
const CONNECT_FAILS: Duration = Duration::from_millis(1);

/// What happens at a moment.
#[derive(Debug)]
enum What {
    Restored {
        host: u32,
        slot: SlotId,
        life: u32,
    },
    Finished(Box<Flight>),
    /// A host looks for workers that are about to be called.
    Look {
        host: u32,
        life: u32,
    },
    Event(usize),
    /// A host's share changes.
    RampStep,
    /// A router looks after a host that has died.
    Probe {
        router: u32,
        host: u32,
        life: u32,
    },
}

/// A request that a host has taken.
#[derive(Debug)]
struct Flight {
    arrival: Arrival,
    router: u32,
    host: u32,
    slot: SlotId,
    life: u32,
    start: StartKind,
    reason: Reason,
    version: u32,
    restore: Option<Duration>,
    cause: Option<Cause>,
    /// When the host was taken.
    placed: Duration,
    /// Since it was sent to this host.
    at_host: Duration,
}

struct World<'a> {
    scenario: &'a Scenario,
    fleet: &'a Fleet,
    policy: PolicyName,
    health: HealthPolicy,
    /// The hosts that ever were, by number; a host that comes back has its old number.
    hosts: Vec<Host>,
    ids: Vec<HostId>,
    /// The answers' header, by host.
    names: Vec<HeaderValue>,
    placement: Box<dyn Placement>,
    roster: Roster,
    /// All hosts of the roster, for policies that draw.
    everybody: Vec<HostIndex>,
    candidates: Vec<Option<Box<[HostIndex]>>>,
    deployments: Vec<Option<(u32, DeploymentId)>>,
    /// The workers' numbers.
    numbers: HashMap<WorkerName, u32>,
    routers: Vec<Router>,
    agenda: Agenda<What>,
    luck: Random,
    restores: Random,
    measure: Measure,
    /// Hosts that are being filled or emptied, and since when.
    ramps: Vec<(HostId, Ramp, Duration)>,
    happened: Vec<Happened>,
    sent: u64,
}

pub(super) fn run(scenario: &Scenario, fleet: &Fleet, policy: PolicyName) -> anyhow::Result<RunReport> {
    check(scenario)?;
    let mut world = World::new(scenario, fleet, policy);
    match (scenario.load()?, scenario.recorded()?) {
        (Some(load), _) => world.run(load.stream())?,
        (None, Some(trace)) => world.run(trace.arrivals.into_iter())?,
        (None, None) => {}
    }
    Ok(world.report())
}

/// What cannot be simulated is said before an hour of simulating.
fn check(scenario: &Scenario) -> anyhow::Result<()> {
    for event in &scenario.events {
        match &event.action {
            Action::Run { command } => {
                anyhow::bail!(
                    "found the event `run {command}`, expected one that can be simulated: deploy, add-host, drain-host, \
                     kill-host or shard-file"
                );
            }
            Action::ShardFile { file } => {
                fleet::members_of(file)?;
            }
            _ => {}
        }
    }
    Ok(())
}

impl<'a> World<'a> {
    fn new(scenario: &'a Scenario, fleet: &'a Fleet, policy: PolicyName) -> Self {
        let placement = fleet.placement(&fleet.members);
        let ids: Vec<HostId> =
            placement.membership().members().iter().map(|member| member.id.clone()).collect();
        let workers = scenario.workers.len();
        let (epoch, health) = (Instant::now(), fleet.health());
        let count = ids.len();
        let router = |_| Router::new(count, workers, epoch, &health);
        let mut agenda = Agenda::new();
        for (index, event) in scenario.events.iter().enumerate() {
            agenda.enter(nanoseconds(event.at), What::Event(index));
        }
        let mut world = Self {
            scenario,
            fleet,
            policy,
            health,
            hosts: ids.iter().map(|_| Host::new(fleet.limits)).collect(),
            names: ids.iter().map(name).collect(),
            ids,
            placement,
            roster: Roster { hosts: Vec::new() },
            everybody: Vec::new(),
            candidates: vec![None; workers],
            deployments: vec![None; workers],
            numbers: scenario.workers.iter().cloned().zip(0..).collect(),
            routers: (0..scenario.simulated.routers).map(router).collect(),
            agenda,
            luck: Random::of(scenario.seed, 0x_1ac2),
            restores: Random::of(scenario.seed, 0x_2e57),
            measure: Measure::new(workers, scenario.duration, scenario.warmup),
            ramps: Vec::new(),
            happened: Vec::new(),
            sent: 0,
        };
        world.roster_changed();
        world
    }

    fn run(&mut self, arrivals: impl Iterator<Item = Arrival>) -> anyhow::Result<()> {
        for arrival in arrivals {
            self.until(arrival.due_ns)?;
            self.sent += 1;
            self.arrive(arrival);
        }
        self.until(u64::MAX)
    }

    fn until(&mut self, moment: u64) -> anyhow::Result<()> {
        while let Some((at, what)) = self.agenda.due(moment) {
            let now = Duration::from_nanos(at);
            match what {
                What::Restored { host, slot, life } => self.hosts[host as usize].restored(slot, life),
                What::Finished(flight) => self.finish(&flight, now),
                What::Look { host, life } => self.look_ahead(host, life, now),
                What::Event(index) => self.happen(&self.scenario.events[index], now)?,
                What::RampStep => self.ramp_step(now),
                What::Probe { router, host, life } => self.probe(router, host, life, now),
            }
        }
        Ok(())
    }

    /// A request comes to a router, which sends it to hosts until one takes it.
    fn arrive(&mut self, arrival: Arrival) {
        let simulated = &self.scenario.simulated;
        let worker = arrival.worker;
        let router = self.luck.below(self.routers.len() as u64) as usize;
        // Drawn whatever becomes of the request, so that every policy has the same luck.
        let service = drawn(simulated.service, simulated.service_spread, &mut self.luck);
        let draw = self.luck.next();
        let now = arrival.due();
        self.prepare(worker);
        self.routers[router].arrived(worker, now);
        let mut tried: Vec<(HostIndex, Outcome)> = Vec::new();
        let mut delay = Duration::ZERO;
        loop {
            let drawn_from = matches!(self.policy, PolicyName::Random | PolicyName::P2c);
            let candidates = match &self.candidates[worker as usize] {
                Some(candidates) if !drawn_from => &**candidates,
                _ => &*self.everybody,
            };
            let decision = self.routers[router].choose(
                self.policy,
                &self.roster,
                worker,
                candidates,
                &tried,
                self.fleet.spreading(),
                now,
                draw.rotate_left(tried.len() as u32 * 7),
            );
            // Homes that were asked for their price have not been tried yet.
            let asked = tried.iter().filter(|(_, outcome)| matches!(outcome, Outcome::NotWarm(_))).count();
            let decision = decision.ok().filter(|_| tried.len() - asked < self.fleet.most_hosts());
            let Some(decision) = decision else {
                self.routers[router].left(worker);
                let outcome = Err(Failure::Status(StatusCode::SERVICE_UNAVAILABLE.as_u16()));
                self.record(arrival, delay + simulated.hop, outcome);
                return;
            };
            let host = self.roster.hosts[decision.host.get()].0;
            let Some((version, deployment)) = &self.deployments[worker as usize] else { return };
            let restore = drawn(simulated.restore, simulated.restore_spread, &mut self.restores);
            let name = &self.scenario.workers[worker as usize];
            match self.hosts[host].admit(name, deployment, decision.elsewhere, now, restore) {
                Admission::Taken { slot, start, ready, evicted, cause } => {
                    let (life, host_number) = (self.hosts[host].life, host as u32);
                    if start == StartKind::Cold {
                        let restored = What::Restored { host: host_number, slot, life };
                        self.agenda.enter(nanoseconds(ready), restored);
                    }
                    if let Some(at) = self.hosts[host].next_look(now) {
                        self.agenda.enter(nanoseconds(at), What::Look { host: host_number, life });
                    }
                    if evicted {
                        self.measure.record_evictions(now, 1);
                    }
                    let at_host = ready - now + service;
                    let waited = matches!(start, StartKind::Cold | StartKind::Waited);
                    let flight = Flight {
                        arrival,
                        router: router as u32,
                        host: host_number,
                        slot,
                        life,
                        start,
                        reason: decision.reason,
                        version: *version,
                        restore: waited.then_some(restore),
                        cause,
                        placed: now,
                        at_host,
                    };
                    self.routers[router].sent(host);
                    let end = now + delay + simulated.hop + at_host;
                    self.agenda.enter(nanoseconds(end), What::Finished(Box::new(flight)));
                    return;
                }
                Admission::Refused => {
                    tried.push((decision.host, Outcome::Refused));
                    delay += simulated.hop;
                }
                Admission::NotWarm(price) => {
                    tried.push((decision.host, Outcome::NotWarm(price)));
                    self.routers[router].not_warm(worker, decision.host);
                    delay += simulated.hop;
                }
                Admission::Leaving => {
                    tried.push((decision.host, Outcome::Leaving));
                    self.routers[router].set_leaving(host);
                    delay += simulated.hop;
                }
                Admission::Unreachable => {
                    tried.push((decision.host, Outcome::Failed));
                    delay += CONNECT_FAILS;
                    self.observe(router, host, Observation::ConnectionFailed, now);
                }
            }
        }
    }

    fn finish(&mut self, flight: &Flight, now: Duration) {
        let (router, host) = (&mut self.routers[flight.router as usize], flight.host as usize);
        let worker = flight.arrival.worker;
        let due = flight.arrival.due();
        if !self.hosts[host].finished(flight.slot, flight.life, now) {
            router.returned(host, None, now);
            router.left(worker);
            let latency = self.hosts[host].died.saturating_sub(due);
            self.observe(flight.router as usize, host, Observation::ConnectionFailed, now);
            self.record(flight.arrival, latency, Err(Failure::Closed));
            return;
        }
        router.returned(host, Some(self.hosts[host].in_flight), now);
        router.observe(host, Observation::Answered, now, &self.health);
        // The membership may have changed since it was sent.
        let index = self.placement.membership().index_of(&self.ids[host]);
        let cause = index.and_then(|index| {
            let answer = Answer {
                host: index,
                start: flight.start,
                deployment: Some(u64::from(flight.version)),
                host_says: flight.cause,
                reason: flight.reason,
                busy: false,
                placed: flight.placed,
                now,
            };
            router.answered(worker, answer)
        });
        router.left(worker);
        let latency = now - due;
        let reply = Reply {
            status: StatusCode::OK,
            start: Some(flight.start),
            restore: flight.restore,
            host: Some(self.names[host].clone()),
            body_bytes: 0,
            first_byte: latency,
            at_host: Some(flight.at_host),
            cause: cause.map(|cause| HeaderValue::from_static(Cause::as_str(cause))),
        };
        self.record(flight.arrival, latency, Ok(reply));
    }

    fn look_ahead(&mut self, host: u32, life: u32, now: Duration) {
        let number = host as usize;
        if self.hosts[number].life != life {
            return;
        }
        let (numbers, deployments) = (&self.numbers, &self.deployments);
        let deployment =
            |name: &WorkerName| Some(deployments[*numbers.get(name)? as usize].as_ref()?.1.clone());
        let simulated = &self.scenario.simulated;
        let restore = drawn(simulated.restore, simulated.restore_spread, &mut self.restores);
        let (slots, evicted) = self.hosts[number].look_ahead(deployment, now, restore);
        self.measure.record_evictions(now, evicted);
        for slot in slots {
            self.agenda.enter(nanoseconds(now + restore), What::Restored { host, slot, life });
        }
        if let Some(at) = self.hosts[number].next_look(now) {
            self.agenda.enter(nanoseconds(at), What::Look { host, life });
        }
    }

    fn record(&mut self, arrival: Arrival, latency: Duration, outcome: Result<Reply, Failure>) {
        let Arrival { worker, .. } = arrival;
        self.measure.record(&Sample { worker, due: arrival.due(), latency, lag: None, outcome });
    }

    /// A worker's candidates and version, made when it is first asked for.
    fn prepare(&mut self, worker: u32) {
        let at = worker as usize;
        if self.candidates[at].is_none() {
            self.candidates[at] = Some(candidates(&*self.placement, self.fleet, &self.scenario.workers[at]));
        }
        if self.deployments[at].is_none() {
            self.deployments[at] = Some((0, deployment(worker, 0)));
        }
    }

    fn observe(&mut self, router: usize, host: usize, observation: Observation, now: Duration) {
        let went_down = self.routers[router].observe(host, observation, now, &self.health);
        if went_down && let Some(index) = self.placement.membership().index_of(&self.ids[host]) {
            self.routers[router].host_lost(index);
        }
    }

    fn probe(&mut self, router: u32, host: u32, life: u32, now: Duration) {
        let (r, h) = (router as usize, host as usize);
        if self.hosts[h].life != life || self.routers[r].is_down(h) {
            return;
        }
        self.observe(r, h, Observation::ProbeFailed, now);
        self.agenda.enter(nanoseconds(now + self.health.interval), What::Probe { router, host, life });
    }

    fn happen(&mut self, event: &Event, now: Duration) -> anyhow::Result<()> {
        let failure = match &event.action {
            Action::Deploy { workers, .. } => {
                self.deploy(workers.as_deref());
                None
            }
            Action::KillHost { host } => self.kill(host, now),
            Action::AddHost { host, .. } => {
                let mut members = self.members();
                members.retain(|member| member.id != *host);
                members.push(Member::new(host.clone(), Weight::ONE));
                self.join(&members, now);
                // One that was there before, and died or was emptied, begins anew.
                if let Some(number) = self.ids.iter().position(|id| id == host) {
                    self.hosts[number].serve();
                    self.routers.iter_mut().for_each(|router| router.heard_of(number, &self.health));
                }
                None
            }
            Action::DrainHost { host, .. } => self.drain(host, now),
            Action::ShardFile { file } => {
                self.join(&fleet::members_of(file)?, now);
                None
            }
            Action::Run { .. } => Some("cannot be simulated".to_owned()),
        };
        let at_s = now.as_secs_f64();
        let what = event.action.to_string();
        self.happened.push(Happened { at_s, until_s: Some(at_s), what, failure });
        Ok(())
    }

    fn deploy(&mut self, workers: Option<&[WorkerName]>) {
        let numbers = &self.numbers;
        let chosen: Vec<u32> = match workers {
            Some(names) => names.iter().filter_map(|name| numbers.get(name).copied()).collect(),
            None => (0..self.scenario.workers.len() as u32).collect(),
        };
        for worker in chosen {
            // Who was never asked for has no version yet: the first is as good as the second.
            if let Some((version, id)) = &mut self.deployments[worker as usize] {
                *version += 1;
                *id = deployment(worker, *version);
            }
        }
        let deployments = &self.deployments;
        let current = |name: &WorkerName| {
            let worker = *numbers.get(name)? as usize;
            deployments[worker].as_ref().map(|(_, id)| id.clone())
        };
        self.hosts.iter_mut().for_each(|host| host.replace(current));
    }

    fn kill(&mut self, host: &HostId, now: Duration) -> Option<String> {
        let Some(number) = self.ids.iter().position(|id| id == host) else {
            return Some(format!("found no host `{host}`"));
        };
        self.hosts[number].kill(now);
        let life = self.hosts[number].life;
        for router in 0..self.routers.len() as u32 {
            // Each router probes at its own moment.
            let share = self.luck.uniform();
            let at = now + self.health.interval.mul_f64(share);
            self.agenda.enter(nanoseconds(at), What::Probe { router, host: number as u32, life });
        }
        None
    }

    fn members(&self) -> Vec<Member> {
        self.placement.membership().members().to_vec()
    }

    /// Empties a host step by step, as a reload of the shard file does.
    fn drain(&mut self, host: &HostId, now: Duration) -> Option<String> {
        if self.placement.membership().index_of(host).is_none() {
            return Some(format!("found no host `{host}`"));
        }
        self.ramps.retain(|(other, ..)| other != host);
        self.ramps.push((host.clone(), Ramp::Drain, now));
        self.ramp_step(now);
        None
    }

    /// Takes a membership over; hosts that are new are filled step by step.
    fn join(&mut self, members: &[Member], now: Duration) {
        let known = self.placement.membership();
        let new: Vec<HostId> = members
            .iter()
            .filter(|member| known.index_of(&member.id).is_none())
            .map(|member| member.id.clone())
            .collect();
        self.ramps.retain(|(host, ..)| members.iter().any(|member| member.id == *host));
        self.ramps.extend(new.into_iter().map(|host| (host, Ramp::Fill, now)));
        self.membership(&self.with_shares(members.to_vec(), now));
        self.next_ramp_step(now);
    }

    fn ramp_step(&mut self, now: Duration) {
        self.membership(&self.with_shares(self.members(), now));
        let policy = self.fleet.spreading().ramp;
        let over = |(_, _, began): &(HostId, Ramp, Duration)| policy.next_change(now - *began).is_none();
        for (host, ramp, _) in self.ramps.extract_if(.., |ramp| over(ramp)).collect::<Vec<_>>() {
            if ramp == Ramp::Drain
                && let Some(number) = self.ids.iter().position(|id| *id == host)
            {
                self.hosts[number].drain();
            }
        }
        self.next_ramp_step(now);
    }

    fn with_shares(&self, members: Vec<Member>, now: Duration) -> Vec<Member> {
        let policy = self.fleet.spreading().ramp;
        let share = |member: Member| {
            match self.ramps.iter().find(|(host, ..)| *host == member.id) {
                Some((_, ramp, began)) => member.with_share(policy.share(*ramp, now - *began)),
                // One that was emptied stays so.
                None if member.share == Share::NONE => member,
                None => member.with_share(Share::FULL),
            }
        };
        members.into_iter().map(share).collect()
    }

    fn next_ramp_step(&mut self, now: Duration) {
        let policy = self.fleet.spreading().ramp;
        let next =
            self.ramps.iter().filter_map(|(_, _, began)| Some(*began + policy.next_change(now - *began)?));
        if let Some(next) = next.min() {
            self.agenda.enter(nanoseconds(next), What::RampStep);
        }
    }

    /// All routers have a new membership at once.
    fn membership(&mut self, members: &[Member]) {
        let new = self.fleet.placement(members);
        for member in new.membership().members() {
            let number = self.ids.iter().position(|id| *id == member.id).unwrap_or_else(|| {
                self.ids.push(member.id.clone());
                self.names.push(name(&member.id));
                self.hosts.push(Host::new(self.fleet.limits));
                self.ids.len() - 1
            });
            if self.placement.membership().index_of(&member.id).is_none() {
                self.hosts[number].serve();
                self.routers.iter_mut().for_each(|router| router.heard_of(number, &self.health));
            }
        }
        let old = std::mem::replace(&mut self.placement, new);
        let before = std::mem::replace(&mut self.candidates, vec![None; self.scenario.workers.len()]);
        for (worker, candidates) in before.iter().enumerate() {
            if candidates.is_some() {
                self.prepare(worker as u32);
            }
        }
        let (placement, after) = (&self.placement, &self.candidates);
        let renumber = |index: HostIndex| placement.membership().index_of(&old.membership().member(index).id);
        let window = |all: &[Option<Box<[HostIndex]>>], worker: u32, width: u16| {
            let candidates = all[worker as usize].as_deref().unwrap_or_default();
            candidates[..candidates.len().min(usize::from(width))].to_vec()
        };
        for router in &mut self.routers {
            router.membership_changed(renumber, |worker, width| {
                (window(&before, worker, width), window(after, worker, width))
            });
        }
        self.roster_changed();
    }

    fn roster_changed(&mut self) {
        let membership = self.placement.membership();
        let numbers: HashMap<&HostId, usize> = self.ids.iter().enumerate().map(|(n, id)| (id, n)).collect();
        let host = |member: &Member| (numbers[&member.id], member.effective_weight());
        self.roster = Roster { hosts: membership.members().iter().map(host).collect() };
        self.everybody = membership.indices().collect();
    }

    fn report(self) -> RunReport {
        let circumstances = Circumstances {
            scenario: self.scenario,
            source: "simulate",
            target: self.policy.to_string(),
            elapsed_s: self.scenario.duration.as_secs_f64(),
            interrupted: false,
            planned: self.sent,
            dispatched: self.sent,
            sees_evictions: true,
            hosts: Some(self.ids.len()),
            happened: self.happened,
            generator: None,
        };
        RunReport::of(circumstances, &self.measure)
    }
}

fn candidates(placement: &dyn Placement, fleet: &Fleet, worker: &WorkerName) -> Box<[HostIndex]> {
    let key = ShardKey::of_worker(worker.clone());
    let all = Candidates::of(placement, &fleet.spreading().zones, &key).hosts;
    all[..all.len().min(KEPT_CANDIDATES)].into()
}

/// The name of a version of a worker that does not exist; the first digits differ the most.
fn deployment(worker: u32, version: u32) -> DeploymentId {
    let first = Random::of(u64::from(worker), u64::from(version)).next();
    DeploymentId::parse(&format!("{first:016x}{worker:024x}{version:024x}")).expect("64 digits")
}

fn name(id: &HostId) -> HeaderValue {
    HeaderValue::from_str(id.as_str()).expect("a name is letters, digits, `-` and `_`")
}

/// A time drawn from a lognormal distribution.
fn drawn(median: Duration, spread: f64, random: &mut Random) -> Duration {
    median.mul_f64((spread * random.normal()).exp().min(1e6))
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

impl Simulated {
    /// What an answer takes that is neither waiting nor chance; for a policy without hosts.
    pub(super) fn usual(&self) -> Duration {
        self.hop + self.service
    }
}
