//! What one isolate may use, and the measuring of CPU time.

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

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

/// Counts the CPU time a guest's calls use; waiting does not count, neither for something to happen
/// nor, on a host with more to do than it has processors, for a processor.
///
/// A poll stays on one thread, so the thread's own clock tells it. Reading that clock is a system
/// call, which is why it happens twice a poll and not oftener.
#[derive(Debug, Default)]
pub struct CpuMeter {
    /// Nanoseconds of finished polls, over the isolate's life.
    total: AtomicU64,
    /// `total` when the running call began.
    call_began_at: AtomicU64,
    /// When the running poll began, by the clock of its thread; 0 when none is running, as while an
    /// isolate is restored.
    poll_began: AtomicU64,
}

impl CpuMeter {
    /// Runs one call into the guest, counting the time of each of its polls.
    pub async fn measure<F: Future>(&self, call: F) -> F::Output {
        self.call_began_at.store(self.total.load(Ordering::Relaxed), Ordering::Relaxed);
        let mut call = std::pin::pin!(call);
        std::future::poll_fn(|context| {
            let began = thread_nanos();
            self.poll_began.store(began, Ordering::Relaxed);
            let polled = call.as_mut().poll(context);
            self.total.fetch_add(thread_nanos().saturating_sub(began), Ordering::Relaxed);
            self.poll_began.store(0, Ordering::Relaxed);
            polled
        })
        .await
    }

    /// CPU time of the call that is running right now, asked by its own thread.
    pub fn this_call(&self) -> Duration {
        let finished = self.total.load(Ordering::Relaxed) - self.call_began_at.load(Ordering::Relaxed);
        Duration::from_nanos(finished) + self.this_poll()
    }

    /// CPU time since the isolate was made, asked by the thread of the call that is running.
    pub fn so_far(&self) -> Duration {
        self.total() + self.this_poll()
    }

    fn this_poll(&self) -> Duration {
        match self.poll_began.load(Ordering::Relaxed) {
            0 => Duration::ZERO,
            began => Duration::from_nanos(thread_nanos().saturating_sub(began)),
        }
    }

    /// CPU time since the isolate was made, without the poll that is running.
    pub fn total(&self) -> Duration {
        Duration::from_nanos(self.total.load(Ordering::Relaxed))
    }
}

/// CPU time of the calling thread in nanoseconds; never 0.
fn thread_nanos() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64 + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compute(time: Duration) {
        let began = thread_nanos();
        while u128::from(thread_nanos() - began) < time.as_nanos() {
            std::hint::spin_loop();
        }
    }

    #[tokio::test]
    async fn only_time_in_calls_counts() {
        let meter = CpuMeter::default();
        compute(Duration::from_millis(5));
        assert_eq!((meter.this_call(), meter.so_far()), (Duration::ZERO, Duration::ZERO));
        let during = meter
            .measure(async {
                compute(Duration::from_millis(2));
                tokio::task::yield_now().await;
                compute(Duration::from_millis(2));
                meter.this_call()
            })
            .await;
        assert!(during >= Duration::from_millis(4), "{during:?}");
        compute(Duration::from_millis(5));
        assert_eq!((meter.this_call(), meter.so_far()), (meter.total(), meter.total()));
        assert!(meter.total() >= during);
    }

    #[tokio::test]
    async fn time_without_a_processor_does_not_count() {
        let meter = CpuMeter::default();
        meter.measure(async { std::thread::sleep(Duration::from_millis(200)) }).await;
        assert!(meter.total() < Duration::from_millis(100), "{:?}", meter.total());
    }
}
