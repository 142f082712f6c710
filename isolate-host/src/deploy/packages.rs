//! A worker's packages: vendored beside it, locked, or resolved by pip.
//!
//! What pip brought is kept in the private cache as one archive, named by
//! everything the outcome depends on, so the same requirements are resolved once.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use serde_json::Value;
use sha2::{Digest, Sha256};
use warmshard_config::units::hex;
use warmshard_config::worker_config::Requirement;

use super::lock_file::{LOCK_FILE, LockError, LockFile, Locked, is_sha256};
use super::pip::{self, Hashes, PipError, PipOptions};
use super::project::{self, Project};
use super::{bundle, shown};
use crate::cache::{CacheDir, CacheError, durable};
use crate::emscripten::files::{Layer, LayerError};
use crate::progress::Progress;
use crate::pyodide::WHEEL_PLATFORM;

/// What gives a worker the modules `workers` and `asgi`; added when nothing brings it.
const SDK: &str = "workers-runtime-sdk";
const SDK_REQUIREMENT: &str = "workers-runtime-sdk>=1.9,<2";

/// Raised whenever the archive made of the same packages changes.
const RECIPE: u32 = 1;
const SECTION: &str = "packages";
const ARCHIVE: &str = "packages.tar";

/// How packages are found.
#[derive(Debug, Clone)]
pub struct PackageOptions {
    pub pip: PipOptions,
    pub reuse: Reuse,
}

/// Whether what was resolved before is good enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reuse {
    Cached,
    /// Asks the index again, for newer versions.
    Refresh,
}

