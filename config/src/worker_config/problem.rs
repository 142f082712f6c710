//! What is wrong with a worker's files, and where.

use std::fmt;

/// One thing found in a file that should be otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub file: String,
    /// Counted from 1; `None` when something is missing altogether.
    pub line: Option<usize>,
    /// The setting, such as `vars`; empty when the file as a whole is meant.
    pub key: String,
    pub message: String,
}

impl Problem {
    pub(super) fn new(file: &str, line: usize, key: &str, message: impl Into<String>) -> Self {
        Self { file: file.to_owned(), line: Some(line), key: key.to_owned(), message: message.into() }
    }

    pub(super) fn wrong(file: &str, line: usize, key: &str, found: &str, expected: &str) -> Self {
        Self::new(file, line, key, format!("found {found}, expected {expected}"))
    }

    pub(super) fn missing(file: &str, key: &str, expected: &str) -> Self {
        Self {
            file: file.to_owned(),
            line: None,
            key: key.to_owned(),
            message: format!("found none, expected {expected}"),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        f.write_str(": ")?;
        if !self.key.is_empty() {
            write!(f, "`{}`: ", self.key)?;
        }
        f.write_str(&self.message)
    }
}

/// Everything found in one run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Problems {
    errors: Vec<Problem>,
    warnings: Vec<Problem>,
}

impl Problems {
    pub(super) fn error(&mut self, problem: Problem) {
        self.errors.push(problem);
    }

    pub(super) fn warning(&mut self, problem: Problem) {
        self.warnings.push(problem);
    }

    /// What stands in the way.
    pub fn errors(&self) -> &[Problem] {
        &self.errors
    }

    /// What does not, but should be known.
    pub fn warnings(&self) -> &[Problem] {
        &self.warnings
    }

    pub(super) fn into_warnings(self) -> Vec<Problem> {
        self.warnings
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<_> = self.errors.iter().map(ToString::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}

impl std::error::Error for Problems {}
