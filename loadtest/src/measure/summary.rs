//! Distributions in a few numbers, in milliseconds.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

/// A histogram in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Summary {
    pub p50: f64,
    pub p90: f64,
    pub p99: f64,
    pub p999: f64,
    pub min: f64,
    pub max: f64,
    pub mean: f64,
    pub n: u64,
}

impl Summary {
    /// None when nothing was recorded.
    pub(super) fn of(nanoseconds: &Histogram<u64>) -> Option<Self> {
        let at = |quantile| in_milliseconds(nanoseconds.value_at_quantile(quantile) as f64);
        (!nanoseconds.is_empty()).then(|| Self {
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            min: in_milliseconds(nanoseconds.min() as f64),
            max: in_milliseconds(nanoseconds.max() as f64),
            mean: in_milliseconds(nanoseconds.mean()),
            n: nanoseconds.len(),
        })
    }
}

/// A few hundred exact values in milliseconds: percentiles are values that occurred
/// (nearest rank), nothing is interpolated.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Spread {
    pub p50: f64,
    pub p90: f64,
    pub p99: f64,
    pub min: f64,
    pub max: f64,
    pub n: usize,
    /// Reported apart, so that this object keeps the six fields it is documented with.
    #[serde(skip)]
    pub mean: f64,
}

impl Spread {
    /// None when there are no values.
    pub fn of(values: &[Duration]) -> Option<Self> {
        let mut sorted = values.to_vec();
        sorted.sort_unstable();
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        let at = |percent: usize| {
            let rank = (percent * sorted.len()).div_ceil(100).max(1);
            milliseconds(sorted[rank - 1])
        };
        let total: Duration = sorted.iter().sum();
        Some(Self {
            p50: at(50),
            p90: at(90),
            p99: at(99),
            min: milliseconds(min),
            max: milliseconds(max),
            n: sorted.len(),
            mean: in_milliseconds(total.as_nanos() as f64 / sorted.len() as f64),
        })
    }
}

/// A share, and the interval that holds the true one with 95 % confidence (Wilson).
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Interval {
    pub rate: f64,
    pub low: f64,
    pub high: f64,
    pub hits: u64,
    pub of: u64,
}

impl Interval {
    /// None when there is nothing to take a share of.
    pub fn of_share(hits: u64, of: u64) -> Option<Self> {
        const Z: f64 = 1.959_964;
        if of == 0 {
            return None;
        }
        let n = of as f64;
        let rate = hits as f64 / n;
        let scale = 1.0 + Z * Z / n;
        let centre = (rate + Z * Z / (2.0 * n)) / scale;
        let half = Z * (rate * (1.0 - rate) / n + Z * Z / (4.0 * n * n)).sqrt() / scale;
        let (low, high) = ((centre - half).max(0.0), (centre + half).min(1.0));
        Some(Self { rate, low: low.min(rate), high: high.max(rate), hits, of })
    }
}

/// The distribution as points: finer where fewer values are.
pub(super) fn cdf(nanoseconds: &Histogram<u64>) -> Vec<(f64, f64)> {
    if nanoseconds.is_empty() {
        return Vec::new();
    }
    let steps = |from: f64, step: f64, count: u32| (0..count).map(move |n| from + step * f64::from(n));
    let quantiles = steps(0.0, 0.02, 45)
        .chain(steps(0.9, 0.005, 18))
        .chain(steps(0.99, 0.0005, 18))
        .chain(steps(0.999, 0.00005, 18))
        .chain([0.9999, 1.0]);
    quantiles
        .map(|quantile| {
            let rounded = (quantile * 1e5).round() / 1e5;
            (rounded, in_milliseconds(nanoseconds.value_at_quantile(rounded) as f64))
        })
        .collect()
}

/// To the microsecond, which is as far as the clock and the scheduler can be trusted.
pub(crate) fn milliseconds(value: Duration) -> f64 {
    in_milliseconds(value.as_nanos() as f64)
}

fn in_milliseconds(nanoseconds: f64) -> f64 {
    (nanoseconds / 1_000.0).round() / 1_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_occurred() {
        let values: Vec<Duration> = (1..=300).rev().map(Duration::from_millis).collect();
        let spread = Spread::of(&values).unwrap();
        assert_eq!((spread.min, spread.max, spread.n), (1.0, 300.0, 300));
        assert_eq!((spread.p50, spread.p90, spread.p99), (150.0, 270.0, 297.0));
        assert_eq!(spread.mean, 150.5);
    }

    #[test]
    fn one_value_is_every_percentile() {
        let spread = Spread::of(&[Duration::from_micros(4321)]).unwrap();
        assert_eq!((spread.p50, spread.p99, spread.mean), (4.321, 4.321, 4.321));
        assert_eq!(Spread::of(&[]), None);
    }

    #[test]
    fn the_interval_is_wilsons() {
        // 10 of 100: the textbook interval is 5.52 % to 17.44 %.
        let interval = Interval::of_share(10, 100).unwrap();
        assert!((interval.low - 0.0552).abs() < 1e-4, "{interval:?}");
        assert!((interval.high - 0.1744).abs() < 1e-4, "{interval:?}");
        // No cold start seen is not proof that there is none.
        let none = Interval::of_share(0, 1000).unwrap();
        assert_eq!((none.rate, none.low), (0.0, 0.0));
        assert!(none.high > 0.003);
        assert_eq!(Interval::of_share(0, 0), None);
    }
}
