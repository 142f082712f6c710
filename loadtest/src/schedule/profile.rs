//! How the rate changes during a run: a factor over time, made of straight pieces.
//!
//! Arrivals are drawn at an even rate on a clock of their own, and this maps that clock to
//! the run's: where the factor is 3, three of its seconds pass in one. So each kind of
//! arrival, periodic ones included, keeps its character under every shape.

use std::time::Duration;

/// The shapes a load can have, as factors of its rate.
#[derive(Debug, Clone, PartialEq, serde::Deserialize, serde::Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Shape {
    /// The same all the time
    Constant {},
    /// From one factor to another, evenly
    Ramp { from: f64, to: f64 },
    /// One factor after the other, each for the same time
    Steps { factors: Vec<f64> },
    /// A wave: from `1 - swing` at the start to `1 + swing` half a period later
    Diurnal {
        swing: f64,
        #[serde(default = "day")]
        period_s: f64,
    },
    /// All at once `times` as much, for a while
    FlashCrowd {
        at_s: f64,
        times: f64,
        #[serde(default = "one_second")]
        rise_s: f64,
        hold_s: f64,
    },
}

fn day() -> f64 {
    86_400.0
}

fn one_second() -> f64 {
    1.0
}

#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ShapeError {
    #[error("found the factor {0} in the load's shape, expected a number from 0 to 1000000")]
    Factor(f64),
    #[error("found {0} s in the load's shape, expected a time of at least 0 s")]
    Time(f64),
    #[error("found a diurnal shape with the swing {0}, expected 0 to 1")]
    Swing(f64),
    #[error("found a diurnal shape with a period of {0} s, expected at least 1 s")]
    Period(f64),
    #[error("found steps without a factor, expected at least one, as in `factors = [0.5, 1, 2]`")]
    NoSteps,
}

/// Pieces a wave is drawn with, per period: at 288 a day's are five minutes long.
const PIECES: f64 = 288.0;

/// The factor over time, and its running sum.
#[derive(Debug, Clone, PartialEq)]
pub struct Profile {
    /// Seconds and the factor there; never decreasing in time. Two at one time are a jump.
    points: Vec<(f64, f64)>,
    /// The area under the factor up to each point.
    areas: Vec<f64>,
}

impl Profile {
    pub fn new(shape: &Shape, duration: Duration) -> Result<Self, ShapeError> {
        let end = duration.as_secs_f64();
        let points = match shape {
            Shape::Constant {} => vec![(0.0, 1.0), (end, 1.0)],
            Shape::Ramp { from, to } => vec![(0.0, *from), (end, *to)],
            Shape::Steps { factors } => steps(factors, end)?,
            Shape::Diurnal { swing, period_s } => wave(*swing, *period_s, end)?,
            Shape::FlashCrowd { at_s, times, rise_s, hold_s } => {
                flash_crowd([*at_s, *rise_s, *hold_s], *times, end)?
            }
        };
        for &(_, factor) in &points {
            if !(0.0..=1e6).contains(&factor) {
                return Err(ShapeError::Factor(factor));
            }
        }
        let mut areas = vec![0.0];
        for pair in points.windows(2) {
            let [(from, low), (to, high)] = [pair[0], pair[1]];
            areas.push(areas[areas.len() - 1] + (to - from) * (low + high) / 2.0);
        }
        Ok(Self { points, areas })
    }

    /// The area under the whole factor, in seconds: how long the even clock runs.
    pub fn total(&self) -> f64 {
        self.areas[self.areas.len() - 1]
    }

    /// The run's time, in seconds, at which the even clock shows `area`; none after its end.
    pub fn time_at(&self, area: f64) -> Option<f64> {
        if area >= self.total() {
            return None;
        }
        // The last point whose area is not beyond it: its piece has an area, since the next is.
        let piece = self.areas.partition_point(|&before| before <= area) - 1;
        let ((from, low), (to, high)) = (self.points[piece], self.points[piece + 1]);
        let rest = area - self.areas[piece];
        let slope = (high - low) / (to - from);
        // Solves `low·t + slope·t²/2 = rest` in the form that does not cancel.
        let root = (low * low + 2.0 * slope * rest).max(0.0).sqrt();
        Some((from + 2.0 * rest / (low + root).max(f64::MIN_POSITIVE)).min(to))
    }
}

fn steps(factors: &[f64], end: f64) -> Result<Vec<(f64, f64)>, ShapeError> {
    if factors.is_empty() {
        return Err(ShapeError::NoSteps);
    }
    let length = end / factors.len() as f64;
    let step = |(index, &factor): (usize, &f64)| {
        [(index as f64 * length, factor), ((index + 1) as f64 * length, factor)]
    };
    Ok(factors.iter().enumerate().flat_map(step).collect())
}

