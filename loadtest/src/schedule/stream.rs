//! Arrivals one after the other, as many as there are: a simulated hour of a large fleet is
//! more than would fit into memory.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;

use super::profile::{Profile, Shape};
use super::random::Random;
use super::{Arrival, Arrivals, Load};

/// Of the workers of Azure's trace: this share on a clock of its own …
const AZURE_PERIODIC: f64 = 0.16;
/// … this one at random (Poisson), and the rest in bursts.
const AZURE_POISSON: f64 = 0.44;
/// How far apart gaps of bursty workers lie: their coefficient of variation.
const AZURE_BURSTS: (f64, f64) = (2.0, 5.0);
/// Half of them follow the day.
const AZURE_DIURNAL: f64 = 0.5;
const DIURNAL: Shape = Shape::Diurnal { swing: 0.6, period_s: 86_400.0 };

/// Arrivals in the order they are due.
#[derive(Debug)]
pub struct Stream(Kind);

#[derive(Debug)]
enum Kind {
    Common(Common),
    Each(Each),
}

impl Stream {
    pub(super) fn of(load: &Load) -> Self {
        match load.arrivals {
            Arrivals::Constant | Arrivals::Poisson => Self(Kind::Common(Common::of(load))),
            Arrivals::Periodic | Arrivals::Bursty { .. } | Arrivals::Azure => {
                Self(Kind::Each(Each::of(load)))
            }
        }
    }
}

impl Stream {
    /// When a worker is asked for next, after the arrivals so far; none if never, and none for
    /// loads that do not foresee it, see [`Load::foresees`].
    pub fn next_due(&self, worker: u32) -> Option<u64> {
        match &self.0 {
            Kind::Common(_) => None,
            Kind::Each(each) => each.workers[worker as usize].due(&each.profiles),
        }
    }
}

impl Iterator for Stream {
    type Item = Arrival;

    fn next(&mut self) -> Option<Arrival> {
        match &mut self.0 {
            Kind::Common(common) => common.next(),
            Kind::Each(each) => each.next(),
        }
    }
}

/// Gaps of mean 1.
#[derive(Debug, Clone, Copy)]
enum Gaps {
    Even,
    Exponential,
    /// Two exponential distributions of which each makes half of the time (hyperexponential,
    /// balanced means): `often` is the probability of the short one.
    Bursts {
        often: f64,
    },
}

impl Gaps {
    fn bursts(variation: f64) -> Self {
        let square = variation * variation;
        Self::Bursts { often: (1.0 + ((square - 1.0) / (square + 1.0)).max(0.0).sqrt()) / 2.0 }
    }

    fn draw(self, random: &mut Random) -> f64 {
        match self {
            Self::Even => 1.0,
            Self::Exponential => random.exponential(),
            Self::Bursts { often } => {
                let share = if random.uniform() <= often { often } else { 1.0 - often };
                random.exponential() / (2.0 * share)
            }
        }
    }

    /// From any moment to the next arrival: nobody waits for the first request to start a clock.
    fn first(self, random: &mut Random) -> f64 {
        match self {
            Self::Even => random.uniform(),
            Self::Exponential => random.exponential(),
            Self::Bursts { often } => {
                // Each of the two makes half of the time.
                let share = if random.uniform() <= 0.5 { often } else { 1.0 - often };
                random.exponential() / (2.0 * share)
            }
        }
    }
}

/// One process for all; each arrival is for a worker drawn by its share.
#[derive(Debug)]
struct Common {
    profile: Profile,
    gaps: Gaps,
    rate: f64,
    /// Arrivals so far and the even clock in units of gaps.
    drawn: f64,
    random: Random,
    workers: Draw,
}

impl Common {
    fn of(load: &Load) -> Self {
        let gaps = if load.arrivals == Arrivals::Constant { Gaps::Even } else { Gaps::Exponential };
        let mut random = Random::seeded(load.seed);
        // An even load starts with a request.
        let drawn = if load.arrivals == Arrivals::Constant { 0.0 } else { gaps.first(&mut random) };
        Self {
            profile: load.profile.clone(),
            gaps,
            rate: load.rates.iter().sum(),
            drawn,
            random,
            workers: Draw::by_share(&load.rates),
        }
    }

    fn next(&mut self) -> Option<Arrival> {
        let due = self.profile.time_at(self.drawn / self.rate)?;
        self.drawn += self.gaps.draw(&mut self.random);
        Some(Arrival { due_ns: nanoseconds(due), worker: self.workers.draw(&mut self.random) })
    }
}

/// Draws indices by their shares in constant time (Walker's alias method, as Vose built it).
#[derive(Debug)]
struct Draw {
    /// For each column the share of it that is its own, and whose the rest is.
    columns: Vec<(f64, u32)>,
}

impl Draw {
    fn by_share(shares: &[f64]) -> Self {
        let scale = shares.len() as f64 / shares.iter().sum::<f64>();
        let mut columns: Vec<(f64, u32)> =
            shares.iter().enumerate().map(|(index, share)| (share * scale, index as u32)).collect();
        let indices = 0..columns.len();
        let (mut small, mut large): (Vec<usize>, Vec<usize>) =
            indices.partition(|&index| columns[index].0 < 1.0);
        while let (Some(low), Some(&high)) = (small.pop(), large.last()) {
            columns[low].1 = high as u32;
            columns[high].0 -= 1.0 - columns[low].0;
            if columns[high].0 < 1.0 {
                large.pop();
                small.push(high);
            }
        }
        Self { columns }
    }