/// Why a worker's packages could not be brought together.
#[derive(Debug, thiserror::Error)]
pub enum PackagesError {
    #[error(transparent)]
    Lock(#[from] LockError),
    #[error(transparent)]
    Pip(#[from] PipError),
    #[error(transparent)]
    Cache(#[from] CacheError),
    #[error("the packages in `{path}` cannot be packed")]
    Pack { path: String, source: LayerError },
    #[error("cannot read or write `{path}`")]
    Io { path: String, source: std::io::Error },
}

/// The packages of a worker; paths count from the folder packages are in.
pub(super) fn collect(
    project: &Project,
    options: &PackageOptions,
    cache: &CacheDir,
    progress: &dyn Progress,
) -> Result<Layer, PackagesError> {
    if let Some(folder) = project::vendored(project) {
        return vendored(&folder, options, cache, progress);
    }
    let requirements = with_sdk(&project.settings.requirements);
    let lock = project.folder.join(LOCK_FILE);
    match std::fs::read_to_string(&lock) {
        Ok(text) => {
            let lock = LockFile::parse(&text)?;
            lock.check(&requirements, SDK)?;
            resolved(&lock.requirements(), Hashes::Required, options, cache, progress)
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            resolved(&lines(&requirements), Hashes::Free, options, cache, progress)
        }
        Err(error) => Err(io_at(&lock)(error)),
    }
}

/// Writes `requirements.lock` beside a worker and gives its path and the number of packages.
pub fn write_lock(
    folder: &Path,
    options: &PipOptions,
    cache: &CacheDir,
    progress: &dyn Progress,
) -> Result<(PathBuf, usize), super::DeployError> {
    let project = project::read(folder, None)?;
    let requirements = with_sdk(&project.settings.requirements);
    let scratch = cache.temp_dir()?;
    let step = progress.step("resolve the worker's packages");
    let report =
        pip::report(options, &lines(&requirements), scratch.path(), &step).map_err(PackagesError::from)?;
    step.done();
    let lock = LockFile::new(locked(&report).map_err(PackagesError::from)?, &requirements);
    let path = folder.join(LOCK_FILE);
    let text = lock.to_text(WHEEL_PLATFORM, pip::PYTHON);
    durable::write(&path, text.as_bytes()).map_err(io_at(&path))?;
    Ok((path, lock.packages.len()))
}

/// The packages of pip's report, each with the hash of the wheel that fits the guest.
fn locked(report: &Value) -> Result<Vec<Locked>, PipError> {
    let unclear = |what: &str| PipError::Report(format!("found no `{what}` for a package"));
    let items =
        report["install"].as_array().ok_or_else(|| PipError::Report("found no `install`".to_owned()))?;
    let mut packages = Vec::with_capacity(items.len());
    for item in items {
        let metadata = &item["metadata"];
        let name = metadata["name"].as_str().ok_or_else(|| unclear("name"))?;
        let version = metadata["version"].as_str().ok_or_else(|| unclear("version"))?;
        let hash = item["download_info"]["archive_info"]["hashes"]["sha256"].as_str();
        let hash = hash.filter(|hash| is_sha256(hash)).ok_or_else(|| unclear("sha256"))?;
        let requirement = Requirement::parse(&format!("{name}=={version}"))
            .map_err(|error| PipError::Report(error.to_string()))?;
        let requirement = Requirement::parse(&format!("{}=={version}", requirement.name()))
            .map_err(|error| PipError::Report(error.to_string()))?;
        packages.push(Locked { requirement, hashes: vec![hash.to_owned()] });
    }
    Ok(packages)
}

/// Vendored packages as they are, and the SDK below them when they lack it.
fn vendored(
    folder: &Path,
    options: &PackageOptions,
    cache: &CacheDir,
    progress: &dyn Progress,
) -> Result<Layer, PackagesError> {
    let own = pack_folder(folder)?;
    if own.files().any(|(path, _)| path == "/workers.py" || path.starts_with("/workers/")) {
        return Ok(own);
    }
    let sdk = resolved(&format!("{SDK_REQUIREMENT}\n"), Hashes::Free, options, cache, progress)?;
    let at = |source| PackagesError::Pack { path: shown(folder), source };
    let mut both = Layer::builder();
    both.layer(&sdk).map_err(at)?.layer(&own).map_err(at)?;
    Ok(both.build())
}

/// What pip makes of these requirements, from the cache when it is there.
fn resolved(
    requirements: &str,
    hashes: Hashes,
    options: &PackageOptions,
    cache: &CacheDir,
    progress: &dyn Progress,
) -> Result<Layer, PackagesError> {
    let key = cache_key(requirements, hashes, &options.pip);
    let _lock = cache.lock(&format!("{SECTION}-{key}"), progress)?;
    let entry = cache.section(SECTION)?.join(&key);
    if options.reuse == Reuse::Refresh && hashes == Hashes::Free && entry.exists() {
        std::fs::remove_dir_all(&entry).map_err(io_at(&entry))?;
    }
    if !entry.exists() {
        let step = progress.step("bring the worker's packages");
        let (target, scratch, made) = (cache.temp_dir()?, cache.temp_dir()?, cache.temp_dir()?);
        pip::install(&options.pip, requirements, hashes, target.path(), scratch.path(), &step)?;
        let layer = pack_folder(target.path())?;
        let archive = bundle::pack(&Layer::empty(), &layer).map_err(io_at(target.path()))?;
        let file = made.path().join(ARCHIVE);
        std::fs::write(&file, archive).map_err(io_at(&file))?;
        cache.publish(made, SECTION, &key)?;
        step.done_with(&format!("{:.1} MB", layer.total_size() as f64 / 1e6));
    }
    let file = entry.join(ARCHIVE);
    let archive = Bytes::from(std::fs::read(&file).map_err(io_at(&file))?);
    let place = |path: &str| path.strip_prefix("packages").map(str::to_owned);
    Layer::from_tar(&archive, place).map_err(|source| PackagesError::Pack { path: shown(&file), source })
}

/// Everything the outcome of resolving depends on, as far as it can be known.
fn cache_key(requirements: &str, hashes: Hashes, pip: &PipOptions) -> String {
    let mut hasher = Sha256::new();
    let hashed = if hashes == Hashes::Required { "locked" } else { "free" };
    let recipe = RECIPE.to_string();
    let parts =
        [&recipe, pip::PYTHON, WHEEL_PLATFORM, hashed, requirements, pip.index_url.as_deref().unwrap_or("")];
    for part in parts.into_iter().chain(pip.extra_index_urls.iter().map(String::as_str)) {
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    hex(&hasher.finalize()[..16])
}

/// An installed folder without what differs from machine to machine or is of no use in the guest.
fn pack_folder(folder: &Path) -> Result<Layer, PackagesError> {
    let at = |source| PackagesError::Pack { path: shown(folder), source };
    let all = Layer::from_folder(folder, "", is_package_file).map_err(at)?;
    let paths: BTreeSet<&str> = all.files().map(|(path, _)| path).collect();
    let mut layer = Layer::builder();
    for (path, content) in all.files() {
        if path.ends_with(".dist-info/RECORD") {
            layer.file(path, trimmed_record(content, &paths)).map_err(at)?;
        } else {
            layer.file(path, content.clone()).map_err(at)?;
        }
    }
    Ok(layer.build())
}

fn is_package_file(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    let junk = path == "bin"
        || matches!(name, "__pycache__" | "REQUESTED" | "direct_url.json")
        || name.ends_with(".pyc")
        || name.starts_with(".");
    !junk
}

/// A wheel's list of files without those left out: scripts carry this machine's paths.
fn trimmed_record(record: &[u8], kept: &BTreeSet<&str>) -> Vec<u8> {
    let text = String::from_utf8_lossy(record);
    let is_kept = |line: &&str| {
        let path = line.split(',').next().unwrap_or_default().trim_matches('"');
        kept.contains(format!("/{path}").as_str())
    };
    let mut lines: Vec<&str> = text.lines().filter(is_kept).collect();
    lines.sort_unstable();
    lines.into_iter().flat_map(|line| [line, "\n"]).collect::<String>().into_bytes()
}

fn with_sdk(requirements: &[Requirement]) -> Vec<Requirement> {
    let mut all = requirements.to_vec();
    if !all.iter().any(|requirement| requirement.name() == SDK) {
        all.push(Requirement::parse(SDK_REQUIREMENT).expect("written by hand"));
    }
    all
}

fn lines(requirements: &[Requirement]) -> String {
    requirements.iter().flat_map(|requirement| [requirement.as_str(), "\n"]).collect()
}

fn io_at(path: &Path) -> impl FnOnce(std::io::Error) -> PackagesError {
    let path = shown(path);
    move |source| PackagesError::Io { path, source }
}

#[cfg(test)]
mod tests;
