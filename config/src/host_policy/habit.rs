//! When a worker is likely to be called again, from when it was called.
//!
//! ```text
//! calls        ×        ×        ×        ×           mean gap and how even gaps are
//! worth        ────────────────────────────▶ falls     once it is silent for longer than usual
//! in rhythm    ×.......[×].......[×].......[×]         wanted only around the next call
//! ```
//!
//! A slot is best given to whoever will have the most calls answered by it for the time it is
//! held: "hit density" (Beckmann et al., LHD, NSDI 2018), here one over the expected wait. For
//! workers on a clock the time between two calls is no use to anybody, since restoring takes a
//! millisecond: they are dropped first and restored shortly before they are due (as in Shahrad
//! et al., Serverless in the Wild, ATC 2020).

use std::time::Duration;

/// So many of the latest gaps count; older ones fade.
const REMEMBERED: f64 = 4.0;
/// The gap that is expected before there was one, with the weight of half of one.
const GUESS_S: f64 = 7200.0;
const GUESS_WEIGHT: f64 = 0.5;

/// A rhythm is believed after so many gaps …
const RHYTHM_GAPS: u32 = 3;
/// … whose standard deviation is at most this part of their mean …
const EVEN: f64 = 0.1;
/// … and whose mean is at least this: for less, staying is cheaper than coming back.
const RHYTHM_LEAST_S: f64 = 30.0;
/// A call is awaited this part of the gap too early and too late, …
const MARGIN: f64 = 0.005;
/// … or this long, or two standard deviations, whichever is the most.
const MARGIN_LEAST_S: f64 = 2.0;

/// What one host remembers of one worker's calls. Times count from any fixed moment.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Habit {
    /// Gaps so far.
    gaps: u32,
    last: Option<Duration>,
    /// Of the gaps, in seconds.
    mean: f64,
    variance: f64,
}

/// When calls are to be expected, as far as is known.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Expected {
    /// Seconds between two calls.
    pub usual_s: f64,
    /// The next call, if they come in a rhythm.
    pub awaited: Option<Awaited>,
}

/// When a worker in rhythm is expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Awaited {
    pub from: Duration,
    pub until: Duration,
}

impl Habit {
    /// It was called.
    pub fn called(&mut self, now: Duration) {
        if let Some(last) = self.last {
            let gap = now.saturating_sub(last).as_secs_f64();
            self.gaps = self.gaps.saturating_add(1);
            // The plain mean at first, then a fading one (Welford's recurrence with a weight).
            let weight = 1.0 / f64::from(self.gaps).min(REMEMBERED);
            let off = gap - self.mean;
            self.mean += weight * off;
            self.variance = (1.0 - weight) * (self.variance + weight * off * off);
        }
        self.last = Some(now);
    }

    /// What it has led to expect.
    pub fn expected(&self) -> Expected {
        let known = f64::from(self.gaps).min(REMEMBERED);
        let usual_s = (self.mean * known + GUESS_S * GUESS_WEIGHT) / (known + GUESS_WEIGHT);
        Expected { usual_s, awaited: self.awaited() }
    }

    /// When it is expected next, if its calls come in a rhythm.
    pub fn awaited(&self) -> Option<Awaited> {
        let last = self.last.filter(|_| self.gaps >= RHYTHM_GAPS && self.mean >= RHYTHM_LEAST_S)?;
        let deviation = self.variance.sqrt();
        if deviation > EVEN * self.mean {
            return None;
        }
        let margin = (2.0 * deviation).max(MARGIN * self.mean).max(MARGIN_LEAST_S);
        let after = |seconds: f64| last + Duration::from_secs_f64(seconds);
        Some(Awaited { from: after(self.mean - margin), until: after(self.mean + margin) })
    }
}

impl Expected {
    /// Calls a second that an isolate is expected to answer if it is kept; below zero between the
    /// calls of a rhythm, the further from the next one the lower.
    pub fn worth(&self, last_used: Duration, now: Duration) -> f64 {
        if let Some(awaited) = self.awaited {
            if now < awaited.from {
                return -(awaited.from - now).as_secs_f64();
            }
            if now <= awaited.until {
                return 1.0 / (awaited.until - awaited.from).as_secs_f64().max(1.0);
            }
        }
        // Silence beyond the usual says that the usual is over.
        1.0 / self.usual_s.max(now.saturating_sub(last_used).as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn habit(calls: impl IntoIterator<Item = u64>) -> Habit {
        let mut habit = Habit::default();
        calls.into_iter().for_each(|second| habit.called(Duration::from_secs(second)));
        habit
    }

    /// Of an isolate that answered the last call.
    fn worth(habit: &Habit, second: u64) -> f64 {
        habit.expected().worth(habit.last.unwrap_or_default(), Duration::from_secs(second))
    }

    #[test]
    fn the_frequent_are_worth_more_until_they_fall_silent() {
        let often = habit((0..1000).step_by(10));
        let seldom = habit((0..1000).step_by(333));
        assert!(worth(&often, 1000) > worth(&seldom, 1000));
        assert_eq!(worth(&often, 5000), 1.0 / 4010.0, "silence is what is left to go by");
        assert!(worth(&often, 90_000) < worth(&often, 5000));
    }

    #[test]
    fn one_call_says_little_and_none_nothing() {
        assert_eq!(worth(&Habit::default(), 10), 1.0 / 7200.0);
        let (once, twice) = (habit([0]), habit([0, 60]));
        assert!(worth(&once, 60) < worth(&twice, 60));
        assert!(worth(&twice, 60) < 1.0 / 60.0, "twice may be chance");
    }

    #[test]
    fn a_rhythm_is_heard_after_a_few_calls_and_a_new_one_is_learned() {
        assert_eq!(habit([0, 600, 1200]).awaited(), None, "two gaps");
        let awaited = habit([0, 600, 1200, 1800]).awaited().unwrap();
        assert!(awaited.from < Duration::from_secs(2400) && awaited.until > Duration::from_secs(2400));
        assert!(awaited.until - awaited.from < Duration::from_secs(7), "{awaited:?}");
        // From every ten minutes to every two: after a while in which nothing is believed.
        let mut changed: Vec<u64> = (0..=1800).step_by(600).collect();
        changed.extend((0..60).map(|n| 1800 + 120 * (n + 1)));
        let first = |n: usize| habit(changed[..n].iter().copied()).awaited();
        assert_eq!(first(8), None);
        let again = first(changed.len()).unwrap();
        assert!(again.from > Duration::from_secs(1800 + 120 * 60 + 100), "{again:?}");
    }

    #[test]
    fn what_comes_at_random_or_all_the_time_has_no_rhythm() {
        assert_eq!(habit([0, 600, 700, 2000, 2100, 2500]).awaited(), None);
        assert_eq!(habit((0..100).step_by(10)).awaited(), None);
    }
}
