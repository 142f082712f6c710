//! Where clients come in: what is read from a connection before a request
//! reaches the proxy, and how connections end.
//!
//! ```text
//! pingora's listener ──▶ (TLS) ──▶ Edge ─┬─ h2: streams ──────────────┐
//!                                        └─ h1: head, within limits ──┴─▶ pingora's proxy
//!                                                 │ too late, too large, wrong
//!                                                 └──▶ 408, 431, 400 and the end
//! ```
//!
//! pingora reads a head of up to 1 MiB with a pause of up to a minute before each
//! byte, and answers what it cannot read with a bare 400. So the edge reads heads
//! itself, judges them, and hands the bytes on.

mod h1;
mod h2;
mod head;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pingora::apps::{HttpServerApp, ServerApp};
use pingora::protocols::{ALPN, Stream};
use pingora::proxy::HttpProxy;
use pingora::server::ShutdownWatch;
use tokio::sync::watch;

use crate::fleet::Fleet;
use crate::metric;
use crate::proxy::Proxy;
use crate::shutdown::InFlight;

/// How far the router is on its way to stopping, as its connections see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    Serving,
    /// Somebody else listens now. What is open is served once more and then closed, so that
    /// no request meets a connection that is just being closed.
    Lingering,
    /// What has no request is closed.
    Closing,
}

impl Stage {
    /// Waits until this stage or a later one is there.
    async fn reached(stage: &mut watch::Receiver<Stage>, wanted: Stage) {
        // The router holds the sender for as long as it runs.
        let _ = stage.wait_for(|stage| *stage >= wanted).await;
    }
}

/// The app that pingora's listener gives connections to.
pub(crate) struct Edge {
    pub(crate) proxy: Arc<HttpProxy<Proxy>>,
    pub(crate) fleet: Arc<Fleet>,
    pub(crate) connections: InFlight,
    pub(crate) stage: watch::Receiver<Stage>,
}

impl Edge {
    /// Longest wait for the next request on a connection.
    fn idle_time(&self) -> Duration {
        self.fleet.roster().traffic.timeouts.client_idle
    }
}

#[async_trait]
impl ServerApp for Edge {
    async fn process_new(self: &Arc<Self>, stream: Stream, shutdown: &ShutdownWatch) -> Option<Stream> {
        let most = self.fleet.roster().traffic.limits.connections as usize;
        let place = self.connections.begin();
        if self.connections.count() > most {
            metric::turned_away("too_many_connections");
            return None;
        }
        if matches!(stream.selected_alpn_proto(), Some(ALPN::H2)) {
            h2::serve(self, stream, shutdown).await;
        } else {
            h1::serve(self, stream, shutdown).await;
        }
        drop(place);
        None
    }

    /// Called once no listener is left: answers from now on close their connections.
    async fn cleanup(&self) {
        self.proxy.http_cleanup().await;
    }
}
