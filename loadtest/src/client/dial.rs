//! Opening a connection: plain, or with TLS.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::either::Either;

use super::{Failure, Trust};

pub(super) type Wire = Either<TcpStream, TlsStream<TcpStream>>;

#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("cannot read certificates from `{}`, expected a PEM file", file.display())]
    File { file: PathBuf, source: rustls_pki_types::pem::Error },
    #[error("cannot read the machine's certificates; name a file with --ca")]
    Machine(#[source] io::Error),
    #[error("found no certificate in {place}; name a PEM file with --ca")]
    None { place: String },
    #[error("TLS cannot be set up")]
    Setup(#[source] tokio_rustls::rustls::Error),
}

/// Where connections go, and how.
#[derive(Clone)]
pub struct Dial {
    pub address: SocketAddr,
    tls: Option<TlsConnector>,
}

impl std::fmt::Debug for Dial {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dial").field("address", &self.address).field("tls", &self.tls.is_some()).finish()
    }
}

impl From<SocketAddr> for Dial {
    fn from(address: SocketAddr) -> Self {
        Self { address, tls: None }
    }
}

impl Dial {
    /// With TLS; the other side shows a certificate that is trusted.
    pub fn with_tls(address: SocketAddr, trust: Trust<'_>) -> Result<Self, TlsError> {
        Ok(Self { address, tls: Some(TlsConnector::from(Arc::new(trust.config()?))) })
    }

    /// `name` is whom TLS asks for.
    pub(super) async fn open(&self, name: &str) -> Result<Wire, Failure> {
        let failed = |error: io::Error| Failure::Connect(error.kind());
        let stream = TcpStream::connect(self.address).await.map_err(failed)?;
        stream.set_nodelay(true).map_err(failed)?;
        let Some(tls) = &self.tls else { return Ok(Either::Left(stream)) };
        let name = name.rsplit_once(':').map_or(name, |(name, _)| name);
        let name = ServerName::try_from(name.to_owned()).map_err(|_| Failure::Tls)?;
        let stream = tls.connect(name, stream).await.map_err(|_| Failure::Tls)?;
        Ok(Either::Right(stream))
    }
}
