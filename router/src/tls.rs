//! The certificates that clients get to see, chosen by the name they ask for,
//! and read again when their files change.
//!
//! ```text
//! files ──load──▶ chains and keys ──▶ set (by name) ──swap──▶ handshakes
//!                     │ unusable
//!                     └──▶ the last good set stays
//! ```

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::crypto::ring::sign::any_supported_type;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{Error as TlsError, InconsistentKeys};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use warmshard_config::shard_file::{CertificateFiles, Unusable};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// Certificates that end within this time are warned about.
const ENDS_SOON: Duration = Duration::from_secs(14 * 24 * 3600);

/// One certificate with its key, ready for handshakes.
#[derive(Debug)]
struct Loaded {
    /// What it was made for, in lower case; `*.example.com` as it stands.
    names: Vec<String>,
    /// Seconds since 1970 when it ends.
    ends: i64,
    key: Arc<CertifiedKey>,
}

/// Certificates by name.
#[derive(Debug, Default)]
struct Set {
    by_name: HashMap<String, Arc<CertifiedKey>>,
    first: Option<Arc<CertifiedKey>>,
}

impl Set {
    fn of(loaded: &[Loaded]) -> Self {
        let mut set = Self::default();
        for certificate in loaded {
            set.first.get_or_insert_with(|| Arc::clone(&certificate.key));
            for name in &certificate.names {
                set.by_name.entry(name.clone()).or_insert_with(|| Arc::clone(&certificate.key));
            }
        }
        set
    }

    /// The one made for this name, else the one made for all names beside it, else the first.
    fn find(&self, name: Option<&str>) -> Option<Arc<CertifiedKey>> {
        let exact = |name: &str| {
            let name = name.to_ascii_lowercase();
            let beside = || self.by_name.get(&format!("*.{}", name.split_once('.')?.1));
            self.by_name.get(&name).or_else(beside).cloned()
        };
        name.and_then(exact).or_else(|| self.first.clone())
    }
}

/// Where the certificates in force are, shared by all handshakes.
#[derive(Debug)]
pub(crate) struct Certificates {
    set: ArcSwap<Set>,
    /// What the set was made of.
    content: Mutex<u64>,
}

/// Certificates that were read and are not in force yet.
pub(crate) struct Candidates {
    set: Set,
    content: u64,
}

/// A pair of files of `[[tls]]` that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`tls[{index}].{key}`: {why}")]
pub(crate) struct BadCertificate {
    index: usize,
    key: &'static str,
    why: String,
}

impl Certificates {
    pub(crate) fn load(files: &[CertificateFiles]) -> Result<Self, BadCertificate> {
        let Candidates { set, content } = Candidates::read(files)?;
        Ok(Self { set: ArcSwap::from_pointee(set), content: Mutex::new(content) })
    }

    /// Puts others in force for handshakes to come. Returns whether they are others.
    pub(crate) fn replace(&self, candidates: Candidates) -> bool {
        let mut content = self.content.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = *content != candidates.content;
        if changed {
            *content = candidates.content;
            self.set.store(Arc::new(candidates.set));
        }
        changed
    }

    fn resolve_name(&self, name: Option<&str>) -> Option<Arc<CertifiedKey>> {
        self.set.load().find(name)
    }
}

impl Candidates {
    /// Reads and checks the files, and warns of what is about to end.
    pub(crate) fn read(files: &[CertificateFiles]) -> Result<Self, BadCertificate> {
        let mut hasher = DefaultHasher::new();
        let mut all = Vec::new();
        for (index, files) in files.iter().enumerate() {
            let bad = |unusable| match unusable {
                Unusable::Certificate(why) => BadCertificate { index, key: "certificate", why },
                Unusable::Key(why) => BadCertificate { index, key: "key", why },
            };
            let loaded = load(files, &mut hasher).map_err(bad)?;
            warn_of_the_end(files, &loaded);
            all.push(loaded);
        }
        Ok(Self { set: Set::of(&all), content: hasher.finish() })
    }
}

/// Whether two files are a certificate and its key.
pub(crate) fn check(files: &CertificateFiles) -> Result<(), Unusable> {
    load(files, &mut DefaultHasher::new()).map(drop)
}

