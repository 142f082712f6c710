//! An HTTP/2 connection: requests side by side.

use std::sync::Arc;
use std::time::Duration;

use pingora::apps::HttpServerApp;
use pingora::protocols::http::ServerSession;
use pingora::protocols::http::v2::server::{self, H2Accept, HttpSession};
use pingora::protocols::{Digest, Stream};
use pingora::server::ShutdownWatch;
use tokio::time::timeout;

use super::{Edge, Stage};
use crate::metric;
use crate::shutdown::InFlight;

/// So many malformed streams end their connection.
const MOST_MALFORMED: u32 = 32;

pub(super) async fn serve(edge: &Arc<Edge>, stream: Stream, shutdown: &ShutdownWatch) {
    let limits = edge.fleet.roster().traffic.limits;
    let digest = Arc::new(Digest {
        ssl_digest: stream.get_ssl_digest(),
        timing_digest: stream.get_timing_digest(),
        proxy_digest: stream.get_proxy_digest(),
        socket_digest: stream.get_socket_digest(),
    });
    let mut options = server::default_h2_options();
    options.max_header_list_size(limits.head);
    let mut connection = match timeout(limits.head_time, server::handshake(stream, Some(options))).await {
        Ok(Ok(connection)) => connection,
        Ok(Err(error)) => return tracing::debug!(%error, "an HTTP/2 connection could not be set up"),
        Err(_) => return metric::turned_away("head_too_late"),
    };
    let mut stage = edge.stage.clone();
    let streams = InFlight::new();
    let (mut malformed, mut leaving) = (0, false);
    loop {
        let accepted = tokio::select! {
            biased;
            // A client that is told goes elsewhere with its next request; those under way end here.
            () = Stage::reached(&mut stage, Stage::Lingering), if !leaving => {
                connection.graceful_shutdown();
                leaving = true;
                continue;
            }
            accepted = HttpSession::from_h2_conn(&mut connection, Arc::clone(&digest)) => accepted,
            () = idle(&streams, edge.idle_time()) => return,
        };
        match accepted {
            Ok(Some(H2Accept::Session(session))) => {
                let (edge, shutdown, flight) = (Arc::clone(edge), shutdown.clone(), streams.begin());
                tokio::spawn(async move {
                    edge.proxy.process_new_http(ServerSession::new_http2(session), &shutdown).await;
                    drop(flight);
                });
            }
            Ok(Some(H2Accept::Rejected)) if malformed < MOST_MALFORMED => {
                malformed += 1;
                metric::turned_away("bad_request_head");
            }
            Ok(Some(H2Accept::Rejected) | None) => return,
            Err(error) => return tracing::debug!(%error, "an HTTP/2 connection ended early"),
        }
    }
}

/// Resolves when no stream has been open for so long.
async fn idle(streams: &InFlight, time: Duration) {
    streams.ended().await;
    tokio::time::sleep(time).await;
}
