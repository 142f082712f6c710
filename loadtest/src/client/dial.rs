//! Opening a connection: plain, or with TLS.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use tokio_util::either::Either;

use super::Failure;

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
    /// With TLS; the other side shows a certificate that one in `ca` has signed, or one that
    /// this machine trusts.
    pub fn with_tls(address: SocketAddr, ca: Option<&Path>) -> Result<Self, TlsError> {
        let mut roots = RootCertStore::empty();
        let (found, place) = match ca {
            Some(file) => (from_file(file)?, format!("`{}`", file.display())),
            None => (
                rustls_native_certs::load_native_certs().map_err(TlsError::Machine)?,
                "this machine's store".to_owned(),
            ),
        };
        roots.add_parsable_certificates(found);
        if roots.is_empty() {
            return Err(TlsError::None { place });
        }
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Setup)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self { address, tls: Some(TlsConnector::from(Arc::new(config))) })
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

fn from_file(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let wrong = |source| TlsError::File { file: file.to_owned(), source };
    CertificateDer::pem_file_iter(file).map_err(wrong)?.collect::<Result<_, _>>().map_err(wrong)
}
