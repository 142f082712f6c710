//! When each request is meant to start, and for which worker: decided before the first
//! one is sent, from the load that was asked for and a seed, and nothing else.
//!
//! This is what makes the load *open loop*: a server that stalls does not slow the
//! schedule down, so every request it delays is late by what a real client would have
//! waited.

mod popularity;
mod profile;
pub(crate) mod random;
mod stream;
mod trace;

use std::time::Duration;

pub use popularity::Popularity;
pub use profile::{Profile, Shape, ShapeError};
pub use stream::Stream;
pub use trace::{Part, Trace, TraceError};

/// More than this many requests would not fit a sensible amount of memory (16 bytes each).
pub const MAX_REQUESTS: usize = 50_000_000;

/// The load that was asked for.
#[derive(Debug, Clone)]
pub struct Load {
    /// The factor of all rates over time.
    pub profile: Profile,
    pub arrivals: Arrivals,
    /// Requests per second of each worker, where the factor is 1.
    pub rates: Vec<f64>,
    /// The factor of workers that follow the day, if some do.
    pub daily: Option<Profile>,
    pub seed: u64,
}

impl Load {
    pub fn new(
        shape: &Shape,
        duration: Duration,
        arrivals: Arrivals,
        rates: Vec<f64>,
        seed: u64,
    ) -> Result<Self, ShapeError> {
        let daily = if arrivals == Arrivals::Azure { stream::daily(shape, duration) } else { None };
        Ok(Self { profile: Profile::new(shape, duration)?, arrivals, rates, daily, seed })
    }

    /// How many requests there will be, about.
    pub fn expected(&self) -> f64 {
        self.rates.iter().sum::<f64>() * self.profile.total()
    }

    /// Whether a worker's next arrival is known before it comes: where each has its own process.
    pub fn foresees(&self) -> bool {
        !matches!(self.arrivals, Arrivals::Constant | Arrivals::Poisson)
    }

    /// The same load gives the same arrivals, on every machine.
    pub fn stream(&self) -> Stream {
        Stream::of(self)
    }
}

/// How requests follow one another.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Arrivals {
    /// One every 1/rate seconds over all workers
    Constant,
    /// Independent of one another, 1/rate seconds apart on average (exponential gaps)
    Poisson,
    /// Each worker on a clock of its own
    Periodic,
    /// Each worker in bursts: gaps with this coefficient of variation
    Bursty { variation: f64 },
    /// Of the workers 16 % periodic, 44 % Poisson, 40 % in bursts; half of them follow the day
    Azure,
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
    /// All arrivals of a load at once.
    pub fn plan(load: &Load) -> Result<Self, ScheduleError> {
        let expected = load.expected();
        if expected > MAX_REQUESTS as f64 {
            return Err(ScheduleError::TooMany(expected));
        }
        Self::of(load.stream().collect())
    }

    /// Arrivals that are known, in the order they are due.
    pub fn of(arrivals: Vec<Arrival>) -> Result<Self, ScheduleError> {
        if arrivals.is_empty() { Err(ScheduleError::Empty) } else { Ok(Self { arrivals }) }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn load(arrivals: Arrivals, rate: f64, seconds: u64, seed: u64) -> Load {
        let rates = Popularity::Uniform.rates(3, Some(rate));
        Load::new(&Shape::Constant {}, Duration::from_secs(seconds), arrivals, rates, seed).unwrap()
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
    fn every_kind_of_arrivals_has_the_rate() {
        let kinds = [
            Arrivals::Constant,
            Arrivals::Poisson,
            Arrivals::Periodic,
            Arrivals::Bursty { variation: 3.0 },
            Arrivals::Azure,
        ];
        for arrivals in kinds {
            let rates = Popularity::Zipf { exponent: 0.8 }.rates(400, Some(200.0));
            let load =
                Load::new(&Shape::Constant {}, Duration::from_secs(86_400), arrivals, rates, 2).unwrap();
            let short = load.stream().take(1_000_000).last().unwrap();
            let rate = 1_000_000.0 / short.due().as_secs_f64();
            // A million requests are a bit more than an hour: the day has not averaged out.
            let expected = if arrivals == Arrivals::Azure { 110.0..190.0 } else { 196.0..204.0 };
            assert!(expected.contains(&rate), "{arrivals:?}: {rate} per second");
        }
    }

    #[test]
    fn periodic_workers_keep_their_period_under_a_ramp() {
        let rates = vec![1.0];
        let shape = Shape::Ramp { from: 1.0, to: 3.0 };
        let load = Load::new(&shape, Duration::from_secs(100), Arrivals::Periodic, rates, 3).unwrap();
        let due: Vec<f64> = load.stream().map(|arrival| arrival.due().as_secs_f64()).collect();
        assert_eq!(due.len(), 200);
        let gaps: Vec<f64> = due.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(gaps.is_sorted_by(|a, b| a > b), "gaps shrink evenly");
        assert!((gaps[0] - 1.0).abs() < 0.03 && (gaps[198] - 1.0 / 3.0).abs() < 0.03);
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
