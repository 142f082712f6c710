//! What every placement promises, whatever its policy.

use std::collections::{HashMap, HashSet};

use proptest::prelude::*;

use super::*;
use crate::units::{HostId, ObjectName, Share, Weight, WorkerName, ZoneName};

type Policy = fn(Membership) -> Box<dyn Placement>;

const POLICIES: [Policy; 2] = [
    |membership| Box::new(Ring::new(membership, Ring::DEFAULT_VNODES, Ring::DEFAULT_SEED)),
    |membership| Box::new(Rendezvous::new(membership, 0)),
];

fn member(name: &str) -> Member {
    Member::new(HostId::parse(name).unwrap(), Weight::ONE)
}

fn members(count: usize) -> Vec<Member> {
    (0..count).map(|n| member(&format!("host-{n}"))).collect()
}

fn key(name: &str) -> ShardKey {
    ShardKey::of_worker(WorkerName::parse(name).unwrap())
}

fn listed(placement: &dyn Placement, key: &ShardKey) -> Vec<HostId> {
    let ids = placement.candidates(key);
    ids.into_iter().map(|index| placement.membership().member(index).id.clone()).collect()
}

/// The home of each of so many workers.
fn homes(policy: Policy, members: &[Member], workers: usize) -> Vec<HostId> {
    let placement = policy(Membership::new(members.to_vec()));
    let home = |n| listed(&*placement, &key(&format!("worker-{n}"))).swap_remove(0);
    (0..workers).map(home).collect()
}

#[test]
fn adding_one_host_to_ten_moves_an_eleventh_and_only_to_the_new_host() {
    for policy in POLICIES {
        let (before, after) = (homes(policy, &members(10), 10_000), homes(policy, &members(11), 10_000));
        let new = HostId::parse("host-10").unwrap();
        let moved: Vec<_> = before.iter().zip(&after).filter(|(from, to)| from != to).collect();
        assert!(moved.iter().all(|(_, to)| **to == new), "moved between hosts that both stayed");
        // 10 000 / 11 = 909; a ring of 512 points per host is within a few percent of fair.
        assert!((770..1050).contains(&moved.len()), "moved {}", moved.len());
    }
}

#[test]
fn weights_share_the_load() {
    for policy in POLICIES {
        let mut hosts = members(4);
        hosts[0].weight = Weight::new(3).unwrap();
        let homes = homes(policy, &hosts, 6_000);
        let heavy = homes.iter().filter(|home| **home == hosts[0].id).count();
        assert!((2_600..3_400).contains(&heavy), "3 of 6 shares, found {heavy} of 6000");
    }
}

/// A share of half a host gets about half of its keys, and the keys of every
/// smaller share are among those of the larger ones: a ramp moves a key once.
#[test]
fn ramps_are_monotone() {
    for policy in POLICIES {
        let ramped = HostId::parse("host-3").unwrap();
        let mut larger: Option<Vec<HostId>> = None;
        for thousandths in [1000, 700, 500, 200, 1, 0] {
            let mut hosts = members(5);
            hosts[3].share = Share::of_thousand(thousandths);
            let homes = homes(policy, &hosts, 5_000);
            let count = homes.iter().filter(|home| **home == ramped).count();
            let fair = 5_000 * thousandths as usize / (4_000 + thousandths as usize);
            assert!(count.abs_diff(fair) < 150, "share {thousandths}: {count}, fair {fair}");
            if let Some(larger) = larger {
                for (before, after) in larger.iter().zip(&homes) {
                    assert!(before == after || *before == ramped, "a key moved between other hosts");
                }
            }
            larger = Some(homes);
        }
    }
}

#[test]
fn a_host_without_a_share_is_no_candidate() {
    for policy in POLICIES {
        let mut hosts = members(3);
        hosts[1].share = Share::NONE;
        let placement = policy(Membership::new(hosts.clone()));
        let candidates = listed(&*placement, &key("x"));
        assert_eq!(candidates.len(), 2);
        assert!(!candidates.contains(&hosts[1].id));
        assert!(policy(Membership::new([])).candidates(&key("x")).is_empty());
    }
}

