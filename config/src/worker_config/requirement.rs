//! One requirement of a worker, checked before any tool sees it.

use std::fmt;

/// A requirement such as `fastapi>=0.115`, safe to hand to an installer.
///
/// It begins with a package's name, so it cannot be taken for an option; a direct
/// reference is only accepted to a wheel, since anything else would be built on
/// this machine, and building runs the package's own code.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Requirement {
    text: String,
    name: String,
}

/// Why a requirement was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequirementError {
    #[error(
        "found the requirement `{0}`, expected it to begin with a package's name of letters, digits, `.`, `_` and `-`"
    )]
    Name(String),
    #[error("found an unprintable character in the requirement `{0}`, expected one line of text")]
    Character(String),
    #[error(
        "found the reference to `{0}`, expected a package of the index or an `https://` address of a `.whl` file"
    )]
    Reference(String),
}

impl Requirement {
    pub fn parse(text: &str) -> Result<Self, RequirementError> {
        let text = text.trim();
        if text.chars().any(char::is_control) {
            return Err(RequirementError::Character(text.escape_debug().to_string()));
        }
        let end = text.find(|c: char| !is_name_character(c)).unwrap_or(text.len());
        let (name, rest) = text.split_at(end);
        let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
        let follows = rest.trim_start().chars().next();
        if !edge(name.chars().next())
            || !edge(name.chars().next_back())
            || follows.is_some_and(|c| !"[(<>=!~;@".contains(c))
        {
            return Err(RequirementError::Name(text.to_owned()));
        }
        // pip reads ` --option` at the end of a line of a requirements file as its own.
        if rest.contains(" -") || rest.contains("#") {
            return Err(RequirementError::Name(text.to_owned()));
        }
        check_reference(rest)?;
        Ok(Self { text: text.to_owned(), name: normalised(name) })
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The package's name in its one normal form: lower case, runs of `-_.` as one `-`.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn is_name_character(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')
}

/// `name @ address` and `name[extra] @ address`.
fn check_reference(rest: &str) -> Result<(), RequirementError> {
    let before_marker = rest.split(';').next().unwrap_or_default();
    let Some((_, address)) = before_marker.split_once('@') else {
        return Ok(());
    };
    let address = address.trim();
    let path = address.split(['?', '#']).next().unwrap_or_default();
    if address.starts_with("https://") && path.ends_with(".whl") {
        Ok(())
    } else {
        Err(RequirementError::Reference(address.to_owned()))
    }
}

pub(super) fn normalised(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for c in name.chars() {
        match c {
            '-' | '_' | '.' if out.ends_with('-') => {}
            '-' | '_' | '.' => out.push('-'),
            _ => out.push(c.to_ascii_lowercase()),
        }
    }
    out
}
