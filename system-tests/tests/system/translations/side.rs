//! The same runtime and the same workers by one translation and by the other, each with a
//! cache and a store of its own.
//!
//! Wheels are fed to a host as it is: it leaves a library alone that is translated already.
//! Pyodide itself, whose archive the host verifies, is installed through the library.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use isolate_host::cache::CacheDir;
use isolate_host::progress;
use isolate_host::pyodide::runtime::{self, RuntimeError};
use isolate_host::pyodide::{WHEEL_PLATFORM, package};
use system_tests::{Fleet, FleetOptions, example, root, worker};
use wast::Wat;
use wast::parser::{ParseBuffer, parse};

use super::binaryen;
use crate::executable;

/// Whether an earlier run's caches will do.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Prepared {
    Anew,
    Before,
}

pub(super) struct Side {
    pub(super) name: &'static str,
    translate: fn(&[u8]) -> Result<Vec<u8>>,
    folder: PathBuf,
}

/// Ours and Binaryen's, ready to serve.
pub(super) fn sides(prepared: Prepared) -> Result<[Side; 2]> {
    println!("Binaryen: {}", binaryen::version()?);
    let folder = root().join("target/tmp/system-tests/translations");
    let sides = [
        Side { name: "ours", translate: ours, folder: folder.join("ours") },
        Side { name: "Binaryen's", translate: binaryen::translate, folder: folder.join("binaryen") },
    ];
    let done = folder.join("done");
    if prepared == Prepared::Before && done.exists() {
        return Ok(sides);
    }
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    for (name, source, list) in [
        ("exceptions", worker("exceptions"), "packages.txt"),
        ("fastapi", example("fastapi"), "requirements.lock"),
    ] {
        let packages = folder.join("packages").join(name);
        bring_packages(&source.join(list), &packages)?;
        if name == "exceptions" {
            let text = fs::read_to_string(source.join("jumps.wat"))?;
            let library = packages.join("jumps.cpython-314-wasm32-emscripten.so");
            fs::write(library, parse::<Wat<'_>>(&ParseBuffer::new(&text)?)?.encode()?)?;
        }
        for side in &sides {
            side.take_worker(name, &source, &packages)?;
        }
    }
    for side in &sides {
        side.install_runtime()?;
    }
    ensure!(sides[0].main_module()? != sides[1].main_module()?, "both sides run the same main module");
    fs::write(done, "")?;
    Ok(sides)
}

fn ours(wasm: &[u8]) -> Result<Vec<u8>> {
    Ok(runtime::translate("a library", wasm)?)
}

/// Pyodide's main module as published.
pub(super) fn pyodide() -> Result<Vec<u8>> {
    let scratch = tempfile::tempdir()?;
    Ok(package::fetch(scratch.path(), &*progress::to_stderr())?.main_wasm)
}

impl Side {
    fn cache(&self) -> PathBuf {
        self.folder.join("cache")
    }

    fn install_runtime(&self) -> Result<()> {
        let cache = CacheDir::open(self.cache())?;
        let translate = self.translate;
        runtime::install_with(&cache, &*progress::to_stderr(), &move |name, wasm| {
            let refuse = |reason| RuntimeError::Translate { name: name.to_owned(), reason };
            translate(wasm).map_err(|error| refuse(format!("{error:#}")))
        })?;
        Ok(())
    }

    /// The hash of the main module that is installed.
    fn main_module(&self) -> Result<String> {
        let status = runtime::status(&CacheDir::open(self.cache())?)?;
        Ok(status.installed.context("the runtime was installed")?.main_sha256)
    }

    fn worker(&self, name: &str) -> PathBuf {
        self.folder.join("workers").join(name)
    }

    /// Copies a worker with its packages, translating their libraries.
    fn take_worker(&self, name: &str, source: &Path, packages: &Path) -> Result<()> {
        let target = self.worker(name);
        copy(source, &target, &|_, bytes| Ok(bytes))?;
        copy(packages, &target.join("python_modules"), &|path, wasm| {
            if path.extension().is_none_or(|extension| extension != "so") {
                return Ok(wasm);
            }
            let translated = (self.translate)(&wasm).with_context(|| path.display().to_string())?;
            let left = runtime::translate("a library", &translated)?;
            ensure!(left == translated, "{}: the host would translate it again", path.display());
            let file = path.file_name().unwrap_or_default().display();
            let (before, after) = (wasm.len(), translated.len());
            println!("{file}: {before} bytes, {} {after}", self.name);
            Ok(translated)
        })
    }

    /// A fleet of one host that serves the workers.
    pub(super) fn serve(&self) -> Result<Fleet> {
        let text = |path: PathBuf| path.into_os_string().into_string();
        let (Ok(cache), Ok(store)) = (text(self.cache()), text(self.folder.join("store"))) else {
            bail!("the repository's path is not UTF-8");
        };
        let environment = [("WARMSHARD_CACHE", cache.as_str()), ("WARMSHARD_STORE", store.as_str())];
        let workers = ["exceptions", "fastapi"].map(|name| self.worker(name));
        let options = FleetOptions { hosts: 1, workers: &workers, embedded: "", environment: &environment };
        Fleet::start(executable(), &options)
    }
}

/// What pip makes of a list of pinned packages for the guest's Python.
fn bring_packages(list: &Path, target: &Path) -> Result<()> {
    let mut command = Command::new("python3");
    command.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile"]);
    command.args(["--no-deps", "--only-binary=:all:", "--ignore-requires-python", "--python-version=3.14"]);
    command.args(["--implementation=cp", "--abi=cp314"]).arg(format!("--platform={WHEEL_PLATFORM}"));
    command.arg("--target").arg(target).arg("--requirement").arg(list);
    let output = command.output().with_context(|| format!("cannot run {command:?}"))?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// Gives the bytes to write for a file of a path and bytes.
type Change<'a> = dyn Fn(&Path, Vec<u8>) -> Result<Vec<u8>> + 'a;

/// Copies a folder, each file's bytes through `change`.
fn copy(from: &Path, to: &Path, change: &Change<'_>) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type()?.is_dir() {
            copy(&path, &target, change)?;
        } else {
            fs::write(target, change(&path, fs::read(&path)?)?)?;
        }
    }
    Ok(())
}