    fn draw(&self, random: &mut Random) -> u32 {
        let column = random.below(self.columns.len() as u64) as usize;
        let (own, other) = self.columns[column];
        if random.uniform() <= own { column as u32 } else { other }
    }
}

/// A process for each worker; the earliest of them is next.
#[derive(Debug)]
struct Each {
    /// The load's own, and the one of workers that follow the day.
    profiles: [Profile; 2],
    workers: Vec<Worker>,
    due: BinaryHeap<Reverse<(u64, u32)>>,
}

#[derive(Debug)]
struct Worker {
    gaps: Gaps,
    rate: f64,
    /// Its even clock, in gaps.
    drawn: f64,
    profile: usize,
    random: Random,
}

impl Each {
    fn of(load: &Load) -> Self {
        let daily = match &load.daily {
            Some(daily) => daily.clone(),
            None => load.profile.clone(),
        };
        let profiles = [load.profile.clone(), daily];
        let mut workers: Vec<Worker> =
            load.rates.iter().enumerate().map(|(index, &rate)| Worker::new(load, index, rate)).collect();
        let mut due = Vec::with_capacity(workers.len());
        for (index, worker) in workers.iter_mut().enumerate() {
            worker.drawn = worker.gaps.first(&mut worker.random);
            if let Some(at) = worker.due(&profiles) {
                due.push(Reverse((at, index as u32)));
            }
        }
        Self { profiles, workers, due: due.into() }
    }

    fn next(&mut self) -> Option<Arrival> {
        let mut earliest = self.due.peek_mut()?;
        let Reverse((due_ns, worker)) = *earliest;
        let state = &mut self.workers[worker as usize];
        state.drawn += state.gaps.draw(&mut state.random);
        match state.due(&self.profiles) {
            Some(at) => *earliest = Reverse((at, worker)),
            None => drop(PeekMut::pop(earliest)),
        }
        Some(Arrival { due_ns, worker })
    }
}

impl Worker {
    fn new(load: &Load, index: usize, rate: f64) -> Self {
        let mut random = Random::of(load.seed, index as u64);
        let (gaps, profile) = match load.arrivals {
            Arrivals::Periodic => (Gaps::Even, 0),
            Arrivals::Bursty { variation } => (Gaps::bursts(variation), 0),
            Arrivals::Azure => azure(&mut random),
            Arrivals::Constant | Arrivals::Poisson => (Gaps::Exponential, 0),
        };
        Self { gaps, rate, drawn: 0.0, profile, random }
    }

    fn due(&self, profiles: &[Profile; 2]) -> Option<u64> {
        profiles[self.profile].time_at(self.drawn / self.rate).map(nanoseconds)
    }
}

fn azure(random: &mut Random) -> (Gaps, usize) {
    let kind = random.uniform();
    let gaps = if kind <= AZURE_PERIODIC {
        Gaps::Even
    } else if kind <= AZURE_PERIODIC + AZURE_POISSON {
        Gaps::Exponential
    } else {
        let (least, most) = AZURE_BURSTS;
        Gaps::bursts(least + (most - least) * random.uniform())
    };
    (gaps, usize::from(random.uniform() <= AZURE_DIURNAL))
}

/// The profile of workers that follow the day: only with Azure's arrivals of constant shape.
pub(super) fn daily(load_shape: &Shape, duration: std::time::Duration) -> Option<Profile> {
    matches!(load_shape, Shape::Constant {}).then(|| Profile::new(&DIURNAL, duration).ok()).flatten()
}

fn nanoseconds(seconds: f64) -> u64 {
    // To the nearest: a third of a second three times is one second.
    (seconds * 1e9).round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bursts_have_the_variation_they_were_asked_for() {
        for wanted in [1.0, 2.0, 5.0] {
            let (gaps, mut random) = (Gaps::bursts(wanted), Random::seeded(3));
            let drawn: Vec<f64> = (0..400_000).map(|_| gaps.draw(&mut random)).collect();
            let mean = drawn.iter().sum::<f64>() / drawn.len() as f64;
            let variance = drawn.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / drawn.len() as f64;
            let found = variance.sqrt() / mean;
            assert!((mean - 1.0).abs() < 0.05, "mean {mean}");
            assert!((found / wanted - 1.0).abs() < 0.05, "variation {found}, expected {wanted}");
        }
    }

    #[test]
    fn indices_are_drawn_by_their_shares() {
        let shares = [5.0, 1.0, 3.0, 0.5, 0.5];
        let (draw, mut random) = (Draw::by_share(&shares), Random::seeded(9));
        let mut counts = [0u32; 5];
        for _ in 0..100_000 {
            counts[draw.draw(&mut random) as usize] += 1;
        }
        for (count, share) in counts.into_iter().zip(shares) {
            let expected = share * 10_000.0;
            assert!((f64::from(count) - expected).abs() < 5.0 * expected.sqrt(), "{counts:?}");
        }
    }
}
