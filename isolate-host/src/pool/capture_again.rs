//! When a snapshot is refused: what that is counted as, and whether its deployment is captured again.
//!
//! A deployment's files are the source of its snapshot, so a refused one is not lost. It is
//! taken again once; a host that refuses its own snapshot too has a fault that trying
//! again does not mend, so there is a long pause before the next attempt.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use warmshard_config::units::DeploymentId;

use crate::isolate::{BoxError, PrepareError};
use crate::snapshot::format::SnapshotError;
use crate::snapshot::manifest::Mismatch;
use crate::snapshot::restore::PlanError;
use crate::store::StoreError;

/// How long a deployment is not captured a second time.
const PAUSE: Duration = Duration::from_secs(600);

/// Why a snapshot is refused, as metrics tell it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SnapshotRefusal {
    /// It is not there.
    Missing,
    /// Its bytes are not those that were written.
    Damaged,
    /// Another format version.
    Version,
    /// Taken with another runtime.
    Runtime,
    /// It contradicts itself, its deployment or this host.
    Manifest,
}

impl SnapshotRefusal {
    pub const ALL: [Self; 5] = [Self::Missing, Self::Damaged, Self::Version, Self::Runtime, Self::Manifest];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Damaged => "damaged",
            Self::Version => "version",
            Self::Runtime => "runtime",
            Self::Manifest => "manifest",
        }
    }

    /// None when preparing failed for another reason than the snapshot: capturing again would not help.
    pub fn of(error: &BoxError) -> Option<Self> {
        if let Some(error) = error.downcast_ref::<StoreError>() {
            return match error {
                StoreError::BlobMissing { .. } => Some(Self::Missing),
                StoreError::BlobDamaged { .. } => Some(Self::Damaged),
                _ => None,
            };
        }
        match error.downcast_ref::<PrepareError>()? {
            PrepareError::Snapshot(error) => Some(Self::of_file(error)),
            PrepareError::Plan(PlanError::Mismatch(mismatch)) => Some(Self::of_mismatch(mismatch)),
            PrepareError::Plan(_) => Some(Self::Manifest),
            PrepareError::Library(_)
            | PrepareError::Compile(_)
            | PrepareError::Files(_)
            | PrepareError::Stopping => None,
        }
    }

    fn of_file(error: &SnapshotError) -> Self {
        match error {
            SnapshotError::Version { .. } => Self::Version,
            SnapshotError::Mismatch(mismatch) => Self::of_mismatch(mismatch),
            SnapshotError::Manifest { .. } => Self::Manifest,
            _ => Self::Damaged,
        }
    }

    fn of_mismatch(mismatch: &Mismatch) -> Self {
        if mismatch.field.starts_with("runtime.") { Self::Runtime } else { Self::Manifest }
    }
}

/// What was captured again, and when.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    last: Mutex<HashMap<DeploymentId, Instant>>,
}

impl Attempts {
    /// Whether a deployment may be captured now; if so, that is noted.
    pub(super) fn take(&self, id: &DeploymentId, now: Instant) -> bool {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.retain(|_, at| now.duration_since(*at) < PAUSE);
        if last.contains_key(id) {
            return false;
        }
        last.insert(id.clone(), now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deployment_is_captured_again_once_and_later_perhaps_once_more() {
        let (attempts, now) = (Attempts::default(), Instant::now());
        let [one, other] = ["1", "2"].map(|digit| DeploymentId::parse(&digit.repeat(64)).unwrap());
        assert!(attempts.take(&one, now));
        assert!(!attempts.take(&one, now + Duration::from_secs(1)));
        assert!(attempts.take(&other, now + Duration::from_secs(1)));
        assert!(!attempts.take(&one, now + PAUSE - Duration::from_secs(1)));
        assert!(attempts.take(&one, now + PAUSE));
    }

    #[test]
    fn only_what_is_wrong_with_the_snapshot_has_it_taken_again() {
        let of = |error: BoxError| SnapshotRefusal::of(&error);
        let mismatch = |field: &str| {
            let mismatch = Mismatch::new(field, "a", "b");
            of(PrepareError::Plan(PlanError::Mismatch(mismatch)).into())
        };
        assert_eq!(mismatch("runtime.platform"), Some(SnapshotRefusal::Runtime));
        assert_eq!(mismatch("pump"), Some(SnapshotRefusal::Manifest));
        let file = |error: SnapshotError| of(PrepareError::Snapshot(error).into());
        assert_eq!(file(SnapshotError::Version { found: 1 }), Some(SnapshotRefusal::Version));
        assert_eq!(file(SnapshotError::Padding), Some(SnapshotRefusal::Damaged));
        let missing = StoreError::BlobMissing { digest: String::new() };
        assert_eq!(of(missing.into()), Some(SnapshotRefusal::Missing));
        assert_eq!(of(PrepareError::Stopping.into()), None);
        assert_eq!(of("disk on fire".into()), None);
    }
}
