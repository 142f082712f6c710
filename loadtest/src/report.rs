//! What the commands print and write. Every field of the JSON is listed in
//! `loadtest/REPORTS.md`; a test holds that page and the code together.

mod cold_start;
mod compare;
mod condition;
mod page;
mod run;
mod simulation;
mod table;

use std::io::Write;
use std::path::{Path, PathBuf};

use serde::Serialize;

pub use cold_start::{ColdStartReport, Control, PUBLISHED, Published, Ratio};
pub(crate) use compare::compare;
pub use condition::{Condition, ConditionError};
pub use page::write_html;
pub(crate) use run::{Circumstances, Generator, LATE_MS};
pub use run::{EventReport, Happened, RunReport};
pub use simulation::SimulationReport;

#[derive(Debug, thiserror::Error)]
#[error("cannot write the report to `{}`; the table above is complete", path.display())]
pub struct WriteError {
    path: PathBuf,
    source: std::io::Error,
}

/// Prints a report. A reader that has seen enough, such as `head`, is no error.
pub fn print(report: &impl std::fmt::Display) -> std::io::Result<()> {
    let mut output = std::io::stdout().lock();
    match write!(output, "{report}").and_then(|()| output.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

/// Writes beside the file and renames: a reader never sees half a report.
pub fn write_json(path: &Path, report: &impl Serialize) -> Result<(), WriteError> {
    replace(path, report).map_err(|source| WriteError { path: path.to_owned(), source })
}

fn replace(path: &Path, report: &impl Serialize) -> std::io::Result<()> {
    let mut text = serde_json::to_vec_pretty(report)?;
    text.push(b'\n');
    replace_text(path, &text)
}

fn replace_text(path: &Path, text: &[u8]) -> std::io::Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let mut file = tempfile::Builder::new().permissions(readable()).tempfile_in(folder)?;
    file.write_all(text)?;
    file.persist(path)?;
    Ok(())
}

/// A temporary file is private by default; a report is for others, as far as the umask says.
fn readable() -> std::fs::Permissions {
    std::os::unix::fs::PermissionsExt::from_mode(0o666)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_replaced_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("report.json");
        write_json(&path, &serde_json::json!({"old": [1, 2, 3]})).unwrap();
        write_json(&path, &serde_json::json!({"new": 1})).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "{\n  \"new\": 1\n}\n");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_folder_that_is_missing_is_named() {
        let error = write_json(Path::new("/nowhere/at/all.json"), &1).unwrap_err();
        assert!(error.to_string().contains("`/nowhere/at/all.json`"));
    }
}
