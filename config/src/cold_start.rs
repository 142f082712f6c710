//! Why a request met no running isolate.
//!
//! A [`History`] is what one router remembers of one worker: where it was seen
//! to be warm, what became of those hosts, and which hosts a new membership gave
//! it. With that, every cold start has exactly one [`Cause`].

use std::time::Duration;

use crate::placement::{HostIndex, Reason};
use crate::wire::StartKind;

/// Why a start was cold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Cause {
    /// Nobody had called the worker before, as far as this router knows.
    First,
    /// It was warm there and the host dropped it to make room, or since nobody called.
    Evicted,
    /// What was warm was busy: another isolate, or another host, was added.
    ScaleOut,
    /// The membership changed, or its host is being emptied, and gave it another host.
    Moved,
    /// The host where it was warm died or cannot be reached.
    HostLost,
    /// It was deployed anew.
    NewVersion,
    /// It was warm at another host that could have been taken: the router's own mistake.
    Misplaced,
}

impl Cause {
    pub const ALL: [Cause; 7] = [
        Self::First,
        Self::Evicted,
        Self::ScaleOut,
        Self::Moved,
        Self::HostLost,
        Self::NewVersion,
        Self::Misplaced,
    ];

    /// The word in headers, metrics and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Evicted => "evicted",
            Self::ScaleOut => "scale_out",
            Self::Moved => "moved",
            Self::HostLost => "host_lost",
            Self::NewVersion => "new_version",
            Self::Misplaced => "misplaced",
        }
    }

    /// `None` for a word that this version does not know.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|cause| cause.as_str() == word)
    }
}

/// An answer of a worker, as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    pub host: HostIndex,
    pub start: StartKind,
    /// Names the deployment that answered.
    pub deployment: Option<u64>,
    /// What the host itself says, which only knows what happened there: `first`,
    /// `evicted`, `scale_out` or `new_version`.
    pub host_says: Option<Cause>,
    /// Why the host was taken.
    pub reason: Reason,
    /// Other requests of the worker were in flight through this router.
    pub busy: bool,
    /// When the host was taken.
    pub placed: Duration,
    pub now: Duration,
}

/// What a router remembers of a worker. Small: most workers have one place.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct History {
    /// Where it answered.
    warm: Vec<Place>,
    /// Hosts that it was warm at and that died, until it is warm there again.
    lost: Vec<HostIndex>,
    /// So many losses have not led to a cold start elsewhere yet.
    unclaimed: u32,
    /// Hosts that a new membership gave it, until it has answered there.
    moved: Vec<HostIndex>,
    /// Where it lives although that is not its first home, see [`crate::placement::choose`].
    other_home: Option<HostIndex>,
    deployment: Option<u64>,
    seen: bool,
}

/// A host where a worker was seen to be warm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    host: HostIndex,
    /// The first answer from there.
    since: Duration,
    /// The latest one.
    last: Duration,
}

/// A place that was silent for longer may have been dropped by its host.
const FRESH: Duration = Duration::from_secs(300);

/// Starts that answer within this time may have been under way together.
const TOGETHER: Duration = Duration::from_secs(5);

impl History {
    /// Whether any host has answered for the worker.
    pub fn seen(&self) -> bool {
        self.seen
    }

    /// Whether the worker was warm there when it was last heard of.
    pub fn is_warm(&self, host: HostIndex) -> bool {
        self.place(host).is_some()
    }

    fn place(&self, host: HostIndex) -> Option<&Place> {
        self.warm.iter().find(|place| place.host == host)
    }

