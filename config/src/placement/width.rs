//! How many hosts a worker is spread over: elastic, learned from refusals.
//!
//! ```text
//!                a host within the width refuses, or is over its bound,
//!                and the request goes on beyond the width
//!        width n ─────────────────────────────────────────────────────▶ width n + 1
//!           ▲                                                              │
//!           └── for `hold`, never more in flight than `slack` of what ─────┘
//!               made it grow; or nobody knows better after `trial`
//! ```
//!
//! Every worker begins with its home alone. Since all routers list the same
//! candidates, those that learn the same width use the same hosts, without
//! talking. Shrinking waits for the load to have fallen well below the one that
//! made the width grow, so that a load at the edge does not make it swing. A host
//! that refused because of *other* workers says nothing about this one's load,
//! which may never fall; so the width is also tried smaller from time to time,
//! the longer apart the more often it had to grow again at once.

use std::time::Duration;

/// The numbers widths go by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WidthPolicy {
    /// The most hosts a worker is spread over.
    pub most: u16,
    /// How long the load must have been low.
    pub hold: Duration,
    /// Low is at most this many percent of what made the width grow.
    pub slack_percent: u32,
    /// After this long it is tried with one host less whatever the load; doubled
    /// up to [`WidthPolicy::LONGEST_TRIAL`] each time that fails.
    pub trial: Duration,
}

impl WidthPolicy {
    pub const LONGEST_TRIAL: Duration = Duration::from_secs(3600);
}

impl Default for WidthPolicy {
    fn default() -> Self {
        Self {
            most: u16::MAX,
            hold: Duration::from_secs(30),
            slack_percent: 70,
            trial: Duration::from_secs(300),
        }
    }
}

/// A worker's width as one router has learned it. Times count from any fixed
/// moment; loads are this router's requests of the worker in flight.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Elastic {
    /// One for each host beyond the home.
    steps: Vec<Step>,
    /// The most in flight since `window`.
    peak: u32,
    window: Duration,
    /// When it was last made smaller only to try, and how long it had waited for that.
    tried: Option<(Duration, Duration)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Step {
    /// The load that made it necessary.
    load: u32,
    /// When it is tried without it whatever the load.
    trial: Duration,
    /// How long was waited for that.
    waited: Duration,
}

impl Elastic {
    /// How many hosts, 1 or more.
    pub fn width(&self) -> u16 {
        u16::try_from(self.steps.len()).unwrap_or(u16::MAX).saturating_add(1)
    }

    /// A request is about to be placed: takes the load in, shrinks if it is time,
    /// and returns the width to use.
    pub fn at(&mut self, now: Duration, in_flight: u32, policy: &WidthPolicy) -> u16 {
        let Some(mut step) = self.steps.last().copied() else {
            return 1;
        };
        // A while without requests was a while without load.
        while now.saturating_sub(self.window) >= policy.hold {
            let low = u64::from(self.peak) * 100 <= u64::from(step.load) * u64::from(policy.slack_percent);
            if low || now >= step.trial {
                self.tried = (!low).then_some((now, step.waited));
                self.steps.pop();
                let Some(&below) = self.steps.last() else { break };
                step = below;
            }
            let passed = now - self.window;
            self.window = if passed >= 2 * policy.hold { self.window + policy.hold } else { now };
            self.peak = if self.window == now { in_flight } else { 0 };
            if policy.hold.is_zero() {
                break;
            }
        }
        self.peak = self.peak.max(in_flight);
        self.width()
    }

