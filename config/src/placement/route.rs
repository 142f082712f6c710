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

/// The beginning of a path, up to a `/` or its end: `/api` takes `/api` and
/// `/api/x`, not `/apis`. Compared as sent, without decoding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathPrefix(String);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("found a path that does not begin with `/`, or with a space, `?` or `#` in it")]
pub struct PathError;

impl FromStr for PathPrefix {
    type Err = PathError;

    fn from_str(prefix: &str) -> Result<Self, PathError> {
        let strange = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '?' | '#');
        if !prefix.starts_with('/') || prefix.contains(strange) {
            return Err(PathError);
        }
        Ok(Self(prefix.to_owned()))
    }
}

impl PathPrefix {
    fn matches(&self, path: &str) -> bool {
        path.strip_prefix(self.0.as_str())
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || self.0.ends_with('/'))
    }
}

/// A header that a request must have: `x-tenant: blue`, or `x-worker: {worker}`,
/// whose value is then the worker's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderRule {
    name: String,
    /// `None` for the worker's name.
    value: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeaderRuleError {
    #[error("found no `:` between the header's name and its value")]
    NoColon,
    #[error("found `{0}`, which cannot be a header's name")]
    Name(String),
    #[error("found `{0}`, which clients cannot send: those headers are between router and host")]
    Ours(String),
}

impl FromStr for HeaderRule {
    type Err = HeaderRuleError;

    fn from_str(rule: &str) -> Result<Self, HeaderRuleError> {
        let (name, value) = rule.split_once(':').ok_or(HeaderRuleError::NoColon)?;
        let name = name.trim().to_ascii_lowercase();
        let allowed = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_');
        if name.is_empty() || !name.bytes().all(allowed) {
            return Err(HeaderRuleError::Name(name));
        }
        if crate::wire::is_ours(&name) {
            return Err(HeaderRuleError::Ours(name));
        }
        let value = value.trim();
        Ok(Self { name, value: (value != PLACEHOLDER).then(|| value.to_owned()) })
    }
}

impl fmt::Display for HeaderRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.value.as_deref().unwrap_or(PLACEHOLDER))
    }
}

/// One rule: requests that fit all that it names go to this worker.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Route {
    pub host: Option<HostPattern>,
    pub path: Option<PathPrefix>,
    pub header: Option<HeaderRule>,
    /// The worker, when neither host name nor header names it.
    pub worker: Option<WorkerName>,
}

impl Route {
    /// For all requests of these host names.
    pub fn of_host(host: HostPattern, worker: Option<WorkerName>) -> Self {
        Self { host: Some(host), worker, ..Self::default() }
    }

    /// How often host name, header and `worker` say which worker is meant; once is right.
    pub fn times_named(&self) -> usize {
        let by_host = self.host.as_ref().is_some_and(HostPattern::names_worker);
        let by_header = self.header.as_ref().is_some_and(|header| header.value.is_none());
        usize::from(by_host) + usize::from(by_header) + usize::from(self.worker.is_some())
    }

    /// Whether it looks at anything of a request.
    pub fn is_bounded(&self) -> bool {
        self.host.is_some() || self.path.is_some() || self.header.is_some()
    }

    /// The name of the worker as the request gives it, empty when the route knows
    /// it; `None` when the request does not fit.
    fn matched<'a, 'r: 'a>(&self, host: &'a str, asked: &Asked<'r>) -> Option<&'a str> {
        if self.path.as_ref().is_some_and(|path| !path.matches(asked.path)) {
            return None;
        }
        let by_header = match &self.header {
            None => "",
            Some(rule) => {
                let found = (asked.header)(&rule.name)?;
                match &rule.value {
                    Some(wanted) => (found == wanted).then_some("")?,
                    None => found,
                }
            }
        };
        let by_host = self.host.as_ref().map_or(Some(""), |pattern| pattern.matched(host))?;
        Some(if by_host.is_empty() { by_header } else { by_host })
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(host) = &self.host {
            write!(f, "{host}")?;
        }
        if let Some(path) = &self.path {
            write!(f, "{}", path.0)?;
        }
        match &self.header {
            Some(header) if self.host.is_none() && self.path.is_none() => write!(f, "{header}"),
            Some(header) => write!(f, " with {header}"),
            None => Ok(()),
        }
    }
}

/// What of a request routes look at.
#[derive(Clone, Copy)]
pub struct Asked<'r> {
    /// As in its `Host` header.
    pub host: Option<&'r str>,
    pub path: &'r str,
    /// The value of a header, given its name in lower case.
    pub header: &'r dyn Fn(&str) -> Option<&'r str>,
}

impl<'r> Asked<'r> {
    /// A request for `/` of a host without further headers.
    pub fn of_host(host: &'r str) -> Self {
        Self { host: Some(host), path: "/", header: &|_| None }
    }
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
    #[error("found the host name `{host}` with the path `{path}`, expected {expected}")]
    UnknownPath { host: String, path: String, expected: String },
    #[error("found `{found}`, which names no worker: {why}")]
    BadWorker { found: String, why: NameError },
}

