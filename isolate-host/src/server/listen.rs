//! Accepts connections until told to stop, then lets requests end.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use warmshard_config::host_policy::admission::Caller;

use super::{Host, HostTls, ahead, dispatch};
use crate::pool::Runtime;

/// Longest wait for a request's head. Routers keep idle connections: it is not short.
const HEAD_TIMEOUT: Duration = Duration::from_secs(300);
/// Pause after a failed accept, such as for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How a server ends.
#[derive(Debug, Clone, Copy)]
pub struct Shutdown {
    /// How long routers are told to go elsewhere before connections are closed. A connection that is
    /// closed just as a request comes would cost the request.
    pub notice: Duration,
    /// How long requests in flight may go on.
    pub drain: Duration,
}

/// Where routers come in, and whether they speak TLS there.
#[derive(Debug)]
pub struct Listener {
    pub socket: TcpListener,
    pub tls: Option<Arc<HostTls>>,
}

/// Serves until `stop` resolves, then drains.
pub async fn serve<R: Runtime>(
    host: Arc<Host<R>>,
    listener: Listener,
    stop: impl Future<Output = ()>,
    shutdown: Shutdown,
) {
    let (draining, watched) = watch::channel(false);
    let mut connections = JoinSet::new();
    let mut stop = std::pin::pin!(async {
        stop.await;
        host.draining.store(true, Ordering::Relaxed);
        tokio::time::sleep(shutdown.notice).await;
    });
    let mut looking_ahead = std::pin::pin!(ahead::look(&host));
    loop {
        tokio::select! {
            () = &mut stop => break,
            () = &mut looking_ahead => {}
            accepted = listener.socket.accept() => match accepted {
                Ok((stream, _)) => {
                    let tls = listener.tls.clone();
                    connections.spawn(connection(Arc::clone(&host), stream, tls, watched.clone()));
                }
                Err(error) => pause_after(&error).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
    drop(listener);
    draining.send_replace(true);
    let ended = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(shutdown.drain, ended).await.is_err() {
        tracing::warn!(connections = connections.len(), "requests did not end in time and are cut off");
    }
    connections.shutdown().await;
    host.isolates.drain();
}

async fn pause_after(error: &io::Error) {
    // A client that gave up before it was accepted is nobody's problem.
    if error.kind() != io::ErrorKind::ConnectionAborted {
        tracing::warn!(%error, "cannot accept a connection");
        tokio::time::sleep(ACCEPT_PAUSE).await;
    }
}

async fn connection<R: Runtime>(
    host: Arc<Host<R>>,
    stream: TcpStream,
    tls: Option<Arc<HostTls>>,
    draining: watch::Receiver<bool>,
) {
    // Without it small responses wait for the acknowledgement of the ones before.
    let _ = stream.set_nodelay(true);
    let Some(tls) = tls else { return answer_all(host, stream, Caller::Unknown, draining).await };
    match tls.accept(stream).await {
        Ok((stream, caller)) => answer_all(host, stream, caller, draining).await,
        Err(error) => tracing::debug!(%error, "a handshake failed"),
    }
}

/// Answers one request after the other.
async fn answer_all<R: Runtime>(
    host: Arc<Host<R>>,
    stream: impl AsyncRead + AsyncWrite + Unpin,
    caller: Caller,
    mut draining: watch::Receiver<bool>,
) {
    let service = service_fn(move |request| {
        let host = Arc::clone(&host);
        async move { Ok::<_, Infallible>(dispatch::handle(&host, request, caller).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let result = tokio::select! {
        result = connection.as_mut() => result,
        // It changes once, from taking requests to letting them end.
        _ = draining.changed() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(error = crate::pool::chain(&error), "a connection ended early");
    }
}
