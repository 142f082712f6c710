//! What a load test does: a TOML file, flags, or both; the same for real traffic and for
//! the simulator.
//!
//! ```text
//! file ──▶ shape (every key, as it is written) ◀── flags, which go before the file
//!                         │ resolve
//!                         ▼
//!                      Scenario (what the rest relies on)
//! ```

mod events;
mod resolve;
mod shape;

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Uri};
use warmshard_config::units::WorkerName;

use crate::schedule::{
    Arrivals, Load, Part, Popularity, Schedule, ScheduleError, Shape, ShapeError, Trace, TraceError,
};

pub use events::{Action, Event};
pub use shape::{Connection, ScenarioFile, Simulated};

/// A load test, checked.
#[derive(Debug, Clone)]
pub struct Scenario {
    pub seed: u64,
    pub duration: Duration,
    /// At the beginning; its requests are sent and not counted.
    pub warmup: Duration,
    pub workers: Vec<WorkerName>,
    pub traffic: Traffic,
    pub request: RequestShape,
    pub events: Vec<Event>,
    pub simulated: Simulated,
}

/// Where the arrivals come from.
#[derive(Debug, Clone, PartialEq)]
pub enum Traffic {
    Drawn { rate: Option<f64>, popularity: Popularity, arrivals: Arrivals, shape: Shape },
    Recorded { trace: PathBuf, part: Part },
}

/// What one request looks like.
#[derive(Debug, Clone, PartialEq)]
pub struct RequestShape {
    pub method: Method,
    /// None: that of the target.
    pub path: Option<Uri>,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// How many times the body is sent, one chunk after the other; more than one means that
    /// its length is not told first.
    pub chunks: u32,
    pub connection: Connection,
}

#[derive(Debug, thiserror::Error)]
pub enum ScenarioError {
    #[error("cannot read the scenario `{}`", file.display())]
    Read { file: PathBuf, source: std::io::Error },
    #[error("the scenario `{}` is not understood", file.display())]
    Toml { file: PathBuf, source: Box<toml::de::Error> },
    #[error("found `{found}` for `{key}`, expected {expected}")]
    Value { key: String, found: String, expected: &'static str },
    #[error("found no `{key}`, expected {expected}")]
    Missing { key: &'static str, expected: &'static str },
    #[error("found both `{one}` and `{other}`, expected one of them")]
    Both { one: &'static str, other: &'static str },
    #[error("the load's shape cannot be used")]
    Shape(#[from] ShapeError),
    #[error(transparent)]
    Trace(#[from] TraceError),
    #[error(transparent)]
    Schedule(#[from] ScheduleError),
    #[error(
        "found {functions} functions in the trace and {workers} workers, expected at least as many workers; give more \
         with `count` in `[workers]`"
    )]
    TooFewWorkers { functions: usize, workers: usize },
}

impl ScenarioFile {
    pub fn read(file: &Path) -> Result<Self, ScenarioError> {
        let text = std::fs::read_to_string(file)
            .map_err(|source| ScenarioError::Read { file: file.to_owned(), source })?;
        let mut read: Self = toml::from_str(&text)
            .map_err(|source| ScenarioError::Toml { file: file.to_owned(), source: Box::new(source) })?;
        read.folder = file.parent().unwrap_or(Path::new("")).to_owned();
        Ok(read)
    }

    pub fn resolve(self) -> Result<Scenario, ScenarioError> {
        resolve::resolve(self)
    }
}

impl Scenario {
    /// The load of drawn traffic; none for a trace.
    pub fn load(&self) -> Result<Option<Load>, ScenarioError> {
        let Traffic::Drawn { rate, popularity, arrivals, shape } = &self.traffic else { return Ok(None) };
        let rates = popularity.rates(self.workers.len(), *rate);
        Ok(Some(Load::new(shape, self.duration, *arrivals, rates, self.seed)?))
    }

    /// The recorded arrivals; none for drawn traffic.
    pub fn recorded(&self) -> Result<Option<Trace>, ScenarioError> {
        let Traffic::Recorded { trace, part } = &self.traffic else { return Ok(None) };
        let trace = Trace::read(trace, *part, self.seed, crate::schedule::MAX_REQUESTS)?;
        let (functions, workers) = (trace.functions.len(), self.workers.len());
        if functions > workers {
            return Err(ScenarioError::TooFewWorkers { functions, workers });
        }
        Ok(Some(trace))
    }

    /// All arrivals at once, for real traffic.
    pub fn schedule(&self) -> Result<Schedule, ScenarioError> {
        Ok(match (self.load()?, self.recorded()?) {
            (Some(load), _) => Schedule::plan(&load)?,
            (None, Some(trace)) => Schedule::of(trace.arrivals)?,
            (None, None) => return Err(ScheduleError::Empty.into()),
        })
    }
}

#[cfg(test)]
mod tests;
