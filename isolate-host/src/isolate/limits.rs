//! What one isolate may use, and the measuring of CPU time.

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Limits of one isolate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Linear memory, in bytes.
    pub memory_bytes: usize,
    /// Entries of the function table.
    pub table_elements: usize,
    /// CPU time the guest may use before it gives the thread back.
    pub cpu: Duration,
    /// Bytes the guest may have written to its private files.
    pub file_bytes: u64,
    /// How long the top level of a worker may take when it is deployed.
    pub deploy_cpu: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_bytes: 512 << 20,
            table_elements: 200_000,
            cpu: Duration::from_secs(30),
            file_bytes: 64 << 20,
            deploy_cpu: Duration::from_secs(120),
        }
    }
}

/// Raised from the epoch callback when a call used up its CPU time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the guest used more than {limit:?} of CPU time without pausing")]
pub struct CpuLimitExceeded {
    pub limit: Duration,
}

/// Counts the time a guest's calls spend on a thread; waiting does not count.
#[derive(Debug, Default)]
pub struct CpuMeter {
    /// Nanoseconds of finished polls, over the isolate's life.
    total: AtomicU64,
    /// `total` when the running call began.
    call_began_at: AtomicU64,
    /// When the running poll began, in nanoseconds of the meter's clock; 0 when none is running, as
    /// while an isolate is restored.
    poll_began: AtomicU64,
}

impl CpuMeter {
    /// Runs one call into the guest, counting the time of each of its polls.
    pub async fn measure<F: Future>(&self, call: F) -> F::Output {
        self.call_began_at.store(self.total.load(Ordering::Relaxed), Ordering::Relaxed);
        let mut call = std::pin::pin!(call);
        std::future::poll_fn(|context| {
            let began = nanos_now();
            self.poll_began.store(began, Ordering::Relaxed);
            let polled = call.as_mut().poll(context);
            self.total.fetch_add(nanos_now().saturating_sub(began), Ordering::Relaxed);
            self.poll_began.store(0, Ordering::Relaxed);
            polled
        })
        .await
    }

    /// CPU time of the call that is running right now.
    pub fn this_call(&self) -> Duration {
        let finished = self.total.load(Ordering::Relaxed) - self.call_began_at.load(Ordering::Relaxed);
        Duration::from_nanos(finished) + self.this_poll()
    }

    /// CPU time since the isolate was made, asked while a call is running.
    pub fn so_far(&self) -> Duration {
        self.total() + self.this_poll()
    }

    fn this_poll(&self) -> Duration {
        match self.poll_began.load(Ordering::Relaxed) {
            0 => Duration::ZERO,
            began => Duration::from_nanos(nanos_now().saturating_sub(began)),
        }
    }

    /// CPU time since the isolate was made, without the poll that is running.
    pub fn total(&self) -> Duration {
        Duration::from_nanos(self.total.load(Ordering::Relaxed))
    }
}

/// Nanoseconds since the first call of this; never 0.
fn nanos_now() -> u64 {
    static BEGAN: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    BEGAN.get_or_init(Instant::now).elapsed().as_nanos() as u64 + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pass(time: Duration) {
        let began = Instant::now();
        while began.elapsed() < time {
            std::hint::spin_loop();
        }
    }

    #[tokio::test]
    async fn only_time_in_calls_counts() {
        let meter = CpuMeter::default();
        nanos_now();
        pass(Duration::from_millis(5));
        assert_eq!((meter.this_call(), meter.so_far()), (Duration::ZERO, Duration::ZERO));
        let during = meter
            .measure(async {
                pass(Duration::from_millis(2));
                tokio::task::yield_now().await;
                pass(Duration::from_millis(2));
                meter.this_call()
            })
            .await;
        assert!(during >= Duration::from_millis(4), "{during:?}");
        pass(Duration::from_millis(5));
        assert_eq!((meter.this_call(), meter.so_far()), (meter.total(), meter.total()));
        assert!(meter.total() >= during);
    }
}
