//! What the program relies on: every value checked, no TOML in sight.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::health::HealthPolicy;
use crate::placement::{Member, Membership, Placement, Ring, Routes};
use crate::units::{FleetKey, HostId, Weight};

/// A shard file that holds together.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    pub listen: Listen,
    pub routes: Routes,
    pub fleet: Fleet,
    pub placement: PlacementPolicy,
    pub health: HealthPolicy,
    pub timeouts: Timeouts,
    /// The secret that router and hosts share. `None` only with embedded hosts:
    /// then each start makes a new one.
    pub key: Option<FleetKey>,
}

impl Settings {
    /// The hosts as placement sees them.
    pub fn members(&self) -> Vec<Member> {
        match &self.fleet {
            Fleet::External(hosts) => hosts.iter().map(|host| host.member.clone()).collect(),
            Fleet::Embedded(embedded) => {
                let member = |id: &HostId| Member::new(id.clone(), Weight::ONE);
                embedded.hosts.iter().map(member).collect()
            }
        }
    }

    /// Builds the placement that the file asks for.
    pub fn build_placement(&self) -> Box<dyn Placement> {
        match self.placement {
            PlacementPolicy::Ring { vnodes, seed } => {
                Box::new(Ring::new(Membership::new(self.members()), vnodes, seed))
            }
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listen {
    pub data: SocketAddr,
    pub admin: SocketAddr,
}

/// Where the isolate hosts come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fleet {
    /// They run by themselves.
    External(Vec<ExternalHost>),
    /// The router starts them.
    Embedded(Embedded),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExternalHost {
    pub member: Member,
    pub address: SocketAddr,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Embedded {
    pub hosts: Vec<HostId>,
    /// Folders of the workers to deploy.
    pub workers: Vec<PathBuf>,
    /// `None` for the user's own store.
    pub store: Option<PathBuf>,
    /// `None` for what the host itself considers right.
    pub max_isolates: Option<u32>,
    pub requests_per_isolate: Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlacementPolicy {
    Ring { vnodes: u32, seed: u64 },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    pub connect: Duration,
    pub silence: Duration,
    pub client_idle: Duration,
    pub drain: Duration,
}
