//! A scenario file's keys, as they are written. Unknown ones are refused.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Deserializer};
use warmshard_config::units::{WorkerName, parse_duration};

use crate::schedule::Shape;

use super::events::Event;

/// A whole file. Every key may be left out; flags of the command line fill in or go before.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScenarioFile {
    /// Decides the arrivals and which worker each one is for.
    pub seed: Option<u64>,
    /// How long requests are sent.
    #[serde(default, deserialize_with = "time")]
    pub duration: Option<Duration>,
    /// How much of that comes first and is not counted.
    #[serde(default, deserialize_with = "time")]
    pub warmup: Option<Duration>,
    #[serde(default)]
    pub workers: Workers,
    #[serde(default)]
    pub load: LoadTable,
    #[serde(default)]
    pub request: RequestTable,
    #[serde(default)]
    pub events: Vec<Event>,
    #[serde(default)]
    pub simulate: Simulated,
    /// What relative paths in it are relative to.
    #[serde(skip)]
    pub folder: PathBuf,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Workers {
    /// Their names …
    pub names: Option<Vec<WorkerName>>,
    /// … or a pattern with `{n}` for 1, 2, 3, …
    pub pattern: Option<String>,
    /// and how many.
    pub count: Option<usize>,
    /// `uniform`, `zipf` or `azure`
    pub popularity: Option<String>,
    /// Of zipf.
    pub exponent: Option<f64>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoadTable {
    /// Requests per second over all workers, where the shape's factor is 1.
    pub rate: Option<f64>,
    /// `constant`, `poisson`, `periodic`, `bursty` or `azure`
    pub arrivals: Option<String>,
    /// Of bursty: the coefficient of variation of the gaps.
    pub variation: Option<f64>,
    pub shape: Option<Shape>,
    /// A file of recorded requests, instead of all of the above.
    pub trace: Option<PathBuf>,
    /// How much of the trace is left out first.
    #[serde(default, deserialize_with = "time")]
    pub trace_start: Option<Duration>,
    /// Seconds of the trace in one second of the run.
    pub trace_speed: Option<f64>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RequestTable {
    pub method: Option<String>,
    pub path: Option<String>,
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    pub body: Option<String>,
    /// A body of so many bytes, instead of a text.
    pub body_bytes: Option<u32>,
    /// Send the body so many times in a row, without telling its length first.
    pub chunks: Option<u32>,
    pub connection: Option<Connection>,
}

/// Whether connections are used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Connection {
    /// As few as the load needs, each used again and again
    KeepAlive,
    /// One for each request
    New,
}

/// What the simulator is told about hosts that do not exist.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Simulated {
    /// Routers, each with its own knowledge; requests are spread over them at random.
    pub routers: u32,
    /// The most isolates on a host; else what the shard file says.
    pub isolates: Option<u32>,
    /// The most requests in an isolate; else what the shard file says.
    pub requests_per_isolate: Option<u32>,
    /// Half of all restores take no longer …
    #[serde(deserialize_with = "some_time")]
    pub restore: Duration,
    /// … with this spread (the standard deviation of the logarithm).
    pub restore_spread: f64,
    /// Half of all requests take a warm isolate no longer …
    #[serde(deserialize_with = "some_time")]
    pub service: Duration,
    /// … with this spread.
    pub service_spread: f64,
    /// From the router to a host and back.
    #[serde(deserialize_with = "some_time")]
    pub hop: Duration,
}

impl Default for Simulated {
    fn default() -> Self {
        Self {
            routers: 1,
            isolates: None,
            requests_per_isolate: None,
            restore: Duration::from_micros(1_000),
            restore_spread: 0.3,
            service: Duration::from_millis(2),
            service_spread: 0.5,
            hop: Duration::from_micros(300),
        }
    }
}

fn time<'de, D: Deserializer<'de>>(value: D) -> Result<Option<Duration>, D::Error> {
    some_time(value).map(Some)
}

pub(super) fn some_time<'de, D: Deserializer<'de>>(value: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(value)?;
    parse_duration(&text).map_err(serde::de::Error::custom)
}
