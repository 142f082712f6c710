//! Whether a host is up, from what probes and requests say. Pure: the shell
//! feeds [`Health::on`] and acts on the transition it returns.
//!
//! ```text
//!             first good probe                 `down_after` failed probes, or
//!  Unknown ───────────────────────▶ Up ──────────────────────────────────────▶ Down
//!     ▲                             ▲     `errors` connection errors in a row    │
//!     └── Replaced (new process)    └────────── `up_after` good probes ──────────┘
//! ```
//!
//! Only the connection is judged, never the status of a worker's answer: a
//! Python exception must not take its host out.
//!
//! Beside that, a host may be reachable and yet fail what it is asked: then it is *ejected*
//! for a while, see [`Ejection`].
//!
//! A host whose process died comes back empty, while its workers are warm at the
//! next candidates by then. Up again, it therefore *settles* for a while before
//! requests return to it, so that a host that dies again and again costs its
//! workers one move and not one for each death.

use std::time::{Duration, Instant};

use crate::units::WorkerName;

/// The numbers health goes by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HealthPolicy {
    /// How often each host is probed.
    pub interval: Duration,
    /// How long a probe may take.
    pub timeout: Duration,
    /// Failed probes in a row that take a host down.
    pub down_after: u32,
    /// Good probes in a row that bring it back.
    pub up_after: u32,
    /// Connection errors of requests in a row that take a host down.
    pub errors: u32,
    /// How long a host that died is up again before requests return to it.
    pub settle: Duration,
    /// Requests in a row that a host itself failed, of more than one worker, that eject it.
    pub eject_after: u32,
    /// How long it is ejected the first time; as many times longer as it was ejected before.
    pub eject_for: Duration,
    /// The most hosts that are ejected at the same time, in percent.
    pub eject_most: u32,
}

impl Default for HealthPolicy {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(1),
            timeout: Duration::from_secs(1),
            down_after: 3,
            up_after: 2,
            errors: 3,
            settle: Duration::from_secs(10),
            eject_after: 5,
            eject_for: Duration::from_secs(10),
            eject_most: 50,
        }
    }
}

/// What somebody observed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Observation {
    ProbeSucceeded,
    ProbeFailed,
    /// A request could not be delivered or lost its connection before the answer began.
    ConnectionFailed,
    /// A request got an answer, whatever its status.
    Answered,
    /// The process is known to have ended.
    Died,
    /// A new process took the host's place.
    Replaced,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Nothing has been heard yet.
    Unknown,
    Up,
    Down,
}

impl State {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Up => "up",
            Self::Down => "down",
        }
    }
}

/// Why a host changed its state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    Probes,
    ConnectionErrors,
    Died,
    Replaced,
}

impl Cause {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Probes => "probes",
            Self::ConnectionErrors => "connection_errors",
            Self::Died => "died",
            Self::Replaced => "replaced",
        }
    }
}

/// A change of state, to be logged and counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transition {
    pub from: State,
    pub to: State,
    pub cause: Cause,
}

/// One host's health.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Health {
    state: State,
    good_probes: u32,
    failed_probes: u32,
    connection_errors: u32,
    /// The last process died, so the next one has to settle.
    died: bool,
    settled_at: Option<Instant>,
}

impl Default for Health {
    fn default() -> Self {
        Self::in_state(State::Unknown)
    }
}

impl Health {
    fn in_state(state: State) -> Self {
        Self { state, good_probes: 0, failed_probes: 0, connection_errors: 0, died: false, settled_at: None }
    }

    pub fn state(&self) -> State {
        self.state
    }

    /// Whether it is up, but not yet for long enough.
    pub fn is_settling(&self, now: Instant) -> bool {
        self.state == State::Up && self.settled_at.is_some_and(|settled| now < settled)
    }

    /// Takes an observation in and says whether the state changed.
    pub fn on(
        &mut self,
        observation: Observation,
        now: Instant,
        policy: &HealthPolicy,
    ) -> Option<Transition> {
        match observation {
            Observation::ProbeSucceeded => self.probe_succeeded(now, policy),
            Observation::ProbeFailed => self.probe_failed(policy),
            Observation::ConnectionFailed => self.connection_failed(policy),
            Observation::Answered => {
                self.connection_errors = 0;
                None
            }
            Observation::Died => {
                let transition = self.change(State::Down, Cause::Died);
                self.died = true;
                transition
            }
            Observation::Replaced => {
                let died = self.died;
                let transition = self.change(State::Unknown, Cause::Replaced);
                *self = Self { died, ..Self::default() };
                transition
            }
        }
    }

