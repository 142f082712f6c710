//! Small calls to a host's control endpoints, apart from the traffic of workers.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Either, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use warmshard_config::units::{FleetKey, WorkerName};
use warmshard_config::wire::{self, PrewarmState, Prewarmed, control};

use crate::fleet::{Host, Place};

/// No control endpoint answers with more than this.
const LARGEST_ANSWER: usize = 1 << 20;

#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    #[error("no connection")]
    Connect(#[source] std::io::Error),
    #[error("no TLS with it")]
    Tls(#[source] std::io::Error),
    #[error("the connection failed")]
    Http(#[source] hyper::Error),
    #[error("the answer could not be read")]
    Body(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("no answer within {0:?}")]
    Late(Duration),
    #[error("found status {0}, expected 200")]
    Status(StatusCode),
    #[error("the answer is not what this call is answered with")]
    Garbled(#[source] serde_json::Error),
}

/// One call: where, what, who and how long.
#[derive(Debug, Clone)]
pub(crate) struct Call<'c> {
    pub(crate) host: &'c Host,
    pub(crate) place: Place,
    pub(crate) method: Method,
    pub(crate) path: &'c str,
    /// `None` for the one endpoint that needs no key.
    pub(crate) key: Option<&'c FleetKey>,
    pub(crate) timeout: Duration,
}

/// Has a host see to it that a worker's next request finds an isolate, and waits for that.
pub(crate) async fn prewarm(
    host: &Host,
    place: Place,
    worker: &WorkerName,
    key: &FleetKey,
    timeout: Duration,
) -> Result<PrewarmState, CallError> {
    let path = format!("{}?worker={worker}", control::PREWARM);
    let answer =
        Call { host, place, method: Method::POST, path: &path, key: Some(key), timeout }.send().await?;
    let prewarmed = serde_json::from_slice::<Prewarmed>(&answer).map_err(CallError::Garbled)?;
    Ok(prewarmed.state)
}

impl Call<'_> {
    /// Makes the call on a connection of its own; any status but 200 is an error.
    pub(crate) async fn send(self) -> Result<Bytes, CallError> {
        let timeout = self.timeout;
        let response = self.exchange(timeout).await?;
        match response.status() {
            StatusCode::OK => Ok(response.into_body()),
            status => Err(CallError::Status(status)),
        }
    }

    /// Makes the call on a connection of its own, which must be there within `connect`.
    pub(crate) async fn exchange(self, connect: Duration) -> Result<Response<Bytes>, CallError> {
        let timeout = self.timeout;
        let answer = tokio::time::timeout(timeout, self.exchange_without_limit(connect)).await;
        answer.unwrap_or(Err(CallError::Late(timeout)))
    }

    async fn exchange_without_limit(self, connect: Duration) -> Result<Response<Bytes>, CallError> {
        let connected = async {
            let stream = TcpStream::connect(self.place.address).await.map_err(CallError::Connect)?;
            let Some(tls) = self.host.tls() else { return Ok(Either::Left(stream)) };
            tls.connect(self.host.id(), stream).await.map(Either::Right).map_err(CallError::Tls)
        };
        let stream = tokio::time::timeout(connect, connected).await;
        match stream.map_err(|_| CallError::Late(connect))?? {
            Either::Left(stream) => self.exchange_over(stream).await,
            Either::Right(stream) => self.exchange_over(stream).await,
        }
    }

    async fn exchange_over(
        self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    ) -> Result<Response<Bytes>, CallError> {
        let handshake = http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = handshake.map_err(CallError::Http)?;
        let driver = tokio::spawn(connection);
        let answer = async {
            let response = sender.send_request(self.request()).await.map_err(CallError::Http)?;
            let (head, body) = response.into_parts();
            let body = Limited::new(body, LARGEST_ANSWER).collect().await;
            Ok(Response::from_parts(head, body.map_err(CallError::Body)?.to_bytes()))
        };
        let answer = answer.await;
        driver.abort();
        answer
    }

    fn request(&self) -> Request<Empty<Bytes>> {
        let mut request = Request::new(Empty::new());
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.path.parse().expect("paths are written in this program");
        let address = self.place.address.to_string().parse().expect("an address is a header value");
        request.headers_mut().insert(header::HOST, address);
        if let Some(key) = self.key {
            let value = key.reveal().parse().expect("fleet keys are printable ASCII");
            request.headers_mut().insert(wire::KEY, value);
        }
        request
    }
}
