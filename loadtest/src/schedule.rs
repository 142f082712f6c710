//! When each request is meant to start, and for which worker: decided before the first
//! one is sent, from the load that was asked for and a seed, and nothing else.
//!
//! This is what makes the load *open loop*: a server that stalls does not slow the
//! schedule down, so every request it delays is late by what a real client would have
//! waited.

mod random;

use std::num::NonZeroUsize;
use std::time::Duration;

use random::Random;

/// More than this many requests would not fit a sensible amount of memory (16 bytes each).
pub const MAX_REQUESTS: usize = 50_000_000;

/// The load that was asked for.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    pub rate: Rate,
    pub duration: Duration,
    pub arrivals: Arrivals,
    pub workers: NonZeroUsize,
    pub seed: u64,
}

/// How requests follow one another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Arrivals {
    /// One every 1/rate seconds
    Constant,
    /// Independent of one another, 1/rate seconds apart on average (exponential gaps)
    Poisson,
}

/// Requests per second: finite and greater than zero.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
#[serde(transparent)]
pub struct Rate(f64);

#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ScheduleError {
    #[error("found the rate `{0}`, expected requests per second as a number greater than 0, such as `200`")]
    Rate(String),
    #[error(
        "found a schedule of about {0:.0} requests, expected at most {MAX_REQUESTS}; lower --rate or --duration"
    )]
    TooMany(f64),
    #[error("found a schedule without any request; raise --rate or --duration")]
    Empty,
}

impl Rate {
    pub fn per_second(self) -> f64 {
        self.0
    }
}

impl std::str::FromStr for Rate {
    type Err = ScheduleError;

    fn from_str(text: &str) -> Result<Self, ScheduleError> {
        let number = text.strip_suffix("/s").unwrap_or(text).parse::<f64>();
        match number {
            Ok(rate) if rate.is_finite() && rate > 0.0 => Ok(Self(rate)),
            _ => Err(ScheduleError::Rate(text.to_owned())),
        }
    }
}

/// One request of the schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    /// Nanoseconds after the start of the run.
    pub due_ns: u64,
    /// Index into the list of workers.
    pub worker: u32,
}

impl Arrival {
    pub fn due(&self) -> Duration {
        Duration::from_nanos(self.due_ns)
    }
}

/// Every request of a run, in the order they are due.
#[derive(Debug)]
pub struct Schedule {
    arrivals: Vec<Arrival>,
}

impl Schedule {
    /// The same load gives the same schedule, on every machine.
    pub fn plan(load: &Load) -> Result<Self, ScheduleError> {
        let expected = load.rate.per_second() * load.duration.as_secs_f64();
        if expected > MAX_REQUESTS as f64 {
            return Err(ScheduleError::TooMany(expected));
        }
        let mut random = Random::seeded(load.seed);
        let mut due = Vec::with_capacity(expected as usize + 1);
        match load.arrivals {
            Arrivals::Constant => constant(load, &mut due),
            Arrivals::Poisson => poisson(load, &mut random, &mut due),
        }
        if due.is_empty() {
            return Err(ScheduleError::Empty);
        }
        let workers = load.workers.get() as u64;
        let arrivals =
            due.into_iter().map(|due_ns| Arrival { due_ns, worker: random.below(workers) as u32 }).collect();
        Ok(Self { arrivals })
    }

    pub fn arrivals(&self) -> &[Arrival] {
        &self.arrivals
    }

    pub fn len(&self) -> usize {
        self.arrivals.len()
    }

    pub fn is_empty(&self) -> bool {
        self.arrivals.is_empty()
    }
}

fn constant(load: &Load, due: &mut Vec<u64>) {
    let gap = 1e9 / load.rate.per_second();
    let end = load.duration.as_nanos() as f64;
    // Multiplied, not added up: a sum of gaps would drift.
    due.extend((0u64..).map(|index| index as f64 * gap).take_while(|&at| at < end).map(|at| at as u64));
}

fn poisson(load: &Load, random: &mut Random, due: &mut Vec<u64>) {
    let mean_gap = 1e9 / load.rate.per_second();
    let end = load.duration.as_nanos() as f64;
    let mut at = random.exponential() * mean_gap;
    while at < end {
        due.push(at as u64);
        at += random.exponential() * mean_gap;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(arrivals: Arrivals, rate: f64, seconds: u64, seed: u64) -> Load {
        Load {
            rate: Rate(rate),
            duration: Duration::from_secs(seconds),
            arrivals,
            workers: NonZeroUsize::new(3).unwrap(),
            seed,
        }
    }

    #[test]
    fn a_constant_rate_is_evenly_spaced_and_exact() {
        let schedule = Schedule::plan(&load(Arrivals::Constant, 200.0, 10, 1)).unwrap();
        assert_eq!(schedule.len(), 2000);
        for (index, arrival) in schedule.arrivals().iter().enumerate() {
            assert_eq!(arrival.due_ns, index as u64 * 5_000_000);
        }
    }

    #[test]
    fn a_rate_that_does_not_divide_a_second_does_not_drift() {
        let schedule = Schedule::plan(&load(Arrivals::Constant, 3.0, 1000, 1)).unwrap();
        assert_eq!(schedule.len(), 3000);
        assert_eq!(schedule.arrivals()[2997].due_ns, 999_000_000_000);
    }

    #[test]
    fn poisson_arrivals_have_the_rate_and_the_variance_of_a_poisson_process() {
        let schedule = Schedule::plan(&load(Arrivals::Poisson, 1000.0, 100, 7)).unwrap();
        let count = schedule.len() as f64;
        // Four standard deviations of a Poisson count of 100 000.
        assert!((count - 100_000.0).abs() < 4.0 * 100_000f64.sqrt(), "{count} arrivals");
        assert!(schedule.arrivals().is_sorted_by_key(|arrival| arrival.due_ns));

        let gaps: Vec<f64> =
            schedule.arrivals().windows(2).map(|pair| (pair[1].due_ns - pair[0].due_ns) as f64).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        let variation = variance.sqrt() / mean;
        assert!((variation - 1.0).abs() < 0.03, "coefficient of variation {variation}, expected 1");
    }

    #[test]
    fn the_seed_alone_decides() {
        let plan = |seed| Schedule::plan(&load(Arrivals::Poisson, 500.0, 2, seed)).unwrap();
        assert_eq!(plan(1).arrivals(), plan(1).arrivals());
        assert_ne!(plan(1).arrivals(), plan(2).arrivals());
    }

    #[test]
    fn every_worker_gets_its_share() {
        let schedule = Schedule::plan(&load(Arrivals::Constant, 1000.0, 30, 5)).unwrap();
        let mut counts = [0u32; 3];
        for arrival in schedule.arrivals() {
            counts[arrival.worker as usize] += 1;
        }
        for count in counts {
            assert!((9_500..10_500).contains(&count), "{counts:?}");
        }
    }

    #[test]
    fn impossible_loads_are_refused_with_a_reason() {
        let too_many = Schedule::plan(&load(Arrivals::Constant, 1e9, 60, 1)).unwrap_err();
        assert!(too_many.to_string().contains("60000000000"), "{too_many}");
        let nothing = Schedule::plan(&load(Arrivals::Poisson, 1e-9, 1, 1)).unwrap_err();
        assert_eq!(nothing, ScheduleError::Empty);
        for text in ["0", "-1", "NaN", "inf", "fast"] {
            assert_eq!(text.parse::<Rate>(), Err(ScheduleError::Rate(text.to_owned())));
        }
        assert_eq!("12.5/s".parse::<Rate>().unwrap().per_second(), 12.5);
    }
}
