//! `isolate-host snapshot`.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use warmshard_config::units::hex;

use super::{CommandResult, logging, say};
use crate::emscripten::files::{CodecError, OverlayEntry, OverlayKind, SavedTarget, decode_overlay};
use crate::pool::chain;
use crate::snapshot::format::{self, Section, SnapshotError, VERSION};
use crate::snapshot::manifest::Manifest;

const HOST_PAGE: usize = 4096;

/// Look into snapshot files, and tell whether they are whole.
///
/// Snapshots are blobs of the store: `deployments/ID.json` there names the one of a deployment.
#[derive(Debug, Args)]
pub(super) struct Snapshot {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Show what a snapshot holds
    ///
    /// Whose it is, the runtime it was taken with, memory, native libraries in load order with their
    /// bases, files the top level wrote, open descriptors, environment. The file is verified first.
    Inspect {
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Print one JSON object instead of a table
        #[arg(long)]
        json: bool,
    },
    /// Recompute every checksum and check every bound
    ///
    /// Says what is wrong with the first part or field that is wrong: what was found, what was
    /// expected. Whether a host can use a whole snapshot depends on its runtime too. Exits with 0 when
    /// all files are whole, else with 1.
    Verify {
        #[arg(value_name = "FILE", required = true)]
        files: Vec<PathBuf>,
        /// Print one JSON object for each file
        #[arg(long)]
        json: bool,
    },
}

