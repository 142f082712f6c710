//! The hosts and their placement at one epoch. A roster never changes: a reload
//! builds another one aside, and requests that began with the old one end with it.

use std::sync::Arc;
use std::time::Instant;

use warmshard_config::cold_start::History;
use warmshard_config::health::HealthPolicy;
use warmshard_config::placement::{
    Bound, HostIndex, Hosts, Placement, Routes, Standing, Total, WidthPolicy, ZoneOrder,
};
use warmshard_config::prewarm::PrewarmPolicy;
use warmshard_config::shard_file::{Limits, PlacementSettings, Retries, Timeouts};
use warmshard_config::units::{Epoch, FleetKey, HostId};

use super::Host;

/// How requests are spread, apart from who there is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Spreading {
    pub(crate) zones: ZoneOrder,
    pub(crate) width: WidthPolicy,
    pub(crate) bound: Bound,
    /// So many requests are never too many for a host of weight one.
    pub(crate) soft_limit: u32,
    /// At how many hosts a worker may live that is not spread.
    pub(crate) homes: u16,
}

impl From<&PlacementSettings> for Spreading {
    fn from(settings: &PlacementSettings) -> Self {
        Self {
            zones: settings.zones.clone(),
            width: settings.width,
            bound: settings.bound,
            soft_limit: settings.soft_limit,
            homes: settings.homes,
        }
    }
}

#[cfg(test)]
impl Default for Spreading {
    fn default() -> Self {
        let (zones, width, bound) = (ZoneOrder::default(), WidthPolicy::default(), Bound::default());
        Self { zones, width, bound, soft_limit: 32, homes: 2 }
    }
}

/// What becomes of requests, apart from where they go.
#[derive(Debug, Clone)]
pub(crate) struct Traffic {
    pub(crate) routes: Routes,
    pub(crate) key: FleetKey,
    pub(crate) timeouts: Timeouts,
    pub(crate) limits: Limits,
    pub(crate) prewarm: PrewarmPolicy,
    pub(crate) retries: Retries,
    pub(crate) health: HealthPolicy,
}

#[cfg(test)]
impl Default for Traffic {
    fn default() -> Self {
        let second = std::time::Duration::from_secs(1);
        Self {
            routes: Routes::default(),
            key: FleetKey::parse("0123456789abcdef").unwrap(),
            timeouts: Timeouts {
                connect: second,
                silence: second,
                client_idle: second,
                drain: second,
                linger: second,
            },
            limits: Limits::default(),
            prewarm: PrewarmPolicy::default(),
            retries: Retries { hosts: 8 },
            health: HealthPolicy::default(),
        }
    }
}

#[derive(Debug)]
pub(crate) struct Roster {
    pub(crate) placement: Box<dyn Placement>,
    pub(crate) spreading: Spreading,
    pub(crate) traffic: Traffic,
    /// In the order of the membership.
    hosts: Vec<Arc<Host>>,
}

impl Roster {
    /// `known` gives the host of an ID, which outlives rosters.
    pub(super) fn new(
        placement: Box<dyn Placement>,
        spreading: Spreading,
        traffic: Traffic,
        known: impl Fn(&HostId) -> Arc<Host>,
    ) -> Self {
        let hosts = placement.membership().members().iter().map(|member| known(&member.id)).collect();
        Self { placement, spreading, traffic, hosts }
    }

    pub(crate) fn epoch(&self) -> Epoch {
        self.spreading.zones.epoch(self.placement.epoch())
    }

    pub(crate) fn hosts(&self) -> &[Arc<Host>] {
        &self.hosts
    }

    pub(crate) fn host(&self, index: HostIndex) -> &Arc<Host> {
        &self.hosts[index.get()]
    }

    pub(crate) fn index_of(&self, id: &HostId) -> Option<HostIndex> {
        self.placement.membership().index_of(id)
    }

    pub(crate) fn weight(&self, index: HostIndex) -> u32 {
        self.placement.membership().member(index).effective_weight().max(1)
    }

    /// Soft limits are for a host of weight one.
    pub(super) fn soft_limit(&self, index: HostIndex) -> u32 {
        let weight = self.placement.membership().member(index).weight.get();
        self.spreading.soft_limit.saturating_mul(weight)
    }
}

/// What a decision about one worker may ask.
pub(super) struct Seen<'r> {
    pub(super) roster: &'r Roster,
    /// `None` when it does not matter where the worker is warm.
    pub(super) history: Option<&'r History>,
    pub(super) now: Instant,
}

impl Hosts for Seen<'_> {
    fn standing(&self, host: HostIndex) -> Standing {
        self.roster.host(host).standing(self.now)
    }

    fn in_flight(&self, host: HostIndex) -> u32 {
        self.roster.host(host).in_flight(self.now)
    }

    fn soft_limit(&self, host: HostIndex) -> u32 {
        self.roster.soft_limit(host)
    }

    fn weight(&self, host: HostIndex) -> u32 {
        self.roster.weight(host)
    }

    fn is_warm(&self, host: HostIndex) -> bool {
        self.history.is_some_and(|history| history.is_warm(host))
    }

    fn total(&self) -> Total {
        let mut total = Total::default();
        for (index, host) in self.roster.placement.membership().indices().zip(&self.roster.hosts) {
            if host.standing(self.now) == Standing::Eligible {
                total.in_flight += u64::from(host.in_flight(self.now));
                total.weight += u64::from(self.roster.weight(index));
            }
        }
        total
    }
}
