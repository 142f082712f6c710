//! The order of candidates where hosts fail together.
//!
//! `Spread` keeps the home and lets the next candidates come from zones not yet
//! used, so that a worker of width two survives the loss of a zone, and so does
//! the home's stand-in. `Local` puts the hosts of the router's own zone first:
//! no request leaves the zone while one of its hosts is up, at the price of one
//! warm copy in each zone that has routers.

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::{HostIndex, Membership};
use crate::units::{Epoch, ZoneName};

/// What zones are for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum ZoneOrder {
    /// Candidates come as hashed, whatever their zone.
    #[default]
    Ignore,
    /// All routers list the same candidates, neighbours in different zones.
    Spread,
    /// Routers of one zone list the same candidates, their own zone's first.
    Local(ZoneName),
}

impl ZoneOrder {
    /// An epoch with this order taken in. Routers of different zones may have
    /// equal epochs and different orders when the order is `Local`.
    pub fn epoch(&self, placement: Epoch) -> Epoch {
        let tag: &[u8] = match self {
            Self::Ignore => return placement,
            Self::Spread => b"spread",
            Self::Local(_) => b"local",
        };
        Epoch(xxh3_64_with_seed(tag, placement.0))
    }

    pub(super) fn arrange(&self, candidates: Vec<HostIndex>, membership: &Membership) -> Vec<HostIndex> {
        match self {
            Self::Ignore => candidates,
            Self::Spread => spread(candidates, membership),
            Self::Local(zone) => {
                let is_local = |index: &HostIndex| membership.member(*index).zone.as_ref() == Some(zone);
                let (mut local, others): (Vec<_>, Vec<_>) = candidates.into_iter().partition(is_local);
                local.extend(others);
                local
            }
        }
    }
}

/// Rounds over the zones, each giving its next host; zones in the order of their
/// first host. Hosts without a zone share one.
fn spread(candidates: Vec<HostIndex>, membership: &Membership) -> Vec<HostIndex> {
    let mut queues: Vec<(Option<&ZoneName>, Vec<HostIndex>)> = Vec::new();
    let all = candidates.len();
    for index in candidates {
        let zone = membership.member(index).zone.as_ref();
        match queues.iter_mut().find(|(known, _)| *known == zone) {
            Some((_, queue)) => queue.push(index),
            None => queues.push((zone, vec![index])),
        }
    }
    let mut arranged = Vec::with_capacity(all);
    for round in 0..all {
        arranged.extend(queues.iter().filter_map(|(_, queue)| queue.get(round)));
        if arranged.len() == all {
            break;
        }
    }
    arranged
}

#[cfg(test)]
mod tests {
    use super::super::Member;
    use super::*;
    use crate::units::{HostId, Weight};

    fn arranged(order: &ZoneOrder, zones: &[&str]) -> Vec<usize> {
        let member = |(n, zone): (usize, &&str)| {
            let zone = (!zone.is_empty()).then(|| ZoneName::parse(zone).unwrap());
            Member::new(HostId::parse(&format!("h{n}")).unwrap(), Weight::ONE).in_zone(zone)
        };
        let membership = Membership::new(zones.iter().enumerate().map(member));
        let candidates = membership.indices().collect();
        order.arrange(candidates, &membership).into_iter().map(HostIndex::get).collect()
    }

    #[test]
    fn neighbours_are_in_different_zones_and_the_home_stays() {
        assert_eq!(arranged(&ZoneOrder::Spread, &["x", "x", "x", "y", "z", "y"]), [0, 3, 4, 1, 5, 2]);
        assert_eq!(arranged(&ZoneOrder::Spread, &["", "", "y"]), [0, 2, 1]);
        assert_eq!(arranged(&ZoneOrder::Ignore, &["x", "x", "y"]), [0, 1, 2]);
        assert!(arranged(&ZoneOrder::Spread, &[]).is_empty());
    }

    #[test]
    fn the_own_zone_comes_first_in_hash_order() {
        let own = ZoneOrder::Local(ZoneName::parse("y").unwrap());
        assert_eq!(arranged(&own, &["x", "y", "x", "y"]), [1, 3, 0, 2]);
        assert_eq!(arranged(&own, &["x", "z"]), [0, 1]);
    }
}
