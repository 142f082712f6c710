//! Runs pip for the guest's Python. It only downloads and unpacks wheels: none
//! of a package's code runs on this machine.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::progress::Step;
use crate::pyodide::WHEEL_PLATFORM;

/// The guest's Python, as pip and its markers name it.
pub(super) const PYTHON: &str = "3.14";
const PYTHON_FULL: &str = "3.14.2";

/// The first pip that can report what it would install.
const OLDEST_PIP: (u32, u32) = (23, 0);

/// pip's last lines that an error shows.
const LINES_SHOWN: usize = 8;

/// How pip is run.
#[derive(Debug, Clone)]
pub struct PipOptions {
    /// The interpreter whose pip is used.
    pub python: OsString,
    pub index_url: Option<String>,
    pub extra_index_urls: Vec<String>,
}

/// Why pip could not be run, or what it failed with.
#[derive(Debug, thiserror::Error)]
pub enum PipError {
    #[error(
        "cannot run the Python interpreter `{python}`, whose pip brings the packages; install Python 3.9 or newer, or name one with `--python` or the variable `PYTHON`"
    )]
    NoPython { python: String, source: io::Error },
    #[error(
        "the Python interpreter `{python}` has no pip; install it (`python3 -m ensurepip`, or the package `python3-pip`), or name another interpreter with `--python`"
    )]
    NoPip { python: String },
    #[error("found pip {found}, expected {}.{} or newer; run `{python} -m pip install --upgrade pip`", OLDEST_PIP.0, OLDEST_PIP.1)]
    OldPip { found: String, python: String },
    #[error(
        "pip found no wheel of `{requirement}` for Python {PYTHON} on {WHEEL_PLATFORM}{said}\nhint: packages in pure Python and those built for this platform can be used; `--extra-index-url` adds a place to look for more"
    )]
    NoWheel { requirement: String, said: String },
    #[error("pip failed ({status}){said}")]
    Failed { status: String, said: String },
    #[error("cannot read or write `{path}` for pip")]
    Io { path: PathBuf, source: io::Error },
    #[error("cannot understand pip's report: {0}")]
    Report(String),
}

/// How packages are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hashes {
    /// Every package has its hash in the requirements.
    Required,
    Free,
}

/// Unpacks what the requirements ask for into `target`. `scratch` is an empty folder.
pub(super) fn install(
    options: &PipOptions,
    requirements: &str,
    hashes: Hashes,
    target: &Path,
    scratch: &Path,
    step: &Step,
) -> Result<(), PipError> {
    let mut more: Vec<OsString> = vec!["--target".into(), target.into()];
    if hashes == Hashes::Required {
        more.push("--require-hashes".into());
        // Everything is named: a package that asks for more must not pull it in unseen.
        more.push("--no-deps".into());
    }
    run(options, requirements, more, scratch, step).map(drop)
}

/// What would be installed, as pip reports it in JSON.
pub(super) fn report(
    options: &PipOptions,
    requirements: &str,
    scratch: &Path,
    step: &Step,
) -> Result<serde_json::Value, PipError> {
    let file = scratch.join("report.json");
    let more: Vec<OsString> = vec![
        "--dry-run".into(),
        "--ignore-installed".into(),
        "--report".into(),
        (&file).into(),
        "--target".into(),
        scratch.join("unused").into(),
    ];
    run(options, requirements, more, scratch, step)?;
    let text = std::fs::read(&file).map_err(|source| PipError::Io { path: file, source })?;
    serde_json::from_slice(&text).map_err(|error| PipError::Report(error.to_string()))
}

fn run(
    options: &PipOptions,
    requirements: &str,
    more: Vec<OsString>,
    scratch: &Path,
    step: &Step,
) -> Result<(), PipError> {
    let list = scratch.join("requirements.txt");
    std::fs::write(&list, requirements).map_err(|source| PipError::Io { path: list.clone(), source })?;
    let python = options.python.to_string_lossy().into_owned();
    let mut command = pip(options, scratch);
    command.args(["install", "--only-binary=:all:", "--no-compile", "--no-input", "--progress-bar=off"]);
    command.args([
        "--disable-pip-version-check",
        "--no-warn-conflicts",
        "--implementation=cp",
        "--abi=cp314",
    ]);
    command.arg(format!("--python-version={PYTHON}")).arg(format!("--platform={WHEEL_PLATFORM}"));
    command.args(options.index_url.iter().map(|url| format!("--index-url={url}")));
    command.args(options.extra_index_urls.iter().map(|url| format!("--extra-index-url={url}")));
    command.args(more).arg("--requirement").arg(&list);
    let ended =
        follow(command, step).map_err(|source| PipError::NoPython { python: python.clone(), source })?;
    if ended.success {
        return Ok(());
    }
    Err(explain(ended, python, || version(options, scratch)))
}