#[test]
fn a_lost_hosts_workers_go_to_many_heirs() {
    for policy in POLICIES {
        let (before, after) = (homes(policy, &members(20), 20_000), homes(policy, &members(19), 20_000));
        let mut heirs = HashMap::<&HostId, usize>::new();
        for (_, heir) in before.iter().zip(&after).filter(|(from, to)| from != to) {
            *heirs.entry(heir).or_default() += 1;
        }
        assert_eq!(heirs.len(), 19, "every other host inherits something");
    }
}

#[test]
fn objects_of_a_worker_have_homes_of_their_own() {
    let worker = WorkerName::parse("chat").unwrap();
    let object = |n| ShardKey::of_object(worker.clone(), ObjectName::parse(&format!("room-{n}")).unwrap());
    for policy in POLICIES {
        let placement = policy(Membership::new(members(10)));
        let homes: HashSet<HostId> =
            (0..100).map(|n| listed(&*placement, &object(n)).swap_remove(0)).collect();
        assert_eq!(homes.len(), 10);
    }
    // No worker's bytes are an object's, whatever their names.
    assert_ne!(object(1).hashed_bytes(), key("chat").hashed_bytes());
    assert_eq!(object(1).hashed_bytes(), b"o\0chat\0room-1");
}

#[test]
fn policies_have_different_epochs() {
    let epochs: HashSet<Epoch> =
        POLICIES.iter().map(|policy| policy(Membership::new(members(3))).epoch()).collect();
    assert_eq!(epochs.len(), 2);
    let seeds = [0, 1].map(|seed| Ring::new(Membership::new(members(3)), 512, seed).epoch());
    assert_ne!(seeds[0], seeds[1]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Routers read their files in any order and agree whenever their epochs do.
    #[test]
    fn equal_epochs_agree(
        hosts in prop::collection::btree_map("[a-z]{1,4}", (1u32..4, 0u32..5, 0usize..3), 1..12),
        shuffled in Just((0..12usize).collect::<Vec<_>>()).prop_shuffle(),
        worker in "[a-z][a-z0-9-]{0,20}",
    ) {
        let zone = |n: usize| (n > 0).then(|| ZoneName::parse(&format!("z{n}")).unwrap());
        let hosts: Vec<Member> = hosts
            .iter()
            .map(|(id, &(weight, share, in_zone))| {
                Member::new(HostId::parse(id).unwrap(), Weight::new(weight).unwrap())
                    .with_share(Share::of_thousand(share * 250))
                    .in_zone(zone(in_zone))
            })
            .collect();
        let mixed: Vec<Member> = shuffled.iter().filter_map(|&n| hosts.get(n).cloned()).collect();
        for policy in POLICIES {
            let (one, other) =
                (policy(Membership::new(hosts.clone())), policy(Membership::new(mixed.clone())));
            prop_assert_eq!(one.epoch(), other.epoch());
            let local = ZoneOrder::Local(ZoneName::parse("z1").unwrap());
            for zones in [ZoneOrder::Ignore, ZoneOrder::Spread, local] {
                let found = Candidates::of(&*one, &zones, &key(&worker));
                prop_assert_eq!(&found, &Candidates::of(&*other, &zones, &key(&worker)));
                let mut all = found.hosts.to_vec();
                all.sort_unstable();
                let with_share: Vec<HostIndex> = one
                    .membership()
                    .indices()
                    .filter(|&index| one.membership().member(index).share != Share::NONE)
                    .collect();
                prop_assert_eq!(all, with_share, "every host with a share, once");
            }
        }
    }

    #[test]
    fn removing_a_host_keeps_the_order_of_the_others(
        count in 2usize..12,
        gone in 0usize..12,
        worker in "[a-z][a-z0-9-]{0,20}",
    ) {
        for policy in POLICIES {
            let mut hosts = members(count);
            let mut expected = listed(&*policy(Membership::new(hosts.clone())), &key(&worker));
            let removed = hosts.remove(gone % count).id;
            expected.retain(|id| *id != removed);
            prop_assert_eq!(listed(&*policy(Membership::new(hosts)), &key(&worker)), expected);
        }
    }
}
