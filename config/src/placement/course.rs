//! Who is on the ring at which time.
//!
//! A [`Course`] follows from what operators wanted and when it took effect. Hosts that
//! join are filled and hosts that leave are emptied in steps, and every step is an
//! epoch. Times are of the wall clock, so that routers with the same course are at the
//! same epoch at the same time without talking:
//!
//! ```text
//! wanted ──change(at)──▶ Course ──members(now)──▶ Membership ──▶ Epoch
//!                           └──next_step(now)──▶ when that changes
//! ```

use std::time::Duration;

use super::{Member, Ramp, RampPolicy};
use crate::units::Share;

/// What an operator wants of a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostState {
    Active,
    /// To be emptied step by step.
    Draining,
    /// Gets nothing.
    Out,
}

impl HostState {
    /// The share it has in the end.
    pub fn settled(self) -> Share {
        if self == Self::Active { Share::FULL } else { Share::NONE }
    }
}

/// A moment, as the time since 1970 began.
pub type Moment = Duration;

/// The members of a fleet over time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Course {
    hosts: Vec<Host>,
    policy: RampPolicy,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Host {
    member: Member,
    state: HostState,
    ramping: Option<Ramping>,
}

/// A host on its way to its share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Ramping {
    ramp: Ramp,
    began: Moment,
}

impl Course {
    /// Every host has the share that its state gives it in the end.
    pub fn settled(hosts: impl IntoIterator<Item = (Member, HostState)>, policy: RampPolicy) -> Self {
        let host = |(member, state)| Host { member, state, ramping: None };
        Self { hosts: hosts.into_iter().map(host).collect(), policy }
    }

    /// The course from a change on: hosts that join or are to be emptied begin to ramp from
    /// the share they have by then.
    #[must_use]
    pub fn change(
        &self,
        hosts: impl IntoIterator<Item = (Member, HostState)>,
        policy: RampPolicy,
        at: Moment,
    ) -> Self {
        let host = |(member, state): (Member, HostState)| {
            let before = self.hosts.iter().find(|host| host.member.id == member.id);
            Host { ramping: self.ramping(before, state, policy, at), member, state }
        };
        Self { hosts: hosts.into_iter().map(host).collect(), policy }
    }

    fn ramping(
        &self,
        before: Option<&Host>,
        state: HostState,
        policy: RampPolicy,
        at: Moment,
    ) -> Option<Ramping> {
        let under_way = before.and_then(|host| host.ramping).filter(|ramping| !self.is_over(*ramping, at));
        let ramp = match (before.map(|host| host.state), state) {
            // Goes on where it is.
            (Some(before), after) if before == after => match under_way {
                Some(ramping) if policy != self.policy => ramping.ramp,
                under_way => return under_way,
            },
            (_, HostState::Active) => Ramp::Fill,
            (Some(_), HostState::Draining) => Ramp::Drain,
            (None, HostState::Draining) | (_, HostState::Out) => return None,
        };
        let share = before.map_or(Share::NONE, |host| self.share(host, at));
        let there = match ramp {
            Ramp::Fill => share.thousandths(),
            Ramp::Drain => Share::FULL.thousandths() - share.thousandths(),
        };
        let ahead = policy.over * there / Share::FULL.thousandths();
        Some(Ramping { ramp, began: at.saturating_sub(ahead) })
    }

    fn is_over(&self, ramping: Ramping, now: Moment) -> bool {
        self.policy.next_change(now.saturating_sub(ramping.began)).is_none()
    }

    fn share(&self, host: &Host, now: Moment) -> Share {
        match host.ramping {
            Some(ramping) => self.policy.share(ramping.ramp, now.saturating_sub(ramping.began)),
            None => host.state.settled(),
        }
    }

    /// The members at a moment.
    pub fn members(&self, now: Moment) -> Vec<Member> {
        self.hosts.iter().map(|host| host.member.clone().with_share(self.share(host, now))).collect()
    }

    /// When a ramp takes its next step after a moment; `None` when every ramp is over.
    pub fn next_step(&self, after: Moment) -> Option<Moment> {
        let next = |ramping: Ramping| {
            Some(ramping.began + self.policy.next_change(after.saturating_sub(ramping.began))?)
        };
        self.hosts.iter().filter_map(|host| next(host.ramping?)).min()
    }
}

