//! What is wrong with a shard file: all of it, each with its place and a way out.

use std::fmt;
use std::path::{Path, PathBuf};

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The line in the file, from one; `None` when the problem is that something is missing.
    pub line: Option<usize>,
    /// The key, as `listen.data` or `hosts[1].address`; empty for the file as a whole.
    pub key: String,
    pub found: String,
    pub expected: String,
    pub hint: Option<String>,
}

impl Problem {
    pub(super) fn syntax(text: &str, start: Option<usize>, message: &str) -> Self {
        Self {
            line: start.map(|offset| line_of(text, offset)),
            key: String::new(),
            found: format!("something that is not TOML ({})", message.trim()),
            expected: "TOML".to_owned(),
            hint: None,
        }
    }

    #[must_use]
    pub(super) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// The line of a byte offset, from one.
pub(super) fn line_of(text: &str, offset: usize) -> usize {
    let before = text.as_bytes().get(..offset).unwrap_or(text.as_bytes());
    1 + before.iter().filter(|&&byte| byte == b'\n').count()
}

/// Everything that is wrong with one file. Displayed, it is ready to be printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems {
    pub file: PathBuf,
    pub list: Vec<Problem>,
}

impl Problems {
    pub(super) fn new(file: &Path) -> Self {
        Self { file: file.to_owned(), list: Vec::new() }
    }

    pub(super) fn push(&mut self, problem: Problem) {
        self.list.push(problem);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// In the order of the file, what concerns all of it last.
    pub(super) fn sorted(mut self) -> Self {
        self.list.sort_by_key(|problem| problem.line.unwrap_or(usize::MAX));
        self
    }

    /// A file that cannot even be read.
    pub fn unreadable(file: &Path, why: &str) -> Self {
        let problem = Problem {
            line: None,
            key: String::new(),
            found: format!("a file that cannot be read ({why})"),
            expected: "a shard file".to_owned(),
            hint: Some("give its path with `--config FILE`".to_owned()),
        };
        Self { file: file.to_owned(), list: vec![problem] }
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in &self.list {
            write!(f, "{}", self.file.display())?;
            if let Some(line) = problem.line {
                write!(f, ":{line}")?;
            }
            f.write_str(": ")?;
            if !problem.key.is_empty() {
                write!(f, "`{}`: ", problem.key)?;
            }
            writeln!(f, "found {}, expected {}", problem.found, problem.expected)?;
            if let Some(hint) = &problem.hint {
                writeln!(f, "  hint: {hint}")?;
            }
        }
        let s = if self.list.len() == 1 { "" } else { "s" };
        write!(f, "{} problem{s} in {}", self.list.len(), self.file.display())
    }
}

impl std::error::Error for Problems {}
