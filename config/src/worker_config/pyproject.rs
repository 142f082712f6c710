//! The `[project]` table of `pyproject.toml`: a name and what the worker requires.

use super::document::{self, Node, Value};
use super::problem::{Problem, Problems};
use super::requirement::{Requirement, normalised};
use super::wrangler::text;
use super::{PROJECT_FILE, WorkerName};

#[derive(Debug, Default)]
pub(super) struct Project {
    pub(super) name: Option<WorkerName>,
    pub(super) requirements: Vec<Requirement>,
}

/// Reads what concerns us; every other table belongs to other tools.
pub(super) fn read(text: &str, problems: &mut Problems) -> Project {
    let mut project = Project::default();
    let entries = match document::parse(PROJECT_FILE, text) {
        Ok(entries) => entries,
        Err(problem) => {
            problems.error(problem);
            return project;
        }
    };
    let Some((_, table)) = entries.iter().find(|(key, _)| key == "project") else {
        return project;
    };
    let Value::Table(settings) = &table.value else {
        problems.error(wrong(table, "project", "a table"));
        return project;
    };
    for (key, node) in settings {
        match key.as_str() {
            "name" => project.name = read_name(node, problems),
            "dependencies" => project.requirements = read_requirements(node, problems),
            "dynamic" => warn_of_dynamic(node, problems),
            _ => {}
        }
    }
    project
}

fn wrong(node: &Node, key: &str, expected: &str) -> Problem {
    Problem::wrong(PROJECT_FILE, node.line, key, &node.describe(), expected)
}

/// A package's name may hold more than a worker's; then the worker needs one of its own.
fn read_name(node: &Node, problems: &mut Problems) -> Option<WorkerName> {
    let Some(name) = text(node) else {
        problems.error(wrong(node, "project.name", "the project's name as text"));
        return None;
    };
    WorkerName::parse(&normalised(name)).ok()
}

fn read_requirements(node: &Node, problems: &mut Problems) -> Vec<Requirement> {
    const KEY: &str = "project.dependencies";
    let Value::List(items) = &node.value else {
        problems.error(wrong(node, KEY, "a list of requirements"));
        return Vec::new();
    };
    let mut requirements = Vec::with_capacity(items.len());
    for item in items {
        match text(item).map(Requirement::parse) {
            Some(Ok(requirement)) => requirements.push(requirement),
            Some(Err(error)) => problems.error(Problem::new(PROJECT_FILE, item.line, KEY, error.to_string())),
            None => problems.error(wrong(item, KEY, "a requirement as text")),
        }
    }
    requirements
}

fn warn_of_dynamic(node: &Node, problems: &mut Problems) {
    let Value::List(items) = &node.value else {
        return;
    };
    if let Some(item) = items.iter().find(|item| text(item) == Some("dependencies")) {
        let message = "dependencies computed by a build tool are not supported yet; the worker is deployed without them";
        problems.warning(Problem::new(PROJECT_FILE, item.line, "project.dynamic", message));
    }
}
