//! What changed from one report to another, and whether chance explains it.

use serde_json::Value;

use super::condition::{Condition, number};
use super::run::FORMAT;
use super::table::Table;
use crate::measure::Interval;

#[derive(Debug, thiserror::Error)]
pub(crate) enum CompareError {
    #[error(
        "found the format `{found}` in the {which} report, expected `{FORMAT}`; write it anew with `loadtest run --json`"
    )]
    Format { which: &'static str, found: String },
}

/// One quantity in both reports.
#[derive(Debug)]
pub(crate) struct Change {
    field: String,
    before: f64,
    after: f64,
    /// None where chance cannot be told.
    beyond_noise: Option<bool>,
}

#[derive(Debug)]
pub(crate) struct Comparison {
    changes: Vec<Change>,
    warnings: Vec<String>,
}

/// What is compared first to last. Shares and percentiles have intervals, the rest has none.
const SHARES: [&str; 1] = ["cold_rate"];
const KINDS: [&str; 4] = ["all", "warm", "cold", "waited"];
const QUANTILES: [(&str, f64); 3] = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99)];
const PLAIN: [&str; 6] =
    ["throughput_per_s", "busiest_over_mean", "width.mean", "hop_ms.p50", "restore_ms.p50", "restore_ms.p99"];

pub(crate) fn compare(before: &Value, after: &Value) -> Result<Comparison, CompareError> {
    for (which, report) in [("first", before), ("second", after)] {
        let found = report["format"].as_str().unwrap_or("none");
        if found != FORMAT {
            return Err(CompareError::Format { which, found: found.to_owned() });
        }
    }
    let mut changes: Vec<Change> = SHARES.iter().filter_map(|field| share(field, before, after)).collect();
    changes.extend(failures(before, after));
    for kind in KINDS {
        for (name, quantile) in QUANTILES {
            changes.extend(percentile(kind, name, quantile, before, after));
        }
    }
    let plain = |field: &&str| {
        let (before, after) = (number(before, field)?, number(after, field)?);
        Some(Change { field: (*field).to_owned(), before, after, beyond_noise: None })
    };
    changes.extend(PLAIN.iter().filter_map(plain));
    Ok(Comparison { changes, warnings: warnings(before, after) })
}

fn share(field: &str, before: &Value, after: &Value) -> Option<Change> {
    let interval = |report: &Value| {
        let share = &report[field];
        Some((share["rate"].as_f64()?, (share["low"].as_f64()?, share["high"].as_f64()?)))
    };
    let ((before, then), (after, now)) = (interval(before)?, interval(after)?);
    Some(Change { field: field.to_owned(), before, after, beyond_noise: Some(apart(then, now)) })
}

/// Failed requests of all that were completed.
fn failures(before: &Value, after: &Value) -> Option<Change> {
    let of = |report: &Value| {
        let requests = &report["requests"];
        Interval::of_share(requests["failed"].as_u64()?, requests["completed"].as_u64()?)
    };
    let (then, now) = (of(before)?, of(after)?);
    let beyond_noise = Some(apart((then.low, then.high), (now.low, now.high)));
    Some(Change { field: "failed_rate".to_owned(), before: then.rate, after: now.rate, beyond_noise })
}

fn percentile(kind: &str, name: &str, quantile: f64, before: &Value, after: &Value) -> Option<Change> {
    let field = format!("latency_ms.{kind}.{name}");
    let of = |report: &Value| {
        let n = report["latency_ms"][kind]["n"].as_f64()?;
        // The ranks between which the true percentile lies: a binomial number, nearly normal.
        let half = 1.96 * (quantile * (1.0 - quantile) / n).sqrt();
        let cdf = &report["latency_cdf_ms"][kind];
        Some((number(report, &field)?, (at(cdf, quantile - half)?, at(cdf, quantile + half)?)))
    };
    let ((before, then), (after, now)) = (of(before)?, of(after)?);
    Some(Change { field, before, after, beyond_noise: Some(apart(then, now)) })
}

/// The value of a distribution at a quantile, between its points by a straight line.
fn at(cdf: &Value, quantile: f64) -> Option<f64> {
    let quantile = quantile.clamp(0.0, 1.0);
    let point = |point: &Value| Some((point[0].as_f64()?, point[1].as_f64()?));
    let points: Vec<(f64, f64)> = cdf.as_array()?.iter().filter_map(point).collect();
    let next = points.iter().position(|&(share, _)| share >= quantile)?;
    let ((from, low), (to, high)) = (points[next.saturating_sub(1)], points[next]);
    if to <= from {
        return Some(high);
    }
    Some(low + (high - low) * (quantile - from) / (to - from))
}

