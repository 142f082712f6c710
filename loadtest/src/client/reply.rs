//! What one answer says, and the ways in which there is none.

use std::borrow::Cow;
use std::io;
use std::time::Duration;

use http::{HeaderValue, StatusCode, response};
use warmshard_config::wire::{self, StartKind};

/// An answer that was read to its end.
#[derive(Debug)]
pub struct Reply {
    pub status: StatusCode,
    /// What the request met on its host; none when the answer does not say.
    pub start: Option<StartKind>,
    pub restore: Option<Duration>,
    /// The header's own shared bytes: nothing is copied per request.
    pub host: Option<HeaderValue>,
    pub body_bytes: u64,
    /// From sending the request to the head of the answer.
    pub first_byte: Duration,
    /// How much of that the host had it.
    pub at_host: Option<Duration>,
    /// Why there had to be a restore.
    pub cause: Option<HeaderValue>,
}

impl Reply {
    pub(super) fn from_head(mut head: response::Parts, first_byte: Duration) -> Self {
        let text = |name| head.headers.get(name).and_then(|value| value.to_str().ok());
        let start = text(wire::START).and_then(|word| word.parse().ok());
        let micros = |name| text(name).and_then(|number| number.parse().ok()).map(Duration::from_micros);
        let (restore, at_host) = (micros(wire::RESTORE_US), micros(wire::HOST_US));
        Self {
            status: head.status,
            start,
            restore,
            host: head.headers.remove(wire::HOST),
            body_bytes: 0,
            first_byte,
            at_host,
            cause: head.headers.remove(wire::COLD),
        }
    }
}

/// Why a request has no answer that counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
pub enum Failure {
    #[error("no connection: {0}")]
    Connect(io::ErrorKind),
    #[error("no TLS connection")]
    Tls,
    #[error("no complete answer in time")]
    Timeout,
    #[error("the connection was closed before the answer was complete")]
    Closed,
    #[error("the answer is not HTTP/1.1")]
    NotHttp,
    #[error("the answer has the status {0}")]
    Status(u16),
}

impl Failure {
    /// The kind's name in reports.
    pub fn name(self) -> Cow<'static, str> {
        match self {
            Self::Connect(io::ErrorKind::ConnectionRefused) => "connection_refused".into(),
            Self::Connect(_) => "connect_failed".into(),
            Self::Tls => "tls_failed".into(),
            Self::Timeout => "timeout".into(),
            Self::Closed => "connection_closed".into(),
            Self::NotHttp => "not_http".into(),
            Self::Status(status) => format!("http_{status}").into(),
        }
    }

    pub(super) fn of(error: &hyper::Error) -> Self {
        if error.is_parse() { Self::NotHttp } else { Self::Closed }
    }
}
