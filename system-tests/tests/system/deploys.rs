//! Deploying: what works is stored once, what fails leaves nothing.

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
    // A lock says who deploys, not what was deployed.
    files.retain(|path| !path.starts_with(own_store.path().join("locks")));
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

#[test]
fn two_stores_get_the_same_bytes() -> Result<()> {
    let names = |folder: &std::path::Path| -> Result<Vec<String>> {
        let mut names = Vec::new();
        for shelf in std::fs::read_dir(folder.join("blobs/sha256"))? {
            for blob in std::fs::read_dir(shelf?.path())? {
                names.push(blob?.file_name().to_string_lossy().into_owned());
            }
        }
        names.sort();
        Ok(names)
    };
    let (one, two) = (tempfile::tempdir()?, tempfile::tempdir()?);
    for store in [&one, &two] {
        let deployed = deploy(executable(), &example("hello"), store.path())?;
        assert!(deployed.status.success(), "{}", deployed.stderr);
    }
    assert_eq!(names(one.path())?, names(two.path())?);
    Ok(())
}
