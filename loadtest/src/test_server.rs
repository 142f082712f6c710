//! A small HTTP server inside the test process, for tests only.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::either::Either;

#[derive(Debug)]
pub(crate) struct Answer {
    response: Response<Full<Bytes>>,
    delay: Duration,
}

impl Answer {
    pub(crate) fn ok(body: &'static str) -> Self {
        Self { response: Response::new(Full::from(body)), delay: Duration::ZERO }
    }

    pub(crate) fn status(mut self, status: u16) -> Self {
        *self.response.status_mut() = status.try_into().unwrap();
        self
    }

    pub(crate) fn header(mut self, name: &'static str, value: &'static str) -> Self {
        self.response.headers_mut().insert(name, value.parse().unwrap());
        self
    }

    pub(crate) fn after(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }
}

#[derive(Debug)]
pub(crate) struct TestServer {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    accepting: tokio::task::JoinHandle<()>,
}

impl TestServer {
    pub(crate) async fn answering(
        answer: impl Fn(&Request<Incoming>) -> Answer + Send + Sync + 'static,
    ) -> Self {
        Self::start(None, answer).await
    }

    /// The same over TLS.
    pub(crate) async fn secure(
        tls: TlsAcceptor,
        answer: impl Fn(&Request<Incoming>) -> Answer + Send + Sync + 'static,
    ) -> Self {
        Self::start(Some(tls), answer).await
    }

    async fn start(
        tls: Option<TlsAcceptor>,
        answer: impl Fn(&Request<Incoming>) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let accepting = tokio::spawn(accept(listener, tls, Arc::clone(&connections), Arc::new(answer)));
        Self { address, connections, accepting }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept<F>(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    connections: Arc<AtomicUsize>,
    answer: Arc<F>,
) where
    F: Fn(&Request<Incoming>) -> Answer + Send + Sync + 'static,
{
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            return;
        };
        connections.fetch_add(1, Ordering::Relaxed);
        let answer = Arc::clone(&answer);
        let service = service_fn(move |request| {
            let answer = answer(&request);
            async move {
                tokio::time::sleep(answer.delay).await;
                Ok::<_, Infallible>(answer.response)
            }
        });
        let tls = tls.clone();
        tokio::spawn(async move {
            let stream = match tls {
                None => Either::Left(stream),
                // One that does not like the certificate is part of some tests.
                Some(tls) => match tls.accept(stream).await {
                    Ok(stream) => Either::Right(stream),
                    Err(_) => return,
                },
            };
            // A client that goes away is part of some tests.
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}
