//! `requirements.lock`: the exact packages of a worker, by version and hash.
//!
//! It has the form of a requirements file with hashes, so other tools can write
//! it as well. It is read strictly: a line that is an option for the installer
//! is refused, since the file comes with the worker and is not trusted.

use std::fmt::Write;

use sha2::{Digest, Sha256};
use warmshard_config::units::hex;
use warmshard_config::worker_config::{Requirement, RequirementError};

/// Where it is, in the worker's folder.
pub const LOCK_FILE: &str = "requirements.lock";

/// Before the hash of the requirements a lock was made for.
const MADE_FOR: &str = "# made for requirements sha256:";

/// Why a lock file was refused.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    #[error("{LOCK_FILE}:{line}: {source}")]
    Requirement { line: usize, source: RequirementError },
    #[error(
        "{LOCK_FILE}:{line}: found `{found}`, expected a requirement such as `name==1.0` followed by `--hash=sha256:…`"
    )]
    Line { line: usize, found: String },
    #[error(
        "{LOCK_FILE}:{line}: found no exact version and hash for `{name}`, expected `{name}==VERSION --hash=sha256:…`"
    )]
    Loose { line: usize, name: String },
    #[error(
        "{LOCK_FILE} was made for other requirements than those in pyproject.toml; run `isolate-host lock` on the worker's folder"
    )]
    Stale,
    #[error(
        "{LOCK_FILE} has no `{name}`, which every worker needs; run `isolate-host lock` on the worker's folder"
    )]
    Incomplete { name: &'static str },
}

/// One package, exactly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Locked {
    pub(super) requirement: Requirement,
    /// SHA-256 of the files that will do, in hex.
    pub(super) hashes: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LockFile {
    made_for: Option<String>,
    pub(super) packages: Vec<Locked>,
}

impl LockFile {
    pub(super) fn new(mut packages: Vec<Locked>, requirements: &[Requirement]) -> Self {
        packages.sort_by(|one, other| one.requirement.name().cmp(other.requirement.name()));
        Self { made_for: Some(hash(requirements)), packages }
    }

    pub(super) fn parse(text: &str) -> Result<Self, LockError> {
        let mut lock = Self { made_for: None, packages: Vec::new() };
        for (line, text) in logical_lines(text) {
            if let Some(hash) = text.strip_prefix(MADE_FOR) {
                lock.made_for = Some(hash.trim().to_owned());
            } else if !text.is_empty() && !text.starts_with('#') {
                lock.packages.push(parse_line(line, &text)?);
            }
        }
        Ok(lock)
    }

    /// Refuses a lock that belongs to other requirements, as far as it says so.
    pub(super) fn check(&self, requirements: &[Requirement], needed: &'static str) -> Result<(), LockError> {
        if self.made_for.as_ref().is_some_and(|made_for| *made_for != hash(requirements)) {
            return Err(LockError::Stale);
        }
        if !self.packages.iter().any(|package| package.requirement.name() == needed) {
            return Err(LockError::Incomplete { name: needed });
        }
        Ok(())
    }

    /// The packages as the installer reads them.
    pub(super) fn requirements(&self) -> String {
        let mut text = String::new();
        for Locked { requirement, hashes } in &self.packages {
            text.push_str(requirement.as_str());
            for hash in hashes {
                // Writing to a string cannot fail.
                let _ = write!(text, " \\\n    --hash=sha256:{hash}");
            }
            text.push('\n');
        }
        text
    }

    /// The file as it is kept beside the worker.
    pub(super) fn to_text(&self, platform: &str, python: &str) -> String {
        let made_for =
            self.made_for.as_deref().map_or_else(String::new, |hash| format!("{MADE_FOR}{hash}\n"));
        format!(
            "# The packages of this worker for Python {python} on {platform}.\n\
             # Written by `isolate-host lock`.\n{made_for}{}",
            self.requirements()
        )
    }
}

/// Lines with their numbers, those that end in a backslash joined with the next.
fn logical_lines(text: &str) -> Vec<(usize, String)> {
    let mut lines: Vec<(usize, String)> = Vec::new();
    let mut joins = false;
    for (number, line) in text.lines().enumerate() {
        let (part, goes_on) = match line.trim_end().strip_suffix('\\') {
            Some(part) => (part, true),
            None => (line, false),
        };
        match lines.last_mut().filter(|_| joins) {
            Some((_, whole)) => {
                whole.push(' ');
                whole.push_str(part.trim());
            }
            None => lines.push((number + 1, part.trim().to_owned())),
        }
        joins = goes_on;
    }
    lines
}

fn parse_line(line: usize, text: &str) -> Result<Locked, LockError> {
    let text = text.split(" #").next().unwrap_or_default();
    let (requirement, options) = match text.find(" --") {
        Some(at) => text.split_at(at),
        None => (text, ""),
    };
    let requirement =
        Requirement::parse(requirement).map_err(|source| LockError::Requirement { line, source })?;
    let mut hashes = Vec::new();
    for option in options.split_whitespace() {
        let hex = option.strip_prefix("--hash=sha256:").filter(|hex| is_sha256(hex));
        let hex = hex.ok_or_else(|| LockError::Line { line, found: option.escape_debug().to_string() })?;
        hashes.push(hex.to_owned());
    }
    let exact = requirement.as_str().contains("==") || requirement.as_str().contains('@');
    if hashes.is_empty() || !exact {
        return Err(LockError::Loose { line, name: requirement.name().to_owned() });
    }
    Ok(Locked { requirement, hashes })
}

pub(super) fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// The same for the same set of requirements, in whatever order.
fn hash(requirements: &[Requirement]) -> String {
    let mut lines: Vec<_> = requirements.iter().map(Requirement::as_str).collect();
    lines.sort_unstable();
    hex(&Sha256::digest(lines.join("\n")))
}