/// When a change takes effect that a file with this time of change asks for: so long after the
/// file changed, whenever a router saw it. One that is found only later, or has a time to
/// come, takes effect so long after it was found.
pub fn takes_effect(changed: Moment, wait: Duration, found: Moment) -> Moment {
    let agreed = changed.saturating_add(wait);
    if (found..=found.saturating_add(wait)).contains(&agreed) { agreed } else { found.saturating_add(wait) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::{HostId, Weight};

    const POLICY: RampPolicy = RampPolicy { over: Duration::from_secs(90), steps: 10 };

    fn at(seconds: u64) -> Moment {
        Duration::from_secs(1_000_000 + seconds)
    }

    fn hosts(wanted: &[(&str, HostState)]) -> Vec<(Member, HostState)> {
        let host =
            |(id, state): &(&str, HostState)| (Member::new(HostId::parse(id).unwrap(), Weight::ONE), *state);
        wanted.iter().map(host).collect()
    }

    fn shares(course: &Course, now: Moment) -> Vec<u32> {
        course.members(now).iter().map(|member| member.share.thousandths()).collect()
    }

    use HostState::{Active, Draining, Out};

    #[test]
    fn a_host_that_joins_is_filled_from_the_moment_of_the_change() {
        let one = Course::settled(hosts(&[("a", Active)]), POLICY);
        assert_eq!((shares(&one, at(0)), one.next_step(at(0))), (vec![1000], None));
        let two = one.change(hosts(&[("a", Active), ("b", Active)]), POLICY, at(0));
        assert_eq!(shares(&two, at(0)), [1000, 100]);
        assert_eq!(two.next_step(at(0)), Some(at(10)));
        assert_eq!(shares(&two, at(10)), [1000, 200]);
        assert_eq!((shares(&two, at(90)), two.next_step(at(90))), (vec![1000, 1000], None));
    }

    #[test]
    fn a_host_that_leaves_is_emptied_from_the_share_it_has() {
        let one = Course::settled(hosts(&[("a", Active)]), POLICY);
        let two = one.change(hosts(&[("a", Active), ("b", Active)]), POLICY, at(0));
        let leaving = two.change(hosts(&[("a", Active), ("b", Draining)]), POLICY, at(35));
        assert_eq!([35, 36].map(|secs| shares(&leaving, at(secs))[1]), [400, 400], "no jump");
        assert_eq!(shares(&two, at(35))[1], 400);
        assert_eq!(shares(&leaving, at(35 + 36)), [1000, 0]);
        let out = two.change(hosts(&[("a", Active), ("b", Out)]), POLICY, at(35));
        assert_eq!(shares(&out, at(35)), [1000, 0], "out is at once");
        let late = one.change(hosts(&[("a", Active), ("c", Draining)]), POLICY, at(0));
        assert_eq!(shares(&late, at(0)), [1000, 0], "what was never there has nothing to lose");
    }

    #[test]
    fn other_changes_leave_a_ramp_where_it_is() {
        let one = Course::settled(hosts(&[("a", Active)]), POLICY);
        let two = one.change(hosts(&[("a", Active), ("b", Active)]), POLICY, at(0));
        let three = two.change(hosts(&[("a", Active), ("b", Active), ("c", Active)]), POLICY, at(30));
        assert_eq!(shares(&three, at(30)), [1000, 400, 100]);
        // A slower policy goes on from the share there is, and does not undo what is over.
        let slow = RampPolicy { over: Duration::from_secs(9000), steps: 10 };
        let slower = two.change(hosts(&[("a", Active), ("b", Active)]), slow, at(30));
        assert_eq!(shares(&slower, at(30))[1], 400);
        let over = two.change(hosts(&[("a", Active), ("b", Active)]), slow, at(91));
        assert_eq!(shares(&over, at(91)), [1000, 1000]);
    }

    #[test]
    fn routers_that_find_a_change_at_different_times_take_it_at_the_same() {
        let wait = Duration::from_secs(5);
        for found in [0, 1, 4, 5] {
            assert_eq!(takes_effect(at(0), wait, at(found)), at(5), "{found}");
        }
        assert_eq!(takes_effect(at(0), wait, at(6)), at(11), "too late to agree");
        assert_eq!(takes_effect(at(100), wait, at(0)), at(5), "a clock that is ahead");
        assert_eq!(takes_effect(at(0), Duration::ZERO, at(0)), at(0));
    }
}
