//! Certificates that tests make, and clients that trust them and nobody else.

use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedKey, IsCa, Issuer, KeyPair, generate_simple_self_signed,
};
use reqwest::Certificate;
use reqwest::blocking::{Client, ClientBuilder};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

/// A certificate and its key in files.
pub struct CertificateFiles {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

impl CertificateFiles {
    pub fn in_folder(folder: &Path, stem: &str) -> Self {
        Self { certificate: folder.join(format!("{stem}.pem")), key: folder.join(format!("{stem}.key")) }
    }

    /// Its lines in a shard file.
    pub fn lines(&self) -> String {
        format!("[[tls]]\ncertificate = {:?}\nkey = {:?}\n", self.certificate, self.key)
    }

    /// A connection on which nothing has been said after the handshake; it trusts what is in the file.
    pub fn connect(
        &self,
        name: &str,
        address: SocketAddr,
    ) -> Result<StreamOwned<ClientConnection, TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(&self.certificate)?)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let config = Arc::new(config.with_root_certificates(roots).with_no_client_auth());
        let mut client = ClientConnection::new(config, name.to_owned().try_into()?)?;
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        while client.is_handshaking() {
            client.complete_io(&mut stream)?;
        }
        Ok(StreamOwned::new(client, stream))
    }

    /// Puts a new certificate for a name into the files, the key first, and returns it.
    pub fn renew(&self, name: &str) -> Result<Certificate> {
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed(vec![name.to_owned()])?;
        std::fs::write(&self.key, signing_key.serialize_pem())?;
        std::fs::write(&self.certificate, cert.pem())?;
        Ok(Certificate::from_pem(cert.pem().as_bytes())?)
    }
}

/// Who signs the certificates of a fleet.
pub struct Authority {
    /// Its own certificate.
    pub file: PathBuf,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub fn new(folder: &Path, stem: &str) -> Result<Self> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate()?;
        let file = folder.join(format!("{stem}-ca.pem"));
        std::fs::write(&file, params.self_signed(&key)?.pem())?;
        Ok(Self { file, issuer: Issuer::new(params, key) })
    }

    /// Signs a certificate for a name and puts it into files of this name, the key first.
    pub fn issue(&self, folder: &Path, name: &str) -> Result<CertificateFiles> {
        let (files, key) = (CertificateFiles::in_folder(folder, name), KeyPair::generate()?);
        let certificate = CertificateParams::new(vec![name.to_owned()])?.signed_by(&key, &self.issuer)?;
        std::fs::write(&files.key, key.serialize_pem())?;
        std::fs::write(&files.certificate, certificate.pem())?;
        Ok(files)
    }
}

/// A client for one name at one address.
pub fn client(trusted: &[&Certificate], name: &str, address: SocketAddr) -> ClientBuilder {
    let builder = Client::builder().timeout(Duration::from_secs(60)).resolve(name, address);
    trusted.iter().fold(builder, |builder, certificate| builder.add_root_certificate((*certificate).clone()))
}