/// Changes when one of the files may have changed; cheap enough to be asked for every second.
pub(crate) fn stamp(files: &[CertificateFiles]) -> u64 {
    let mut hasher = DefaultHasher::new();
    for path in files.iter().flat_map(|files| [&files.certificate, &files.key]) {
        path.hash(&mut hasher);
        if let Ok(metadata) = std::fs::metadata(path) {
            use std::os::unix::fs::MetadataExt;
            (metadata.ino(), metadata.len(), metadata.mtime(), metadata.mtime_nsec()).hash(&mut hasher);
        }
    }
    hasher.finish()
}

fn load(files: &CertificateFiles, content: &mut impl Hasher) -> Result<Loaded, Unusable> {
    let pem = read(&files.certificate, content).map_err(Unusable::Certificate)?;
    let bad = |why: String| Unusable::Certificate(format!("{}: {why}", files.certificate.display()));
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<_, _>>()
        .map_err(|error| bad(format!("it is not PEM ({error})")))?;
    let Some(own) = chain.first() else {
        return Err(bad("there is no certificate in it".to_owned()));
    };
    let (names, ends) = read_certificate(own).map_err(bad)?;

    let pem = read(&files.key, content).map_err(Unusable::Key)?;
    let bad = |why: String| Unusable::Key(format!("{}: {why}", files.key.display()));
    let key = PrivateKeyDer::from_pem_slice(&pem)
        .map_err(|error| bad(format!("there is no private key in it ({error})")))?;
    let key = any_supported_type(&key).map_err(|error| bad(format!("a key of no known kind ({error})")))?;
    let certified = CertifiedKey::new(chain, key);
    match certified.keys_match() {
        // Not every kind of key can be compared.
        Ok(()) | Err(TlsError::InconsistentKeys(InconsistentKeys::Unknown)) => {}
        Err(_) => return Err(bad(format!("it is not the key of {}", files.certificate.display()))),
    }
    Ok(Loaded { names, ends, key: Arc::new(certified) })
}

fn read(path: &Path, content: &mut impl Hasher) -> Result<Vec<u8>, String> {
    let bytes = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    content.write(&bytes);
    Ok(bytes)
}

/// The names a certificate was made for, and when it ends.
fn read_certificate(certificate: &CertificateDer<'_>) -> Result<(Vec<String>, i64), String> {
    let (_, parsed) = X509Certificate::from_der(certificate)
        .map_err(|error| format!("its first certificate cannot be read ({error})"))?;
    let names = match parsed.subject_alternative_name() {
        Ok(Some(names)) => names.value.general_names.iter().filter_map(dns_name).collect(),
        Ok(None) => Vec::new(),
        Err(error) => return Err(format!("its names cannot be read ({error})")),
    };
    Ok((names, parsed.validity().not_after.timestamp()))
}

fn dns_name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        _ => None,
    }
}

/// An old certificate is better than none, so it is used all the same.
fn warn_of_the_end(files: &CertificateFiles, loaded: &Loaded) {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let left = loaded.ends.saturating_sub(i64::try_from(now.as_secs()).unwrap_or(i64::MAX));
    if left < i64::try_from(ENDS_SOON.as_secs()).unwrap_or(i64::MAX) {
        let (certificate, names) = (files.certificate.display(), loaded.names.join(", "));
        tracing::warn!(%certificate, names, days_left = left / 86400, "a certificate ends soon or has ended");
    }
}

/// Hears every ClientHello's name.
pub(crate) type Listener = Box<dyn Fn(&str) + Send + Sync>;

/// Chooses the certificate of a handshake, and tells the name that was asked for.
pub(crate) struct Resolver {
    pub(crate) certificates: Arc<Certificates>,
    pub(crate) listener: Listener,
}

impl std::fmt::Debug for Resolver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Resolver").field("certificates", &self.certificates).finish_non_exhaustive()
    }
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        if let Some(name) = hello.server_name() {
            (self.listener)(name);
        }
        self.certificates.resolve_name(hello.server_name())
    }
}

#[cfg(test)]
mod tests;