fn apart((low, high): (f64, f64), (other_low, other_high): (f64, f64)) -> bool {
    high < other_low || other_high < low
}

fn warnings(before: &Value, after: &Value) -> Vec<String> {
    let mut warnings = Vec::new();
    for (which, report) in [("first", before), ("second", after)] {
        if report["valid"] == Value::Bool(false) {
            warnings.push(format!("the {which} run is not valid"));
        }
    }
    for field in ["source", "traffic", "duration_s", "warmup_s", "seed"] {
        if before[field] != after[field] {
            warnings.push(format!("the runs differ in `{field}`: {} and {}", before[field], after[field]));
        }
    }
    warnings
}

impl Comparison {
    /// Which conditions hold: they are about ratios, and only what is beyond noise counts.
    pub(crate) fn verdicts(&self, conditions: &[Condition]) -> Vec<String> {
        let verdict = |condition: &Condition| {
            let Some(change) = self.changes.iter().find(|change| change.field == condition.field()) else {
                return Some(format!("both reports have no `{}`, so {condition} fails", condition.field()));
            };
            let holds = change.beyond_noise != Some(false) && condition.holds_for(change.ratio());
            holds.then(|| {
                format!("{} changed by {:.4} times, and {condition} fails", change.field, change.ratio())
            })
        };
        conditions.iter().filter_map(verdict).collect()
    }
}

impl Change {
    /// How many times as much it is; equal values are 1, and anything is infinitely more than nothing.
    fn ratio(&self) -> f64 {
        if self.before == self.after { 1.0 } else { self.after / self.before }
    }
}

impl std::fmt::Display for Comparison {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut table = Table::new(["before", "after", "ratio", "beyond noise"]);
        for change in &self.changes {
            let noise = match change.beyond_noise {
                Some(true) => "yes",
                Some(false) => "no",
                None => "unknown",
            };
            let value = |value: f64| {
                if value != 0.0 && value.abs() < 0.01 {
                    format!("{value:.2e}")
                } else {
                    format!("{value:.3}")
                }
            };
            let cells = [
                value(change.before),
                value(change.after),
                format!("{:.3}", change.ratio()),
                noise.to_owned(),
            ];
            table.row(&change.field, cells);
        }
        write!(f, "{table}")?;
        self.warnings.iter().try_for_each(|warning| writeln!(f, "NOTE: {warning}"))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn report(cold: u64, of: u64, scale: f64) -> Value {
        let points: Vec<(f64, f64)> =
            (0..=100).map(|n| (f64::from(n) / 100.0, scale * f64::from(n))).collect();
        let all = json!({"p50": 50.0 * scale, "p90": 90.0 * scale, "p99": 99.0 * scale, "n": of});
        json!({
            "format": FORMAT, "valid": true, "seed": 1,
            "cold_rate": Interval::of_share(cold, of),
            "requests": {"failed": 0, "completed": of},
            "latency_ms": {"all": all}, "latency_cdf_ms": {"all": points},
        })
    }

    fn noise(comparison: &Comparison, field: &str) -> Option<bool> {
        comparison.changes.iter().find(|change| change.field == field).unwrap().beyond_noise
    }

    #[test]
    fn a_report_and_itself_do_not_differ() {
        let report = report(10, 10_000, 1.0);
        let comparison = compare(&report, &report).unwrap();
        assert!(comparison.changes.iter().all(|change| change.ratio() == 1.0));
        assert!(comparison.changes.iter().all(|change| change.beyond_noise != Some(true)));
        assert!(comparison.warnings.is_empty());
    }

    #[test]
    fn chance_and_change_are_told_apart() {
        let before = report(10, 10_000, 1.0);
        let little = compare(&before, &report(14, 10_000, 1.01)).unwrap();
        assert_eq!(noise(&little, "cold_rate"), Some(false));
        assert_eq!(noise(&little, "latency_ms.all.p50"), Some(false));
        let much = compare(&before, &report(60, 10_000, 1.2)).unwrap();
        assert_eq!(noise(&much, "cold_rate"), Some(true));
        assert_eq!(noise(&much, "latency_ms.all.p50"), Some(true));
        let condition = |text: &str| vec![text.parse().unwrap()];
        assert_eq!(much.verdicts(&condition("cold_rate>1.1")).len(), 1);
        assert_eq!(little.verdicts(&condition("cold_rate>1.1")).len(), 0, "within noise");
        assert_eq!(much.verdicts(&condition("nonsense>1")).len(), 1);
    }

    #[test]
    fn other_files_are_refused() {
        let error = compare(&json!({}), &report(1, 2, 1.0)).unwrap_err().to_string();
        assert!(error.contains("`none` in the first report"), "{error}");
    }
}
