//! Every connection is an open file, and many shells allow only 1024 of them.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What this program has open besides its connections.
const OTHERS: u64 = 64;

#[derive(Debug, thiserror::Error)]
#[error(
    "found a limit of {limit} open files, expected at least {needed} for {connections} connections; \
     lower --connections or raise the limit (`ulimit -n {needed}`)"
)]
pub(crate) struct OpenFilesError {
    limit: u64,
    needed: u64,
    connections: u64,
}

/// Raises this process's own limit as far as needed and allowed.
pub(crate) fn allow_connections(connections: u64) -> Result<(), OpenFilesError> {
    let needed = connections.saturating_add(OTHERS);
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_none_or(|limit| limit >= needed) {
        return Ok(());
    }
    setrlimit(Resource::Nofile, Rlimit { current: Some(needed), maximum }).map_err(|_| OpenFilesError {
        limit: maximum.or(current).unwrap_or(u64::MAX),
        needed,
        connections,
    })
}
