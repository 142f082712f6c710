//! Which host serves a worker, and why.
//!
//! ```text
//! host name ──route──▶ ShardKey ──Placement──▶ candidates ──choose──▶ Decision
//!                                  (ring)       every host,   (health,  host + reason
//!                                               best first     tried)
//! ```
//!
//! A placement is a pure function of the membership: two routers of the same
//! [`Epoch`] list the same candidates without talking. Health never changes the
//! list; it only decides how far down the list a request goes.

mod decision;
mod ring;
mod route;

use std::fmt::Debug;

use crate::units::{Epoch, HostId, ShardKey, Weight};

pub use decision::{Decision, NoHost, Outcome, Reason, Standing, choose};
pub use ring::Ring;
pub use route::{HostPattern, NoRoute, PatternError, Route, Routes};

/// A host as placement sees it: its ID and its share, never its address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    pub id: HostId,
    pub weight: Weight,
}

/// Lists the hosts for a key.
pub trait Placement: Debug + Send + Sync {
    /// Every host once, best first. Same membership, same key, same list.
    fn candidates(&self, key: &ShardKey) -> Vec<HostId>;

    /// The version of the membership this was built from.
    fn epoch(&self) -> Epoch;
}
