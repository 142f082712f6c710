//! A worker's folder: its settings and its sources.

use std::io;
use std::path::{Path, PathBuf};

use warmshard_config::units::WorkerName;
use warmshard_config::worker_config::{CONFIG_FILES, PROJECT_FILE, Problems, WorkerFiles, resolve};

use super::shown;
use crate::emscripten::files::{Layer, LayerError};

/// The folder of vendored packages.
pub(super) const VENDORED: &str = "python_modules";

/// Why a folder is no worker.
#[derive(Debug, thiserror::Error)]
pub enum ProjectError {
    #[error("`{0}` is not a folder, expected the folder of a worker")]
    NotAFolder(String),
    #[error("cannot read `{path}`")]
    Io { path: String, source: io::Error },
    #[error(transparent)]
    Settings(#[from] Problems),
    #[error("found no `{found}`, which `main` in the worker's settings names")]
    NoMain { found: String },
    #[error("the sources in `{path}` cannot be packed")]
    Sources { path: String, source: LayerError },
}

/// A worker as its folder describes it.
#[derive(Debug)]
pub(super) struct Project {
    pub(super) folder: PathBuf,
    pub(super) settings: warmshard_config::worker_config::Project,
    /// Paths count from the folder of the sources.
    pub(super) sources: Layer,
}

pub(super) fn read(folder: &Path, name: Option<&WorkerName>) -> Result<Project, ProjectError> {
    if !folder.is_dir() {
        return Err(ProjectError::NotAFolder(shown(folder)));
    }
    let mut wrangler = None;
    for file in CONFIG_FILES {
        if let Some(text) = read_text(&folder.join(file))? {
            wrangler = Some((file, text));
            break;
        }
    }
    let pyproject = read_text(&folder.join(PROJECT_FILE))?;
    let settings = resolve(WorkerFiles {
        wrangler: wrangler.as_ref().map(|(file, text)| (*file, text.as_str())),
        pyproject: pyproject.as_deref(),
        name,
    })?;
    let root = folder.join(&settings.source_folder);
    let main = root.join(&settings.config.main);
    if !main.is_file() {
        return Err(ProjectError::NoMain { found: shown(&main) });
    }
    let sources = Layer::from_folder(&root, "", |path| is_source(&root, path))
        .map_err(|source| ProjectError::Sources { path: shown(&root), source })?;
    Ok(Project { folder: folder.to_owned(), settings, sources })
}

/// Where the worker's vendored packages are, if it has any.
pub(super) fn vendored(project: &Project) -> Option<PathBuf> {
    let places =
        [project.folder.join(VENDORED), project.folder.join(&project.settings.source_folder).join(VENDORED)];
    places.into_iter().find(|place| place.is_dir())
}

/// Leaves out what no program reads: hidden files (secrets among them), compiled
/// files, vendored packages, which have their own place, and virtual environments.
fn is_source(root: &Path, path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    let left_out = matches!(name, "__pycache__" | "node_modules" | VENDORED)
        || name.starts_with('.')
        || name.ends_with(".pyc")
        || root.join(path).join("pyvenv.cfg").is_file();
    !left_out
}

fn read_text(path: &Path) -> Result<Option<String>, ProjectError> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(ProjectError::Io { path: shown(path), source }),
    }
}
