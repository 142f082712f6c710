//! Folders of a test's own, made from the shared ones.

use std::path::{Path, PathBuf};

use anyhow::Result;

/// Copies a folder with everything in it, but for what tests in parallel are making.
pub fn copy(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    std::fs::set_permissions(to, std::fs::metadata(from)?.permissions())?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let name = entry.file_name();
        if name.to_string_lossy().starts_with('.') {
            continue;
        }
        let target = to.join(&name);
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// A private cache with the runtime and the packages of the shared one.
pub fn own_cache(folder: &Path) -> Result<PathBuf> {
    let (shared, own) = (crate::cache(), folder.join("cache"));
    std::fs::create_dir_all(&own)?;
    for part in ["runtime", "compiled", "packages"] {
        copy(&shared.join(part), &own.join(part))?;
    }
    std::fs::set_permissions(&own, std::fs::metadata(&shared)?.permissions())?;
    Ok(own)
}

/// Leaves only the runtime's machine code in a cache: no deployment has been seen here.
pub fn forget_deployments(cache: &Path) -> Result<()> {
    let mut compiled = files_below(&cache.join("compiled"))?;
    // Nothing is nearly as large as Pyodide's main module.
    compiled.sort_by_key(|path| path.metadata().map_or(0, |found| found.len()));
    compiled.pop();
    for path in compiled {
        std::fs::remove_file(path)?;
    }
    Ok(())
}

/// Every file below a folder.
pub fn files_below(folder: &Path) -> Result<Vec<PathBuf>> {
    let (mut files, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files.sort();
    Ok(files)
}
