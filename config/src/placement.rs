//! Which host serves a worker, and why.
//!
//! ```text
//! request ──route──▶ ShardKey ──Placement──▶ Candidates ──choose──▶ Decision
//!                               (ring or      every host,  (width,    host, reason,
//!                               rendezvous)   best first   health,    width needed
//!                                             for one      load,         │
//!                                             epoch        warmth)       ▼
//!                                                  Elastic ◀── needs ── refused
//! ```
//!
//! A placement is a pure function of the membership: two routers of the same
//! [`Epoch`] list the same candidates without talking. Health, load and width
//! never change the list; they only decide how far down the list a request goes.

mod baseline;
mod course;
mod decision;
mod heirs;
mod homes;
mod membership;
mod plan;
mod ramp;
mod rendezvous;
mod ring;
mod route;
mod share;
mod width;
mod zones;

use std::fmt::Debug;

use crate::units::{Epoch, ShardKey};

pub use baseline::{least_of_two, random};
pub use course::{Course, HostState, Moment, takes_effect};
pub use decision::{Ask, Bound, Decision, Hosts, NoHost, Outcome, Reason, Standing, Total, choose};
pub use heirs::heirs;
pub use membership::{HostIndex, Member, Membership};
pub use plan::{HostPlan, Plan, Weighed, plan};
pub use ramp::{Ramp, RampPolicy};
pub use rendezvous::Rendezvous;
pub use ring::Ring;
pub use route::{
    Asked, HeaderRule, HeaderRuleError, HostPattern, NoRoute, PathError, PathPrefix, PatternError, Route,
    Routes,
};
pub use share::Tally;
pub use width::{Elastic, WidthPolicy};
pub use zones::ZoneOrder;

/// Lists the hosts for a key.
pub trait Placement: Debug + Send + Sync {
    /// Every host that has a share once, best first. Same membership, same key, same list.
    fn candidates(&self, key: &ShardKey) -> Vec<HostIndex>;

    /// The hosts that the indices mean.
    fn membership(&self) -> &Membership;

    /// The version of the membership this was built from.
    fn epoch(&self) -> Epoch;
}

/// A key's hosts at one epoch, to be computed once and kept until the epoch changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidates {
    pub epoch: Epoch,
    /// Best first.
    pub hosts: Box<[HostIndex]>,
}

impl Candidates {
    pub fn of(placement: &dyn Placement, zones: &ZoneOrder, key: &ShardKey) -> Self {
        let hosts = zones.arrange(placement.candidates(key), placement.membership());
        Self { epoch: zones.epoch(placement.epoch()), hosts: hosts.into_boxed_slice() }
    }
}

#[cfg(test)]
mod tests;