/// Why a snapshot cannot be shown or is not whole.
#[derive(Debug, thiserror::Error)]
enum InspectError {
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    #[error("the snapshot's `files` cannot be read")]
    Files(#[from] CodecError),
    #[error("found {count} snapshots that are not whole")]
    NotWhole { count: usize },
}

impl Snapshot {
    pub(super) fn run(self) -> CommandResult {
        logging::start("warn");
        match self.action {
            Action::Inspect { file, json } => inspect(&file, json),
            Action::Verify { files, json } => verify(&files, json),
        }
    }
}

/// A whole snapshot with its files decoded.
struct Whole {
    snapshot: format::Snapshot,
    files: Vec<OverlayEntry>,
}

fn read(file: &Path) -> Result<Whole, InspectError> {
    let snapshot = format::Snapshot::read(file)?;
    let files = decode_overlay(snapshot.files.clone())?;
    Ok(Whole { snapshot, files })
}

fn verify(files: &[PathBuf], as_json: bool) -> CommandResult {
    let mut count = 0;
    for file in files {
        let verdict = read(file).map_err(|error| chain(&error));
        count += usize::from(verdict.is_err());
        let path = file.display().to_string();
        let line = match verdict {
            Ok(whole) => {
                let Manifest { worker, deployment, .. } = &whole.snapshot.manifest;
                if as_json {
                    let (worker, deployment) = (worker.as_str(), deployment.as_str());
                    json!({ "file": path, "whole": true, "worker": worker, "deployment": deployment })
                        .to_string()
                } else {
                    format!("{path}\twhole\t{worker}\t{}", deployment.short())
                }
            }
            Err(error) if as_json => json!({ "file": path, "whole": false, "error": error }).to_string(),
            Err(error) => format!("{path}\tnot whole\t{error}"),
        };
        say(&line)?;
    }
    if count > 0 { Err(InspectError::NotWhole { count }.into()) } else { Ok(()) }
}

fn inspect(file: &Path, as_json: bool) -> CommandResult {
    let whole = read(file)?;
    if as_json {
        say(&describe(file, &whole).to_string())?;
        return Ok(());
    }
    for (name, value) in table(file, &whole) {
        say(&format!("{name}\t{value}"))?;
    }
    Ok(())
}

fn describe(file: &Path, whole: &Whole) -> Value {
    let Whole { snapshot, files } = whole;
    let sections: serde_json::Map<_, _> = Section::ALL
        .into_iter()
        .map(|section| {
            let range = &snapshot.header.sections[section as usize];
            let sha256 = hex(&snapshot.header.hashes[section as usize]);
            let value = json!({ "offset": range.start, "length": range.end - range.start, "sha256": sha256 });
            (section.as_str().to_owned(), value)
        })
        .collect();
    let files: Vec<_> = files
        .iter()
        .map(|entry| {
            let (kind, bytes) = kind(&entry.kind);
            json!({ "path": entry.path, "kind": kind, "bytes": bytes })
        })
        .collect();
    json!({
        "file": file.display().to_string(),
        "version": VERSION,
        "sections": sections,
        "pages_used": used_pages(&snapshot.image),
        "files": files,
        "manifest": snapshot.manifest,
    })
}

fn table(file: &Path, whole: &Whole) -> Vec<(String, String)> {
    let Whole { snapshot, files } = whole;
    let mut rows = Vec::new();
    let mut row = |name: &str, value: String| rows.push((name.to_owned(), value));
    row("file", file.display().to_string());
    row("version", VERSION.to_string());
    for section in Section::ALL {
        let range = &snapshot.header.sections[section as usize];
        let sha256 = hex(&snapshot.header.hashes[section as usize]);
        row(section.as_str(), format!("bytes {} to {}, sha256:{sha256}", range.start, range.end));
    }
    // Every field, so that a new one is not forgotten.
    let Manifest {
        worker,
        deployment,
        runtime,
        memory_pages,
        globals,
        table_size,
        appended,
        offset_table,
        libraries,
        handles,
        pump,
        environment,
        working_directory,
        descriptors,
        monotonic_floor,
        entrypoints,
    } = &snapshot.manifest;
    row("worker", worker.to_string());
    row("deployment", deployment.to_string());
    for (part, value) in runtime.parts() {
        row(&format!("runtime {part}"), value.to_owned());
    }
    let (used, pages) = (used_pages(&snapshot.image), snapshot.image.len() / HOST_PAGE);
    let bytes = u64::from(*memory_pages) * 65536;
    row("memory", format!("{}, {used} of {pages} pages of {HOST_PAGE} bytes not zero", megabytes(bytes)));
    for (name, value) in globals {
        row(&format!("global {name}"), value.to_string());
    }
    let (appended, offsets) = (appended.len(), offset_table.len());
    row("table", format!("{table_size} entries, {appended} of them single; offset table {offsets}"));
    for (index, library) in libraries.iter().enumerate() {
        let (memory, table, content) = (library.memory_base, library.table_base, &library.content);
        let place = format!("memory base {memory}, table base {table}, sha256:{content}");
        row(&format!("library {index}"), format!("{}\t{place}", library.path));
    }
    for (address, library) in handles {
        row(&format!("handle {address}"), format!("library {library}"));
    }
    row("pump", pump.to_string());
    for (name, value) in environment {
        row(&format!("environment {name}"), value.clone());
    }
    row("working directory", working_directory.clone());
    for descriptor in descriptors {
        row(&format!("descriptor {}", descriptor.fd), target(&descriptor.target));
    }
    for entry in files {
        let (kind, bytes) = kind(&entry.kind);
        row(&format!("file {}", entry.path.escape_debug()), format!("{kind}, {bytes} bytes"));
    }
    row("monotonic clock", format!("goes on from {monotonic_floor} ns"));
    row("entrypoints", entrypoints.join(", "));
    rows
}

fn target(target: &SavedTarget) -> String {
    match target {
        SavedTarget::Path { path, offset, .. } => format!("{} at byte {offset}", path.escape_debug()),
        SavedTarget::Device { device, .. } => format!("{device:?}").to_lowercase(),
        SavedTarget::SharedWith { fd } => format!("the same as {fd}"),
    }
}

fn kind(kind: &OverlayKind) -> (&'static str, usize) {
    match kind {
        OverlayKind::Directory { .. } => ("folder", 0),
        OverlayKind::File(content) => ("file", content.len()),
        OverlayKind::Symlink(target) => ("symbolic link", target.len()),
        OverlayKind::Removed => ("removed", 0),
    }
}

fn used_pages(image: &[u8]) -> usize {
    image.chunks(HOST_PAGE).filter(|page| page.iter().any(|&byte| byte != 0)).count()
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::sample::Sample;

    fn written(sample: &Sample, manifest: &Value) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), sample.file(manifest)).unwrap();
        file
    }

    #[test]
    fn the_table_and_the_object_tell_what_is_in_the_file() {
        let sample = Sample::new();
        let file = written(&sample, &sample.json());
        let whole = read(file.path()).unwrap();
        let rows: std::collections::BTreeMap<_, _> = table(file.path(), &whole).into_iter().collect();
        for (name, expected) in [
            ("worker", "hello"),
            ("runtime pyodide", "314.0.7"),
            ("library 1", "/session/two.so\tmemory base 135168, table base 112"),
            ("descriptor 3", "/session/data.txt at byte 2"),
            ("environment HOME", "/session"),
            ("memory", "0.3 MB, 2 of 64 pages"),
        ] {
            assert!(rows[name].starts_with(expected), "{name}: {}", rows[name]);
        }
        let object = describe(file.path(), &whole);
        assert_eq!(object["manifest"], sample.json());
        assert_eq!((object["pages_used"].as_u64(), object["version"].as_u64()), (Some(2), Some(2)));
    }

    #[test]
    fn what_is_not_whole_is_said_by_name_and_counted() {
        let sample = Sample::new();
        let mut changed = sample.json();
        changed["pump"] = json!(3);
        let (good, bad) = (written(&sample, &sample.json()), written(&sample, &changed));
        verify(&[good.path().to_owned()], false).unwrap();
        let refused = verify(&[good.path().to_owned(), bad.path().to_owned()], true).unwrap_err();
        assert_eq!(refused.to_string(), "found 1 snapshots that are not whole");
        assert!(read(bad.path()).err().unwrap().to_string().contains("`pump` is 3"));
    }
}
