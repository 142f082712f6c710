//! How long to wait before a host is started again. Pure.

use std::time::Duration;

/// The pause doubles with each failure in a row.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
}

impl Backoff {
    const FIRST: Duration = Duration::from_millis(100);
    const LONGEST: Duration = Duration::from_secs(5);
    /// A process that ran this long was all right, whatever ended it.
    const HEALTHY: Duration = Duration::from_secs(30);

    /// The pause after a process that ran for `lived`.
    pub(super) fn after(&mut self, lived: Duration) -> Duration {
        self.failures = if lived >= Self::HEALTHY { 1 } else { self.failures.saturating_add(1) };
        let doublings = (self.failures - 1).min(16);
        (Self::FIRST * 2u32.pow(doublings)).min(Self::LONGEST)
    }

    /// Failures in a row.
    pub(super) fn failures(&self) -> u32 {
        self.failures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_limit_and_start_again_after_a_good_run() {
        let mut backoff = Backoff::default();
        let short = Duration::from_secs(1);
        let millis = |pause: Duration| pause.as_millis();
        let pauses: Vec<u128> = (0..8).map(|_| millis(backoff.after(short))).collect();
        assert_eq!(pauses, [100, 200, 400, 800, 1600, 3200, 5000, 5000]);
        assert_eq!(millis(backoff.after(Duration::from_secs(31))), 100);
        assert_eq!(backoff.failures(), 1);
    }
}
