//! Isolates that go without another one being restored in their place.

use std::time::Duration;

use super::{Phase, Pool, SlotId};

impl Pool {
    /// Drops up to so many idle isolates, those worth least first.
    pub fn relieve(&mut self, most: u32, now: Duration) -> Vec<SlotId> {
        let mut dropped = Vec::new();
        while dropped.len() < most as usize
            && let Some(slot) = self.least_worth(Duration::ZERO, now)
        {
            self.remove(slot);
            dropped.push(slot);
        }
        dropped
    }

    /// Drops the isolates that nobody has used for so long.
    pub fn hibernate(&mut self, unused_for: Duration, now: Duration) -> Vec<SlotId> {
        let is_asleep = |slot: &super::Slot| {
            let idle = slot.phase == Phase::Ready && slot.in_flight == 0;
            idle && now.saturating_sub(slot.last_used) >= unused_for
        };
        let asleep: Vec<_> =
            self.slots.iter().filter(|(_, slot)| is_asleep(slot)).map(|(id, _)| *id).collect();
        for slot in &asleep {
            self.remove(*slot);
        }
        asleep
    }
}
