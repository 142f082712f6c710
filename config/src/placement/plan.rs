//! What a change of the membership would do, before it is done.

use super::{Candidates, Placement, ZoneOrder};
use crate::units::{HostId, ShardKey};

/// A key and how much of the load it is.
#[derive(Debug, Clone)]
pub struct Weighed {
    pub key: ShardKey,
    pub load: u64,
}

/// One host before and after.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPlan {
    pub id: HostId,
    pub keys_before: u64,
    pub keys_after: u64,
    pub load_before: u64,
    pub load_after: u64,
    /// What its weight entitles it to, in load after the change.
    pub fair_load: u64,
}

impl HostPlan {
    /// Whether it gets more than this many percent of its share.
    pub fn is_over(&self, percent: u64) -> bool {
        self.load_after * 100 > self.fair_load * percent
    }
}

/// What moves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    pub keys: u64,
    /// Keys whose home changes. Each of them is one cold start.
    pub moved: u64,
    pub load: u64,
    pub moved_load: u64,
    /// All hosts of both memberships, in the order of their IDs.
    pub hosts: Vec<HostPlan>,
}

impl Plan {
    pub fn moved_percent(&self) -> u64 {
        (self.moved * 100).div_ceil(self.keys.max(1))
    }
}

/// Compares where each key is at home. `zones` are those of before and after.
pub fn plan(
    before: (&dyn Placement, &ZoneOrder),
    after: (&dyn Placement, &ZoneOrder),
    keys: impl IntoIterator<Item = Weighed>,
) -> Plan {
    let mut plan = Plan { keys: 0, moved: 0, load: 0, moved_load: 0, hosts: hosts_of(before.0, after.0) };
    for Weighed { key, load } in keys {
        let home = |(placement, zones): (&dyn Placement, &ZoneOrder)| {
            let candidates = Candidates::of(placement, zones, &key);
            candidates.hosts.first().map(|&index| placement.membership().member(index).id.clone())
        };
        let (from, to) = (home(before), home(after));
        plan.keys += 1;
        plan.load += load;
        if from != to {
            plan.moved += 1;
            plan.moved_load += load;
        }
        if let Some(host) = find(&mut plan.hosts, from) {
            host.keys_before += 1;
            host.load_before += load;
        }
        if let Some(host) = find(&mut plan.hosts, to) {
            host.keys_after += 1;
            host.load_after += load;
        }
    }
    let members = after.0.membership().members();
    let weights: u64 = members.iter().map(|member| u64::from(member.effective_weight())).sum();
    for member in members {
        if let Some(host) = find(&mut plan.hosts, Some(member.id.clone())) {
            host.fair_load = plan.load * u64::from(member.effective_weight()) / weights.max(1);
        }
    }
    plan
}

fn hosts_of(before: &dyn Placement, after: &dyn Placement) -> Vec<HostPlan> {
    let members = before.membership().members().iter().chain(after.membership().members());
    let mut ids: Vec<&HostId> = members.map(|member| &member.id).collect();
    ids.sort_unstable();
    ids.dedup();
    let empty = |id: &HostId| HostPlan {
        id: id.clone(),
        keys_before: 0,
        keys_after: 0,
        load_before: 0,
        load_after: 0,
        fair_load: 0,
    };
    ids.into_iter().map(empty).collect()
}

fn find(hosts: &mut [HostPlan], id: Option<HostId>) -> Option<&mut HostPlan> {
    let id = id?;
    let index = hosts.binary_search_by(|host| host.id.cmp(&id)).ok()?;
    Some(&mut hosts[index])
}

#[cfg(test)]
mod tests {
    use super::super::{Member, Membership, Ring};
    use super::*;
    use crate::units::{Weight, WorkerName};

    #[test]
    fn one_host_more_takes_its_share_and_nothing_else_moves() {
        let ring = |count: usize| {
            let member = |n| Member::new(HostId::parse(&format!("h{n:02}")).unwrap(), Weight::ONE);
            Ring::new(Membership::new((0..count).map(member)), 512, 0)
        };
        let worker = |n: u64| Weighed {
            key: ShardKey::of_worker(WorkerName::parse(&format!("w{n}")).unwrap()),
            load: n % 3,
        };
        let (before, after, none) = (ring(10), ring(11), ZoneOrder::Ignore);
        let plan = plan((&before, &none), (&after, &none), (0..2_000).map(worker));
        assert_eq!((plan.keys, plan.load), (2_000, 1_999));
        let new = &plan.hosts[10];
        assert_eq!((new.keys_before, new.keys_after, new.load_after), (0, plan.moved, plan.moved_load));
        assert!((7..=11).contains(&plan.moved_percent()), "{}", plan.moved_percent());
        assert_eq!(new.fair_load, 1_999 / 11);
        assert!(!new.is_over(200) && new.is_over(1));
        let kept: u64 = plan.hosts.iter().map(|host| host.keys_after).sum();
        assert_eq!(kept, 2_000);
    }
}
