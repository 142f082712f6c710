//! `router publish`: hosts and placement into etcd, for every router to follow.

use std::error::Error;
use std::path::Path;
use std::time::{Duration, SystemTime};

use warmshard_config::placement::plan;
use warmshard_config::shard_file::{Etcd, Settings};

use crate::etcd::{Gateway, Record, RecordError};
use crate::reload::Force;
use crate::{shard_commands, surroundings};

/// Why a membership was not published.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("found no `[etcd]` in the shard file, expected one that says where to publish")]
    NoEtcd,
    #[error("cannot read {0}: {1}")]
    Unreadable(String, String),
    #[error(
        "{moved} % of workers would get another home, expected at most {most} % (`reload.most_moved`); `--force` publishes it all the same"
    )]
    TooMuch { moved: u64, most: u32 },
}

/// Publishes and says what that does.
pub(crate) fn publish(
    settings: &Settings,
    membership: &Path,
    wait: Option<Duration>,
    force: Force,
) -> Result<String, Box<dyn Error>> {
    let etcd = settings.etcd.as_ref().ok_or(Refused::NoEtcd)?;
    let text = surroundings::read(membership);
    let text = text.map_err(|why| Refused::Unreadable(membership.display().to_string(), why))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(publish_text(settings, etcd, text, wait.unwrap_or(settings.handoff.wait), force))
}

async fn publish_text(
    settings: &Settings,
    etcd: &Etcd,
    text: String,
    wait: Duration,
    force: Force,
) -> Result<String, Box<dyn Error>> {
    let gateway = Gateway::new(etcd);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    let record = Record::new(text, now + wait, force == Force::Yes, etcd)?;
    let new = settings.clone().with(record.published.clone());
    let before = match gateway.get(&etcd.key()).await?.record(etcd) {
        Ok(before) => Some(settings.clone().with(before.published)),
        Err(RecordError::Missing(_)) => None,
        // What cannot be read cannot be compared.
        Err(_) if force == Force::Yes => None,
        Err(error) => return Err(error.into()),
    };
    let mut moved = 0;
    if let Some(before) = &before {
        let (old, young) = (before.build_placement(), new.build_placement());
        let zones = (&before.placement.zones, &new.placement.zones);
        moved = plan((&*old, zones.0), (&*young, zones.1), shard_commands::sample()).moved_percent();
        let most = settings.reload.most_moved_percent;
        if force == Force::No && moved > u64::from(most) {
            return Err(Refused::TooMuch { moved, most }.into());
        }
    }
    gateway.put(&etcd.key(), &record.to_json()).await?;
    let epoch = new.placement.zones.epoch(new.build_placement().epoch());
    let hosts = new.members().len();
    Ok(format!(
        "published {hosts} hosts as `{}`: epoch {epoch} once every ramp is over, {moved} % of workers move, \
         takes effect in {wait:?}\n",
        etcd.key()
    ))
}
