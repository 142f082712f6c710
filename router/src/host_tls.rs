//! TLS with hosts: who may say that it is one, and how this router proves to be of the fleet.
//!
//! A host's certificate is made for its ID, wherever the host runs: whoever has another host's
//! address does not have its name.

use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwap;
use pingora::prelude::HttpPeer;
use pingora::protocols::tls::CaType;
use pingora::utils::tls::{CertKey, WrappedX509, parse_x509};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use warmshard_config::shard_file::{CertificateFiles, HostTlsFiles};
use warmshard_config::units::HostId;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::tls;

/// What connections to hosts are made with; others take its place when its files change.
#[derive(Debug)]
pub(crate) struct HostTls(ArcSwap<Material>);

/// Read, checked, and not in force yet.
#[derive(Debug)]
pub(crate) struct Material {
    /// The same twice: for connections of requests, and for calls of our own.
    authorities: Arc<CaType>,
    own: Option<Arc<CertKey>>,
    config: Arc<ClientConfig>,
}

/// Files of `[host_tls]` that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`host_tls.{key}`: {why}")]
pub(crate) struct BadHostTls {
    key: &'static str,
    why: String,
}

impl HostTls {
    pub(crate) fn load(files: &HostTlsFiles) -> Result<Self, BadHostTls> {
        Ok(Self(ArcSwap::from_pointee(Material::read(files)?)))
    }

    /// From the next connection on.
    pub(crate) fn replace(&self, material: Material) {
        self.0.store(Arc::new(material));
    }

    /// Makes a request's connection one over TLS to this host.
    pub(crate) fn apply(&self, peer: &mut HttpPeer, host: &HostId) {
        let material = self.0.load();
        peer.options.ca = Some(Arc::clone(&material.authorities));
        peer.client_cert_key.clone_from(&material.own);
        host.as_str().clone_into(&mut peer.sni);
    }

    /// Speaks TLS with this host on a connection.
    pub(crate) async fn connect(
        &self,
        host: &HostId,
        stream: TcpStream,
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let name = ServerName::try_from(host.as_str().to_owned()).map_err(std::io::Error::other)?;
        let config = Arc::clone(&self.0.load().config);
        TlsConnector::from(config).connect(name, stream).await
    }
}

impl Material {
    pub(crate) fn read(files: &HostTlsFiles) -> Result<Self, BadHostTls> {
        let bad = |key: &'static str| move |why: String| BadHostTls { key, why };
        let authorities = certificates(&files.ca).map_err(bad("ca"))?;
        let mut roots = RootCertStore::empty();
        for authority in &authorities {
            let added = roots.add(authority.clone());
            added
                .map_err(|error| BadHostTls { key: "ca", why: format!("{}: {error}", files.ca.display()) })?;
        }
        let own = files.own.as_ref().map(own_certificate).transpose()?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| BadHostTls { key: "ca", why: error.to_string() })?
            .with_root_certificates(roots);
        let config = match &own {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => builder
                .with_client_auth_cert(chain.clone(), key.clone_key())
                .map_err(|error| BadHostTls { key: "certificate", why: error.to_string() })?,
        };
        let own = own.map(|(chain, key)| {
            let chain = chain.iter().map(|certificate| certificate.to_vec()).collect();
            Arc::new(CertKey::new(chain, key.secret_der().to_vec()))
        });
        // Each of them has been read as a certificate, so that this does not panic.
        let wrap = |authority: &CertificateDer<'_>| WrappedX509::new(authority.to_vec(), parse_x509);
        let authorities: Vec<WrappedX509> = authorities.iter().map(wrap).collect();
        Ok(Self { authorities: authorities.into(), own, config: Arc::new(config) })
    }
}

type Chain = Vec<CertificateDer<'static>>;

fn own_certificate(files: &CertificateFiles) -> Result<(Chain, PrivateKeyDer<'static>), BadHostTls> {
    use warmshard_config::shard_file::Unusable;
    tls::check(files).map_err(|unusable| match unusable {
        Unusable::Certificate(why) => BadHostTls { key: "certificate", why },
        Unusable::Key(why) => BadHostTls { key: "key", why },
    })?;
    let chain = certificates(&files.certificate).map_err(|why| BadHostTls { key: "certificate", why })?;
    let key = PrivateKeyDer::from_pem_file(&files.key);
    let key =
        key.map_err(|error| BadHostTls { key: "key", why: format!("{}: {error}", files.key.display()) })?;
    Ok((chain, key))
}

/// The certificates of a file, at least one.
fn certificates(path: &Path) -> Result<Chain, String> {
    let bad = |why: String| format!("{}: {why}", path.display());
    let found = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Chain, _>>);
    let found = found.map_err(|error| bad(error.to_string()))?;
    if found.is_empty() {
        return Err(bad("there is no certificate in it".to_owned()));
    }
    for certificate in &found {
        X509Certificate::from_der(certificate)
            .map_err(|error| bad(format!("a certificate cannot be read ({error})")))?;
    }
    Ok(found)
}
