//! An HTTP/1 connection: one request after the other.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use pingora::apps::{HttpPersistentSettings, HttpServerApp};
use pingora::protocols::Stream;
use pingora::protocols::http::ServerSession;
use pingora::server::ShutdownWatch;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout, timeout_at};

use super::head::{Progress, judge};
use super::{Edge, Stage};
use crate::metric;
use crate::respond::{self, Failure};

/// Most heads fit.
const FIRST_READ: usize = 4096;
/// How much, and for how long, is read from a client that was told that it is wrong. If it were
/// not read, the answer would be lost with the connection.
const LEFTOVERS: u64 = 64 * 1024;
const LEFTOVERS_TIME: Duration = Duration::from_secs(1);

/// How waiting for a request ended.
enum Came {
    /// Its head, with whatever has come after it.
    Head(BytesMut),
    Nothing,
    Wrong(Failure),
}

pub(super) async fn serve(edge: &Arc<Edge>, mut stream: Stream, shutdown: &ShutdownWatch) {
    let mut kept: Option<HttpPersistentSettings> = None;
    loop {
        let head = match next_head(edge, &mut stream).await {
            Came::Head(head) => head,
            Came::Nothing => return,
            Came::Wrong(failure) => return refuse(stream, &failure).await,
        };
        let mut session = ServerSession::new_http1(stream);
        session.set_keepalive(Some(edge.idle_time().as_secs().max(1)));
        if let Some(kept) = kept.take() {
            kept.apply_to_session(&mut session);
        }
        session.set_pipelined_prefix(head);
        session.set_read_timeout(Some(edge.fleet.roster().traffic.limits.body_silence));
        let Some(reusable) = edge.proxy.process_new_http(session, shutdown).await else { return };
        (stream, kept) = reusable.consume();
    }
}

/// Waits for a request, then for the end of its head.
async fn next_head(edge: &Edge, stream: &mut Stream) -> Came {
    let limits = edge.fleet.roster().traffic.limits;
    let mut bytes = BytesMut::with_capacity(FIRST_READ);
    let mut stage = edge.stage.clone();
    let begun = tokio::select! {
        // What has come already is served, whatever the stage.
        biased;
        read = timeout(edge.idle_time(), stream.read_buf(&mut bytes)) => read,
        () = Stage::reached(&mut stage, Stage::Closing) => return Came::Nothing,
    };
    if !matches!(begun, Ok(Ok(1..))) {
        return Came::Nothing;
    }
    let deadline = Instant::now() + limits.head_time;
    let mut judged = 0;
    loop {
        // Only a line's end can complete a head, and whoever sends single bytes gets no more work done.
        let news = &bytes[judged..];
        if judged == 0 || news.contains(&b'\n') || bytes.len() >= limits.head as usize {
            match judge(&bytes, limits.head as usize) {
                Ok(Progress::Whole) => return Came::Head(bytes),
                Ok(Progress::Partial) => judged = bytes.len(),
                Err(failure) => return Came::Wrong(failure),
            }
        }
        match timeout_at(deadline, stream.read_buf(&mut bytes)).await {
            Ok(Ok(1..)) => {}
            Ok(Ok(0) | Err(_)) => return Came::Nothing,
            Err(_) => return Came::Wrong(Failure::HeadTooLate(limits.head_time)),
        }
    }
}

/// Says what is wrong and ends the connection so that the client gets to read it.
async fn refuse(mut stream: Stream, failure: &Failure) {
    let request_id = crate::proxy::new_request_id();
    let client = stream.get_socket_digest().and_then(|digest| digest.peer_addr().cloned());
    let client = client.as_ref().and_then(|address| address.as_inet()).map(ToString::to_string);
    metric::turned_away(failure.code());
    tracing::info!(
        target: "access",
        request_id,
        client,
        status = failure.status().map(|status| status.as_u16()),
        failure = failure.code(),
        "request"
    );
    let Some(reply) = respond::raw(failure, &request_id) else { return };
    let said = async {
        stream.write_all(&reply).await?;
        stream.flush().await?;
        AsyncWriteExt::shutdown(&mut stream).await?;
        tokio::io::copy(&mut (&mut stream).take(LEFTOVERS), &mut tokio::io::sink()).await?;
        io::Result::Ok(())
    };
    // Whoever does not listen has been told.
    let _ = timeout(LEFTOVERS_TIME, said).await;
}
