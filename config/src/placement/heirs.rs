//! Who gets what when the membership changes: the workers that move, and the hosts
//! that will have them.

use super::{HostIndex, Membership};
use crate::units::HostId;

/// The hosts within a worker's width after a change that were not before it, where the worker is
/// therefore cold. `before` are IDs, since the indices of another membership mean nothing here.
pub fn heirs<'m>(
    before: &[&HostId],
    after: &[HostIndex],
    width: u16,
    membership: &'m Membership,
) -> Vec<&'m HostId> {
    let after = after.iter().take(usize::from(width.max(1)));
    let ids = after.map(|&host| &membership.member(host).id);
    ids.filter(|id| !before.contains(id)).collect()
}

#[cfg(test)]
mod tests {
    use super::super::{Candidates, Member, Placement, Ring, ZoneOrder};
    use super::*;
    use crate::units::{ShardKey, Weight, WorkerName};

    fn ring(count: usize) -> Ring {
        let member = |n| Member::new(HostId::parse(&format!("h{n}")).unwrap(), Weight::ONE);
        Ring::new(Membership::new((0..count).map(member)), 512, 0)
    }

    #[test]
    fn whoever_moves_has_the_new_host_as_heir_and_nobody_else_has_one() {
        let (before, after) = (ring(4), ring(5));
        let new = HostId::parse("h4").unwrap();
        let mut moved = 0;
        for n in 0..1000 {
            let key = ShardKey::of_worker(WorkerName::parse(&format!("w{n}")).unwrap());
            let hosts = |ring: &Ring| Candidates::of(ring, &ZoneOrder::Ignore, &key).hosts;
            let (old, young) = (hosts(&before), hosts(&after));
            for width in [1, 2] {
                let window: Vec<&HostId> =
                    old.iter().take(width).map(|&host| &before.membership().member(host).id).collect();
                let found = heirs(&window, &young, width as u16, after.membership());
                let is_in = young.iter().take(width).any(|&host| after.membership().member(host).id == new);
                assert_eq!(found, if is_in { vec![&new] } else { vec![] });
                moved += usize::from(width == 1 && is_in);
            }
        }
        assert!((150..250).contains(&moved), "a fifth, found {moved}");
    }
}