    /// Where it was warm when it was last heard of.
    pub fn warm(&self) -> impl Iterator<Item = HostIndex> + '_ {
        self.warm.iter().map(|place| place.host)
    }

    /// The home that answered last, if that was not the first one.
    pub fn other_home(&self) -> Option<HostIndex> {
        self.other_home
    }

    /// Takes an answer in; the cause when its start was cold.
    pub fn answered(&mut self, answer: &Answer) -> Option<Cause> {
        if answer.start == StartKind::Waited {
            // It may overtake the answer of the request that caused the restore,
            // which is the one to say why it was cold.
            return None;
        }
        let cause = (answer.start == StartKind::Cold).then(|| self.cause(answer));
        if cause == Some(Cause::HostLost) {
            self.unclaimed = self.unclaimed.saturating_sub(1);
        }
        self.seen = true;
        self.other_home = (answer.reason == Reason::OtherHome).then_some(answer.host);
        if answer.deployment.is_some() {
            self.deployment = answer.deployment;
        }
        match self.warm.iter_mut().find(|place| place.host == answer.host) {
            Some(place) => place.last = answer.now,
            None => {
                self.warm.push(Place { host: answer.host, since: answer.now, last: answer.now });
                self.lost.retain(|&host| host != answer.host);
                self.moved.retain(|&host| host != answer.host);
            }
        }
        cause
    }

    fn cause(&self, answer: &Answer) -> Cause {
        let known = |cause| answer.host_says == Some(cause);
        let redeployed = matches!((self.deployment, answer.deployment), (Some(a), Some(b)) if a != b);
        if known(Cause::NewVersion) || redeployed {
            return Cause::NewVersion;
        }
        if let Some(place) = self.place(answer.host) {
            let together = answer.busy || answer.now.saturating_sub(place.last) < TOGETHER;
            return match answer.host_says {
                Some(Cause::ScaleOut) => Cause::ScaleOut,
                // What came instead of a lost place; a warm answer of it was faster.
                Some(Cause::First) if self.unclaimed > 0 && place.since > answer.placed => Cause::HostLost,
                // The host did not have it a moment ago, and another answer was faster.
                Some(Cause::First) if together => Cause::ScaleOut,
                // It is another process than the one that had it, and nobody noticed.
                Some(Cause::First) => Cause::HostLost,
                None if answer.busy => Cause::ScaleOut,
                _ => Cause::Evicted,
            };
        }
        if !self.seen {
            // Another router may know it: a host that had it before says so.
            let said = answer.host_says.filter(|said| matches!(said, Cause::Evicted | Cause::ScaleOut));
            return said.unwrap_or(Cause::First);
        }
        if self.lost.contains(&answer.host) || self.unclaimed > 0 {
            return Cause::HostLost;
        }
        if self.moved.contains(&answer.host) {
            return Cause::Moved;
        }
        match answer.reason {
            Reason::Refused | Reason::OverBound | Reason::Spread => return Cause::ScaleOut,
            Reason::HomeDraining | Reason::Leaving => return Cause::Moved,
            Reason::Failed
            | Reason::HomeSettling
            | Reason::HomeEjected
            | Reason::HomeDown
            | Reason::HomeAbsent
            | Reason::LastResort => return Cause::HostLost,
            Reason::Home | Reason::OtherHome | Reason::Drawn => {}
        }
        match answer.host_says {
            Some(said @ (Cause::Evicted | Cause::ScaleOut)) => said,
            // Answers to later requests were faster.
            _ if self.warm.iter().all(|place| place.since > answer.placed) && !self.warm.is_empty() => {
                Cause::First
            }
            _ if self.was_fresh_elsewhere(answer) => Cause::Misplaced,
            _ => Cause::Evicted,
        }
    }

    /// Whether a warm place was known when the request's host was taken.
    fn was_fresh_elsewhere(&self, answer: &Answer) -> bool {
        let known = |place: &&Place| place.since <= answer.placed;
        self.warm.iter().filter(known).any(|place| answer.now.saturating_sub(place.last) < FRESH)
    }

    /// A host said that it is not warm there any more.
    pub fn not_warm(&mut self, host: HostIndex) {
        self.warm.retain(|place| place.host != host);
        self.other_home = self.other_home.filter(|other| *other != host);
    }

    /// A host died, and what was warm there with it.
    pub fn host_lost(&mut self, host: HostIndex) {
        let before = self.warm.len();
        self.not_warm(host);
        if self.warm.len() < before {
            self.lost.push(host);
            self.unclaimed += 1;
        }
    }

    /// The membership changed. `renumber` gives a host's index in the new one;
    /// the windows are the hosts within the worker's width, before (by their old
    /// indices) and after (by their new ones).
    pub fn membership_changed(
        &mut self,
        renumber: impl Fn(HostIndex) -> Option<HostIndex>,
        before: &[HostIndex],
        after: &[HostIndex],
    ) {
        let known = |hosts: &[HostIndex]| hosts.iter().filter_map(|&host| renumber(host)).collect::<Vec<_>>();
        self.warm = self
            .warm
            .iter()
            .filter_map(|place| Some(Place { host: renumber(place.host)?, ..*place }))
            .collect();
        self.lost = known(&self.lost);
        self.moved = known(&self.moved);
        // Its homes are others now, and the first may have been made ready for it.
        self.other_home = None;
        if !self.seen {
            return;
        }
        let before = known(before);
        for &host in after {
            if !before.contains(&host) && !self.is_warm(host) && !self.moved.contains(&host) {
                self.moved.push(host);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(host: usize, start: StartKind, reason: Reason) -> Answer {
        let host = HostIndex::new(host);
        let now = Duration::from_secs(10);
        Answer { host, start, deployment: Some(1), host_says: None, reason, busy: false, placed: now, now }
    }

    fn cold(host: usize, reason: Reason) -> Answer {
        at(host, StartKind::Cold, reason)
    }

    /// A worker that is warm at host 0.
    fn warm_at_home() -> History {
        let mut history = History::default();
        assert_eq!(history.answered(&cold(0, Reason::Home)), Some(Cause::First));
        assert_eq!(history.answered(&at(0, StartKind::Warm, Reason::Home)), None);
        history
    }

    #[test]
    fn words_round_trip() {
        for cause in Cause::ALL {
            assert_eq!(Cause::parse(cause.as_str()), Some(cause));
        }
        assert_eq!(Cause::parse("luck"), None);
    }

    #[test]
    fn only_cold_starts_have_a_cause() {
        let mut history = History::default();
        for start in [StartKind::Warm, StartKind::Waited, StartKind::Spare] {
            assert_eq!(history.answered(&at(0, start, Reason::Home)), None);
        }
    }

    #[test]
    fn at_the_same_host_it_was_evicted_or_there_are_too_few() {
        let mut history = warm_at_home();
        assert_eq!(history.answered(&cold(0, Reason::Home)), Some(Cause::Evicted));
        let busy = Answer { busy: true, ..cold(0, Reason::Home) };
        assert_eq!(history.answered(&busy), Some(Cause::ScaleOut));
        let says = |cause| Answer { host_says: Some(cause), busy: true, ..cold(0, Reason::Home) };
        assert_eq!(history.answered(&says(Cause::Evicted)), Some(Cause::Evicted), "the host knows better");
    }

    #[test]
    fn answers_may_overtake_each_other() {
        // One that waited for the restore is told before the one that caused it.
        let mut history = History::default();
        assert_eq!(history.answered(&at(0, StartKind::Waited, Reason::Home)), None);
        assert_eq!(history.answered(&cold(0, Reason::Home)), Some(Cause::First));
        history.host_lost(HostIndex::new(0));
        assert_eq!(history.answered(&at(1, StartKind::Waited, Reason::HomeDown)), None);
        assert_eq!(history.answered(&cold(1, Reason::HomeDown)), Some(Cause::HostLost));
        // Two restores at a host that had none, the second one faster.
        let says = |cause| Answer { host_says: Some(cause), ..cold(2, Reason::Refused) };
        assert_eq!(history.answered(&says(Cause::ScaleOut)), Some(Cause::ScaleOut));
        assert_eq!(history.answered(&says(Cause::First)), Some(Cause::ScaleOut));
        // Long after, the host has become another process.
        let later = Answer { now: Duration::from_secs(100), ..says(Cause::First) };
        assert_eq!(history.answered(&later), Some(Cause::HostLost));
    }

    #[test]
    fn a_place_that_became_known_after_the_choice_is_no_mistake() {
        let mut history = History::default();
        let later = Answer { host_says: Some(Cause::ScaleOut), ..cold(0, Reason::Refused) };
        assert_eq!(history.answered(&later), Some(Cause::ScaleOut));
        let earlier = Answer { placed: Duration::from_secs(9), ..cold(1, Reason::Home) };
        assert_eq!(history.answered(&earlier), Some(Cause::First));
        // Chosen when a place was known and another one was not yet.
        let between =
            Answer { placed: Duration::from_secs(10), now: Duration::from_secs(11), ..cold(2, Reason::Home) };
        assert_eq!(history.answered(&between), Some(Cause::Misplaced));
    }

    #[test]
    fn a_new_deployment_is_cold_everywhere() {
        let mut history = warm_at_home();
        let newer = Answer { deployment: Some(2), ..cold(0, Reason::Home) };
        assert_eq!(history.answered(&newer), Some(Cause::NewVersion));
        assert_eq!(history.answered(&newer), Some(Cause::Evicted));
    }

    #[test]
    fn another_host_is_scaling_out_moving_or_a_loss_depending_on_why_it_was_taken() {
        for (reason, cause) in [
            (Reason::Refused, Cause::ScaleOut),
            (Reason::OverBound, Cause::ScaleOut),
            (Reason::Spread, Cause::ScaleOut),
            (Reason::Leaving, Cause::Moved),
            (Reason::HomeDraining, Cause::Moved),
            (Reason::HomeDown, Cause::HostLost),
            (Reason::HomeEjected, Cause::HostLost),
            (Reason::Failed, Cause::HostLost),
            (Reason::Home, Cause::Misplaced),
        ] {
            assert_eq!(warm_at_home().answered(&cold(1, reason)), Some(cause), "{reason:?}");
        }
    }

    #[test]
    fn a_lost_host_costs_one_start_elsewhere_and_one_when_it_is_back() {
        let mut history = warm_at_home();
        history.host_lost(HostIndex::new(0));
        history.host_lost(HostIndex::new(0));
        assert_eq!(history.answered(&cold(1, Reason::HomeDown)), Some(Cause::HostLost));
        assert_eq!(history.answered(&cold(2, Reason::Refused)), Some(Cause::ScaleOut), "only one is its due");
        assert_eq!(history.answered(&cold(0, Reason::Home)), Some(Cause::HostLost));
        assert_eq!(history.answered(&cold(0, Reason::Home)), Some(Cause::Evicted));
    }

    #[test]
    fn a_start_that_is_overtaken_is_still_that_of_a_lost_host() {
        let mut history = warm_at_home();
        history.host_lost(HostIndex::new(0));
        let sent = Duration::from_secs(10);
        let answered = |start, seconds| Answer {
            host_says: (start == StartKind::Cold).then_some(Cause::First),
            placed: sent,
            now: sent + Duration::from_secs(seconds),
            ..at(1, start, Reason::HomeDown)
        };
        assert_eq!(history.answered(&answered(StartKind::Warm, 1)), None);
        assert_eq!(history.answered(&answered(StartKind::Cold, 2)), Some(Cause::HostLost));
        assert_eq!(history.answered(&answered(StartKind::Cold, 3)), Some(Cause::ScaleOut), "only one is");
    }

    #[test]
    fn a_new_membership_moves_a_worker_once() {
        let mut history = warm_at_home();
        // Host 0 becomes host 1; the new host 0 is the home.
        let renumber = |host: HostIndex| Some(HostIndex::new(host.get() + 1));
        history.membership_changed(renumber, &[HostIndex::new(0)], &[HostIndex::new(0)]);
        assert!(history.is_warm(HostIndex::new(1)));
        assert_eq!(history.answered(&cold(0, Reason::Home)), Some(Cause::Moved));
        assert_eq!(history.answered(&cold(0, Reason::Home)), Some(Cause::Evicted));
        // Nothing moved: nothing is remembered.
        let mut same = warm_at_home();
        same.membership_changed(Some, &[HostIndex::new(0)], &[HostIndex::new(0)]);
        assert_eq!(same, warm_at_home());
        // A host that left takes what was warm there along.
        same.membership_changed(|_| None, &[HostIndex::new(0)], &[HostIndex::new(0)]);
        assert_eq!(same.answered(&cold(0, Reason::Home)), Some(Cause::Moved));
    }

    #[test]
    fn it_lives_at_another_home_until_that_refuses_or_homes_change() {
        let lives_at_one = || {
            let mut history = warm_at_home();
            assert_eq!(history.other_home(), None);
            history.answered(&at(1, StartKind::Warm, Reason::OtherHome));
            assert_eq!(history.other_home(), Some(HostIndex::new(1)));
            history
        };
        let mut refused = lives_at_one();
        refused.not_warm(HostIndex::new(0));
        assert_eq!(refused.other_home(), Some(HostIndex::new(1)));
        refused.not_warm(HostIndex::new(1));
        assert_eq!((refused.other_home(), refused.is_warm(HostIndex::new(1))), (None, false));
        let mut died = lives_at_one();
        died.host_lost(HostIndex::new(1));
        assert_eq!(died.other_home(), None);
        let mut moved = lives_at_one();
        moved.membership_changed(Some, &[HostIndex::new(0)], &[HostIndex::new(0)]);
        assert_eq!(moved.other_home(), None);
        let mut back = lives_at_one();
        back.answered(&at(0, StartKind::Warm, Reason::Home));
        assert_eq!(back.other_home(), None);
    }

    #[test]
    fn a_place_that_was_long_silent_is_no_mistake() {
        let mut history = warm_at_home();
        let later = Answer { now: Duration::from_secs(1000), ..cold(1, Reason::Home) };
        assert_eq!(history.answered(&later), Some(Cause::Evicted));
    }
}
