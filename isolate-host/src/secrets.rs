//! The values of workers' secrets: a folder with a file for each worker that has some.
//!
//! `NAME.json` holds one object of texts, as `wrangler secret bulk` takes it. Values go to an
//! isolate when it is restored and are in no deployment and no snapshot. A file is read
//! again when it has changed, so that isolates restored from then on have what it says.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use warmshard_config::units::WorkerName;

/// Names and values.
pub type Values = BTreeMap<String, String>;

/// Where a host finds the values of its workers' secrets.
#[derive(Debug, Clone)]
pub struct SecretsFolder(PathBuf);

/// Why a file gives no values.
#[derive(Debug, thiserror::Error)]
pub enum SecretsError {
    #[error(
        "cannot read the folder of secrets `{path}`, expected one with a file `NAME.json` for each worker that has some"
    )]
    Folder { path: PathBuf, source: io::Error },
    #[error("cannot read the secrets in `{path}`")]
    Read { path: PathBuf, source: io::Error },
    // What the parser found is not told: it could be a value.
    #[error(
        "`{path}` holds no secrets: found something else at line {line}, column {column}, expected one JSON object \
         whose values are texts, such as {{\"API_KEY\": \"…\"}}"
    )]
    Malformed { path: PathBuf, line: usize, column: usize },
}

impl SecretsFolder {
    /// Takes the folder at `path`, which has to be there.
    pub fn open(path: PathBuf) -> Result<Self, SecretsError> {
        match fs::read_dir(&path) {
            Ok(_) => Ok(Self(path)),
            Err(source) => Err(SecretsError::Folder { path, source }),
        }
    }

    /// The secrets of a worker, of which it names these.
    pub fn of(&self, worker: &WorkerName, names: &[String]) -> WorkerSecrets {
        let file = (!names.is_empty()).then(|| self.0.join(format!("{worker}.json")));
        WorkerSecrets { names: names.to_vec(), file, known: Mutex::default() }
    }
}

/// The secrets of one worker.
#[derive(Debug, Default)]
pub struct WorkerSecrets {
    names: Vec<String>,
    /// `None` where there is nothing to look up.
    file: Option<PathBuf>,
    known: Mutex<Known>,
}

/// What a file said when it was last read.
#[derive(Debug, Default)]
struct Known {
    /// The file as it was, if there was one; `None` before the first look.
    seen: Option<Option<Stamp>>,
    values: Arc<Values>,
}

/// Changes when a file is written or replaced: device and inode, size, and when it was changed.
type Stamp = (u64, u64, u64, i64, i64);

impl WorkerSecrets {
    /// The values as they are now. While a file cannot be used, those it had before; none when it
    /// is gone. Looks whether the file has changed, which is one call of the kernel.
    pub fn values(&self) -> Arc<Values> {
        let Some(file) = &self.file else { return Arc::default() };
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let stamp = match stamp(file) {
            Ok(stamp) => Some(stamp),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                tracing::error!(path = %file.display(), %error, "cannot look at a worker's secrets; they stay as they were");
                return known.values.clone();
            }
        };
        if known.seen.replace(stamp) != Some(stamp) {
            match stamp.map_or_else(|| Ok(Values::new()), |_| read(file)) {
                Ok(found) => known.values = Arc::new(self.named(found, file)),
                Err(error) => tracing::error!(%error, "a worker's secrets stay as they were"),
            }
        }
        known.values.clone()
    }

    /// Those the worker names. Tells what is too much or missing.
    fn named(&self, mut found: Values, file: &Path) -> Values {
        let path = file.display();
        let missing: Vec<_> = self.names.iter().filter(|name| !found.contains_key(*name)).collect();
        if !missing.is_empty() {
            tracing::warn!(%path, ?missing, "a worker's secrets have no value");
        }
        found.retain(|name, _| {
            let is_named = self.names.contains(name);
            if !is_named {
                tracing::warn!(%path, name, "a secret is kept back: the worker does not name it in `secrets.required`");
            }
            is_named
        });
        found
    }
}

fn stamp(file: &Path) -> io::Result<Stamp> {
    let data = fs::metadata(file)?;
    Ok((data.dev(), data.ino(), data.size(), data.mtime(), data.mtime_nsec()))
}

fn read(path: &Path) -> Result<Values, SecretsError> {
    let text = fs::read(path).map_err(|source| SecretsError::Read { path: path.to_owned(), source })?;
    serde_json::from_slice(&text).map_err(|error| SecretsError::Malformed {
        path: path.to_owned(),
        line: error.line(),
        column: error.column(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Folder {
        place: tempfile::TempDir,
        secrets: WorkerSecrets,
    }

    impl Folder {
        fn new(names: &[&str]) -> Self {
            let place = tempfile::tempdir().unwrap();
            let folder = SecretsFolder::open(place.path().to_owned()).unwrap();
            let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
            let secrets = folder.of(&WorkerName::parse("shop").unwrap(), &names);
            Self { place, secrets }
        }

        /// Replaces the file, as tools do that change files others read.
        fn write(&self, text: &str) {
            let new = self.place.path().join("new");
            fs::write(&new, text).unwrap();
            fs::rename(new, self.file()).unwrap();
        }

        fn file(&self) -> PathBuf {
            self.place.path().join("shop.json")
        }

        fn values(&self) -> Vec<(String, String)> {
            self.secrets.values().iter().map(|(name, value)| (name.clone(), value.clone())).collect()
        }
    }

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn what_the_worker_names_is_given_as_the_file_has_it_now() {
        let folder = Folder::new(&["KEY", "OTHER"]);
        assert_eq!(folder.values(), []);
        folder.write(r#"{"KEY": "one", "UNNAMED": "x"}"#);
        assert_eq!(folder.values(), pairs(&[("KEY", "one")]));
        folder.write(r#"{"KEY": "two", "OTHER": "three"}"#);
        assert_eq!(folder.values(), pairs(&[("KEY", "two"), ("OTHER", "three")]));
        fs::remove_file(folder.file()).unwrap();
        assert_eq!(folder.values(), []);
    }

    #[test]
    fn a_file_that_cannot_be_used_changes_nothing() {
        let folder = Folder::new(&["KEY"]);
        folder.write(r#"{"KEY": "one"}"#);
        assert_eq!(folder.values(), pairs(&[("KEY", "one")]));
        for bad in ["", "{", r#"{"KEY": 7}"#, "[]", "\u{0}"] {
            folder.write(bad);
            assert_eq!(folder.values(), pairs(&[("KEY", "one")]), "{bad:?}");
        }
        folder.write(r#"{"KEY": "two"}"#);
        assert_eq!(folder.values(), pairs(&[("KEY", "two")]));
    }

    #[test]
    fn an_error_tells_where_but_no_value() {
        let folder = Folder::new(&["KEY"]);
        folder.write("{\"KEY\": \"hush\",\n \"OTHER\": 77123}");
        let error = read(&folder.file()).unwrap_err().to_string();
        assert!(error.contains("at line 2, column 15") && error.contains("shop.json"), "{error}");
        assert!(!error.contains("hush") && !error.contains("77123"), "{error}");
    }

    #[test]
    fn no_names_no_look() {
        let folder = Folder::new(&[]);
        folder.write(r#"{"KEY": "one"}"#);
        assert_eq!((folder.values(), folder.secrets.file.is_none()), (vec![], true));
    }

    #[test]
    fn the_folder_has_to_be_there() {
        let error = SecretsFolder::open("/no/such/folder".into()).unwrap_err();
        assert!(error.to_string().starts_with("cannot read the folder of secrets `/no/such/folder`"));
    }
}
