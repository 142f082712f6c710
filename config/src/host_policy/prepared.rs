//! Which prepared deployments are dropped when there are more than a host keeps.

use std::num::NonZeroUsize;

/// One deployment that is ready to be restored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry<K, T> {
    pub key: K,
    /// When a request last asked for it; anything that is ordered.
    pub last_used: T,
    /// Whether isolates of it are live: dropping it would free little, and the next
    /// restore would wait for it to be prepared again.
    pub in_use: bool,
}

/// The keys to drop so that at most `limit` stay that are not in use, the longest unused first.
pub fn to_drop<K, T: Ord>(entries: impl IntoIterator<Item = Entry<K, T>>, limit: NonZeroUsize) -> Vec<K> {
    let mut unused: Vec<_> = entries.into_iter().filter(|entry| !entry.in_use).collect();
    let excess = unused.len().saturating_sub(limit.get());
    unused.sort_by(|one, other| one.last_used.cmp(&other.last_used));
    unused.into_iter().take(excess).map(|entry| entry.key).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dropped(entries: &[(char, u32, bool)], limit: usize) -> String {
        let entries = entries.iter().map(|&(key, last_used, in_use)| Entry { key, last_used, in_use });
        to_drop(entries, NonZeroUsize::new(limit).unwrap()).into_iter().collect()
    }

    #[test]
    fn the_longest_unused_go_and_those_in_use_stay() {
        let entries = [('a', 4, false), ('b', 1, true), ('c', 3, false), ('d', 2, false)];
        assert_eq!(dropped(&entries, 3), "");
        assert_eq!(dropped(&entries, 2), "d");
        assert_eq!(dropped(&entries, 1), "dc");
        assert_eq!(dropped(&[('a', 1, true), ('b', 2, true)], 1), "");
    }
}
