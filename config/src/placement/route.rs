//! Which worker a host name means.

use std::fmt;
use std::str::FromStr;

use crate::units::{NameError, WorkerName};

/// Where the worker's name stands in a pattern.
const PLACEHOLDER: &str = "{worker}";

/// A host name in which `{worker}` may stand for one worker's name:
/// `{worker}.localhost`, `api-{worker}.example.com`, `shop.example.com`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPattern {
    before: String,
    /// What follows `{worker}`; `None` when the pattern is a plain name.
    after: Option<String>,
}

/// Why a pattern was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    #[error("found an empty host name")]
    Empty,
    #[error("found `{{worker}}` more than once")]
    Twice,
    #[error("found `{0}`, which no host name contains")]
    Character(char),
}

impl FromStr for HostPattern {
    type Err = PatternError;

    fn from_str(pattern: &str) -> Result<Self, PatternError> {
        if pattern.is_empty() {
            return Err(PatternError::Empty);
        }
        let (before, after) = match pattern.split_once(PLACEHOLDER) {
            Some((before, after)) => (before, Some(after)),
            None => (pattern, None),
        };
        if after.is_some_and(|after| after.contains(PLACEHOLDER)) {
            return Err(PatternError::Twice);
        }
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        let mut around = before.chars().chain(after.unwrap_or_default().chars());
        if let Some(found) = around.find(|&c| !allowed(c)) {
            return Err(PatternError::Character(found));
        }
        Ok(Self { before: before.to_ascii_lowercase(), after: after.map(str::to_ascii_lowercase) })
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.after {
            Some(after) => write!(f, "{}{PLACEHOLDER}{after}", self.before),
            None => f.write_str(&self.before),
        }
    }
}

impl HostPattern {
    /// Whether the pattern says which worker is meant.
    pub fn names_worker(&self) -> bool {
        self.after.is_some()
    }

    /// What stands for `{worker}` in a host name, empty for a plain name; `None` when it does not match.
    fn matched<'h>(&self, host: &'h str) -> Option<&'h str> {
        match &self.after {
            None => (host == self.before).then_some(""),
            Some(after) => {
                let part = host.strip_prefix(self.before.as_str())?.strip_suffix(after.as_str())?;
                // `{worker}` stands within one label: `a.b.localhost` is another name.
                (!part.is_empty() && !part.contains('.')).then_some(part)
            }
        }
    }

    /// An address of a worker under this pattern, to be shown to people.
    pub fn example(&self, worker: &WorkerName) -> String {
        match &self.after {
            Some(after) => format!("{}{worker}{after}", self.before),
            None => self.before.clone(),
        }
    }
}

/// One rule: requests for this host name go to this worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    pub host: HostPattern,
    /// The worker, when the pattern does not name it.
    pub worker: Option<WorkerName>,
}

/// All rules; the first that matches counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Routes(pub Vec<Route>);

/// Why no worker could be told from a request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoRoute {
    #[error("found no host name in the request, expected {expected}")]
    NoHostName { expected: String },
    #[error("found the host name `{found}`, expected {expected}")]
    UnknownHost { found: String, expected: String },
    #[error("found the host name `{found}`, which names no worker: {why}")]
    BadWorker { found: String, why: NameError },
}

impl Routes {
    /// Finds the worker for a request's host name, given as in its `Host` header.
    pub fn find(&self, host: Option<&str>) -> Result<WorkerName, NoRoute> {
        let Some(found) = host.map(bare_host).filter(|host| !host.is_empty()) else {
            return Err(NoRoute::NoHostName { expected: self.expected() });
        };
        for route in &self.0 {
            match (route.host.matched(&found), &route.worker) {
                (None, _) => {}
                (Some(_), Some(worker)) => return Ok(worker.clone()),
                (Some(name), None) => {
                    return WorkerName::parse(name).map_err(|why| NoRoute::BadWorker { found, why });
                }
            }
        }
        Err(NoRoute::UnknownHost { found, expected: self.expected() })
    }