fn wave(swing: f64, period: f64, end: f64) -> Result<Vec<(f64, f64)>, ShapeError> {
    if !(0.0..=1.0).contains(&swing) {
        return Err(ShapeError::Swing(swing));
    }
    if !period.is_finite() || period < 1.0 {
        return Err(ShapeError::Period(period));
    }
    let factor = |at: f64| (at, 1.0 - swing * (std::f64::consts::TAU * at / period).cos());
    let step = period / PIECES;
    let pieces = (end / step).floor() as usize;
    let points = (0..=pieces).map(|piece| factor(piece as f64 * step));
    Ok(points.chain([factor(end)]).collect())
}

fn flash_crowd(times_s: [f64; 3], factor: f64, end: f64) -> Result<Vec<(f64, f64)>, ShapeError> {
    if let Some(wrong) = times_s.into_iter().find(|time| !(0.0..f64::INFINITY).contains(time)) {
        return Err(ShapeError::Time(wrong));
    }
    let [at, rise, hold] = times_s;
    let up = at + rise;
    let corners = [(0.0, 1.0), (at, 1.0), (up, factor), (up + hold, factor), (up + hold + rise, 1.0)];
    let mut points: Vec<(f64, f64)> = corners.into_iter().take_while(|&(time, _)| time < end).collect();
    // What the run's end cuts off: the factor there lies on the line to the next corner.
    let factor_at_end = match corners.get(points.len()) {
        Some(&(time, factor)) => {
            let (from, low) = points.last().copied().unwrap_or((0.0, 1.0));
            if time > from { low + (factor - low) * (end - from) / (time - from) } else { factor }
        }
        None => 1.0,
    };
    points.push((end, factor_at_end));
    Ok(points)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile(shape: &Shape, seconds: u64) -> Profile {
        Profile::new(shape, Duration::from_secs(seconds)).unwrap()
    }

    #[test]
    fn areas_and_times_belong_together() {
        let shapes = [
            Shape::Constant {},
            Shape::Ramp { from: 0.0, to: 4.0 },
            Shape::Ramp { from: 3.0, to: 0.5 },
            Shape::Steps { factors: vec![1.0, 0.0, 5.0] },
            Shape::Diurnal { swing: 0.9, period_s: 60.0 },
            Shape::FlashCrowd { at_s: 10.0, times: 20.0, rise_s: 2.0, hold_s: 30.0 },
        ];
        for shape in shapes {
            let profile = profile(&shape, 90);
            let mut before = 0.0;
            for step in 0..1000 {
                let area = profile.total() * f64::from(step) / 1000.0;
                let time = profile.time_at(area).unwrap();
                assert!((before..=90.0).contains(&time), "{shape:?}: {time} after {before}");
                before = time;
            }
            assert_eq!(profile.time_at(profile.total()), None);
        }
    }

    #[test]
    fn shapes_have_the_size_they_were_given() {
        let total = |shape: Shape, seconds| profile(&shape, seconds).total();
        assert!((total(Shape::Constant {}, 60) - 60.0).abs() < 1e-9);
        assert!((total(Shape::Ramp { from: 0.0, to: 2.0 }, 60) - 60.0).abs() < 1e-9);
        assert!((total(Shape::Steps { factors: vec![1.0, 2.0, 3.0] }, 60) - 120.0).abs() < 1e-9);
        // Whole waves average to one.
        assert!((total(Shape::Diurnal { swing: 0.5, period_s: 20.0 }, 60) - 60.0).abs() < 1e-3);
        let crowd = Shape::FlashCrowd { at_s: 10.0, times: 11.0, rise_s: 1.0, hold_s: 5.0 };
        assert!((total(crowd.clone(), 60) - (60.0 + 10.0 * 5.0 + 10.0)).abs() < 1e-9);
        // Cut off in the middle of its height.
        assert!((total(crowd, 13) - (10.0 + 6.0 + 22.0)).abs() < 1e-9);
    }

    #[test]
    fn a_ramp_from_zero_starts_with_long_gaps() {
        let profile = profile(&Shape::Ramp { from: 0.0, to: 2.0 }, 100);
        // The area grows with the square of the time: a quarter of it takes half the time.
        assert!((profile.time_at(25.0).unwrap() - 50.0).abs() < 1e-9);
    }

    #[test]
    fn impossible_shapes_are_refused() {
        let error = |shape: Shape| Profile::new(&shape, Duration::from_secs(10)).unwrap_err();
        assert_eq!(error(Shape::Ramp { from: -1.0, to: 1.0 }), ShapeError::Factor(-1.0));
        assert_eq!(error(Shape::Steps { factors: vec![] }), ShapeError::NoSteps);
        assert_eq!(error(Shape::Diurnal { swing: 1.5, period_s: 9.0 }), ShapeError::Swing(1.5));
        assert_eq!(error(Shape::Diurnal { swing: 0.5, period_s: 0.0 }), ShapeError::Period(0.0));
        let crowd = Shape::FlashCrowd { at_s: -1.0, times: 2.0, rise_s: 0.0, hold_s: 1.0 };
        assert_eq!(error(crowd), ShapeError::Time(-1.0));
    }
}
