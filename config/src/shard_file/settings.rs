//! What the program relies on: every value checked, no TOML in sight.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::health::HealthPolicy;
use crate::placement::{
    Bound, HostState, Member, Membership, Placement, RampPolicy, Rendezvous, Ring, Routes, WidthPolicy,
    ZoneOrder,
};
use crate::prewarm::PrewarmPolicy;
use crate::units::{FleetKey, HostId, Password, Weight, ZoneName};

/// A shard file that holds together.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    pub listen: Listen,
    /// Empty exactly when nothing listens for TLS.
    pub tls: Vec<CertificateFiles>,
    pub routes: Routes,
    /// With `etcd` there are no hosts in the file: they come with the record, see [`Self::with`].
    pub fleet: Fleet,
    pub etcd: Option<Etcd>,
    pub placement: PlacementSettings,
    pub health: HealthPolicy,
    pub timeouts: Timeouts,
    pub limits: Limits,
    pub prewarm: PrewarmPolicy,
    pub retries: Retries,
    pub reload: Reload,
    pub handoff: Handoff,
    /// Who may use the admin API; `None` for everybody on this machine.
    pub admin_token: Option<FleetKey>,
    /// The secret that router and hosts share. `None` with embedded hosts, for which each start
    /// makes a new one, and where the router's own certificate stands for it.
    pub key: Option<FleetKey>,
    /// How hosts are spoken to over TLS, if they are.
    pub host_tls: Option<HostTlsFiles>,
}

impl Settings {
    /// The same with the hosts and the placement of a record.
    #[must_use]
    pub fn with(mut self, published: Published) -> Self {
        self.fleet = Fleet::External(published.hosts);
        self.placement = published.placement;
        self
    }

    /// The hosts as placement sees them once every ramp is over.
    pub fn members(&self) -> Vec<Member> {
        match &self.fleet {
            Fleet::External(hosts) => hosts.iter().map(ExternalHost::settled).collect(),
            Fleet::Embedded(embedded) => {
                let member = |id: &HostId| Member::new(id.clone(), Weight::ONE);
                embedded.hosts.iter().map(member).collect()
            }
        }
    }

    /// The hosts and what the operator wants of each.
    pub fn wanted(&self) -> Vec<(Member, HostState)> {
        match &self.fleet {
            Fleet::External(hosts) => hosts.iter().map(|host| (host.member.clone(), host.state)).collect(),
            Fleet::Embedded(_) => {
                self.members().into_iter().map(|member| (member, HostState::Active)).collect()
            }
        }
    }

    /// Builds the placement that the file asks for, once every ramp is over.
    pub fn build_placement(&self) -> Box<dyn Placement> {
        self.placement.policy.build(Membership::new(self.members()))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listen {
    pub data: SocketAddr,
    pub admin: SocketAddr,
    /// Where requests arrive over TLS.
    pub tls: Option<SocketAddr>,
}

/// A certificate and its key, as PEM files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFiles {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// What a record in etcd says: the hosts and how workers are placed on them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    pub hosts: Vec<ExternalHost>,
    pub placement: PlacementSettings,
}

/// Where the record is and how to get at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Etcd {
    /// `http://HOST:PORT` each, at least one.
    pub endpoints: Vec<String>,
    pub prefix: String,
    /// `None` for an etcd without users.
    pub user: Option<(String, Password)>,
    /// The last good record.
    pub copy: PathBuf,
    pub timeout: Duration,
    /// The zone this router is in, which the record cannot say.
    pub zone: Option<ZoneName>,
}

impl Etcd {
    /// The name of the record.
    pub fn key(&self) -> String {
        format!("{}/membership", self.prefix.trim_end_matches('/'))
    }
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
    pub state: HostState,
}

impl ExternalHost {
    /// With the share that its state gives it in the end.
    fn settled(&self) -> Member {
        self.member.clone().with_share(self.state.settled())
    }
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

/// What router and hosts prove to each other who they are with, as PEM files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostTlsFiles {
    /// What hosts' certificates are signed by.
    pub ca: PathBuf,
    /// What the router shows; `None` where the fleet's key says who it is.
    pub own: Option<CertificateFiles>,
}

/// Which host is a worker's home, and when it gets more than one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlacementSettings {
    pub policy: PlacementPolicy,
    pub zones: ZoneOrder,
    pub bound: Bound,
    /// So many requests are never too many for a host of weight one.
    pub soft_limit: u32,
    /// At how many hosts a worker may live that is not spread, 1 or more.
    pub homes: u16,
    pub width: WidthPolicy,
    pub ramp: RampPolicy,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlacementPolicy {
    Ring { vnodes: u32, seed: u64 },
    Rendezvous { seed: u64 },
}

impl PlacementPolicy {
    pub fn build(self, membership: Membership) -> Box<dyn Placement> {
        match self {
            Self::Ring { vnodes, seed } => Box::new(Ring::new(membership, vnodes, seed)),
            Self::Rendezvous { seed } => Box::new(Rendezvous::new(membership, seed)),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    pub connect: Duration,
    pub silence: Duration,
    pub client_idle: Duration,
    pub drain: Duration,
    /// How long connections may go on when another router has taken over.
    pub linger: Duration,
}

/// What a client may ask of a router.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The largest head of a request, in bytes.
    pub head: u32,
    /// How long a head may take once it has begun.
    pub head_time: Duration,
    /// How long a client may send nothing in the middle of a body.
    pub body_silence: Duration,
    /// The most connections of clients at a time.
    pub connections: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head: 32 * 1024,
            head_time: Duration::from_secs(10),
            body_silence: Duration::from_secs(60),
            connections: 10_000,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retries {
    /// The most hosts that one request is sent to.
    pub hosts: u32,
}

/// How workers are made warm at the hosts that are about to get them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Handoff {
    /// From the change to the moment it takes effect. Zero for no hand-off.
    pub wait: Duration,
    /// The most workers that are handed over at one change.
    pub workers: u32,
    /// The most of them that one host is asked for at the same time.
    pub concurrency: u32,
    /// Who was called longer ago is not handed over.
    pub recent: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reload {
    pub watch: Duration,
    /// More moved workers than this are refused unless forced.
    pub most_moved_percent: u32,
}
