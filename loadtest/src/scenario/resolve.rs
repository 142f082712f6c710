//! From keys to a scenario that holds together.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use warmshard_config::units::WorkerName;

use super::shape::{Connection, LoadTable, RequestTable, Workers};
use super::{Action, RequestShape, Scenario, ScenarioError, ScenarioFile, Traffic};
use crate::schedule::{Arrivals, Part, Popularity, Shape};
use crate::target::parse_path;

/// The most workers: each of them costs a hundred bytes or so of a run's counts.
const MOST_WORKERS: usize = 10_000_000;
const NUMBER: &str = "{n}";

pub(super) fn resolve(file: ScenarioFile) -> Result<Scenario, ScenarioError> {
    let duration = file
        .duration
        .ok_or(ScenarioError::Missing { key: "duration", expected: "how long to send, such as `10s`" })?;
    if duration.is_zero() {
        return Err(value("duration", "0s", "more than nothing"));
    }
    let warmup = file.warmup.unwrap_or_default();
    if warmup >= duration {
        return Err(value("warmup", &format!("{warmup:?}"), "less than the duration"));
    }
    let mut events = file.events;
    for event in &mut events {
        if event.at >= duration {
            let found = format!("{:?}", event.at);
            return Err(value("at", &found, "a moment before the run's end"));
        }
        if let Action::ShardFile { file: path } = &mut event.action {
            *path = file.folder.join(&*path);
        }
    }
    events.sort_by_key(|event| event.at);
    let mut load = file.load;
    load.trace = load.trace.map(|trace| file.folder.join(trace));
    let traffic = traffic(&file.workers, load, duration)?;
    let simulated = file.simulate;
    if simulated.routers == 0 {
        return Err(value("simulate.routers", "0", "1 or more"));
    }
    for (key, spread) in
        [("restore_spread", simulated.restore_spread), ("service_spread", simulated.service_spread)]
    {
        if !(0.0..=10.0).contains(&spread) {
            return Err(value(key, &spread.to_string(), "0 to 10"));
        }
    }
    Ok(Scenario {
        seed: file.seed.unwrap_or(1),
        duration,
        warmup,
        workers: workers(file.workers)?,
        traffic,
        request: request(file.request)?,
        events,
        simulated,
    })
}

fn workers(table: Workers) -> Result<Vec<WorkerName>, ScenarioError> {
    match (table.names, table.pattern, table.count) {
        (Some(_), Some(_), _) => Err(ScenarioError::Both { one: "names", other: "pattern" }),
        (Some(_), _, Some(_)) => Err(ScenarioError::Both { one: "names", other: "count" }),
        (Some(names), None, None) if names.is_empty() => Err(value("names", "[]", "at least one worker")),
        (Some(names), None, None) => Ok(names),
        (None, pattern, Some(count)) => {
            if !(1..=MOST_WORKERS).contains(&count) {
                return Err(value("count", &count.to_string(), "1 to 10000000 workers"));
            }
            let pattern = pattern.unwrap_or_else(|| format!("worker-{NUMBER}"));
            if !pattern.contains(NUMBER) {
                return Err(value("pattern", &pattern, "{n} in it, as in `hello-{n}`"));
            }
            let name = |n: usize| WorkerName::parse(&pattern.replace(NUMBER, &n.to_string()));
            let names: Result<_, _> = (1..=count).map(name).collect();
            names.map_err(|_| {
                value("pattern", &pattern, "`a-z`, `0-9`, `-`, `_` and {n}, 63 characters at most")
            })
        }
        (None, Some(_), None) => {
            Err(ScenarioError::Missing { key: "count", expected: "how many workers the pattern names" })
        }
        (None, None, None) => Err(ScenarioError::Missing {
            key: "workers",
            expected: "`names`, or `pattern` and `count` in `[workers]`, or --workers",
        }),
    }
}

