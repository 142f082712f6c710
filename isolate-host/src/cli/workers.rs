//! `isolate-host workers`.

use std::path::PathBuf;

use clap::Args;

use super::{CommandResult, logging, places, say};
use crate::store::Store;

/// List the workers of a store with their current versions.
#[derive(Debug, Args)]
pub(super) struct Workers {
    /// The folder of deployments [default: $WARMSHARD_STORE, or in the user's data folder]
    #[arg(long, value_name = "DIR")]
    store: Option<PathBuf>,
}

impl Workers {
    pub(super) fn run(self) -> CommandResult {
        logging::start("warn");
        let store = Store::open(places::store(self.store)?)?;
        for (worker, id) in store.workers()? {
            let record = store.record(&worker, &id)?;
            let megabytes = (record.snapshot.size + record.files.size) as f64 / 1e6;
            say(&format!("{worker}\t{}\t{megabytes:.1} MB\t{}", id.short(), record.runtime))?;
        }
        Ok(())
    }
}
