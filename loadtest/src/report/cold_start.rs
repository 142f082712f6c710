//! The report of `loadtest cold-start`.

mod text;

use serde::Serialize;
use warmshard_config::units::WorkerName;

use crate::cli::ColdStartArgs;
use crate::cold_start::Samples;
use crate::measure::{Spread, milliseconds};

/// A mean cold start that its operator or a third party published.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Published {
    pub platform: &'static str,
    pub mean_s: f64,
    pub measured_here: bool,
}

/// Means for a worker that imports httpx, fastapi and pydantic, published by Cloudflare
/// with its announcement of Python Workers on memory snapshots. "About 10 s" is its own figure
/// for the same without a snapshot.
pub const PUBLISHED: [Published; 4] = [
    Published { platform: "Cloudflare Python Workers", mean_s: 1.027, measured_here: false },
    Published {
        platform: "Cloudflare Python Workers without a snapshot, about",
        mean_s: 10.0,
        measured_here: false,
    },
    Published { platform: "AWS Lambda", mean_s: 2.502, measured_here: false },
    Published { platform: "Google Cloud Run", mean_s: 3.069, measured_here: false },
];

/// What the cold starts are compared with.
#[derive(Debug, Clone, Serialize)]
pub struct Control {
    pub command: String,
    pub python: Option<String>,
}

/// How many times faster the cold start is.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Ratio {
    pub p50: f64,
    pub p99: f64,
}

#[derive(Debug, Clone, Copy, Serialize)]
struct Means {
    cold: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    versus: Option<f64>,
}

#[derive(Debug, Serialize)]
pub struct ColdStartReport {
    format: &'static str,
    worker: String,
    path: String,
    cold: Option<Spread>,
    #[serde(skip_serializing_if = "Option::is_none")]
    versus: Option<Spread>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ratio: Option<Ratio>,
    restore: Option<Spread>,
    mean: Means,
    #[serde(skip_serializing_if = "Option::is_none")]
    control: Option<Control>,
    #[serde(skip_serializing_if = "Option::is_none")]
    same_answer: Option<bool>,
    warmup: usize,
    pause_ms: f64,
    interrupted: bool,
    build: &'static str,
    published: [Published; 4],
}

impl ColdStartReport {
    pub(crate) fn of(
        args: &ColdStartArgs,
        worker: &WorkerName,
        samples: &Samples,
        control: Option<Control>,
        interrupted: bool,
    ) -> Self {
        let cold = Spread::of(samples.cold());
        let versus = Spread::of(samples.native());
        Self {
            format: "warmshard-cold-start/1",
            worker: worker.to_string(),
            path: args.path.to_string(),
            cold,
            versus,
            ratio: cold.zip(versus).map(|(cold, versus)| Ratio::of(&cold, &versus)),
            restore: Spread::of(samples.restore()),
            mean: Means { cold: cold.map(|cold| cold.mean), versus: versus.map(|versus| versus.mean) },
            control,
            same_answer: samples.same_body(),
            warmup: args.warmup,
            pause_ms: milliseconds(args.pause),
            interrupted,
            build: if cfg!(debug_assertions) { "development" } else { "release" },
            published: PUBLISHED,
        }
    }
}

/// A row of the table that published and measured means share.
#[derive(Debug, Clone, PartialEq)]
struct Row {
    platform: String,
    mean_s: f64,
    measured_here: bool,
}

impl ColdStartReport {
    /// Fastest first.
    fn rows(&self) -> Vec<Row> {
        let measured = |platform: String, mean_ms: Option<f64>| {
            mean_ms.map(|mean| Row { platform, mean_s: mean / 1000.0, measured_here: true })
        };
        let native = self.control.as_ref().map_or("native process".to_owned(), |control| {
            let program =
                control.command.split_whitespace().find(|word| !word.contains('=')).unwrap_or_default();
            let program = program.rsplit('/').next().unwrap_or_default();
            format!("native process ({program}), started for it")
        });
        let ours = [
            measured(format!("warmshard, {}", self.worker), self.mean.cold),
            measured(native, self.mean.versus),
        ];
        let published = self.published.iter().map(|row| Row {
            platform: row.platform.to_owned(),
            mean_s: row.mean_s,
            measured_here: row.measured_here,
        });
        let mut rows: Vec<Row> = ours.into_iter().flatten().chain(published).collect();
        rows.sort_by(|a, b| a.mean_s.total_cmp(&b.mean_s));
        rows
    }
}

impl Ratio {
    fn of(cold: &Spread, versus: &Spread) -> Self {
        let times = |slow: f64, fast: f64| (slow / fast * 100.0).round() / 100.0;
        Self { p50: times(versus.p50, cold.p50), p99: times(versus.p99, cold.p99) }
    }
}

#[cfg(test)]
mod tests;
