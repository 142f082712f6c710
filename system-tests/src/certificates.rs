//! Certificates that tests make, and clients that trust them and nobody else.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use reqwest::Certificate;
use reqwest::blocking::{Client, ClientBuilder};

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

    /// Puts a new certificate for a name into the files, the key first, and returns it.
    pub fn renew(&self, name: &str) -> Result<Certificate> {
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed(vec![name.to_owned()])?;
        std::fs::write(&self.key, signing_key.serialize_pem())?;
        std::fs::write(&self.certificate, cert.pem())?;
        Ok(Certificate::from_pem(cert.pem().as_bytes())?)
    }
}

/// A client for one name at one address.
pub fn client(trusted: &[&Certificate], name: &str, address: SocketAddr) -> ClientBuilder {
    let builder = Client::builder().timeout(Duration::from_secs(60)).resolve(name, address);
    trusted.iter().fold(builder, |builder, certificate| builder.add_root_certificate((*certificate).clone()))
}
