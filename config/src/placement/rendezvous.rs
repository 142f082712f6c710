//! Rendezvous hashing: every host draws a number for a key, and the lists are
//! the hosts in the order of their draws. It spreads a lost host's workers over
//! all the others, where a ring gives a few of them more, and takes time in
//! proportion to the hosts, which candidates being memoised makes irrelevant.
//!
//! A host of weight `w` scores `w / -log2(u)` for its draw `u` in (0, 1), which
//! gives it exactly `w` shares (Schindelhauer and Schomaker, "Weighted distributed
//! hash tables", 2005). Logarithms are fixed-point integers, so that routers on
//! different machines agree to the last bit.

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::{HostIndex, Membership, Placement};
use crate::units::{Epoch, ShardKey};

/// Rendezvous hashing over a membership.
#[derive(Debug)]
pub struct Rendezvous {
    membership: Membership,
    /// The hash of each host's ID, in the order of the membership.
    hosts: Vec<u64>,
    seed: u64,
    epoch: Epoch,
}

impl Rendezvous {
    pub fn new(membership: Membership, seed: u64) -> Self {
        let mut policy = b"rendezvous\0".to_vec();
        policy.extend_from_slice(&seed.to_le_bytes());
        let epoch = membership.epoch(&policy);
        let hash = |id: &str| xxh3_64_with_seed(id.as_bytes(), seed);
        let hosts = membership.members().iter().map(|member| hash(member.id.as_str())).collect();
        Self { membership, hosts, seed, epoch }
    }

    /// The draw of a host for a key.
    fn draw(&self, key: u64, host: u64) -> u64 {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&key.to_le_bytes());
        bytes[8..].copy_from_slice(&host.to_le_bytes());
        xxh3_64_with_seed(&bytes, self.seed)
    }
}

impl Placement for Rendezvous {
    fn candidates(&self, key: &ShardKey) -> Vec<HostIndex> {
        let key = xxh3_64_with_seed(&key.hashed_bytes(), self.seed);
        let mut drawn: Vec<(u64, u64, HostIndex)> = Vec::with_capacity(self.hosts.len());
        for (index, member) in self.membership.indices().zip(self.membership.members()) {
            let weight = u64::from(member.effective_weight());
            if weight > 0 {
                drawn.push((weight, cost(self.draw(key, self.hosts[index.get()])), index));
            }
        }
        // w/a before v/b when w·b > v·a; equal scores are ordered by ID.
        drawn.sort_unstable_by(|(w, a, first), (v, b, second)| {
            let (left, right) = (u128::from(*w) * u128::from(*b), u128::from(*v) * u128::from(*a));
            right.cmp(&left).then(first.cmp(second))
        });
        drawn.into_iter().map(|(.., index)| index).collect()
    }

    fn membership(&self) -> &Membership {
        &self.membership
    }

    fn epoch(&self) -> Epoch {
        self.epoch
    }
}

/// Binary digits after the point of [`cost`].
const FRACTION: u32 = 48;

/// `-log2((draw + 1) / 2^64)` with 48 binary digits, never zero.
fn cost(draw: u64) -> u64 {
    let draw = draw.max(1);
    let zeros = draw.leading_zeros();
    // A mantissa in [1, 2) as a number in [2^63, 2^64).
    let mut mantissa = draw << zeros;
    let mut fraction = 0u64;
    for _ in 0..FRACTION {
        // Squaring doubles the logarithm; what reaches 2 is its next digit.
        let square = (u128::from(mantissa) * u128::from(mantissa)) >> 63;
        let carries = square >> 64 != 0;
        fraction = fraction << 1 | u64::from(carries);
        mantissa = (if carries { square >> 1 } else { square }) as u64;
    }
    // log2(draw) = (63 - zeros) + fraction, and the draw is out of 2^64.
    let log = u64::from(63 - zeros) << FRACTION | fraction;
    (64u64 << FRACTION) - log
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::{HostId, Weight, WorkerName};

    #[test]
    fn cost_is_the_logarithm() {
        let one = (1u64 << FRACTION) as f64;
        for draw in [1, 2, 3, 1 << 20, 0x8000_0000_0000_0000, 0xdead_beef_0123_4567, u64::MAX] {
            let exact = 64.0 - (draw as f64).log2();
            let found = cost(draw) as f64 / one;
            assert!((found - exact).abs() < 1e-9, "{draw}: {found}, {exact}");
        }
        assert!(cost(u64::MAX) > 0 && cost(0) == cost(1));
    }

    /// Were these to change, routers of two versions would disagree.
    #[test]
    fn golden_vectors() {
        let member = |id: &str| super::super::Member::new(HostId::parse(id).unwrap(), Weight::ONE);
        let placement = Rendezvous::new(Membership::new(["a", "b", "c", "d"].map(member)), 0);
        let order = |name: &str| {
            let key = ShardKey::of_worker(WorkerName::parse(name).unwrap());
            let ids = placement.candidates(&key);
            ids.iter().map(|&index| placement.membership().member(index).id.as_str()).collect::<String>()
        };
        let found = ["fastapi", "hello", "worker-1", "worker-2", "x"].map(order);
        assert_eq!(found, GOLDEN);
        assert_eq!(placement.epoch().to_string(), GOLDEN_EPOCH);
    }

    // Computed by an independent program with floating-point logarithms.
    const GOLDEN: [&str; 5] = ["bcda", "bdac", "cabd", "dbca", "bdac"];
    const GOLDEN_EPOCH: &str = "6b99e52388bb20a1";
}