/// pip with nothing of the worker's on its path: the working directory is an empty one.
fn pip(options: &PipOptions, scratch: &Path) -> Command {
    let program =
        include_str!("pip_for_guest.py").replace("{python_full}", PYTHON_FULL).replace("{python}", PYTHON);
    let mut command = Command::new(&options.python);
    command
        .arg("-c")
        .arg(program)
        .current_dir(scratch)
        .env("PYTHONUTF8", "1")
        .env("PIP_USER", "0")
        .env("PIP_REQUIRE_VIRTUALENV", "0")
        .stdin(Stdio::null());
    command
}

struct Ended {
    success: bool,
    status: String,
    /// Everything it wrote to standard error, then to standard output.
    said: String,
}

/// Runs a command to its end, showing each line as it comes.
fn follow(mut command: Command, step: &Step) -> io::Result<Ended> {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let mut errors = child.stderr.take();
    // Both streams are drained at once, or a full pipe would stop pip.
    let reader = std::thread::spawn(move || {
        let mut text = Vec::new();
        if let Some(stream) = &mut errors {
            let _ = stream.read_to_end(&mut text);
        }
        String::from_utf8_lossy(&text).into_owned()
    });
    let mut output = String::new();
    if let Some(stream) = child.stdout.take() {
        for line in BufReader::new(stream).split(b'\n') {
            let line = String::from_utf8_lossy(&line?).into_owned();
            step.note(line.trim());
            let _ = writeln!(output, "{line}");
        }
    }
    let status = child.wait()?;
    let errors = reader.join().unwrap_or_default();
    Ok(Ended { success: status.success(), status: status.to_string(), said: format!("{output}{errors}") })
}

fn version(options: &PipOptions, scratch: &Path) -> Option<String> {
    let output = pip(options, scratch).arg("--version").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    text.split_whitespace().nth(1).map(str::to_owned)
}

/// Says what went wrong in the words of whoever has to act on it.
fn explain(ended: Ended, python: String, version: impl FnOnce() -> Option<String>) -> PipError {
    if ended.said.contains("No module named pip") || ended.said.contains("No module named 'pip'") {
        return PipError::NoPip { python };
    }
    let said = last_lines(&ended.said);
    if let Some(requirement) = between(&ended.said, "No matching distribution found for ", '\n') {
        let requirement = requirement.split(" (from").next().unwrap_or_default().trim().to_owned();
        return PipError::NoWheel { requirement, said };
    }
    match version() {
        Some(found) if is_old(&found) => PipError::OldPip { found, python },
        _ => PipError::Failed { status: ended.status, said },
    }
}

fn is_old(version: &str) -> bool {
    let mut parts = version.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0)) < OLDEST_PIP
}

fn between<'a>(text: &'a str, before: &str, after: char) -> Option<&'a str> {
    let (_, rest) = text.split_once(before)?;
    rest.split(after).next()
}

/// The last lines, each indented on its own line, fit to be shown on a terminal.
fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
    let mut shown = String::new();
    for line in &lines[lines.len().saturating_sub(LINES_SHOWN)..] {
        let line: String = line.chars().filter(|c| !c.is_control()).collect();
        let _ = write!(shown, "\n  pip: {line}");
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn explained(said: &str, version: &str) -> PipError {
        let ended = Ended { success: false, status: "exit status: 1".into(), said: said.into() };
        explain(ended, "python3".into(), || Some(version.to_owned()))
    }

    #[test]
    fn failures_say_what_to_do() {
        let missing = "ERROR: Could not find a version that satisfies the requirement x\nERROR: No matching distribution found for x>=2 (from -r requirements.txt (line 1))\n";
        let error = explained(missing, "25.0");
        assert!(matches!(&error, PipError::NoWheel { requirement, .. } if requirement == "x>=2"), "{error}");
        assert!(error.to_string().contains("\n  pip: ERROR: Could not find"), "{error}");
        assert!(matches!(explained("/usr/bin/python3: No module named pip", "25.0"), PipError::NoPip { .. }));
        assert!(matches!(explained("no such option: --report", "20.0.2"), PipError::OldPip { .. }));
        assert!(matches!(explained("network down", "25.0"), PipError::Failed { .. }));
    }

    #[test]
    fn only_the_last_lines_are_shown_and_cannot_drive_the_terminal() {
        let text: String = (0..50).map(|n| format!("line {n}\u{1b}[2J\n\n")).collect();
        let shown = last_lines(&text);
        assert_eq!(shown.lines().count(), LINES_SHOWN + 1);
        assert!(shown.ends_with("line 49[2J"), "{shown:?}");
    }

    #[test]
    fn a_missing_interpreter_is_named() {
        let scratch = tempfile::tempdir().unwrap();
        let options =
            PipOptions { python: "/nowhere/python3".into(), index_url: None, extra_index_urls: Vec::new() };
        let progress: &dyn crate::progress::Progress = &crate::progress::Silent;
        let refused = report(&options, "x\n", scratch.path(), &progress.step("test")).unwrap_err();
        assert!(
            matches!(&refused, PipError::NoPython { python, .. } if python == "/nowhere/python3"),
            "{refused}"
        );
    }
}
