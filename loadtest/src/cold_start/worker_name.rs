//! The name a worker's own files give it.

use std::io;
use std::path::{Path, PathBuf};

use warmshard_config::units::WorkerName;
use warmshard_config::worker_config::{CONFIG_FILES, PROJECT_FILE, Problems, WorkerFiles, resolve};

#[derive(Debug, thiserror::Error)]
pub(crate) enum WorkerNameError {
    #[error("cannot read `{}`, expected a file of a worker", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("found no worker's folder at `{}`", folder.display())]
    Files { folder: PathBuf, source: Problems },
}

pub(super) fn read(folder: &Path) -> Result<WorkerName, WorkerNameError> {
    let mut wrangler = None;
    for name in CONFIG_FILES {
        if let Some(text) = read_if_there(&folder.join(name))? {
            wrangler = Some((name, text));
            break;
        }
    }
    let pyproject = read_if_there(&folder.join(PROJECT_FILE))?;
    let files = WorkerFiles {
        wrangler: wrangler.as_ref().map(|(name, text)| (*name, text.as_str())),
        pyproject: pyproject.as_deref(),
        name: None,
    };
    match resolve(files) {
        Ok(project) => Ok(project.config.name),
        Err(source) => Err(WorkerNameError::Files { folder: folder.to_owned(), source }),
    }
}

fn read_if_there(path: &Path) -> Result<Option<String>, WorkerNameError> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(WorkerNameError::Read { path: path.to_owned(), source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_is_read_from_the_workers_files() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(
            folder.path().join("wrangler.jsonc"),
            "{ /* a worker */ \"name\": \"shop\", \"main\": \"src/entry.py\", \"compatibility_date\": \"2026-01-01\", \
             \"compatibility_flags\": [\"python_workers\"] }",
        )
        .unwrap();
        assert_eq!(read(folder.path()).unwrap().as_str(), "shop");
    }

    #[test]
    fn a_folder_without_a_worker_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let error = read(folder.path()).unwrap_err();
        assert!(error.to_string().contains(&folder.path().display().to_string()), "{error}");
        assert!(format!("{:#}", anyhow::Error::from(error)).contains("wrangler.jsonc"));
    }
}
