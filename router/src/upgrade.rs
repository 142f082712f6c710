//! A router takes over the sockets of the one before it, so that no connection is
//! refused while it is replaced.
//!
//! ```text
//! new process                          old process, listening on the path
//!     ├─ connects ──────────────────────▶ │
//!     │ ◀───────── the sockets, by name ──┤
//!   gets its hosts going, accepts         │ serves on
//!     ├─ "ready" ───────────────────────▶ │
//!     │ ◀───────────────────────── "done" ┤ accepts no more
//!   listens on the path                 answers what is open, ends
//! ```
//!
//! Both have the same sockets, not one each: what waits to be accepted is accepted by
//! whoever is there. If the new one does not get ready, the old one has lost nothing.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::{UnixListener, UnixStream};

use crate::listeners::Named;

/// The sockets of a router: data, TLS, admin.
const MOST_SOCKETS: usize = 3;
const READY: &[u8; 6] = b"ready\n";
const DONE: &[u8; 5] = b"done\n";
/// How long the old one may take to stop accepting.
const STOPS_WITHIN: Duration = Duration::from_secs(10);
/// How long either may take to say what it has at hand.
const SAYS_WITHIN: Duration = Duration::from_secs(5);

/// Waits for the process that will replace this one.
pub(crate) struct UpgradeSocket {
    listener: UnixListener,
    sockets: Vec<Named>,
}

/// The process that is ready to replace this one.
pub(crate) struct Successor(UnixStream);

/// The process that this one replaces.
pub(crate) struct Predecessor {
    stream: UnixStream,
    sockets: Vec<(String, TcpListener)>,
}

impl UpgradeSocket {
    /// Takes the path over from whoever had it.
    pub(crate) fn listen(path: &Path, sockets: Vec<Named>) -> io::Result<Self> {
        // Bound aside and renamed: there is no moment without it, and nobody else may connect.
        let aside = PathBuf::from(format!("{}.{}", path.display(), std::process::id()));
        let _ = std::fs::remove_file(&aside);
        let listener = UnixListener::bind(&aside)?;
        std::fs::set_permissions(&aside, std::fs::Permissions::from_mode(0o600))?;
        std::fs::rename(&aside, path)?;
        Ok(Self { listener, sockets })
    }

    /// Resolves when a new process has the sockets and is ready.
    pub(crate) async fn replaced(&self) -> Successor {
        loop {
            let stream = match self.listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "no process can take over");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    continue;
                }
            };
            match self.offer(stream).await {
                Ok(successor) => return successor,
                Err(error) => tracing::warn!(%error, "a process that was to take over did not get ready"),
            }
        }
    }

    async fn offer(&self, mut stream: UnixStream) -> io::Result<Successor> {
        let own = rustix::process::geteuid().as_raw();
        if stream.peer_cred()?.uid() != own {
            return Err(io::Error::other("another user asked"));
        }
        tracing::info!(process = stream.peer_cred()?.pid(), "a process is about to take over");
        tokio::time::timeout(SAYS_WITHIN, send(&stream, &self.sockets)).await??;
        // It may have to prepare workers and start hosts; if it ends, its end of the stream does.
        let mut said = [0; READY.len()];
        stream.read_exact(&mut said).await?;
        if said == *READY { Ok(Successor(stream)) } else { Err(io::Error::other("it said something else")) }
    }
}

impl Successor {
    /// This process accepts no more.
    pub(crate) async fn done(mut self) {
        if let Err(error) = self.0.write_all(DONE).await {
            tracing::warn!(%error, "the process that took over has gone");
        }
    }
}

