//! The router's command line and shard file.

use std::process::Command;

use anyhow::Result;

use crate::executable;

fn router(arguments: &[&str], file: &str) -> Result<(Option<i32>, String)> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("shard.toml");
    std::fs::write(&path, file)?;
    let output = Command::new(executable()).arg("router").args(arguments).arg(&path).output()?;
    Ok((output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned()))
}

#[test]
fn a_malformed_shard_file_is_refused_with_every_problem() -> Result<()> {
    let file = "[listen]\ndata = \"nowhere\"\n\n[embedded]\nhosts = 2\ncolour = \"red\"\n\n[placement]\nvnodes = -3\n";
    let (code, stderr) = router(&["--config"], file)?;
    assert_eq!(code, Some(2), "{stderr}");
    for expected in ["shard.toml:2", "nowhere", "shard.toml:6", "colour", "shard.toml:9", "vnodes"] {
        assert!(stderr.contains(expected), "no `{expected}` in:\n{stderr}");
    }
    Ok(())
}

#[test]
fn what_is_not_toml_is_refused_with_its_line() -> Result<()> {
    let (code, stderr) = router(&["--config"], "[listen\n")?;
    assert_eq!(code, Some(2), "{stderr}");
    assert!(stderr.contains("shard.toml:1"), "{stderr}");
    Ok(())
}
