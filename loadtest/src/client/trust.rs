//! Whose certificates are believed.

use std::path::Path;
use std::sync::Arc;

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use tokio_rustls::rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use super::TlsError;

#[derive(Debug, Clone, Copy)]
pub enum Trust<'a> {
    /// Those that this machine trusts.
    Machine,
    /// Those that a certificate in this PEM file has signed.
    Signed(&'a Path),
    /// Anybody's: nothing is known of who answers.
    Anybody,
}

impl Trust<'_> {
    pub(super) fn config(self) -> Result<ClientConfig, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Setup)?;
        let builder = match self {
            Self::Anybody => {
                builder.dangerous().with_custom_certificate_verifier(Arc::new(BelieveAll(provider)))
            }
            Self::Machine => {
                let found = rustls_native_certs::load_native_certs().map_err(TlsError::Machine)?;
                builder.with_root_certificates(roots(found, "this machine's store")?)
            }
            Self::Signed(file) => {
                builder.with_root_certificates(roots(from_file(file)?, &format!("`{}`", file.display()))?)
            }
        };
        Ok(builder.with_no_client_auth())
    }
}

fn roots(found: Vec<CertificateDer<'static>>, place: &str) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found);
    if roots.is_empty() { Err(TlsError::None { place: place.to_owned() }) } else { Ok(roots) }
}

fn from_file(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let wrong = |source| TlsError::File { file: file.to_owned(), source };
    CertificateDer::pem_file_iter(file).map_err(wrong)?.collect::<Result<_, _>>().map_err(wrong)
}

/// Asks of a certificate only that its owner is there.
#[derive(Debug)]
struct BelieveAll(Arc<CryptoProvider>);

impl ServerCertVerifier for BelieveAll {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
