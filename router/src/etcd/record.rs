//! The record: what `router publish` writes and routers follow.

use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use warmshard_config::placement::Moment;
use warmshard_config::shard_file::{self, Etcd, Problems, Published};

/// A record that holds together.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    pub(crate) published: Published,
    /// When it takes effect, the same for every router.
    pub(crate) takes_effect: Moment,
    /// It is taken however much it moves.
    pub(crate) forced: bool,
    envelope: Envelope,
}

/// As it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Envelope {
    /// Milliseconds since 1970 began.
    takes_effect_ms: u64,
    #[serde(default)]
    forced: bool,
    /// `[[hosts]]` and `[placement]` as in a shard file.
    membership: String,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum RecordError {
    #[error("found no record `{0}`, expected one put there by `router publish`")]
    Missing(String),
    #[error("found a record that `router publish` did not write")]
    Foreign(#[source] serde_json::Error),
    #[error("the membership of the record has problems:\n{0}")]
    Problems(Problems),
    #[error("the copy of the last record cannot be read")]
    Copy(#[source] std::io::Error),
}

impl Record {
    /// A record to publish.
    pub(crate) fn new(
        membership: String,
        takes_effect: Moment,
        forced: bool,
        etcd: &Etcd,
    ) -> Result<Self, RecordError> {
        let takes_effect_ms = u64::try_from(takes_effect.as_millis()).unwrap_or(u64::MAX);
        Self::open(Envelope { takes_effect_ms, forced, membership }, etcd)
    }

    pub(crate) fn parse(stored: &[u8], etcd: &Etcd) -> Result<Self, RecordError> {
        Self::open(serde_json::from_slice(stored).map_err(RecordError::Foreign)?, etcd)
    }

    fn open(envelope: Envelope, etcd: &Etcd) -> Result<Self, RecordError> {
        let name = format!("etcd:{}", etcd.key());
        let published =
            shard_file::parse_published(Path::new(&name), &envelope.membership, etcd.zone.as_ref());
        Ok(Self {
            published: published.map_err(RecordError::Problems)?,
            takes_effect: Duration::from_millis(envelope.takes_effect_ms),
            forced: envelope.forced,
            envelope,
        })
    }

    /// As it is stored.
    pub(crate) fn to_json(&self) -> String {
        serde_json::to_string_pretty(&self.envelope).expect("texts and numbers always serialise")
    }

    /// The copy of the last good record.
    pub(crate) fn kept(copy: &Path, etcd: &Etcd) -> Result<Self, RecordError> {
        Self::parse(&std::fs::read(copy).map_err(RecordError::Copy)?, etcd)
    }

    /// Keeps it for a start while etcd is gone. Serving does not depend on it: a failure is only logged.
    pub(crate) fn keep(&self, copy: &Path) {
        let text = self.to_json();
        if std::fs::read_to_string(copy).is_ok_and(|kept| kept == text) {
            return;
        }
        let folder = copy.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let write = || -> std::io::Result<()> {
            let mut file = tempfile::NamedTempFile::new_in(folder)?;
            file.write_all(text.as_bytes())?;
            file.as_file().sync_all()?;
            file.persist(copy).map_err(|error| error.error)?;
            Ok(())
        };
        if let Err(error) = write() {
            tracing::error!(copy = %copy.display(), %error, "the last good record cannot be kept");
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn etcd(copy: &Path) -> Etcd {
        Etcd {
            endpoints: vec!["http://127.0.0.1:1".into()],
            prefix: "/w".into(),
            user: None,
            copy: copy.to_owned(),
            timeout: Duration::from_secs(1),
            zone: None,
        }
    }

    pub(crate) fn hosts(ids: &[&str]) -> String {
        let line =
            |(n, id): (usize, &&str)| format!("[[hosts]]\nid = \"{id}\"\naddress = \"10.0.0.1:{}\"\n", n + 1);
        ids.iter().enumerate().map(line).collect()
    }

    #[test]
    fn a_record_survives_being_stored_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let etcd = etcd(&folder.path().join("copy.json"));
        let record = Record::new(hosts(&["a", "b"]), Duration::from_millis(1_234_567), true, &etcd).unwrap();
        assert!(matches!(Record::kept(&etcd.copy, &etcd), Err(RecordError::Copy(_))));
        record.keep(&etcd.copy);
        for again in [
            Record::parse(record.to_json().as_bytes(), &etcd).unwrap(),
            Record::kept(&etcd.copy, &etcd).unwrap(),
        ] {
            assert_eq!(again.published, record.published);
            assert_eq!((again.takes_effect, again.forced), (record.takes_effect, true));
        }
    }

    #[test]
    fn what_publish_did_not_write_is_refused() {
        let etcd = etcd(Path::new("none"));
        assert!(matches!(Record::parse(b"[[hosts]]", &etcd), Err(RecordError::Foreign(_))));
        let error = Record::new("[[hosts]]\nid = \"A\"\n".into(), Duration::ZERO, false, &etcd).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("etcd:/w/membership:") && text.contains("hosts[0].address"), "{text}");
    }
}
