//! Whether a name that a client mentioned is worth a call to a host.
//!
//! Names are free for whoever sends them, so what they cost is bounded three ways:
//! calls under way, calls for one worker, and names remembered.

use std::collections::HashMap;
use std::time::Duration;

use crate::units::WorkerName;

/// The numbers that bound it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PrewarmPolicy {
    /// Whether the name in a TLS handshake counts.
    pub on_handshake: bool,
    /// The most calls under way.
    pub at_once: u32,
    /// A worker is not asked for again within this time.
    pub again_after: Duration,
}

impl Default for PrewarmPolicy {
    fn default() -> Self {
        Self { on_handshake: true, at_once: 8, again_after: Duration::from_secs(10) }
    }
}

/// Why a name costs nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Skipped {
    /// Its worker was asked for a moment ago.
    Recent,
    /// Too many calls are under way, or too many names were mentioned lately.
    TooMany,
}

impl Skipped {
    /// The label in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Recent => "recent",
            Self::TooMany => "too_many",
        }
    }
}

/// The most names remembered: a few hundred kilobytes.
const MOST_NAMES: usize = 4096;

/// The workers that were asked for lately. Times count from any fixed moment.
#[derive(Debug, Default)]
pub struct Recent(HashMap<WorkerName, Duration>);

impl Recent {
    /// Whether to ask for a worker now, with so many calls under way, this one included.
    pub fn may_ask(
        &mut self,
        worker: &WorkerName,
        now: Duration,
        under_way: usize,
        policy: &PrewarmPolicy,
    ) -> Result<(), Skipped> {
        let is_recent = |&asked: &Duration| now.saturating_sub(asked) < policy.again_after;
        if self.0.get(worker).is_some_and(is_recent) {
            return Err(Skipped::Recent);
        }
        if under_way > policy.at_once as usize {
            return Err(Skipped::TooMany);
        }
        if self.0.len() >= MOST_NAMES {
            self.0.retain(|_, asked| is_recent(asked));
        }
        if self.0.len() >= MOST_NAMES {
            return Err(Skipped::TooMany);
        }
        self.0.insert(worker.clone(), now);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(n: usize) -> WorkerName {
        WorkerName::parse(&format!("w{n}")).unwrap()
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_worker_is_asked_for_now_and_then() {
        let (mut recent, policy) = (Recent::default(), PrewarmPolicy::default());
        let mut ask = |n, seconds: u32| recent.may_ask(&name(n), SECOND * seconds, 1, &policy);
        assert_eq!(ask(1, 0), Ok(()));
        assert_eq!(ask(1, 9), Err(Skipped::Recent));
        assert_eq!(ask(2, 9), Ok(()));
        assert_eq!(ask(1, 10), Ok(()));
    }

    #[test]
    fn calls_under_way_are_bounded_and_a_skipped_name_is_not_remembered() {
        let (mut recent, policy) = (Recent::default(), PrewarmPolicy::default());
        assert_eq!(recent.may_ask(&name(1), SECOND, 9, &policy), Err(Skipped::TooMany));
        assert_eq!(recent.may_ask(&name(1), SECOND, 8, &policy), Ok(()));
    }

    #[test]
    fn a_flood_of_names_is_bounded() {
        let (mut recent, policy) = (Recent::default(), PrewarmPolicy::default());
        let asked = (0..100_000).filter(|&n| recent.may_ask(&name(n), SECOND, 1, &policy).is_ok()).count();
        assert_eq!(asked, MOST_NAMES);
        assert_eq!(recent.may_ask(&name(7), SECOND * 20, 1, &policy), Ok(()), "it has passed");
        assert_eq!(recent.0.len(), 1, "and is forgotten");
    }
}
