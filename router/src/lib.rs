//! A pingora proxy that sends each worker to the isolate host that keeps it warm.
//!
//! ```text
//! cli ─▶ server ─┬─▶ edge ─▶ proxy ─▶ fleet ◀── probe
//!                ├─▶ admin ─────────▶  ▲
//!                └─▶ embedded ─────────┘         decisions: `warmshard_config`
//! ```
//!
//! `edge` reads what clients send; `proxy` is the life of a request, phase by phase. `fleet` is what this router
//! knows of its hosts; `probe` and `embedded` keep it true. What to do is decided
//! in `warmshard_config`, without I/O; this crate does it, logs why and counts it.

#![forbid(unsafe_code)]

mod admin;
mod banner;
mod cli;
mod edge;
mod embedded;
mod etcd;
mod fleet;
mod handoff;
mod host_client;
mod host_tls;
mod listeners;
mod metric;
mod prewarm;
mod probe;
mod proxy;
mod publish;
mod reload;
mod respond;
mod server;
mod shard_commands;
mod shutdown;
mod surroundings;
mod telemetry;
mod tls;
mod upgrade;

use std::ffi::OsString;
use std::process::ExitCode;

/// Runs the router's command line; `args` come without the program's name.
pub fn run(args: Vec<OsString>) -> ExitCode {
    cli::run(args)
}