fn traffic(workers: &Workers, load: LoadTable, duration: Duration) -> Result<Traffic, ScenarioError> {
    if let Some(trace) = load.trace {
        for (other, given) in [
            ("rate", load.rate.is_some()),
            ("arrivals", load.arrivals.is_some()),
            ("shape", load.shape.is_some()),
        ] {
            if given {
                return Err(ScenarioError::Both { one: "trace", other });
            }
        }
        let speed = load.trace_speed.unwrap_or(1.0);
        if !(1e-3..=1e6).contains(&speed) {
            return Err(value("trace_speed", &speed.to_string(), "0.001 to 1000000"));
        }
        let start_s = load.trace_start.unwrap_or_default().as_secs_f64();
        let part = Part { start_s, duration_s: duration.as_secs_f64(), speed };
        return Ok(Traffic::Recorded { trace, part });
    }
    let popularity = popularity(workers)?;
    let arrivals = arrivals(&load)?;
    match load.rate {
        Some(rate) if !(rate > 0.0 && rate.is_finite()) => {
            return Err(value("rate", &rate.to_string(), "requests per second as a number greater than 0"));
        }
        None if popularity != Popularity::Azure => {
            return Err(ScenarioError::Missing {
                key: "rate",
                expected: "requests per second, such as `200`",
            });
        }
        _ => {}
    }
    let shape = load.shape.unwrap_or(Shape::Constant {});
    Ok(Traffic::Drawn { rate: load.rate, popularity, arrivals, shape })
}

fn popularity(table: &Workers) -> Result<Popularity, ScenarioError> {
    match table.popularity.as_deref() {
        None | Some("uniform") => Ok(Popularity::Uniform),
        Some("azure") => Ok(Popularity::Azure),
        Some("zipf") => {
            let exponent = table.exponent.unwrap_or(1.0);
            if !(0.0..=10.0).contains(&exponent) {
                return Err(value("exponent", &exponent.to_string(), "0 to 10"));
            }
            Ok(Popularity::Zipf { exponent })
        }
        Some(other) => Err(value("popularity", other, "`uniform`, `zipf` or `azure`")),
    }
}

fn arrivals(load: &LoadTable) -> Result<Arrivals, ScenarioError> {
    match load.arrivals.as_deref() {
        None | Some("constant") => Ok(Arrivals::Constant),
        Some("poisson") => Ok(Arrivals::Poisson),
        Some("periodic") => Ok(Arrivals::Periodic),
        Some("azure") => Ok(Arrivals::Azure),
        Some("bursty") => {
            let variation = load.variation.unwrap_or(3.0);
            if !(1.0..=100.0).contains(&variation) {
                return Err(value("variation", &variation.to_string(), "1 to 100"));
            }
            Ok(Arrivals::Bursty { variation })
        }
        Some(other) => {
            Err(value("arrivals", other, "`constant`, `poisson`, `periodic`, `bursty` or `azure`"))
        }
    }
}

fn request(table: RequestTable) -> Result<RequestShape, ScenarioError> {
    let method = table.method.unwrap_or_else(|| "GET".to_owned());
    let method = Method::from_bytes(method.as_bytes())
        .map_err(|_| value("method", &method, "an HTTP method, such as `POST`"))?;
    let path = table.path.map(|path| {
        parse_path(&path).map_err(|_| value("path", &path, "a path that starts with `/` and has no spaces"))
    });
    let body = match (table.body, table.body_bytes) {
        (Some(_), Some(_)) => return Err(ScenarioError::Both { one: "body", other: "body_bytes" }),
        (Some(text), None) => Bytes::from(text),
        (None, Some(bytes)) => Bytes::from(vec![b'x'; bytes as usize]),
        (None, None) => Bytes::new(),
    };
    if table.chunks.is_some_and(|chunks| chunks > 1) && matches!(method.as_str(), "GET" | "HEAD") {
        return Err(value("chunks", "more than 1", "a `method` such as `POST`: a GET has no body to stream"));
    }
    let mut headers = HeaderMap::new();
    for (name, text) in table.headers {
        let wrong = || value("headers", &name, "a header's name and printable text");
        let key = HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong())?;
        headers.insert(key, HeaderValue::from_str(&text).map_err(|_| wrong())?);
    }
    Ok(RequestShape {
        method,
        path: path.transpose()?,
        headers,
        body,
        chunks: table.chunks.unwrap_or(1),
        connection: table.connection.unwrap_or(Connection::KeepAlive),
    })
}

fn value(key: &str, found: &str, expected: &'static str) -> ScenarioError {
    ScenarioError::Value { key: key.to_owned(), found: found.to_owned(), expected }
}
