//! What a worker's own files say about it: its entry point, its settings, its packages.
//!
//! ```text
//! wrangler.jsonc | .toml | .json ──▶ document ──▶ wrangler ──┐
//! pyproject.toml ──────────────────▶ document ──▶ pyproject ─┴─▶ Project
//! ```
//!
//! A file is read into a [`document`] first, so that everything said about it can
//! name the line. Every problem of one run is reported, not only the first.

mod document;
mod problem;
mod pyproject;
mod requirement;
mod wrangler;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use problem::{Problem, Problems};
pub use requirement::{Requirement, RequirementError};

use crate::units::WorkerName;

/// The configuration files looked for, the first found wins.
pub const CONFIG_FILES: [&str; 3] = ["wrangler.jsonc", "wrangler.json", "wrangler.toml"];
/// The file with a worker's requirements.
pub const PROJECT_FILE: &str = "pyproject.toml";

/// The date whose behaviour a worker gets that names none.
pub const DEFAULT_COMPATIBILITY_DATE: &str = "2026-01-01";

/// A worker's settings as a deployment keeps them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkerConfig {
    pub name: WorkerName,
    /// The module with the entry points, relative to the folder of the sources.
    pub main: String,
    pub compatibility_date: String,
    pub compatibility_flags: Vec<String>,
    /// Plain-text variables the worker finds in its `env`.
    pub vars: BTreeMap<String, serde_json::Value>,
    /// Names of secrets the worker needs; their values are no part of a deployment.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<String>,
}

/// The text of a worker's configuration files.
#[derive(Debug, Clone, Copy, Default)]
pub struct WorkerFiles<'a> {
    /// One of [`CONFIG_FILES`] by name, and what is in it.
    pub wrangler: Option<(&'a str, &'a str)>,
    /// What is in [`PROJECT_FILE`].
    pub pyproject: Option<&'a str>,
    /// A name that goes before the files'.
    pub name: Option<&'a WorkerName>,
}

/// A worker as its files describe it.
#[derive(Debug, Clone, PartialEq)]
pub struct Project {
    pub config: WorkerConfig,
    /// The folder of the sources relative to the project's; empty when it is that one.
    pub source_folder: String,
    pub requirements: Vec<Requirement>,
    /// What was found but is not acted on, each with its line.
    pub warnings: Vec<Problem>,
}

/// Reads a worker's files, or says everything that is wrong with them.
pub fn resolve(files: WorkerFiles<'_>) -> Result<Project, Problems> {
    let mut problems = Problems::default();
    let mut settings = match files.wrangler {
        Some((file, text)) => wrangler::read(file, text, &mut problems),
        None => {
            problems.error(Problem::missing(
                CONFIG_FILES[0],
                "",
                "`wrangler.jsonc`, `wrangler.json` or `wrangler.toml` in the worker's folder",
            ));
            wrangler::Settings::default()
        }
    };
    let project = match files.pyproject {
        Some(text) => pyproject::read(text, &mut problems),
        None => pyproject::Project::default(),
    };
    let name = files.name.cloned().or(settings.name.take()).or(project.name);
    if name.is_none() && problems.errors().is_empty() {
        let file = files.wrangler.map_or(CONFIG_FILES[0], |(file, _)| file);
        problems.error(Problem::missing(file, "name", "the worker's name, such as `my-worker`"));
    }
    let (Some(name), Some(main), true) = (name, settings.main, problems.errors().is_empty()) else {
        return Err(problems);
    };
    let (source_folder, main) = match main.rsplit_once('/') {
        Some((folder, file)) => (folder.to_owned(), file.to_owned()),
        None => (String::new(), main),
    };
    Ok(Project {
        config: WorkerConfig {
            name,
            main,
            compatibility_date: settings.compatibility_date.unwrap_or(DEFAULT_COMPATIBILITY_DATE.to_owned()),
            compatibility_flags: settings.compatibility_flags,
            vars: settings.vars,
            secrets: settings.secrets,
        },
        source_folder,
        requirements: project.requirements,
        warnings: problems.into_warnings(),
    })
}

#[cfg(test)]
mod tests;
