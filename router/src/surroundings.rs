//! What a shard file may refer to: this machine's environment and files.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use warmshard_config::shard_file::{self, CertificateFiles, Problems, Settings, Surroundings, Unusable};

use crate::tls;

struct Machine;

impl Surroundings for Machine {
    fn variable(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }

    fn read(&self, path: &Path) -> Result<String, String> {
        std::fs::read_to_string(path).map_err(|error| error.to_string())
    }

    fn is_folder(&self, path: &Path) -> bool {
        path.is_dir()
    }

    fn check_certificate(&self, files: &CertificateFiles) -> Result<(), Unusable> {
        tls::check(files)
    }
}

/// Reads and checks a shard file,
/// and returns its text as well.
pub(crate) fn read_shard_file(path: &Path) -> Result<(Settings, String), Problems> {
    let text = read(path).map_err(|why| Problems::unreadable(path, &why))?;
    Ok((parse_shard_file(path, &text)?, text))
}

/// Checks a shard file's text as if it stood in this file.
pub(crate) fn parse_shard_file(path: &Path, text: &str) -> Result<Settings, Problems> {
    shard_file::parse(path, text, &Machine)
}

/// When a file was changed.
pub(crate) fn changed(path: &Path) -> Option<SystemTime> {
    path.metadata().and_then(|found| found.modified()).ok()
}

pub(crate) fn read(path: &Path) -> Result<String, String> {
    Machine.read(path)
}

const DEFAULT_SHARD_FILE: &str = "config/dev.toml";

/// Where `config/dev.toml` is: below the current folder, else in the workspace
/// that the executable was built in.
pub(crate) fn default_shard_file() -> PathBuf {
    let here = PathBuf::from(DEFAULT_SHARD_FILE);
    if here.is_file() {
        return here;
    }
    let executable = std::env::current_exe().unwrap_or_default();
    let beside = executable.ancestors().map(|folder| folder.join(DEFAULT_SHARD_FILE));
    beside.into_iter().find(|path| path.is_file()).unwrap_or(here)
}
