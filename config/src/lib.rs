//! The shard file and every decision that follows from it, with no I/O.
//!
//! Everything here is pure: time and randomness are arguments, and what comes
//! back is what to do and why. The router and the isolate hosts perform it; the
//! simulator runs the same code over hosts that do not exist.

#![forbid(unsafe_code)]

pub mod cold_start;
pub mod health;
pub mod host_policy;
pub mod placement;
pub mod prewarm;
pub mod shard_file;
pub mod units;
pub mod wire;
pub mod worker_config;