impl Predecessor {
    /// Whoever listens on the path, with its sockets; `None` when nobody does.
    pub(crate) async fn find(path: &Path) -> io::Result<Option<Self>> {
        let stream = match UnixStream::connect(path).await {
            Ok(stream) => stream,
            Err(error)
                if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) =>
            {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let sockets = tokio::time::timeout(SAYS_WITHIN, receive(&stream)).await??;
        Ok(Some(Self { stream, sockets }))
    }

    /// Its socket of this name, if it is what the shard file asks for; port 0 is any port.
    pub(crate) fn take(&mut self, name: &str, wanted: SocketAddr) -> Option<TcpListener> {
        let fits = |socket: &TcpListener| {
            socket.local_addr().is_ok_and(|found| {
                found.ip() == wanted.ip() && (found.port() == wanted.port() || wanted.port() == 0)
            })
        };
        let position = self.sockets.iter().position(|(found, socket)| found == name && fits(socket))?;
        Some(self.sockets.swap_remove(position).1)
    }

    /// Has it stop accepting, now that this process accepts.
    pub(crate) async fn replace(mut self) -> io::Result<()> {
        self.stream.write_all(READY).await?;
        let mut said = [0; DONE.len()];
        tokio::time::timeout(STOPS_WITHIN, self.stream.read_exact(&mut said)).await??;
        Ok(())
    }
}

async fn send(stream: &UnixStream, sockets: &[Named]) -> io::Result<()> {
    let names: Vec<&str> = sockets.iter().map(|(name, _)| *name).collect();
    let names = format!("{}\n", names.join(","));
    let descriptors: Vec<_> = sockets.iter().map(|(_, socket)| socket.as_fd()).collect();
    let send = || {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_SOCKETS))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if !ancillary.push(SendAncillaryMessage::ScmRights(&descriptors)) {
            return Err(io::Error::other("more sockets than expected"));
        }
        Ok(sendmsg(stream, &[IoSlice::new(names.as_bytes())], &mut ancillary, SendFlags::empty())?)
    };
    stream.async_io(Interest::WRITABLE, send).await.map(drop)
}

async fn receive(stream: &UnixStream) -> io::Result<Vec<(String, TcpListener)>> {
    let receive = || {
        let (mut text, mut space) =
            ([0; 256], [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_SOCKETS))]);
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let into = &mut [IoSliceMut::new(&mut text)];
        let length = recvmsg(stream, into, &mut ancillary, RecvFlags::CMSG_CLOEXEC)?.bytes;
        let mut descriptors: Vec<OwnedFd> = Vec::new();
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(received) = message {
                descriptors.extend(received);
            }
        }
        Ok((String::from_utf8_lossy(&text[..length]).into_owned(), descriptors))
    };
    let (names, descriptors) = stream.async_io(Interest::READABLE, receive).await?;
    let names: Vec<&str> = names.trim_end().split(',').filter(|name| !name.is_empty()).collect();
    if names.len() != descriptors.len() || names.is_empty() {
        let found = format!("found {} names and {} sockets", names.len(), descriptors.len());
        return Err(io::Error::other(format!("{found}, expected as many of each: it is no router")));
    }
    Ok(names.into_iter().map(str::to_owned).zip(descriptors.into_iter().map(TcpListener::from)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn socket() -> TcpListener {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        socket.set_nonblocking(true).unwrap();
        socket
    }

    #[tokio::test]
    async fn sockets_pass_from_one_to_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("router.sock");
        assert!(Predecessor::find(&path).await.unwrap().is_none());
        let (data, admin) = (socket(), socket());
        let address = data.local_addr().unwrap();
        let old = UpgradeSocket::listen(&path, vec![("data", data), ("admin", admin)]).unwrap();

        // One that is started and ends before it is ready changes nothing.
        let new = async {
            drop(Predecessor::find(&path).await.unwrap().unwrap());
            let mut old = Predecessor::find(&path).await.unwrap().unwrap();
            assert!(old.take("data", ([127, 0, 0, 1], 1).into()).is_none(), "another port is wanted");
            let taken = old.take("data", ([127, 0, 0, 1], 0).into()).unwrap();
            assert_eq!(taken.local_addr().unwrap(), address);
            assert!(old.take("data", address).is_none(), "it can be had once");
            old.replace().await.unwrap();
            taken
        };
        let replaced = async { old.replaced().await.done().await };
        let (taken, ()) = tokio::join!(new, replaced);
        drop(old);
        assert!(Predecessor::find(&path).await.unwrap().is_none(), "nobody listens there any more");
        let next = UpgradeSocket::listen(&path, vec![("data", taken)]).unwrap();
        let (found, _) = tokio::join!(Predecessor::find(&path), async {
            tokio::time::timeout(Duration::from_millis(200), next.replaced()).await.is_err()
        });
        assert!(found.unwrap().is_some());
    }
}
