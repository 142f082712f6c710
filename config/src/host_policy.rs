//! What an isolate host decides: whom to let in, which isolate a request gets,
//! when to restore another one, whom to drop for it.
//!
//! ```text
//! headers ─▶ admission ─▶ pool ─▶ use an isolate │ wait for one │ restore one │ refuse
//! ```
//!
//! No clock, no lock, no log: the host's shell passes the time in, does what it
//! is told and tells what came of it.

pub mod admission;
pub mod habit;
pub mod memory;
pub mod pool;
pub mod prepared;
mod price;

use std::fmt;

pub use price::Price;

/// Why a host did not take a request it could have been asked for: the next
/// candidate may. Nothing of the request was processed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// As many isolates as the host may have, all of them with requests in flight.
    AtCapacity,
    /// As many requests in flight as the host may have.
    TooManyRequests,
    /// As much memory as the host may take, or more.
    OutOfMemory,
    /// The worker is not warm here, and making room would cost more than at the other host that
    /// the router named.
    NotWarm(Price),
    /// The host is shutting down.
    Draining,
}

impl Refusal {
    pub const ALL: [Refusal; 5] = [
        Self::AtCapacity,
        Self::TooManyRequests,
        Self::OutOfMemory,
        Self::NotWarm(Price::NOTHING),
        Self::Draining,
    ];

    /// The word in the header that says so, and the label in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AtCapacity => "at_capacity",
            Self::TooManyRequests => "too_many_requests",
            Self::OutOfMemory => "out_of_memory",
            Self::NotWarm(_) => "not_warm",
            Self::Draining => "draining",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
