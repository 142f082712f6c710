//! Filling and emptying a host step by step. Both policies place a host with
//! less of its weight on a subset of the keys that it has with more, so a ramp
//! moves every key at most once, and never between two other hosts.

use std::time::Duration;

use crate::units::Share;

/// How a host gets its load, or loses it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ramp {
    /// The host has joined: its share grows from the first step to all of it.
    Fill,
    /// The host is being emptied: its share falls to nothing.
    Drain,
}

/// The numbers ramps go by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RampPolicy {
    /// How long a ramp takes. Zero switches at once.
    pub over: Duration,
    /// In how many steps; each one is an epoch.
    pub steps: u32,
}

impl Default for RampPolicy {
    fn default() -> Self {
        Self { over: Duration::from_secs(30), steps: 10 }
    }
}

impl RampPolicy {
    /// The share this long after the ramp began. Its first step is taken at once.
    pub fn share(&self, ramp: Ramp, elapsed: Duration) -> Share {
        let taken = Share::of_thousand(1000 * self.steps_taken(elapsed) / self.steps.max(1));
        match ramp {
            Ramp::Fill => taken,
            Ramp::Drain => Share::of_thousand(Share::FULL.thousandths() - taken.thousandths()),
        }
    }

    /// When the share changes next, counted from the beginning of the ramp; `None` once it is over.
    pub fn next_change(&self, elapsed: Duration) -> Option<Duration> {
        let taken = self.steps_taken(elapsed);
        (taken < self.steps.max(1)).then(|| self.step_length() * taken)
    }

    fn step_length(&self) -> Duration {
        // The first of n steps is taken at the beginning, the last at the end.
        self.over / self.steps.saturating_sub(1).max(1)
    }

    fn steps_taken(&self, elapsed: Duration) -> u32 {
        let steps = self.steps.max(1);
        let length = self.step_length();
        if elapsed >= self.over || length.is_zero() {
            return steps;
        }
        let whole = elapsed.as_nanos() / length.as_nanos();
        u32::try_from(whole).unwrap_or(u32::MAX).saturating_add(1).min(steps)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: RampPolicy = RampPolicy { over: Duration::from_secs(40), steps: 5 };

    #[test]
    fn a_ramp_goes_all_the_way_in_steps() {
        let fill = |secs| POLICY.share(Ramp::Fill, Duration::from_secs(secs)).thousandths();
        assert_eq!([0, 9, 10, 20, 39, 40, 4000].map(fill), [200, 200, 400, 600, 800, 1000, 1000]);
        let drain = |secs| POLICY.share(Ramp::Drain, Duration::from_secs(secs)).thousandths();
        assert_eq!([0, 10, 40].map(drain), [800, 600, 0]);
    }

    #[test]
    fn each_change_is_announced_where_it_happens() {
        let mut at = Duration::ZERO;
        let mut seen = vec![POLICY.share(Ramp::Fill, at)];
        while let Some(next) = POLICY.next_change(at) {
            assert!(next > at);
            assert_eq!(POLICY.share(Ramp::Fill, next - Duration::from_nanos(1)), *seen.last().unwrap());
            at = next;
            seen.push(POLICY.share(Ramp::Fill, at));
        }
        assert_eq!(seen.len(), 5);
        assert_eq!(seen.last(), Some(&Share::FULL));
    }

    #[test]
    fn no_time_is_one_step() {
        let at_once = RampPolicy { over: Duration::ZERO, steps: 10 };
        assert_eq!(at_once.share(Ramp::Drain, Duration::ZERO), Share::NONE);
        assert_eq!(at_once.next_change(Duration::ZERO), None);
        let single = RampPolicy { over: Duration::from_secs(1), steps: 1 };
        assert_eq!(single.share(Ramp::Fill, Duration::ZERO), Share::FULL);
    }
}
