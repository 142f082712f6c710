//! A router that does not exist: what it knows is only what it was told and what it saw.

use std::cell::Cell;
use std::time::{Duration, Instant};

use warmshard_config::cold_start::{Answer, Cause, History};
use warmshard_config::health::{Health, HealthPolicy, Observation, State};
use warmshard_config::placement::{
    self, Ask, Bound, Decision, Elastic, HostIndex, Hosts, NoHost, Outcome, Standing, Tally, Total,
};
use warmshard_config::shard_file::PlacementSettings;

use super::policy::PolicyName;

/// What a host said about its load longer ago than this says nothing any more; as in the router.
const LOAD_IS_FRESH: Duration = Duration::from_secs(1);

/// The hosts of one epoch, shared by all routers.
#[derive(Debug)]
pub(super) struct Roster {
    /// By their place in the membership: which host of the world, and its weight.
    pub(super) hosts: Vec<(usize, u32)>,
}

#[derive(Debug)]
pub(super) struct Router {
    /// By host of the world.
    known: Vec<Known>,
    /// By worker; most routers have seen most workers in the end.
    learned: Vec<Option<Box<Learned>>>,
    /// All requests.
    tally: Tally,
    /// The last sum over all hosts, and when it was made.
    total: Cell<Option<(Duration, Total)>>,
    epoch: Instant,
}

/// A sum over all hosts is made anew no more often than this: hosts say so much between two.
const TOTAL_IS_FRESH: Duration = Duration::from_millis(5);

#[derive(Debug, Clone, Default)]
struct Known {
    health: Health,
    /// Its own requests there.
    in_flight: u32,
    said: Option<(u32, Duration)>,
    leaving: bool,
}

#[derive(Debug, Default)]
struct Learned {
    elastic: Elastic,
    history: History,
    in_flight: u32,
    tally: Tally,
    requests: u64,
}

impl Router {
    /// Every host is up; time counts from `epoch`.
    pub(super) fn new(hosts: usize, workers: usize, epoch: Instant, policy: &HealthPolicy) -> Self {
        let mut router = Self {
            known: Vec::new(),
            learned: std::iter::repeat_with(|| None).take(workers).collect(),
            tally: Tally::default(),
            total: Cell::new(None),
            epoch,
        };
        for host in 0..hosts {
            router.heard_of(host, policy);
        }
        router
    }

    /// There is a new host, or a new process of one, and a probe has reached it.
    pub(super) fn heard_of(&mut self, host: usize, policy: &HealthPolicy) {
        if self.known.len() <= host {
            self.known.resize(host + 1, Known::default());
        }
        self.known[host] = Known::default();
        self.known[host].health.on(Observation::ProbeSucceeded, self.epoch, policy);
    }

