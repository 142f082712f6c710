//! What is going to happen, by virtual time. What is due at one moment happens in the order in
//! which it was entered, so the same seed gives the same run.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

#[derive(Debug)]
pub(super) struct Agenda<T> {
    entries: BinaryHeap<Reverse<Entry<T>>>,
    entered: u64,
}

#[derive(Debug)]
struct Entry<T> {
    at_ns: u64,
    number: u64,
    what: T,
}

impl<T> PartialEq for Entry<T> {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl<T> Eq for Entry<T> {}

impl<T> PartialOrd for Entry<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Entry<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at_ns, self.number).cmp(&(other.at_ns, other.number))
    }
}

impl<T> Agenda<T> {
    pub(super) fn new() -> Self {
        Self { entries: BinaryHeap::new(), entered: 0 }
    }

    pub(super) fn enter(&mut self, at_ns: u64, what: T) {
        let number = self.entered;
        self.entered += 1;
        self.entries.push(Reverse(Entry { at_ns, number, what }));
    }

    /// What is due first, if that is no later than this.
    pub(super) fn due(&mut self, until_ns: u64) -> Option<(u64, T)> {
        if self.entries.peek()?.0.at_ns > until_ns {
            return None;
        }
        self.entries.pop().map(|Reverse(entry)| (entry.at_ns, entry.what))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_decides_and_then_the_order_of_entry() {
        let mut agenda = Agenda::new();
        for (at, what) in [(5, 'c'), (3, 'a'), (5, 'd'), (3, 'b'), (9, 'e')] {
            agenda.enter(at, what);
        }
        let mut order = String::new();
        while let Some((_, what)) = agenda.due(5) {
            order.push(what);
        }
        assert_eq!(order, "abcd");
        assert_eq!(agenda.due(8), None);
        assert_eq!(agenda.due(9), Some((9, 'e')));
    }
}
