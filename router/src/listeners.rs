//! The sockets, bound before anything else: an address in use is reported at
//! once, port 0 is known as soon as it is taken, and no other process can get
//! in between.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::IntoRawFd;
use std::sync::Arc;

use pingora::server::{Fds, ListenFds};

#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address} (`{key}` in the shard file)")]
pub(crate) struct BindError {
    address: SocketAddr,
    key: &'static str,
    source: io::Error,
}

/// Binds the address of `key`; port 0 takes a free port.
pub(crate) fn bind(address: SocketAddr, key: &'static str) -> Result<TcpListener, BindError> {
    let bound = TcpListener::bind(address).and_then(|listener| {
        listener.set_nonblocking(true)?;
        Ok(listener)
    });
    bound.map_err(|source| BindError { address, key, source })
}

/// Hands bound sockets to pingora the way a router being replaced would: in the
/// table of sockets it looks into before binding one itself. The strings are the
/// names to listen under.
pub(crate) fn hand_over(listeners: Vec<TcpListener>) -> io::Result<(Vec<String>, ListenFds)> {
    let mut sockets = Fds::new();
    let mut names = Vec::new();
    for listener in listeners {
        let name = listener.local_addr()?.to_string();
        sockets.add(name.clone(), listener.into_raw_fd());
        names.push(name);
    }
    Ok((names, Arc::new(sockets.into())))
}
