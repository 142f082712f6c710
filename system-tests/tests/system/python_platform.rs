//! The platform's own Python test suite, on the machine's Python against a host made of Python.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use system_tests::{cache, deploy, example, root, store};

use crate::executable;

#[test]
fn the_python_suite_passes() -> Result<()> {
    // A deploy brings the runtime, and with it Pyodide's own Python half.
    let deployed = deploy(executable(), &example("hello"), &store())?;
    ensure!(deployed.status.success(), "{}", deployed.stderr);
    let folder = tempfile::tempdir()?;
    let (packages, pyodide) = (folder.path().join("packages"), folder.path().join("pyodide"));

    let mut install = python();
    install
        .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target"])
        .arg(&packages);
    install.arg("--requirement").arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("python-tests.txt"));
    succeed(install)?;

    // Only these two: the rest is the standard library of another Python version.
    let mut unpack = python();
    unpack.args(["-c", UNPACK]).arg(stdlib_zip()?).arg(&pyodide);
    succeed(unpack)?;

    let mut test = python();
    test.args(["-m", "pytest", "--quiet", "-p", "no:cacheprovider"])
        .arg(root().join("isolate-host/python/tests"))
        .env("PYTHONPATH", &packages)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("WARMSHARD_TEST_PATHS", std::env::join_paths([&packages, &pyodide])?);
    succeed(test)
}

const UNPACK: &str = "
import sys, zipfile
with zipfile.ZipFile(sys.argv[1]) as archive:
    wanted = [name for name in archive.namelist() if name.split('/')[0] in ('pyodide', '_pyodide')]
    archive.extractall(sys.argv[2], wanted)
";

fn python() -> Command {
    Command::new("python3")
}

fn succeed(mut command: Command) -> Result<()> {
    let output = command.output().with_context(|| format!("cannot run {command:?}"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    ensure!(output.status.success(), "{command:?}:\n{}\n{}", text(&output.stdout), text(&output.stderr));
    Ok(())
}

/// The standard library as the installed runtime has it.
fn stdlib_zip() -> Result<PathBuf> {
    for entry in std::fs::read_dir(cache().join("runtime"))? {
        let path = entry?.path().join("python_stdlib.zip");
        if path.exists() {
            return Ok(path);
        }
    }
    anyhow::bail!("found no `python_stdlib.zip` in the installed runtime")
}
