//! The shard file: the operator's TOML with listeners, routes, hosts, placement
//! and limits.
//!
//! ```text
//! text ──toml──▶ tree with spans ──reader (against shape)──▶ resolve ──▶ Settings
//!                                        │                      │
//!                                        └──────▶ Problems ◀────┘
//! ```
//!
//! `shape` lists every key once, with what it expects, its default and its
//! documentation. The reader holds the tree against it, so an unknown key is
//! refused wherever it stands. Deriving the shape with serde would stop at the
//! first such key; an operator wants to hear of all of them in one run.

mod problem;
mod reader;
mod reference;
mod resolve;
mod settings;
mod shape;

use std::path::Path;

use crate::units::ZoneName;

pub use problem::{Problem, Problems};
pub use reference::{json_schema, markdown};
pub use settings::{
    CertificateFiles, Embedded, Etcd, ExternalHost, Fleet, Handoff, HostTlsFiles, Limits, Listen,
    PlacementPolicy, PlacementSettings, Published, Reload, Retries, Settings, Timeouts,
};

/// What the shard file may refer to outside itself. The program supplies the
/// machine's; tests supply their own.
pub trait Surroundings {
    /// An environment variable.
    fn variable(&self, name: &str) -> Option<String>;
    /// A file's text, or why it cannot be read.
    fn read(&self, path: &Path) -> Result<String, String>;
    fn is_folder(&self, path: &Path) -> bool;
    /// Whether two PEM files are a certificate and its key. Surroundings that serve no TLS have
    /// nothing against any.
    fn check_certificate(&self, files: &CertificateFiles) -> Result<(), Unusable> {
        let _ = files;
        Ok(())
    }
}

/// Which of two files is at fault, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unusable {
    Certificate(String),
    Key(String),
}

/// Reads a shard file. `path` names it in problems, and what the file says about
/// other files is relative to its folder.
pub fn parse(path: &Path, text: &str, surroundings: &dyn Surroundings) -> Result<Settings, Problems> {
    let (root, errors) = toml::de::DeTable::parse_recoverable(text);
    let mut problems = Problems::new(path);
    for error in errors {
        let start = error.span().map(|span| span.start);
        problems.push(Problem::syntax(text, start, error.message()));
    }
    // What the parser made up to go on after a syntax error would only give
    // problems that are not there.
    if !problems.is_empty() {
        return Err(problems);
    }
    let base = path.parent().unwrap_or(Path::new(""));
    let settings = resolve::resolve(text, root.get_ref(), base, surroundings, &mut problems);
    match settings {
        Some(settings) if problems.is_empty() => Ok(settings),
        _ => Err(problems.sorted()),
    }
}

/// Reads what a record in etcd says: `[[hosts]]` and `[placement]` as they would stand in a shard
/// file. `path` names it in problems; `zone` is the router's own.
pub fn parse_published(path: &Path, text: &str, zone: Option<&ZoneName>) -> Result<Published, Problems> {
    let (root, errors) = toml::de::DeTable::parse_recoverable(text);
    let mut problems = Problems::new(path);
    for error in errors {
        problems.push(Problem::syntax(text, error.span().map(|span| span.start), error.message()));
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    match resolve::published(text, root.get_ref(), zone, &mut problems) {
        Some(published) if problems.is_empty() => Ok(published),
        _ => Err(problems.sorted()),
    }
}

#[cfg(test)]
mod tests;
