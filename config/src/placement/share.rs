//! Spreading the busiest workers by their share of the load, before anybody has to refuse.
//!
//! Each router sees a part of all requests that is like the whole, so what it counts says what
//! share a worker has of them. A worker that makes more than a host's mean is spread over as many
//! hosts as bring it down to that. One that is mostly asked for one request at a time stays where
//! it is: another host would do no more for it.

use std::time::Duration;

/// How long is counted.
const WINDOW: Duration = Duration::from_secs(10);
/// How much of what is known comes from the window that has just ended.
const NEWEST: f64 = 0.5;
/// So many other requests of the worker must be under way when one comes, on average.
const CROWD: f64 = 0.5;

/// Requests counted in windows of time. Times count from any fixed moment.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Tally {
    window: u64,
    count: u32,
    others: u64,
    /// Requests in a window, and others under way for each: fading means over the windows that
    /// have ended.
    rate: f64,
    crowd: f64,
}

impl Tally {
    /// A request, and how many others are under way.
    pub fn count(&mut self, now: Duration, others: u32) {
        self.turn_over(now);
        self.count += 1;
        self.others += u64::from(others);
    }

    fn turn_over(&mut self, now: Duration) {
        let window = now.as_secs() / WINDOW.as_secs();
        let passed = window.saturating_sub(self.window);
        if passed == 0 {
            return;
        }
        let crowd = if self.count == 0 { 0.0 } else { self.others as f64 / f64::from(self.count) };
        // Windows without any request say that there are none.
        let (rate, crowd) = if passed == 1 { (f64::from(self.count), crowd) } else { (0.0, 0.0) };
        self.rate += NEWEST * (rate - self.rate);
        self.crowd += NEWEST * (crowd - self.crowd);
        if passed > 2 {
            (self.rate, self.crowd) = (0.0, 0.0);
        }
        (self.window, self.count, self.others) = (window, 0, 0);
    }

    /// Over how many of `hosts` its worker ought to be spread; `all` counts every request.
    pub fn width(&self, all: &Tally, hosts: usize) -> u16 {
        let mean = all.rate / hosts.max(1) as f64;
        if self.crowd < CROWD || self.rate <= mean {
            return 1;
        }
        // The conversion saturates.
        ((self.rate / mean).ceil() as u16).min(u16::try_from(hosts).unwrap_or(u16::MAX)).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tallies of a worker with so many of 100 requests a second, for a minute.
    fn tallies(own: u32, others: u32) -> (Tally, Tally) {
        let (mut worker, mut all) = (Tally::default(), Tally::default());
        for second in 0..60 {
            for request in 0..100 {
                let now = Duration::from_secs(second);
                all.count(now, 0);
                if request < own {
                    worker.count(now, others);
                }
            }
        }
        (worker, all)
    }

    fn width(own: u32, others: u32, hosts: usize) -> u16 {
        let (worker, all) = tallies(own, others);
        worker.width(&all, hosts)
    }

    #[test]
    fn the_busiest_are_spread_until_they_are_as_busy_as_a_host() {
        assert_eq!(width(1, 3, 100), 1);
        assert_eq!(width(7, 3, 100), 7);
        assert_eq!(width(50, 3, 3), 2);
        assert_eq!(width(100, 3, 3), 3, "no more than there are");
        assert_eq!(width(100, 3, 1), 1);
    }

    #[test]
    fn one_request_at_a_time_needs_one_host() {
        assert_eq!(width(100, 0, 3), 1);
    }

    #[test]
    fn nothing_is_known_at_first_and_what_was_is_forgotten() {
        let mut fresh = Tally::default();
        fresh.count(Duration::ZERO, 5);
        assert_eq!(fresh.width(&fresh.clone(), 9), 1);
        let (mut worker, mut all) = tallies(50, 3);
        let later = Duration::from_secs(600);
        all.count(later, 0);
        worker.count(later, 3);
        assert_eq!(worker.width(&all, 9), 1);
    }
}
