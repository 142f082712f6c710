//! The settings in `wrangler.toml`, `wrangler.json` and `wrangler.jsonc`.

use std::collections::BTreeMap;

use super::document::{self, Node, Value};
use super::problem::{Problem, Problems};
use crate::units::WorkerName;

#[derive(Debug, Default)]
pub(super) struct Settings {
    pub(super) name: Option<WorkerName>,
    pub(super) main: Option<String>,
    pub(super) compatibility_date: Option<String>,
    pub(super) compatibility_flags: Vec<String>,
    pub(super) vars: BTreeMap<String, serde_json::Value>,
    pub(super) secrets: Vec<String>,
}

/// Keys with a meaning that this version does not give them.
const NOT_YET: [&str; 37] = [
    "account_id",
    "ai",
    "analytics_engine_datasets",
    "assets",
    "base_dir",
    "browser",
    "build",
    "containers",
    "d1_databases",
    "define",
    "dispatch_namespaces",
    "durable_objects",
    "env",
    "find_additional_modules",
    "hyperdrive",
    "images",
    "kv_namespaces",
    "limits",
    "logpush",
    "migrations",
    "mtls_certificates",
    "observability",
    "pipelines",
    "placement",
    "preview_urls",
    "python_modules",
    "queues",
    "r2_buckets",
    "ratelimits",
    "route",
    "routes",
    "rules",
    "send_email",
    "services",
    "tail_consumers",
    "triggers",
    "workflows",
];

/// Keys that only concern other tools.
const OF_OTHERS: [&str; 6] =
    ["$schema", "dev", "keep_vars", "send_metrics", "upload_source_maps", "workers_dev"];

pub(super) fn read(file: &str, text: &str, problems: &mut Problems) -> Settings {
    let entries = match document::parse(file, text) {
        Ok(entries) => entries,
        Err(problem) => {
            problems.error(problem);
            return Settings::default();
        }
    };
    let mut settings = Settings::default();
    let mut saw_main = false;
    for (key, node) in &entries {
        saw_main |= key == "main";
        if let Err((node, expected)) = set(&mut settings, key, node) {
            problems.error(Problem::wrong(file, node.line, key, &node.describe(), &expected));
        } else if NOT_YET.contains(&key.as_str()) {
            let message = "is not supported yet; the worker is deployed without it";
            problems.warning(Problem::new(file, node.line, key, message));
        } else if !is_known(key) {
            problems.warning(Problem::new(
                file,
                node.line,
                key,
                "is no setting known here; it has no effect",
            ));
        }
    }
    if !saw_main {
        let expected = "the Python file with the entry points, such as `src/entry.py`";
        problems.error(Problem::missing(file, "main", expected));
    }
    if settings.compatibility_date.is_none() && !entries.iter().any(|(key, _)| key == "compatibility_date") {
        let date = super::DEFAULT_COMPATIBILITY_DATE;
        problems.warning(Problem::missing(file, "compatibility_date", &format!("a date; `{date}` is used")));
    }
    settings
}

fn is_known(key: &str) -> bool {
    matches!(key, "name" | "main" | "compatibility_date" | "compatibility_flags" | "vars" | "secrets")
        || OF_OTHERS.contains(&key)
}

/// Takes one setting over; gives back the value that is wrong and what was expected of it.
fn set<'a>(settings: &mut Settings, key: &str, node: &'a Node) -> Result<(), (&'a Node, String)> {
    let wrong = |expected: &str| (node, expected.to_owned());
    match key {
        "name" => {
            let text = text(node).ok_or_else(|| wrong("the worker's name as text"))?;
            settings.name =
                Some(WorkerName::parse(text).map_err(|error| wrong(&rule_of(&error.to_string())))?);
        }
        "main" => {
            let main = text(node).and_then(main_path);
            settings.main = Some(main.ok_or_else(|| {
                wrong("the path of a `.py` file inside the worker's folder, such as `src/entry.py`")
            })?);
        }
        "compatibility_date" => {
            let date = text(node).filter(|text| is_date(text));
            settings.compatibility_date =
                Some(date.ok_or_else(|| wrong("a date such as `2026-01-31`"))?.to_owned());
        }
        "compatibility_flags" => {
            let Value::List(items) = &node.value else {
                return Err(wrong("a list of texts"));
            };
            for item in items {
                let flag = text(item).filter(|flag| !flag.is_empty());
                let flag = flag.ok_or_else(|| (item, "the name of a flag as text".to_owned()))?;
                settings.compatibility_flags.push(flag.to_owned());
            }
        }
        "vars" => {
            let Value::Table(entries) = &node.value else {
                return Err(wrong("a table of variables"));
            };
            settings.vars = entries.iter().map(|(name, value)| (name.clone(), value.to_json())).collect();
        }
        "secrets" => settings.secrets = secrets(node)?,
        _ => {}
    }
    Ok(())
}

/// `{"required": ["NAME", …]}`: the names of a worker's secrets, without their values.
fn secrets(node: &Node) -> Result<Vec<String>, (&Node, String)> {
    let expected = "a table with `required`, the list of the secrets' names; values are not kept here";
    let wrong = |node| (node, expected.to_owned());
    let Value::Table(entries) = &node.value else { return Err(wrong(node)) };
    let mut names = Vec::new();
    for (key, node) in entries {
        let Value::List(items) = &node.value else { return Err(wrong(node)) };
        if key != "required" {
            return Err(wrong(node));
        }
        for item in items {
            let name = text(item).filter(|name| !name.is_empty());
            names.push(name.ok_or_else(|| (item, "the name of a secret as text".to_owned()))?.to_owned());
        }
    }
    Ok(names)
}

/// The rule in a name's error: what was found is told by the caller.
fn rule_of(error: &str) -> String {
    error.split_once("expected ").map_or(error, |(_, rule)| rule).to_owned()
}

pub(super) fn text(node: &Node) -> Option<&str> {
    match &node.value {
        Value::Text(text) => Some(text),
        _ => None,
    }
}

/// A normalised path of a Python file that stays inside the project.
fn main_path(path: &str) -> Option<String> {
    let path = path.strip_prefix("./").unwrap_or(path);
    let plain = |name: &str| {
        !matches!(name, "" | "." | "..") && !name.contains(['\\', '\0']) && !name.starts_with('.')
    };
    (path.ends_with(".py") && path.split('/').all(plain) && !path.chars().any(char::is_control))
        .then(|| path.to_owned())
}

fn is_date(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let digits =
        |part: &str, length: usize| part.len() == length && part.bytes().all(|byte| byte.is_ascii_digit());
    let within = |part: &str, most: u32| part.parse::<u32>().is_ok_and(|number| (1..=most).contains(&number));
    match parts[..] {
        [year, month, day] => {
            digits(year, 4) && digits(month, 2) && digits(day, 2) && within(month, 12) && within(day, 31)
        }
        _ => false,
    }
}