    fn probe_succeeded(&mut self, now: Instant, policy: &HealthPolicy) -> Option<Transition> {
        self.failed_probes = 0;
        self.good_probes = self.good_probes.saturating_add(1);
        let enough = match self.state {
            State::Up => false,
            State::Unknown => true,
            State::Down => self.good_probes >= policy.up_after,
        };
        if !enough {
            return None;
        }
        let settled_at = self.died.then(|| now + policy.settle);
        let transition = self.change(State::Up, Cause::Probes);
        self.settled_at = settled_at;
        transition
    }

    fn probe_failed(&mut self, policy: &HealthPolicy) -> Option<Transition> {
        self.good_probes = 0;
        self.failed_probes = self.failed_probes.saturating_add(1);
        let enough = self.failed_probes >= policy.down_after;
        if enough { self.change(State::Down, Cause::Probes) } else { None }
    }

    fn connection_failed(&mut self, policy: &HealthPolicy) -> Option<Transition> {
        self.connection_errors = self.connection_errors.saturating_add(1);
        let enough = self.connection_errors >= policy.errors;
        if enough { self.change(State::Down, Cause::ConnectionErrors) } else { None }
    }

    /// Every change starts all counts again, so that a host that came back is
    /// judged by what it does now.
    fn change(&mut self, to: State, cause: Cause) -> Option<Transition> {
        let from = self.state;
        if from == to {
            return None;
        }
        *self = Self { died: self.died && to != State::Up, ..Self::in_state(to) };
        Some(Transition { from, to, cause })
    }
}

/// The longest ejection, as a multiple of the first.
const LONGEST: u32 = 30;

/// Counts what a host itself failed although it could be reached: errors of its own making,
/// and requests it never answered.
///
/// One worker that hangs, or whose snapshot is damaged, looks like a host that fails; so the
/// failures must be of more than one worker, with no answer between them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ejection {
    faults: u32,
    /// The worker of the first fault in this row.
    worker: Option<WorkerName>,
    several: bool,
    /// How often it was ejected, until it has been well for long.
    times: u32,
    until: Option<Instant>,
}

impl Ejection {
    /// It failed a request of this worker. Says for how long that would eject it; the
    /// caller tells by [`Ejection::eject`] that it does.
    pub fn failed(&mut self, worker: &WorkerName, now: Instant, policy: &HealthPolicy) -> Option<Duration> {
        match &self.worker {
            Some(first) => self.several |= first != worker,
            None => self.worker = Some(worker.clone()),
        }
        self.faults = self.faults.saturating_add(1);
        if self.faults < policy.eject_after || !self.several || self.is_ejected(now) {
            return None;
        }
        Some(policy.eject_for * (self.times + 1).min(LONGEST))
    }

    /// It is ejected from now on, for so long.
    pub fn eject(&mut self, now: Instant, time: Duration) {
        *self = Self { times: self.times.saturating_add(1), until: Some(now + time), ..Self::default() };
    }

    /// It answered as it should.
    pub fn answered(&mut self, now: Instant, policy: &HealthPolicy) {
        (self.faults, self.worker, self.several) = (0, None, false);
        let forgiven =
            self.until.is_some_and(|until| now > until + policy.eject_for * self.times.min(LONGEST));
        if forgiven {
            *self = Self::default();
        }
    }

    pub fn is_ejected(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| now < until)
    }

    /// How often it was ejected lately.
    pub fn times(&self) -> u32 {
        self.times
    }
}

/// Whether one more of so many hosts may be ejected while so many are.
pub fn may_eject(ejected: usize, hosts: usize, policy: &HealthPolicy) -> bool {
    (ejected + 1) * 100 <= hosts * policy.eject_most as usize
}

#[cfg(test)]
mod tests {
    use super::Observation::*;
    use super::*;

    /// Feeds observations and returns the state after each.
    fn states(observations: &[Observation]) -> Vec<State> {
        let policy = HealthPolicy::default();
        let mut health = Health::default();
        let now = Instant::now();
        let step = |&observation: &Observation| {
            health.on(observation, now, &policy);
            health.state()
        };
        observations.iter().map(step).collect()
    }

    #[test]
    fn the_first_good_probe_is_enough_at_the_start() {
        assert_eq!(states(&[ProbeSucceeded]), [State::Up]);
    }

    #[test]
    fn three_failed_probes_in_a_row_take_a_host_down_and_two_good_ones_bring_it_back() {
        use State::{Down, Up};
        let seen = states(&[
            ProbeSucceeded,
            ProbeFailed,
            ProbeFailed,
            ProbeSucceeded, // not in a row
            ProbeFailed,
            ProbeFailed,
            ProbeFailed, // down
            ProbeSucceeded,
            ProbeFailed,
            ProbeSucceeded,
            ProbeSucceeded, // up after two in a row
        ]);
        assert_eq!(seen, [Up, Up, Up, Up, Up, Up, Down, Down, Down, Down, Up]);
    }

