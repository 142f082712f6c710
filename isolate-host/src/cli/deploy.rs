//! `isolate-host deploy` and `isolate-host lock`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;
use warmshard_config::units::WorkerName;

use super::{CommandResult, logging, places, say};
use crate::cache::CacheDir;
use crate::deploy::{
    Change, DeployError, DeployRequest, PackageOptions, PipOptions, Reuse, deploy, write_lock,
};
use crate::isolate::CaptureError;
use crate::progress;
use crate::store::Store;

/// What the tools log: warnings, and what the worker itself prints.
const LOGGED: &str = "warn,worker=info";

/// Deploy a worker: bring its packages, run its top level, take a snapshot, store it.
///
/// Packages come from `python_modules/` in the worker's folder if it is there, else from
/// `requirements.lock`, else from the requirements in `pyproject.toml`. Nothing is done when the
/// content is that of the current version. When the top level raises, its traceback is shown and
/// nothing is stored.
#[derive(Debug, Args)]
pub(super) struct Deploy {
    /// The worker's folder, with `wrangler.jsonc` or `wrangler.toml`
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// The folder of deployments [default: $WARMSHARD_STORE, or in the user's data folder]
    #[arg(long, value_name = "DIR")]
    store: Option<PathBuf>,
    /// The worker's name, instead of the one in its files
    #[arg(long, value_parser = WorkerName::parse)]
    name: Option<WorkerName>,
    /// Ask the index for newer packages instead of taking those found before
    #[arg(long)]
    refresh: bool,
    #[command(flatten)]
    pip: Pip,
}

/// Write `requirements.lock` beside a worker: its packages by version and hash.
#[derive(Debug, Args)]
pub(super) struct Lock {
    /// The worker's folder, with `pyproject.toml`
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    #[command(flatten)]
    pip: Pip,
}

#[derive(Debug, Args)]
struct Pip {
    /// The Python interpreter whose pip brings packages
    #[arg(long, value_name = "PROGRAM", env = "PYTHON", default_value = "python3")]
    python: OsString,
    /// The package index, instead of pip's own
    #[arg(long, value_name = "URL")]
    index_url: Option<String>,
    /// Another package index; may be given more than once
    #[arg(long, value_name = "URL")]
    extra_index_url: Vec<String>,
}

impl From<Pip> for PipOptions {
    fn from(pip: Pip) -> Self {
        Self { python: pip.python, index_url: pip.index_url, extra_index_urls: pip.extra_index_url }
    }
}

impl Deploy {
    pub(super) fn run(self) -> CommandResult {
        logging::start(LOGGED);
        let store = Store::open(places::store(self.store)?)?;
        let cache = CacheDir::open_default()?;
        let progress = progress::to_stderr();
        let reuse = if self.refresh { Reuse::Refresh } else { Reuse::Cached };
        let request = DeployRequest {
            folder: self.folder,
            name: self.name,
            packages: PackageOptions { pip: self.pip.into(), reuse },
        };
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let deployed = runtime
            .block_on(deploy(&request, &store, &cache, &*progress, &|warning| {
                eprintln!("warning: {warning}");
            }))
            .inspect_err(|error| {
                if let DeployError::Capture(CaptureError::TopLevel { traceback, .. }) = error
                    && !traceback.is_empty()
                {
                    eprintln!("{}", traceback.trim_end());
                }
            })?;
        let change = match deployed.change {
            Change::New => "deployed",
            Change::Restored => "deployed again",
            Change::Unchanged => "unchanged",
        };
        say(&format!("{} {change} ({})", deployed.worker, deployed.id.short()))?;
        Ok(())
    }
}

impl Lock {
    pub(super) fn run(self) -> CommandResult {
        logging::start(LOGGED);
        let cache = CacheDir::open_default()?;
        let progress = progress::to_stderr();
        let (path, count) = write_lock(&self.folder, &self.pip.into(), &cache, &*progress)?;
        say(&format!("wrote {} with {count} packages", path.display()))?;
        Ok(())
    }
}
