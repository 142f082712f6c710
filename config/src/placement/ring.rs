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
use xxhash_rust::xxh3::Xxh3;
#[cfg(test)]
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::{HostIndex, Membership, Placement};
use crate::units::{Epoch, HostId, ShardKey, Share};

/// The ring over a membership.
pub struct Ring {
    ring: StaticHashRing<'static, Point, HostIndex, SeededHash>,
    membership: Membership,
    epoch: Epoch,
}

impl Ring {
    /// Points on the ring for a host of weight one.
    pub const DEFAULT_VNODES: u32 = 512;
    /// Routers agree only when they share the seed, so it has a fixed default.
    pub const DEFAULT_SEED: u64 = 0;

    pub fn new(membership: Membership, vnodes: u32, seed: u64) -> Self {
        let mut policy = b"ring\0".to_vec();
        policy.extend_from_slice(&vnodes.to_le_bytes());
        policy.extend_from_slice(&seed.to_le_bytes());
        let epoch = membership.epoch(&policy);
        let nodes = membership.indices().zip(membership.members()).map(|(index, member)| {
            // Sequences of points are prefix-stable: a higher share only adds points.
            let points = u64::from(vnodes) * u64::from(member.effective_weight());
            let quantity = points.div_ceil(u64::from(Share::FULL.thousandths()));
            Node::new(Point(member.id.clone())).value(index).quantity(quantity as usize)
        });
        let ring = StaticHashRing::new(SeededHash { seed }, nodes);
        Self { ring, membership, epoch }
    }
}

impl Placement for Ring {
    fn candidates(&self, key: &ShardKey) -> Vec<HostIndex> {
        let item = Item(key.hashed_bytes());
        self.ring.calc_candidates(&item).map(|node| node.value).collect()
    }

    fn membership(&self) -> &Membership {
        &self.membership
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
    use super::super::Member;
    use super::*;
    use crate::units::{Weight, WorkerName};

    /// Were these to change, every worker of every fleet would start cold once
    /// and routers of two versions would disagree.
    #[test]
    fn golden_vectors() {
        let member = |id: &str| Member::new(HostId::parse(id).unwrap(), Weight::ONE);
        let ring = Ring::new(Membership::new(["a", "b", "c", "d"].map(member)), 512, 0);
        let key = |name: &str| ShardKey::of_worker(WorkerName::parse(name).unwrap());
        let order = |name: &str| {
            let ids = ring.candidates(&key(name));
            ids.iter().map(|&index| ring.membership().member(index).id.as_str()).collect::<String>()
        };
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
}