    #[test]
    fn connection_errors_in_a_row_take_a_host_down() {
        let seen = states(&[ProbeSucceeded, ConnectionFailed, ConnectionFailed, Answered, ConnectionFailed]);
        assert_eq!(seen.last(), Some(&State::Up), "an answer in between starts the count again");
        let seen = states(&[ProbeSucceeded, ConnectionFailed, ConnectionFailed, ConnectionFailed]);
        assert_eq!(seen.last(), Some(&State::Down));
        let seen = states(&[ConnectionFailed, ConnectionFailed, ConnectionFailed, ProbeSucceeded]);
        assert_eq!(seen.last(), Some(&State::Down), "one good probe does not undo it");
    }

    #[test]
    fn a_replaced_host_starts_afresh() {
        let seen = states(&[ProbeSucceeded, Died, Replaced, ProbeSucceeded]);
        assert_eq!(seen, [State::Up, State::Down, State::Unknown, State::Up]);
    }

    #[test]
    fn a_transition_says_from_what_to_what_and_why() {
        let policy = HealthPolicy::default();
        let mut health = Health::default();
        let now = Instant::now();
        let up = Transition { from: State::Unknown, to: State::Up, cause: Cause::Probes };
        assert_eq!(health.on(ProbeSucceeded, now, &policy), Some(up));
        assert_eq!(health.on(ProbeSucceeded, now, &policy), None);
        let down = Transition { from: State::Up, to: State::Down, cause: Cause::Died };
        assert_eq!(health.on(Died, now, &policy), Some(down));
        assert_eq!(health.on(Died, now, &policy), None);
    }

    fn worker(name: &str) -> WorkerName {
        WorkerName::parse(name).unwrap()
    }

    #[test]
    fn failures_of_several_workers_in_a_row_eject_and_each_time_for_longer() {
        let policy = HealthPolicy::default();
        let (mut host, mut now) = (Ejection::default(), Instant::now());
        let fail = |host: &mut Ejection, now: Instant, names: &str| {
            names.chars().fold(None, |_, name| host.failed(&worker(&name.to_string()), now, &policy))
        };
        assert_eq!(fail(&mut host, now, "aaaaaaaaaa"), None, "it may be the worker");
        host.answered(now, &policy);
        assert_eq!(fail(&mut host, now, "abab"), None);
        host.answered(now, &policy);
        assert_eq!(fail(&mut host, now, "abab"), None, "not in a row");
        for times in 1..=3 {
            let time = fail(&mut host, now, "ababa").unwrap();
            assert_eq!(time, policy.eject_for * times);
            host.eject(now, time);
            assert!(host.is_ejected(now) && !host.is_ejected(now + time));
            assert_eq!(fail(&mut host, now, "abcdefg"), None, "it is ejected already");
            now += time;
            host.answered(now, &policy);
        }
        host.answered(now + policy.eject_for * 4, &policy);
        assert_eq!(host, Ejection::default(), "it was well for long");
    }

    #[test]
    fn a_share_of_the_hosts_always_stays() {
        for percent in 0..=100 {
            let policy = HealthPolicy { eject_most: percent, ..HealthPolicy::default() };
            for hosts in 0..50 {
                let ejected = (0..).find(|&ejected| !may_eject(ejected, hosts, &policy)).unwrap();
                assert_eq!(ejected, hosts * percent as usize / 100, "{hosts} hosts, {percent} %");
            }
        }
    }

    #[test]
    fn only_a_host_that_died_has_to_settle() {
        let policy = HealthPolicy::default();
        let now = Instant::now();
        let after = |observations: &[Observation]| {
            let mut health = Health::default();
            for &observation in observations {
                health.on(observation, now, &policy);
            }
            health
        };
        assert!(!after(&[ProbeSucceeded]).is_settling(now));
        let down = [ProbeSucceeded, ProbeFailed, ProbeFailed, ProbeFailed];
        let back = [&down[..], &[ProbeSucceeded, ProbeSucceeded]].concat();
        assert_eq!(after(&back).state(), State::Up);
        assert!(!after(&back).is_settling(now), "its isolates are still there");

        let died = after(&[ProbeSucceeded, Died, Replaced, ProbeSucceeded]);
        assert_eq!(died.state(), State::Up);
        assert!(died.is_settling(now));
        assert!(!died.is_settling(now + policy.settle));
        let twice = after(&[ProbeSucceeded, Died, Replaced, Died, Replaced, ProbeSucceeded]);
        assert!(twice.is_settling(now));
    }
}
