//! Which prepared deployments are dropped when there are more than a host keeps.

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

/// How many that are not in use are dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drop {
    /// As many as it takes for this many to stay.
    AllBut(usize),
    /// The one that costs least, for want of memory.
    One,
}

/// The keys to drop of those that are not in use, the longest unused first.
pub fn to_drop<K, T: Ord>(entries: impl IntoIterator<Item = Entry<K, T>>, drop: Drop) -> Vec<K> {
    let mut unused: Vec<_> = entries.into_iter().filter(|entry| !entry.in_use).collect();
    let count = match drop {
        Drop::AllBut(limit) => unused.len().saturating_sub(limit),
        Drop::One => 1,
    };
    unused.sort_by(|one, other| one.last_used.cmp(&other.last_used));
    unused.into_iter().take(count).map(|entry| entry.key).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dropped(entries: &[(char, u32, bool)], drop: Drop) -> String {
        let entries = entries.iter().map(|&(key, last_used, in_use)| Entry { key, last_used, in_use });
        to_drop(entries, drop).into_iter().collect()
    }

    #[test]
    fn the_longest_unused_go_and_those_in_use_stay() {
        let entries = [('a', 4, false), ('b', 1, true), ('c', 3, false), ('d', 2, false)];
        assert_eq!(dropped(&entries, Drop::AllBut(3)), "");
        assert_eq!(dropped(&entries, Drop::AllBut(2)), "d");
        assert_eq!(dropped(&entries, Drop::AllBut(1)), "dc");
        assert_eq!(dropped(&entries, Drop::One), "d");
        for drop in [Drop::AllBut(0), Drop::One] {
            assert_eq!(dropped(&[('a', 1, true), ('b', 2, true)], drop), "");
        }
    }
}
