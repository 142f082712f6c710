//! What a host does about the memory it takes.
//!
//! ```text
//! 0 ──────────────────────────── soft ─────────── hard ─────────▶ bytes
//!   everything                   makes room: no    refuses
//!                                spares, idle
//!                                isolates go
//! ```
//!
//! Room is made before it is needed: giving memory back takes a moment, and until then
//! requests go on taking more.

/// How much memory a host may take, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryLimits {
    soft: u64,
    hard: u64,
}

/// How short memory is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pressure {
    #[default]
    None,
    /// Nothing is kept or restored that nobody has asked for.
    Soft,
    /// No request is taken.
    Hard,
}

impl MemoryLimits {
    /// Room is made from seven eighths of the most on.
    pub fn up_to(hard: u64) -> Self {
        Self { soft: hard - hard / 8, hard }
    }

    pub fn soft(self) -> u64 {
        self.soft
    }

    pub fn hard(self) -> u64 {
        self.hard
    }

    pub fn pressure(self, used: u64) -> Pressure {
        match used {
            _ if used > self.hard => Pressure::Hard,
            _ if used > self.soft => Pressure::Soft,
            _ => Pressure::None,
        }
    }

    /// How many isolates too many there are.
    ///
    /// What is used is divided among them as if it were all theirs, which says too much of
    /// each: too few go rather than too many, and the next look sees what that brought.
    pub fn surplus(self, used: u64, isolates: u32) -> u32 {
        let excess = used.saturating_sub(self.soft);
        let goes = (u128::from(excess) * u128::from(isolates)).div_ceil(u128::from(used.max(1)));
        u32::try_from(goes).unwrap_or(u32::MAX).min(isolates)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMITS: MemoryLimits = MemoryLimits { soft: 700, hard: 800 };

    #[test]
    fn pressure_rises_in_steps() {
        let pressures = [0, 700, 701, 800, 801].map(|used| LIMITS.pressure(used));
        use Pressure::{Hard, None, Soft};
        assert_eq!(pressures, [None, None, Soft, Soft, Hard]);
        assert_eq!(MemoryLimits::up_to(800), LIMITS);
        assert_eq!(MemoryLimits::up_to(0).pressure(0), None);
    }

    #[test]
    fn as_many_go_as_take_what_is_too_much() {
        assert_eq!(LIMITS.surplus(700, 10), 0);
        assert_eq!(LIMITS.surplus(701, 10), 1);
        assert_eq!(LIMITS.surplus(1000, 10), 3);
        assert_eq!(LIMITS.surplus(1000, 0), 0);
        assert_eq!(LIMITS.surplus(u64::MAX, 5), 5);
    }

    proptest! {
        #[test]
        fn somebody_goes_exactly_under_pressure(hard in 0_u64..1 << 45, used in 0_u64..1 << 46, isolates in 1_u32..10_000) {
            let limits = MemoryLimits::up_to(hard);
            let goes = limits.surplus(used, isolates);
            prop_assert_eq!(goes > 0, limits.pressure(used) > Pressure::None);
            prop_assert!(goes <= isolates);
            prop_assert!(limits.surplus(used + 1, isolates) >= goes);
        }
    }
}