    fn expected(&self) -> String {
        let patterns: Vec<String> = self.0.iter().map(|route| format!("`{}`", route.host)).collect();
        match patterns.as_slice() {
            [] => "a host name that a route knows, but there are no routes".to_owned(),
            [one] => one.clone(),
            many => format!("one of {}", many.join(", ")),
        }
    }

    /// A host name that leads to this worker, if there is one.
    pub fn example(&self, worker: &WorkerName) -> Option<String> {
        let leads_there = |route: &&Route| match &route.worker {
            Some(fixed) => fixed == worker,
            None => route.host.names_worker(),
        };
        self.0.iter().find(leads_there).map(|route| route.host.example(worker))
    }
}

/// The name alone: no port, no dot at the end, lower case.
fn bare_host(host: &str) -> String {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    name.trim_end_matches('.').to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn routes(patterns: &[(&str, Option<&str>)]) -> Routes {
        let route = |&(host, worker): &(&str, Option<&str>)| Route {
            host: host.parse().unwrap(),
            worker: worker.map(|name| WorkerName::parse(name).unwrap()),
        };
        Routes(patterns.iter().map(route).collect())
    }

    fn found(routes: &Routes, host: &str) -> Result<String, String> {
        routes.find(Some(host)).map(|worker| worker.to_string()).map_err(|error| error.to_string())
    }

    #[test]
    fn the_worker_is_read_from_the_host_name() {
        let routes = routes(&[("{worker}.localhost", None)]);
        for host in
            ["fastapi.localhost", "fastapi.localhost:8080", "FastAPI.LocalHost.", "fastapi.localhost.:80"]
        {
            assert_eq!(found(&routes, host), Ok("fastapi".to_owned()), "{host}");
        }
    }

    #[test]
    fn the_first_matching_route_counts_and_a_plain_name_needs_a_worker() {
        let routes = routes(&[
            ("shop.example.com", Some("checkout")),
            ("{worker}.example.com", None),
            ("api-{worker}.test", None),
        ]);
        assert_eq!(found(&routes, "shop.example.com"), Ok("checkout".to_owned()));
        assert_eq!(found(&routes, "blog.example.com"), Ok("blog".to_owned()));
        assert_eq!(found(&routes, "api-blog.test"), Ok("blog".to_owned()));
    }

    #[test]
    fn what_was_found_and_expected_is_said() {
        let one = routes(&[("{worker}.localhost", None)]);
        let expected = |text: &str| Err(text.to_owned());
        assert_eq!(
            found(&one, "example.com"),
            expected("found the host name `example.com`, expected `{worker}.localhost`")
        );
        assert!(found(&one, "localhost").is_err(), "no worker in it");
        assert!(found(&one, ".localhost").is_err(), "an empty worker");
        assert!(found(&one, "a.b.localhost").is_err(), "a worker is one label");
        assert!(found(&one, "[::1]:8080").is_err());
        assert!(matches!(one.find(Some("-x.localhost")), Err(NoRoute::BadWorker { .. })));
        assert!(matches!(one.find(None), Err(NoRoute::NoHostName { .. })));
    }

    #[test]
    fn patterns_are_checked() {
        assert_eq!("".parse::<HostPattern>(), Err(PatternError::Empty));
        assert_eq!("{worker}.{worker}".parse::<HostPattern>(), Err(PatternError::Twice));
        assert_eq!("{name}.localhost".parse::<HostPattern>(), Err(PatternError::Character('{')));
        assert_eq!("a b".parse::<HostPattern>(), Err(PatternError::Character(' ')));
    }

    #[test]
    fn examples_lead_where_they_say() {
        let routes = routes(&[("shop.test", Some("checkout")), ("{worker}.localhost", None)]);
        for name in ["checkout", "fastapi"] {
            let worker = WorkerName::parse(name).unwrap();
            let host = routes.example(&worker).unwrap();
            assert_eq!(routes.find(Some(&host)), Ok(worker));
        }
    }
}
