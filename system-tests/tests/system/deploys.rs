//! Deploying: what works is stored once, what fails leaves nothing.

use std::path::Path;

use anyhow::Result;
use system_tests::{deploy, example, store, worker};

use crate::executable;

#[test]
fn a_top_level_that_raises_fails_with_its_traceback_and_stores_nothing() -> Result<()> {
    let own_store = tempfile::tempdir()?;
    let failed = deploy(executable(), &worker("broken"), own_store.path())?;
    assert_eq!(failed.status.code(), Some(1), "{}", failed.stderr);
    for expected in
        ["ConnectionError: cannot reach db.example:5432", "entry.py", "line 8", "DATABASE = connect"]
    {
        assert!(failed.stderr.contains(expected), "no `{expected}` in:\n{}", failed.stderr);
    }
    let mut files = Vec::new();
    let mut folders = vec![own_store.path().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    // A lock says who deploys, not what was deployed; the secret is the store's own.
    files.retain(|path| !path.starts_with(own_store.path().join("locks")));
    files.retain(|path| *path != own_store.path().join("secret"));
    assert!(files.is_empty(), "{files:?}");
    Ok(())
}

#[test]
fn deploying_again_changes_nothing() -> Result<()> {
    let first = deploy(executable(), &example("hello"), &store())?;
    assert!(first.status.success(), "{}", first.stderr);
    let second = deploy(executable(), &example("hello"), &store())?;
    assert!(second.status.success(), "{}", second.stderr);
    assert!(second.stdout.contains("unchanged"), "{}", second.stdout);
    Ok(())
}

/// Deploys an example into a new store; answers the names of its blobs.
fn blobs_of_new_store(name: &str, secret: Option<&Path>) -> Result<(tempfile::TempDir, Vec<String>)> {
    let store = tempfile::tempdir()?;
    if let Some(secret) = secret {
        // Copies the mode as well.
        std::fs::copy(secret, store.path().join("secret"))?;
    }
    let deployed = deploy(executable(), &example(name), store.path())?;
    assert!(deployed.status.success(), "{}", deployed.stderr);
    let mut names = Vec::new();
    for shelf in std::fs::read_dir(store.path().join("blobs/sha256"))? {
        for blob in std::fs::read_dir(shelf?.path())? {
            names.push(blob?.file_name().to_string_lossy().into_owned());
        }
    }
    names.sort();
    Ok((store, names))
}

#[test]
fn the_same_deployment_has_the_same_bytes_in_every_store_of_one_secret() -> Result<()> {
    // FastAPI, httpx and pydantic: native code, caches, sets and everything else that could depend on an address
    // or on the time.
    for name in ["hello", "fastapi"] {
        let (first, one) = blobs_of_new_store(name, None)?;
        let (_second, two) = blobs_of_new_store(name, Some(&first.path().join("secret")))?;
        assert_eq!(one, two, "{name}");
    }
    // With another secret the hash seed is another one, and so is the snapshot; the files are the same.
    let [(_, one), (_, other)] = [blobs_of_new_store("hello", None)?, blobs_of_new_store("hello", None)?];
    let shared = one.iter().filter(|name| other.contains(name)).count();
    assert_eq!((one.len(), other.len(), shared), (2, 2, 1), "{one:?} {other:?}");
    Ok(())
}