    /// Where to send a request next; `draw` is chance, for policies that need it.
    #[expect(
        clippy::too_many_arguments,
        reason = "a decision has this many sides, and this is its only caller's list"
    )]
    pub(super) fn choose(
        &mut self,
        policy: PolicyName,
        roster: &Roster,
        worker: u32,
        candidates: &[HostIndex],
        tried: &[(HostIndex, Outcome)],
        spreading: &PlacementSettings,
        now: Duration,
        draw: u64,
    ) -> Result<Decision, NoHost> {
        let learned = self.learned[worker as usize].get_or_insert_default();
        let ours = policy == PolicyName::Ours;
        let even = if ours { learned.tally.width(&self.tally, roster.hosts.len()) } else { 1 };
        let even = even.min(spreading.width.most);
        let elastic = ours.then(|| learned.elastic.at(now, learned.in_flight, &spreading.width));
        let width = elastic.unwrap_or(1).max(even);
        let soft_limit = match policy {
            PolicyName::Ours => spreading.soft_limit,
            PolicyName::Bounded => 0,
            // Never too many.
            _ => u32::MAX,
        };
        let history = ours.then_some(&learned.history);
        let seen = Seen {
            known: &self.known,
            roster,
            history,
            soft_limit,
            total: &self.total,
            epoch: self.epoch,
            now,
        };
        let homes = if ours { spreading.homes } else { 1 };
        let other_home = learned.history.other_home();
        let turn = learned.requests;
        let ask = Ask { even, homes, other_home, turn, ..Ask::new(candidates, width, tried) };
        let decision = match policy {
            PolicyName::Random => placement::random(ask, &seen, draw)?,
            PolicyName::P2c => placement::least_of_two(ask, &seen, draw)?,
            PolicyName::Bounded => placement::choose(ask, &seen, &Bound::default())?,
            _ => placement::choose(ask, &seen, &spreading.bound)?,
        };
        if let Some(needs) = decision.needs
            && ours
        {
            learned.elastic.needs(needs, now, learned.in_flight, &spreading.width);
        }
        Ok(decision)
    }

    /// A request of a worker arrived here.
    pub(super) fn arrived(&mut self, worker: u32, now: Duration) {
        let learned = self.learned[worker as usize].get_or_insert_default();
        learned.tally.count(now, learned.in_flight);
        learned.in_flight += 1;
        learned.requests += 1;
        self.tally.count(now, 0);
    }

    /// It is over, one way or another.
    pub(super) fn left(&mut self, worker: u32) {
        if let Some(learned) = &mut self.learned[worker as usize] {
            learned.in_flight = learned.in_flight.saturating_sub(1);
        }
    }

    pub(super) fn sent(&mut self, host: usize) {
        self.known[host].in_flight += 1;
    }

    /// An attempt is over; what the host said of its load, if it could.
    pub(super) fn returned(&mut self, host: usize, said: Option<u32>, now: Duration) {
        let known = &mut self.known[host];
        known.in_flight = known.in_flight.saturating_sub(1);
        if let Some(load) = said {
            known.said = Some((load, now));
        }
    }

    /// Whether the host went down by that.
    pub(super) fn observe(
        &mut self,
        host: usize,
        observation: Observation,
        now: Duration,
        policy: &HealthPolicy,
    ) -> bool {
        let change = self.known[host].health.on(observation, self.epoch + now, policy);
        change.is_some_and(|change| change.to == State::Down)
    }

    pub(super) fn is_down(&self, host: usize) -> bool {
        self.known[host].health.state() == State::Down
    }

    pub(super) fn set_leaving(&mut self, host: usize) {
        self.known[host].leaving = true;
    }

    /// What was warm there is gone.
    pub(super) fn host_lost(&mut self, index: HostIndex) {
        for learned in self.learned.iter_mut().flatten() {
            learned.history.host_lost(index);
        }
    }

    /// A host said that the worker is not warm there.
    pub(super) fn not_warm(&mut self, worker: u32, host: HostIndex) {
        if let Some(learned) = &mut self.learned[worker as usize] {
            learned.history.not_warm(host);
        }
    }

    /// The cause, when the start was cold.
    pub(super) fn answered(&mut self, worker: u32, mut answer: Answer) -> Option<Cause> {
        let learned = self.learned[worker as usize].get_or_insert_default();
        answer.busy = learned.in_flight > 1;
        learned.history.answered(&answer)
    }

    /// Another membership: `windows` gives a worker's hosts within a width, before and after.
    pub(super) fn membership_changed(
        &mut self,
        renumber: impl Fn(HostIndex) -> Option<HostIndex>,
        windows: impl Fn(u32, u16) -> (Vec<HostIndex>, Vec<HostIndex>),
    ) {
        for (worker, learned) in self.learned.iter_mut().enumerate() {
            if let Some(learned) = learned {
                let (before, after) = windows(worker as u32, learned.elastic.width());
                learned.history.membership_changed(&renumber, &before, &after);
            }
        }
    }
}

struct Seen<'a> {
    known: &'a [Known],
    roster: &'a Roster,
    history: Option<&'a History>,
    soft_limit: u32,
    total: &'a Cell<Option<(Duration, Total)>>,
    epoch: Instant,
    now: Duration,
}

impl Seen<'_> {
    fn known(&self, host: HostIndex) -> &Known {
        &self.known[self.roster.hosts[host.get()].0]
    }
}

impl Hosts for Seen<'_> {
    fn standing(&self, host: HostIndex) -> Standing {
        let known = self.known(host);
        match known.health.state() {
            State::Down | State::Unknown => Standing::Down,
            State::Up if known.leaving => Standing::Draining,
            State::Up if known.health.is_settling(self.epoch + self.now) => Standing::Settling,
            State::Up => Standing::Eligible,
        }
    }

    fn in_flight(&self, host: HostIndex) -> u32 {
        let known = self.known(host);
        match known.said {
            Some((said, at)) if self.now.saturating_sub(at) <= LOAD_IS_FRESH => known.in_flight.max(said),
            _ => known.in_flight,
        }
    }

    fn soft_limit(&self, host: HostIndex) -> u32 {
        let weight = self.roster.hosts[host.get()].1;
        self.soft_limit.saturating_mul(weight.div_ceil(1000).max(1))
    }

    fn weight(&self, host: HostIndex) -> u32 {
        self.roster.hosts[host.get()].1.max(1)
    }

    fn is_warm(&self, host: HostIndex) -> bool {
        self.history.is_some_and(|history| history.is_warm(host))
    }

    fn total(&self) -> Total {
        if let Some((made, total)) = self.total.get()
            && self.now.saturating_sub(made) < TOTAL_IS_FRESH
        {
            return total;
        }
        let mut total = Total::default();
        for index in (0..self.roster.hosts.len()).map(HostIndex::new) {
            if self.standing(index) == Standing::Eligible {
                total.in_flight += u64::from(self.in_flight(index));
                total.weight += u64::from(self.weight(index));
            }
        }
        self.total.set(Some((self.now, total)));
        total
    }
}
