//! The consistent-hash ring: each host owns many points on a circle, and a
//! worker's candidates are the hosts met walking clockwise from its own point.
//! Adding one host to ten therefore moves about one worker in eleven, all of
//! them to the new host.
//!
//! The `consistent_hash` crate hashes through `std::hash::Hash` by default, whose
//! bytes may change with the toolchain. Here every hash is xxh3 with a seed, over
//! bytes spelt out in this file, and golden vectors hold the result.

use std::fmt;
use std::hash::{Hash, Hasher};

use consistent_hash::{Node, RingHash, StaticHashRing};
use xxhash_rust::xxh3::{Xxh3, xxh3_64_with_seed};

use super::{Member, Placement};
use crate::units::{Epoch, HostId, ShardKey};

/// The ring over a membership.
pub struct Ring {
    ring: StaticHashRing<'static, Point, (), SeededHash>,
    epoch: Epoch,
}

impl Ring {
    /// Points on the ring for a host of weight one.
    pub const DEFAULT_VNODES: u32 = 512;
    /// Routers agree only when they share the seed, so it has a fixed default.
    pub const DEFAULT_SEED: u64 = 0;

    /// Builds the ring. The order of members does not matter; of two members
    /// with the same ID the first counts.
    pub fn new(members: &[Member], vnodes: u32, seed: u64) -> Self {
        let mut members: Vec<&Member> = members.iter().collect();
        members.sort_by(|a, b| a.id.cmp(&b.id));
        members.dedup_by(|later, first| later.id == first.id);
        let epoch = epoch_of(&members, vnodes, seed);
        let nodes = members.into_iter().map(|member| {
            // Sequences of points are prefix-stable: a higher weight only adds points.
            let quantity = vnodes as usize * member.weight.get() as usize;
            Node::new(Point(member.id.clone())).quantity(quantity)
        });
        Self { ring: StaticHashRing::new(SeededHash { seed }, nodes), epoch }
    }
}

impl Placement for Ring {
    fn candidates(&self, key: &ShardKey) -> Vec<HostId> {
        let item = Item(key.hashed_bytes());
        self.ring.calc_candidates(&item).map(|node| node.key.0.clone()).collect()
    }

    fn epoch(&self) -> Epoch {
        self.epoch
    }
}

impl fmt::Debug for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ring").field("points", &self.ring.len()).field("epoch", &self.epoch).finish()
    }
}

/// Everything candidates depend on, and nothing else.
fn epoch_of(members: &[&Member], vnodes: u32, seed: u64) -> Epoch {
    let mut bytes = b"ring\0".to_vec();
    bytes.extend_from_slice(&vnodes.to_le_bytes());
    bytes.extend_from_slice(&seed.to_le_bytes());
    for member in members {
        bytes.extend_from_slice(member.id.as_str().as_bytes());
        bytes.push(0);
        bytes.extend_from_slice(&member.weight.get().to_le_bytes());
    }
    Epoch(xxh3_64_with_seed(&bytes, 0))
}

/// A host on the ring. Its `Hash` writes the bytes of its ID and nothing else.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Point(HostId);

impl Hash for Point {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(self.0.as_str().as_bytes());
    }
}

/// A key on the ring, as the bytes it writes.
struct Item(Vec<u8>);

impl Hash for Item {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(&self.0);
    }
}

#[derive(Debug)]
struct SeededHash {
    seed: u64,
}

impl RingHash for SeededHash {
    fn hash_item<T: Hash>(&self, item: &T) -> u64 {
        let mut bytes = Bytes(Xxh3::with_seed(self.seed));
        item.hash(&mut bytes);
        bytes.finish()
    }

    fn hash_vnode<K: Hash>(&self, node_key: &K, vnode_seq: usize) -> u64 {
        let mut bytes = Bytes(Xxh3::with_seed(self.seed));
        bytes.write(b"h\0");
        node_key.hash(&mut bytes);
        bytes.write(b"\0");
        bytes.write(&(vnode_seq as u64).to_le_bytes());
        bytes.finish()
    }
}

/// xxh3 over exactly the bytes written. Only `write` is ever called, because
/// [`Point`] and [`Item`] are the only things hashed.
struct Bytes(Xxh3);

impl Hasher for Bytes {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        self.0.digest()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;
    use crate::units::{Weight, WorkerName};

    fn member(name: &str) -> Member {
        Member { id: HostId::parse(name).unwrap(), weight: Weight::ONE }
    }

    fn members(count: usize) -> Vec<Member> {
        (0..count).map(|n| member(&format!("host-{n}"))).collect()
    }

    fn key(name: &str) -> ShardKey {
        ShardKey::of_worker(WorkerName::parse(name).unwrap())
    }

    fn ring(members: &[Member]) -> Ring {
        Ring::new(members, Ring::DEFAULT_VNODES, Ring::DEFAULT_SEED)
    }

    fn home(ring: &Ring, name: &str) -> HostId {
        ring.candidates(&key(name)).swap_remove(0)
    }

