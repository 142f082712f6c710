//! Where ended isolates wait to be used again by their own deployment.

use std::collections::VecDeque;
use std::sync::Mutex;

/// At most `capacity` things, each kept under a key; the longest parked makes room.
pub(super) struct Parking<T> {
    capacity: usize,
    parked: Mutex<VecDeque<(u64, T)>>,
}

impl<T> Parking<T> {
    pub(super) fn new(capacity: usize) -> Self {
        Self { capacity, parked: Mutex::default() }
    }

    pub(super) fn put(&self, key: u64, thing: T) {
        let mut parked = self.parked.lock().expect("no panic while held");
        parked.push_back((key, thing));
        let leaves = if parked.len() > self.capacity { parked.pop_front() } else { None };
        // Unmapping an isolate takes a while: not with the lock held.
        drop(parked);
        drop(leaves);
    }

    /// The one of this key that was parked last.
    pub(super) fn take(&self, key: u64) -> Option<T> {
        let mut parked = self.parked.lock().expect("no panic while held");
        let at = parked.iter().rposition(|(other, _)| *other == key)?;
        parked.remove(at).map(|(_, thing)| thing)
    }

    /// Lets go of everything.
    pub(super) fn clear(&self) {
        let leaving = std::mem::take(&mut *self.parked.lock().expect("no panic while held"));
        drop(leaving);
    }

    /// Lets go of everything under a key.
    pub(super) fn forget(&self, key: u64) {
        let mut parked = self.parked.lock().expect("no panic while held");
        let (leaving, staying): (VecDeque<_>, _) = parked.drain(..).partition(|(other, _)| *other == key);
        *parked = staying;
        drop(parked);
        drop(leaving);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_its_own_key_takes_it() {
        let parking = Parking::new(2);
        parking.put(1, "a");
        parking.put(2, "b");
        assert_eq!(parking.take(3), None);
        assert_eq!(parking.take(1), Some("a"));
        assert_eq!(parking.take(1), None);
    }

    #[test]
    fn a_forgotten_key_has_nothing_parked() {
        let parking = Parking::new(3);
        for (key, thing) in [(1, "a"), (2, "b"), (1, "c")] {
            parking.put(key, thing);
        }
        parking.forget(1);
        assert_eq!((parking.take(1), parking.take(2)), (None, Some("b")));
    }

    #[test]
    fn a_cleared_one_is_empty_and_takes_more() {
        let parking = Parking::new(2);
        parking.put(1, "a");
        parking.clear();
        assert_eq!(parking.take(1), None);
        parking.put(1, "b");
        assert_eq!(parking.take(1), Some("b"));
    }

    #[test]
    fn the_longest_parked_makes_room() {
        let parking = Parking::new(2);
        for (key, thing) in [(1, "a"), (1, "b"), (1, "c")] {
            parking.put(key, thing);
        }
        assert_eq!([parking.take(1), parking.take(1), parking.take(1)], [Some("c"), Some("b"), None]);
        Parking::new(0).put(1, "dropped");
    }
}
