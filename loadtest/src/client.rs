//! One HTTP/1.1 connection, and what is learned from the answer to one request.
//!
//! The connection is driven by the task that uses it: no second task per connection, so
//! no hand-over between threads is part of what gets measured.

mod body;
mod dial;
mod reply;
mod trust;

use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::time::Instant;

use http::Request;
use http_body_util::BodyExt;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;

pub use body::Body;
pub use dial::{Dial, TlsError};
pub use reply::{Failure, Reply};
pub use trust::Trust;

type Wire = http1::Connection<TokioIo<dial::Wire>, Body>;

#[derive(Debug)]
pub struct Connection {
    sender: http1::SendRequest<Body>,
    /// None once it has ended: only when it is dropped does the sender learn of it.
    wire: Option<Pin<Box<Wire>>>,
}

/// A request without its answer.
#[derive(Debug)]
pub struct ExchangeError {
    pub failure: Failure,
    /// The request itself, when not a byte of it went out: safe to send elsewhere.
    pub unsent: Option<Box<Request<Body>>>,
}

impl Connection {
    /// `name` is what TLS asks the other side to be.
    pub async fn open(dial: &Dial, name: &str) -> Result<Self, Failure> {
        let stream = dial.open(name).await?;
        let (sender, wire) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| Failure::of(&error))?;
        Ok(Self { sender, wire: Some(Box::pin(wire)) })
    }

    /// Sends one request and reads the whole answer; `on_chunk` sees the body as it arrives.
    pub async fn exchange(
        &mut self,
        request: Request<Body>,
        mut on_chunk: impl FnMut(&[u8]),
    ) -> Result<Reply, ExchangeError> {
        let ready = poll_fn(|context| self.sender.poll_ready(context));
        let ready = drive(&mut self.wire, ready).await;
        if let Err(error) = ready {
            let unsent = Some(Box::new(request));
            return Err(ExchangeError { failure: Failure::of(&error), unsent });
        }

        let began = Instant::now();
        let sending = self.sender.try_send_request(request);
        let response = match drive(&mut self.wire, sending).await {
            Ok(response) => response,
            Err(mut error) => {
                let unsent = error.take_message().map(Box::new);
                return Err(ExchangeError { failure: Failure::of(error.error()), unsent });
            }
        };

        let (head, mut body) = response.into_parts();
        let mut reply = Reply::from_head(head, began.elapsed());
        while let Some(frame) = drive(&mut self.wire, body.frame()).await {
            let frame =
                frame.map_err(|error| ExchangeError { failure: Failure::of(&error), unsent: None })?;
            if let Some(chunk) = frame.data_ref() {
                reply.body_bytes += chunk.len() as u64;
                on_chunk(chunk);
            }
        }
        Ok(reply)
    }

    /// Whether another request may be tried on this connection.
    pub fn is_reusable(&self) -> bool {
        self.wire.is_some() && !self.sender.is_closed()
    }

    /// Returns once the other side has closed an idle connection.
    pub async fn closed(&mut self) {
        if let Some(wire) = &mut self.wire {
            // How it ended does not matter: nothing was under way.
            let _ = wire.await;
            self.wire = None;
        }
    }
}

/// One request over a connection of its own, with the body of its answer.
pub async fn once(address: SocketAddr, request: Request<Body>) -> Result<(Reply, Vec<u8>), Failure> {
    let mut connection = Connection::open(&address.into(), "").await?;
    let mut body = Vec::new();
    let reply = connection.exchange(request, |chunk| body.extend_from_slice(chunk)).await;
    reply.map(|reply| (reply, body)).map_err(|error| error.failure)
}

/// Runs `future` together with the connection it depends on.
async fn drive<F: Future>(wire: &mut Option<Pin<Box<Wire>>>, future: F) -> F::Output {
    let mut future = pin!(future);
    poll_fn(|context| {
        // An error of the connection reaches `future` through hyper's channel; only that it
        // has ended matters here.
        if wire.as_mut().is_some_and(|wire| wire.as_mut().poll(context).is_ready()) {
            *wire = None;
        }
        future.as_mut().poll(context)
    })
    .await
}

#[cfg(test)]
mod tests {
    use warmshard_config::wire::StartKind;

    use super::*;
    use crate::test_server::{Answer, TestServer};

    fn get(path: &str) -> Request<Body> {
        Request::builder().uri(path).header("host", "hello.localhost").body(Body::default()).unwrap()
    }

    #[tokio::test]
    async fn the_answer_is_read_whole_and_its_headers_are_kept() {
        let server = TestServer::answering(|_| {
            Answer::ok("hello").header("x-warmshard-start", "cold").header("x-warmshard-restore-us", "1234")
        })
        .await;
        let mut connection = Connection::open(&server.address().into(), "").await.unwrap();
        let mut body = Vec::new();
        let reply = connection.exchange(get("/"), |chunk| body.extend_from_slice(chunk)).await.unwrap();
        assert_eq!(body, b"hello");
        assert_eq!(reply.body_bytes, 5);
        assert_eq!(reply.status.as_u16(), 200);
        assert_eq!(reply.start, Some(StartKind::Cold));
        assert_eq!(reply.restore, Some(std::time::Duration::from_micros(1234)));
    }

    #[tokio::test]
    async fn one_connection_serves_many_requests() {
        let server = TestServer::answering(|_| Answer::ok("again")).await;
        let mut connection = Connection::open(&server.address().into(), "").await.unwrap();
        for _ in 0..10 {
            connection.exchange(get("/"), |_| ()).await.unwrap();
            assert!(connection.is_reusable());
        }
        assert_eq!(server.connections(), 1);
    }

    #[tokio::test]
    async fn a_request_on_a_connection_the_server_closed_is_handed_back() {
        let server = TestServer::answering(|_| Answer::ok("bye").header("connection", "close")).await;
        let mut connection = Connection::open(&server.address().into(), "").await.unwrap();
        connection.exchange(get("/"), |_| ()).await.unwrap();
        connection.closed().await;
        assert!(!connection.is_reusable());
        let error = connection.exchange(get("/second"), |_| ()).await.unwrap_err();
        assert_eq!(error.unsent.expect("nothing was sent").uri(), "/second");
    }

    #[tokio::test]
    async fn a_streamed_body_arrives_whole_and_without_a_length() {
        let server = TestServer::answering(|request| {
            assert!(!request.headers().contains_key("content-length"));
            assert_eq!(request.headers()["transfer-encoding"], "chunked");
            Answer::ok("read")
        })
        .await;
        let mut request = get("/").map(|_| Body::repeated("0123456789".into(), 100));
        *request.method_mut() = http::Method::POST;
        let (reply, _) = once(server.address(), request).await.unwrap();
        assert_eq!(reply.status.as_u16(), 200);
    }

    #[tokio::test]
    async fn a_refused_connection_says_so() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let failure = Connection::open(&address.into(), "").await.unwrap_err();
        assert_eq!(failure, Failure::Connect(std::io::ErrorKind::ConnectionRefused));
    }
}
