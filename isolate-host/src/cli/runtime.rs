//! `isolate-host runtime`.

use clap::{Args, Subcommand};

use super::{CommandResult, logging, say};
use crate::cache::CacheDir;
use crate::progress;
use crate::pyodide::runtime;

/// Install the Python runtime into the private cache, or show what is there.
///
/// Other commands install it when they need it.
#[derive(Debug, Args)]
pub(super) struct Runtime {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Clone, Copy, Subcommand)]
enum Action {
    /// Download, verify, translate and compile the runtime, unless that is done
    Install,
    /// Show where the runtime is and what of it is there; changes nothing
    Status,
}

impl Runtime {
    pub(super) fn run(self) -> CommandResult {
        logging::start("warn");
        let cache = CacheDir::open_default()?;
        if let Action::Install = self.action {
            runtime::install(&cache, &*progress::to_stderr())?;
        }
        let status = runtime::status(&cache)?;
        say(&format!("cache\t{}", cache.path().display()))?;
        say(&format!("folder\t{}", status.folder.display()))?;
        match status.installed {
            Some(installed) => {
                say(&format!("pyodide\t{}", installed.pyodide))?;
                say(&format!("main module\tsha256:{}", installed.main_sha256))?;
            }
            None => say("pyodide\tnot installed; run `isolate-host runtime install`")?,
        }
        say(&format!("compiled\t{}", if status.compiled { "yes" } else { "no" }))?;
        Ok(())
    }
}
