//! The sockets, bound before anything else: an address in use is reported at
//! once, port 0 is known as soon as it is taken, and no other process can get
//! in between.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::IntoRawFd;
use std::sync::Arc;

use pingora::server::{Fds, ListenFds};
use warmshard_config::shard_file::Listen;

use crate::banner::Addresses;
use crate::upgrade::Predecessor;

/// The sockets' names, which are their keys in the shard file.
const DATA: &str = "listen.data";
const TLS: &str = "listen.tls";
const ADMIN: &str = "listen.admin";

/// A socket and what it is for: the key of the shard file.
pub(crate) type Named = (&'static str, TcpListener);

/// Where clients and operators come in.
pub(crate) struct Sockets {
    pub(crate) data: TcpListener,
    pub(crate) tls: Option<TcpListener>,
    pub(crate) admin: TcpListener,
}

impl Sockets {
    /// Takes over what the process before this one has, and binds the rest.
    pub(crate) fn open(listen: &Listen, mut old: Option<&mut Predecessor>) -> Result<Self, BindError> {
        let mut socket = |address, key| match old.as_mut().and_then(|old| old.take(key, address)) {
            Some(socket) => Ok(socket),
            None => bind(address, key),
        };
        let (data, admin) = (socket(listen.data, DATA)?, socket(listen.admin, ADMIN)?);
        let tls = listen.tls.map(|address| socket(address, TLS)).transpose()?;
        Ok(Self { data, tls, admin })
    }

    /// The same sockets once more, for the process after this one.
    pub(crate) fn shared(&self) -> io::Result<Vec<Named>> {
        let named = [(DATA, &self.data), (ADMIN, &self.admin)];
        let all = named.into_iter().chain(self.tls.as_ref().map(|tls| (TLS, tls)));
        all.map(|(name, socket)| Ok((name, socket.try_clone()?))).collect()
    }

    pub(crate) fn addresses(&self) -> io::Result<Addresses> {
        let tls = self.tls.as_ref().map(TcpListener::local_addr).transpose()?;
        Ok(Addresses { data: self.data.local_addr()?, admin: self.admin.local_addr()?, tls })
    }
}

#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address} (`{key}` in the shard file)")]
pub(crate) struct BindError {
    address: SocketAddr,
    key: &'static str,
    source: io::Error,
}

/// Binds the address of `key`; port 0 takes a free port.
fn bind(address: SocketAddr, key: &'static str) -> Result<TcpListener, BindError> {
    let bound = TcpListener::bind(address).and_then(|listener| {
        listener.set_nonblocking(true)?;
        Ok(listener)
    });
    bound.map_err(|source| BindError { address, key, source })
}

/// Gives bound sockets to pingora the way it passes them on itself: in the
/// table of sockets it looks into before binding one. The strings are the
/// names to listen under.
pub(crate) fn for_pingora(
    listeners: impl IntoIterator<Item = TcpListener>,
) -> io::Result<(Vec<String>, ListenFds)> {
    let mut sockets = Fds::new();
    let mut names = Vec::new();
    for listener in listeners {
        let name = listener.local_addr()?.to_string();
        sockets.add(name.clone(), listener.into_raw_fd());
        names.push(name);
    }
    Ok((names, Arc::new(sockets.into())))
}