    /// Were these to change, every worker of every fleet would start cold once
    /// and routers of two versions would disagree.
    #[test]
    fn golden_vectors() {
        let ring = Ring::new(&["a", "b", "c", "d"].map(member), 512, 0);
        let order =
            |name: &str| ring.candidates(&key(name)).iter().map(ToString::to_string).collect::<String>();
        let found = ["fastapi", "hello", "worker-1", "worker-2", "x"].map(order);
        assert_eq!(found, GOLDEN);
        assert_eq!(ring.epoch().to_string(), GOLDEN_EPOCH);
        let hash = SeededHash { seed: 0 };
        assert_eq!(hash.hash_item(&Item(key("fastapi").hashed_bytes())), GOLDEN_ITEM);
        assert_eq!(hash.hash_vnode(&Point(HostId::parse("a").unwrap()), 7), GOLDEN_VNODE);
    }

    // Computed by an independent program with another implementation of xxh3.
    const GOLDEN: [&str; 5] = ["dcba", "dabc", "cbda", "cbad", "bcad"];
    const GOLDEN_EPOCH: &str = "d07649eabe731dfe";
    const GOLDEN_ITEM: u64 = 0x838f_911c_2516_4585;
    const GOLDEN_VNODE: u64 = 0x84b8_e152_9bf3_1d7c;

    #[test]
    fn hashes_are_xxh3_over_the_documented_bytes() {
        let hash = SeededHash { seed: 5 };
        assert_eq!(hash.hash_item(&Item(b"abc".to_vec())), xxh3_64_with_seed(b"abc", 5));
        let vnode = b"h\0a\0\x07\0\0\0\0\0\0\0";
        assert_eq!(hash.hash_vnode(&Point(HostId::parse("a").unwrap()), 7), xxh3_64_with_seed(vnode, 5));
    }

    #[test]
    fn adding_one_host_to_ten_moves_an_eleventh_and_only_to_the_new_host() {
        let (before, after) = (ring(&members(10)), ring(&members(11)));
        let new = HostId::parse("host-10").unwrap();
        let mut moved = 0;
        for n in 0..10_000 {
            let name = format!("worker-{n}");
            let (from, to) = (home(&before, &name), home(&after, &name));
            if from != to {
                assert_eq!(to, new, "{name} moved between hosts that both stayed");
                moved += 1;
            }
        }
        // 10 000 / 11 = 909; a ring of 512 points per host is within a few percent of fair.
        assert!((770..1050).contains(&moved), "moved {moved}");
    }

    #[test]
    fn weights_share_the_load() {
        let mut hosts = members(4);
        hosts[0].weight = Weight::new(3).unwrap();
        let ring = ring(&hosts);
        let mut homes = HashMap::<HostId, u32>::new();
        for n in 0..6_000 {
            *homes.entry(home(&ring, &format!("worker-{n}"))).or_default() += 1;
        }
        let heavy = homes[&hosts[0].id];
        assert!((2_600..3_400).contains(&heavy), "3 of 6 shares, found {heavy} of 6000");
    }

    #[test]
    fn no_hosts_no_candidates() {
        assert!(ring(&[]).candidates(&key("x")).is_empty());
    }

    #[test]
    fn an_epoch_changes_with_the_membership_only() {
        let mut hosts = members(3);
        let epoch = ring(&hosts).epoch();
        hosts.reverse();
        assert_eq!(ring(&hosts).epoch(), epoch);
        hosts[0].weight = Weight::new(2).unwrap();
        assert_ne!(ring(&hosts).epoch(), epoch);
        assert_ne!(Ring::new(&members(3), 512, 1).epoch(), epoch);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn every_host_once_in_the_same_order_however_the_file_lists_them(
            count in 1usize..12,
            shuffled in Just((0..12usize).collect::<Vec<_>>()).prop_shuffle(),
            worker in "[a-z][a-z0-9-]{0,20}",
        ) {
            let hosts = members(count);
            let mixed: Vec<Member> =
                shuffled.iter().filter_map(|&n| hosts.get(n).cloned()).collect();
            let candidates = ring(&hosts).candidates(&key(&worker));
            prop_assert_eq!(&candidates, &ring(&mixed).candidates(&key(&worker)));
            let mut sorted = candidates;
            sorted.sort();
            let mut all: Vec<HostId> = hosts.into_iter().map(|host| host.id).collect();
            all.sort();
            prop_assert_eq!(sorted, all);
        }

        #[test]
        fn removing_a_host_keeps_the_order_of_the_others(
            count in 2usize..12,
            gone in 0usize..12,
            worker in "[a-z][a-z0-9-]{0,20}",
        ) {
            let mut hosts = members(count);
            let mut expected = ring(&hosts).candidates(&key(&worker));
            let removed = hosts.remove(gone % count).id;
            expected.retain(|id| *id != removed);
            prop_assert_eq!(ring(&hosts).candidates(&key(&worker)), expected);
        }
    }
}
