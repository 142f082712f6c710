//! The store's secret: what the seeds of its deployments are derived from.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use hmac::{Hmac, Mac};
use sha2::Sha256;
use warmshard_config::units::{DeploymentId, hex};

use crate::cache::durable;
use crate::emscripten::entropy::CaptureSeed;

/// The file in the store's folder.
pub const SECRET_FILE: &str = "secret";

const LENGTH: usize = 32;

/// Why a store has no secret that can be used.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    #[error("cannot use the store's secret `{path}`")]
    Io { path: PathBuf, source: io::Error },
    #[error(
        "the store's secret `{path}` has mode {found:03o}, expected 600: others can read it; run `chmod 600` on it"
    )]
    Exposed { path: PathBuf, found: u32 },
    #[error(
        "the store's secret `{path}` is damaged: found {found}, expected 64 hexadecimal digits; \
         restore the file, or remove it and deploy every worker again"
    )]
    Malformed { path: PathBuf, found: String },
    #[error("the host has no entropy to make the store's secret of")]
    Entropy(#[source] getrandom::Error),
}

/// 32 random bytes, made once per store.
pub(super) struct Secret([u8; LENGTH]);

impl Secret {
    /// The secret of the store at `root`; made when there is none yet.
    ///
    /// Whoever comes second takes what the first one made: the file appears whole, and once.
    pub(super) fn open(root: &Path) -> Result<Self, SecretError> {
        let path = root.join(SECRET_FILE);
        if let Some(secret) = read(&path)? {
            return Ok(secret);
        }
        make(root, &path)?;
        let gone = || io::Error::new(io::ErrorKind::NotFound, "it disappeared again");
        read(&path)?.ok_or_else(|| SecretError::Io { path, source: gone() })
    }

    /// The seed a deployment is captured with, here and wherever this secret is.
    pub(super) fn seed_of(&self, deployment: &DeploymentId) -> CaptureSeed {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes keys of any length");
        mac.update(b"warmshard capture\0");
        mac.update(deployment.as_str().as_bytes());
        CaptureSeed::new(mac.finalize().into_bytes().into())
    }
}

fn read(path: &Path) -> Result<Option<Secret>, SecretError> {
    let failed = |source| SecretError::Io { path: path.to_owned(), source };
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let mode = metadata.mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(SecretError::Exposed { path: path.to_owned(), found: mode });
    }
    let text = fs::read(path).map_err(failed)?;
    let digits = text.trim_ascii();
    let malformed = || SecretError::Malformed {
        path: path.to_owned(),
        found: format!("{} bytes of something else", text.len()),
    };
    let digits = std::str::from_utf8(digits).ok().filter(|digits| digits.len() == 2 * LENGTH);
    let mut secret = [0; LENGTH];
    let pairs = digits.ok_or_else(malformed)?.as_bytes().chunks_exact(2);
    for (byte, pair) in secret.iter_mut().zip(pairs) {
        let pair = std::str::from_utf8(pair).map_err(|_| malformed())?;
        // `from_str_radix` would also take a sign.
        let plain = pair.bytes().all(|digit| digit.is_ascii_hexdigit());
        *byte = u8::from_str_radix(pair, 16).ok().filter(|_| plain).ok_or_else(malformed)?;
    }
    Ok(Some(Secret(secret)))
}

/// Puts a new secret in place unless there is one by then.
fn make(root: &Path, path: &Path) -> Result<(), SecretError> {
    let mut secret = [0; LENGTH];
    getrandom::fill(&mut secret).map_err(SecretError::Entropy)?;
    let failed = |source| SecretError::Io { path: path.to_owned(), source };
    // Temporary files are made for their owner alone, and this one stays so.
    let mut file = tempfile::Builder::new()
        .prefix(durable::TEMPORARY_PREFIX)
        .make_in(root, |path| OpenOptions::new().write(true).create_new(true).mode(0o600).open(path))
        .map_err(failed)?;
    writeln!(file, "{}", hex(&secret)).map_err(failed)?;
    file.as_file().sync_all().map_err(failed)?;
    match file.persist_noclobber(path) {
        Ok(_) => durable::sync_folder_of(path).map_err(failed),
        Err(refused) if refused.error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(refused) => Err(failed(refused.error)),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn id(digit: char) -> DeploymentId {
        DeploymentId::parse(&digit.to_string().repeat(64)).unwrap()
    }

    #[test]
    fn a_secret_is_made_once_and_is_private() {
        let dir = tempfile::tempdir().unwrap();
        let first = Secret::open(dir.path()).unwrap();
        let mode = fs::metadata(dir.path().join(SECRET_FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let second = Secret::open(dir.path()).unwrap();
        assert_eq!(first.seed_of(&id('a')), second.seed_of(&id('a')));
        assert_ne!(first.seed_of(&id('a')), first.seed_of(&id('b')));
        let names: Vec<_> =
            fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, [SECRET_FILE], "nothing temporary stays");
    }

    #[test]
    fn all_who_come_at_once_get_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let open = || Secret::open(dir.path()).unwrap().seed_of(&id('a'));
        let seeds: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(open)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(seeds.iter().all(|seed| *seed == seeds[0]));
    }

    #[test]
    fn stores_have_secrets_of_their_own_unless_the_file_is_copied() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let seed = |dir: &tempfile::TempDir| Secret::open(dir.path()).unwrap().seed_of(&id('a'));
        assert_ne!(seed(&one), seed(&two));
        fs::copy(one.path().join(SECRET_FILE), two.path().join(SECRET_FILE)).unwrap();
        assert_eq!(seed(&one), seed(&two));
    }

    #[test]
    fn what_is_no_secret_is_refused_and_says_why() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(SECRET_FILE);
        let refused = |text: &str, mode: u32| {
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            Secret::open(dir.path()).err().expect("refused").to_string()
        };
        assert!(refused(&"a".repeat(64), 0o644).contains("mode 644, expected 600"));
        for text in ["", "abc", &"+a".repeat(32), &"é".repeat(32)] {
            assert!(refused(text, 0o600).contains("expected 64 hexadecimal digits"), "{text}");
        }
    }
}