impl Routes {
    /// Finds the worker for a request.
    pub fn find(&self, asked: &Asked<'_>) -> Result<WorkerName, NoRoute> {
        let host = asked.host.map(bare_host).unwrap_or_default();
        for route in &self.0 {
            match (route.matched(&host, asked), &route.worker) {
                (None, _) => {}
                (Some(_), Some(worker)) => return Ok(worker.clone()),
                (Some(name), None) => {
                    let bad = |why| NoRoute::BadWorker { found: name.to_owned(), why };
                    return WorkerName::parse(name).map_err(bad);
                }
            }
        }
        let expected = self.expected();
        if host.is_empty() {
            return Err(NoRoute::NoHostName { expected });
        }
        let knows_host = |route: &Route| route.host.as_ref().is_none_or(|it| it.matched(&host).is_some());
        if self.0.iter().any(knows_host) {
            return Err(NoRoute::UnknownPath { host, path: asked.path.to_owned(), expected });
        }
        Err(NoRoute::UnknownHost { found: host, expected })
    }

    fn expected(&self) -> String {
        let patterns: Vec<String> = self.0.iter().map(|route| format!("`{route}`")).collect();
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
            None => true,
        };
        let by_host_alone = |route: &&Route| route.path.is_none() && route.header.is_none();
        let route = self.0.iter().filter(by_host_alone).find(leads_there)?;
        route.host.as_ref().map(|host| host.example(worker))
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
        let route = |&(host, worker): &(&str, Option<&str>)| {
            Route::of_host(host.parse().unwrap(), worker.map(|name| WorkerName::parse(name).unwrap()))
        };
        Routes(patterns.iter().map(route).collect())
    }

    fn found(routes: &Routes, host: &str) -> Result<String, String> {
        routes.find(&Asked::of_host(host)).map(|worker| worker.to_string()).map_err(|error| error.to_string())
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
        let error = one.find(&Asked::of_host("-x.localhost"));
        assert!(matches!(error, Err(NoRoute::BadWorker { .. })));
        let nameless = Asked { host: None, path: "/", header: &|_| None };
        assert!(matches!(one.find(&nameless), Err(NoRoute::NoHostName { .. })));
    }

    #[test]
    fn a_path_and_a_header_narrow_a_route_down() {
        let worker = |name| Some(WorkerName::parse(name).unwrap());
        let shop = Some("shop.test".parse().unwrap());
        let routes = Routes(vec![
            Route {
                host: shop.clone(),
                path: Some("/api".parse().unwrap()),
                header: Some("X-Version: 2".parse().unwrap()),
                worker: worker("api-two"),
            },
            Route {
                host: shop,
                path: Some("/api".parse().unwrap()),
                worker: worker("api"),
                ..Route::default()
            },
            Route { header: Some("x-worker: {worker}".parse().unwrap()), ..Route::default() },
        ]);
        let find = |host, path, header: Option<(&str, &'static str)>| {
            let header = |name: &str| header.filter(|(known, _)| *known == name).map(|(_, value)| value);
            let found = routes.find(&Asked { host, path, header: &header });
            found.map(|worker| worker.to_string()).map_err(|error| error.to_string())
        };
        assert_eq!(find(Some("shop.test"), "/api/x", None), Ok("api".into()));
        assert_eq!(find(Some("shop.test"), "/api", Some(("x-version", "2"))), Ok("api-two".into()));
        assert_eq!(find(Some("shop.test"), "/api", Some(("x-version", "3"))), Ok("api".into()));
        assert_eq!(find(None, "/", Some(("x-worker", "blog"))), Ok("blog".into()));
        assert!(find(None, "/", Some(("x-worker", "No"))).unwrap_err().starts_with("found `No`"));
        let unknown = find(Some("shop.test"), "/apis", None).unwrap_err();
        let expected = "found the host name `shop.test` with the path `/apis`, expected one of \
                        `shop.test/api with x-version: 2`, `shop.test/api`, `x-worker: {worker}`";
        assert_eq!(unknown, expected);
        assert_eq!([0, 1, 2].map(|n| routes.0[n].times_named()), [1, 1, 1]);
    }

    #[test]
    fn paths_and_headers_are_checked() {
        for wrong in ["", "api", "/a b", "/a?b"] {
            assert_eq!(wrong.parse::<PathPrefix>(), Err(PathError), "{wrong}");
        }
        assert!("/".parse::<PathPrefix>().unwrap().matches("/anything"));
        assert_eq!("x-a".parse::<HeaderRule>(), Err(HeaderRuleError::NoColon));
        assert!(matches!("x a: 1".parse::<HeaderRule>(), Err(HeaderRuleError::Name(_))));
        assert!(matches!("X-Warmshard-Worker: a".parse::<HeaderRule>(), Err(HeaderRuleError::Ours(_))));
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
            assert_eq!(routes.find(&Asked::of_host(&host)), Ok(worker));
        }
    }
}
