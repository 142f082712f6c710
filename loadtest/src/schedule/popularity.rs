//! How often each worker is asked for.

/// How requests are spread over the workers. The first worker is the most popular one.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Popularity {
    /// Each has the same share
    Uniform,
    /// The n-th has a share of 1/n^exponent
    Zipf { exponent: f64 },
    /// As the functions of Azure's 2019 trace: most are rare, a few make nearly all requests
    Azure,
}

/// Requests per day by quantile of workers, log-linear between: a fit of ours to what the
/// Azure Functions trace of 2019 shows (45 % of applications at most one request an hour,
/// 81 % at most one a minute, the top 18.6 % make 99.6 % of requests).
const AZURE_PER_DAY: [(f64, f64); 10] = [
    (0.0, 0.07),
    (0.10, 0.3),
    (0.25, 3.0),
    (0.45, 24.0),
    (0.62, 288.0),
    (0.814, 1440.0),
    (0.93, 2e4),
    (0.99, 3e5),
    (0.999, 4e6),
    (1.0, 2e7),
];

impl Popularity {
    /// Requests per second of each of `workers`, most popular first, `rate` in total. Without a
    /// rate Azure's workers have their own; the others share one request a second.
    pub fn rates(self, workers: usize, rate: Option<f64>) -> Vec<f64> {
        let weights: Vec<f64> = (0..workers).map(|index| self.weight(index, workers)).collect();
        match (self, rate) {
            (Self::Azure, None) => weights,
            // The busiest are cut off: the rare workers are what cold starts come from, and keep
            // their rates.
            (Self::Azure, Some(rate)) => cut_to(weights, rate),
            (_, rate) => scaled_to(weights, rate.unwrap_or(1.0)),
        }
    }

    fn weight(self, index: usize, workers: usize) -> f64 {
        match self {
            Self::Uniform => 1.0,
            Self::Zipf { exponent } => ((index + 1) as f64).powf(-exponent),
            Self::Azure => azure_per_day(1.0 - (index as f64 + 0.5) / workers as f64) / 86_400.0,
        }
    }
}

fn azure_per_day(quantile: f64) -> f64 {
    let next = AZURE_PER_DAY.iter().position(|&(at, _)| at >= quantile).unwrap_or(1).max(1);
    let ((from, low), (to, high)) = (AZURE_PER_DAY[next - 1], AZURE_PER_DAY[next]);
    let share = ((quantile - from) / (to - from)).clamp(0.0, 1.0);
    (low.ln() + share * (high.ln() - low.ln())).exp()
}

fn scaled_to(mut weights: Vec<f64>, rate: f64) -> Vec<f64> {
    let factor = rate / weights.iter().sum::<f64>();
    weights.iter_mut().for_each(|weight| *weight *= factor);
    weights
}

/// Lowers the highest weights to one level, so that the sum is `rate`; weights that sum up
/// to less are all raised.
fn cut_to(mut weights: Vec<f64>, rate: f64) -> Vec<f64> {
    let total: f64 = weights.iter().sum();
    if total <= rate {
        return scaled_to(weights, rate);
    }
    // Sorted from the highest: find how many are cut, then to what.
    let mut rest = total;
    for cut in 0..weights.len() {
        rest -= weights[cut];
        let level = (rate - rest) / (cut + 1) as f64;
        if level >= weights.get(cut + 1).copied().unwrap_or(0.0) {
            weights[..=cut].iter_mut().for_each(|weight| *weight = level);
            break;
        }
    }
    weights
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_add_up_and_fall() {
        for popularity in [Popularity::Uniform, Popularity::Zipf { exponent: 1.1 }, Popularity::Azure] {
            for rate in [0.5, 40.0, 5_000.0] {
                let rates = popularity.rates(500, Some(rate));
                let total: f64 = rates.iter().sum();
                assert!((total / rate - 1.0).abs() < 1e-9, "{popularity:?}: {total}, expected {rate}");
                assert!(rates.is_sorted_by(|a, b| a >= b) && rates[499] > 0.0);
            }
        }
    }

    #[test]
    fn azures_shape_is_the_published_one() {
        let rates = Popularity::Azure.rates(10_000, None);
        let share = |predicate: &dyn Fn(f64) -> bool| {
            rates.iter().filter(|&&rate| predicate(rate * 3600.0)).count() as f64 / rates.len() as f64
        };
        let total: f64 = rates.iter().sum();
        assert!((share(&|hourly| hourly <= 1.0) - 0.45).abs() < 0.01);
        assert!((share(&|hourly| hourly <= 60.0) - 0.81).abs() < 0.01);
        let top: f64 = rates[..1860].iter().sum();
        assert!(top / total > 0.99, "the top 18.6 % make {} of the requests", top / total);
        assert!((3_000.0..4_000.0).contains(&total), "{total} requests a second");
    }

    #[test]
    fn a_lower_rate_leaves_rare_workers_as_they_are() {
        let all = Popularity::Azure.rates(1000, None);
        let cut = Popularity::Azure.rates(1000, Some(100.0));
        assert_eq!(all[500..], cut[500..]);
        assert!(cut[0] < all[0]);
    }
}
