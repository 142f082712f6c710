//! Who is on the ring, and with how much of the load.

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::units::{Epoch, HostId, Share, Weight, ZoneName};

/// A host as placement sees it: its ID and its share, never its address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    pub id: HostId,
    pub weight: Weight,
    /// Less than full while the host is being filled or emptied, see [`super::Ramp`].
    pub share: Share,
    pub zone: Option<ZoneName>,
}

impl Member {
    /// A host with all of its weight, in no zone.
    pub fn new(id: HostId, weight: Weight) -> Self {
        Self { id, weight, share: Share::FULL, zone: None }
    }

    #[must_use]
    pub fn with_share(mut self, share: Share) -> Self {
        self.share = share;
        self
    }

    #[must_use]
    pub fn in_zone(mut self, zone: Option<ZoneName>) -> Self {
        self.zone = zone;
        self
    }

    /// Its part of the load in thousandths of a host of weight one.
    pub fn effective_weight(&self) -> u32 {
        self.weight.get() * self.share.thousandths()
    }
}

/// A host by its place in one [`Membership`]; means nothing in another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostIndex(u16);

impl HostIndex {
    pub fn new(index: usize) -> Self {
        Self(u16::try_from(index).expect("a membership has at most 65535 hosts"))
    }

    pub fn get(self) -> usize {
        usize::from(self.0)
    }
}

/// All hosts, in the order of their IDs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Membership {
    members: Vec<Member>,
}

impl Membership {
    /// More hosts than this cannot be indexed; what is beyond is left out.
    pub const MOST_HOSTS: usize = u16::MAX as usize;

    /// The order of members does not matter; of two with the same ID the first counts.
    pub fn new(members: impl IntoIterator<Item = Member>) -> Self {
        let mut members: Vec<Member> = members.into_iter().collect();
        members.sort_by(|a, b| a.id.cmp(&b.id));
        members.dedup_by(|later, first| later.id == first.id);
        members.truncate(Self::MOST_HOSTS);
        Self { members }
    }

    pub fn len(&self) -> usize {
        self.members.len()
    }

    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// Panics when the index is another membership's.
    pub fn member(&self, index: HostIndex) -> &Member {
        &self.members[index.get()]
    }

    pub fn index_of(&self, id: &HostId) -> Option<HostIndex> {
        self.members.binary_search_by(|member| member.id.cmp(id)).ok().map(HostIndex::new)
    }

    pub fn indices(&self) -> impl Iterator<Item = HostIndex> + use<> {
        (0..self.members.len()).map(HostIndex::new)
    }

    /// The hash of everything candidates depend on and nothing else. `policy`
    /// stands for the rest of the placement: its name and numbers.
    pub(super) fn epoch(&self, policy: &[u8]) -> Epoch {
        let mut bytes = policy.to_vec();
        for member in &self.members {
            bytes.extend_from_slice(member.id.as_str().as_bytes());
            bytes.push(0);
            bytes.extend_from_slice(&member.weight.get().to_le_bytes());
            if member.share != Share::FULL {
                bytes.push(b's');
                bytes.extend_from_slice(&member.share.thousandths().to_le_bytes());
            }
            if let Some(zone) = &member.zone {
                bytes.push(b'z');
                bytes.extend_from_slice(zone.as_str().as_bytes());
                bytes.push(0);
            }
        }
        Epoch(xxh3_64_with_seed(&bytes, 0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(id: &str) -> Member {
        Member::new(HostId::parse(id).unwrap(), Weight::ONE)
    }

    #[test]
    fn hosts_are_ordered_by_id_and_found_again() {
        let heavy = Member::new(HostId::parse("b").unwrap(), Weight::new(3).unwrap());
        let membership = Membership::new([heavy.clone(), member("c"), member("a"), member("b")]);
        let ids: Vec<&str> = membership.members().iter().map(|member| member.id.as_str()).collect();
        assert_eq!(ids, ["a", "b", "c"]);
        let b = membership.index_of(&heavy.id).unwrap();
        assert_eq!(membership.member(b), &heavy, "of two with one ID the first counts");
        assert_eq!(membership.index_of(&HostId::parse("d").unwrap()), None);
    }

    #[test]
    fn an_epoch_changes_with_everything_that_places() {
        let epoch = |member: Member| Membership::new([member]).epoch(b"x");
        let plain = epoch(member("a"));
        let zone = ZoneName::parse("z").unwrap();
        let other = [
            member("b"),
            Member::new(HostId::parse("a").unwrap(), Weight::new(2).unwrap()),
            member("a").with_share(Share::of_thousand(999)),
            member("a").in_zone(Some(zone)),
        ];
        for changed in other {
            assert_ne!(epoch(changed.clone()), plain, "{changed:?}");
        }
        assert_eq!(epoch(member("a")), plain);
    }
}