    /// A request had to go on to the candidate that is number `width` among the
    /// eligible ones. Returns whether the width has grown.
    pub fn needs(&mut self, width: u16, now: Duration, in_flight: u32, policy: &WidthPolicy) -> bool {
        let width = width.min(policy.most);
        if width <= self.width() {
            return false;
        }
        // Growing right after a trial means that the trial was wrong.
        let failed = self.tried.take().filter(|(when, _)| now.saturating_sub(*when) < policy.hold);
        let wait = failed.map_or(policy.trial, |(_, waited)| (waited * 2).min(WidthPolicy::LONGEST_TRIAL));
        while self.width() < width {
            self.steps.push(Step { load: in_flight, trial: now + wait, waited: wait });
        }
        self.window = now;
        self.peak = in_flight;
        true
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const POLICY: WidthPolicy = WidthPolicy {
        most: 8,
        hold: Duration::from_secs(30),
        slack_percent: 70,
        trial: Duration::from_secs(300),
    };

    fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    fn grown_to(width: u16, load: u32) -> Elastic {
        let mut elastic = Elastic::default();
        elastic.needs(width, Duration::ZERO, load, &POLICY);
        elastic
    }

    #[test]
    fn it_begins_at_home_and_grows_when_needed() {
        let mut elastic = Elastic::default();
        assert_eq!(elastic.at(secs(0), 500, &POLICY), 1);
        assert!(elastic.needs(2, secs(0), 64, &POLICY));
        assert!(!elastic.needs(2, secs(0), 65, &POLICY), "requests refused together learn it once");
        assert_eq!(elastic.width(), 2);
        elastic.needs(100, secs(0), 64, &POLICY);
        assert_eq!(elastic.width(), 8, "no further than allowed");
    }

    #[test]
    fn it_stays_while_the_load_does_and_shrinks_when_it_has_fallen_for_long_enough() {
        let mut elastic = grown_to(2, 100);
        for second in 1..200 {
            assert_eq!(elastic.at(secs(second), 80, &POLICY), 2, "80 is not low enough");
        }
        // One moment of load in each window is enough to stay.
        for second in 200..290 {
            let load = if second % 20 == 0 { 71 } else { 1 };
            assert_eq!(elastic.at(secs(second), load, &POLICY), 2, "{second}");
        }
        let shrunk = (290..400).find(|&second| elastic.at(secs(second), 70, &POLICY) == 1);
        assert!(shrunk.is_some_and(|second| second <= 350), "{shrunk:?}");
    }

    #[test]
    fn it_comes_down_one_host_at_a_time() {
        let mut elastic = grown_to(4, 100);
        let widths: Vec<u16> = (0..200).map(|second| elastic.at(secs(second), 5, &POLICY)).collect();
        assert!(widths.windows(2).all(|pair| pair[0] - pair[1] <= 1));
        let at = |width| widths.iter().position(|&found| found == width).unwrap();
        assert!(at(1) - at(2) >= 29 && at(2) - at(3) >= 29, "{widths:?}");
    }

    #[test]
    fn a_worker_that_falls_silent_is_small_when_it_comes_back() {
        let mut elastic = grown_to(3, 100);
        elastic.at(secs(1), 90, &POLICY);
        assert_eq!(elastic.at(secs(40), 1, &POLICY), 3, "the first window was busy");
        assert_eq!(elastic.at(secs(1000), 1, &POLICY), 1);
    }

    #[test]
    fn what_other_workers_load_caused_is_tried_without_and_less_often_when_that_fails() {
        let mut elastic = grown_to(2, 1);
        let mut trials = Vec::new();
        for second in 1..4000 {
            if elastic.at(secs(second), 1, &POLICY) == 1 {
                trials.push(second);
                elastic.needs(2, secs(second), 1, &POLICY);
            }
        }
        let gaps: Vec<u64> = trials.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!((300..=330).contains(&trials[0]), "{trials:?}");
        assert!(gaps[0] >= 600 && gaps[1] >= 1200, "{trials:?}");
    }

    proptest! {
        #[test]
        fn the_width_stays_in_its_bounds_whatever_happens(
            events in prop::collection::vec((0u64..600, 0u32..300, 0u16..20), 1..60),
        ) {
            let mut elastic = Elastic::default();
            let mut now = 0;
            for (pause, load, needed) in events {
                now += pause;
                let width = elastic.at(secs(now), load, &POLICY);
                prop_assert!((1..=POLICY.most).contains(&width));
                elastic.needs(needed, secs(now), load, &POLICY);
                prop_assert!(elastic.width() >= needed.clamp(1, POLICY.most));
                prop_assert!(elastic.width() <= POLICY.most);
            }
            prop_assert_eq!(elastic.at(secs(now + 100_000), 0, &POLICY), 1);
        }
    }
}
