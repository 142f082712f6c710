//! Stopping: the first SIGINT or SIGTERM drains, a second one does not wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{oneshot, watch};

/// Whether the router ends with whoever holds its standard input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Leash {
    None,
    StandardInput,
}

/// What asks the router to stop: signals, and the end of its parent if that is wanted.
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    parent: Option<oneshot::Receiver<()>>,
}

impl Signals {
    pub(crate) fn listen(leash: Leash) -> std::io::Result<Self> {
        let parent = match leash {
            Leash::None => None,
            Leash::StandardInput => Some(end_of_input()?),
        };
        let (interrupt, terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        Ok(Self { interrupt, terminate, parent })
    }

    /// Waits for the next one and returns its name.
    pub(crate) async fn next(&mut self) -> &'static str {
        let parent = async {
            match &mut self.parent {
                Some(parent) => drop(parent.await),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
            () = parent => {
                // It ends once; what is asked for a second time is asked by a signal.
                self.parent = None;
                "the end of the parent process"
            }
        }
    }
}

/// Resolves when standard input ends. A thread of its own: reading it cannot be cancelled, and
/// must not hold up the end of the process.
fn end_of_input() -> std::io::Result<oneshot::Receiver<()>> {
    let (sender, receiver) = oneshot::channel();
    std::thread::Builder::new().name("parent".to_owned()).spawn(move || {
        // However it ends, nobody holds the other end any more.
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        let _ = sender.send(());
    })?;
    Ok(receiver)
}

/// Counts requests in flight, so that stopping can wait for them.
#[derive(Debug, Clone)]
pub(crate) struct InFlight(Arc<watch::Sender<usize>>);

/// One request in flight, until it is dropped.
#[derive(Debug)]
pub(crate) struct Flight(InFlight);

impl InFlight {
    pub(crate) fn new() -> Self {
        Self(Arc::new(watch::Sender::new(0)))
    }

    pub(crate) fn begin(&self) -> Flight {
        self.0.send_modify(|count| *count += 1);
        Flight(self.clone())
    }

    pub(crate) fn count(&self) -> usize {
        *self.0.borrow()
    }

    /// Waits until none is left.
    pub(crate) async fn ended(&self) {
        // The sender lives in `self`.
        let _ = self.0.subscribe().wait_for(|count| *count == 0).await;
    }

    /// Waits until none is left, or for `limit`; returns how many are left.
    pub(crate) async fn drained(&self, limit: Duration) -> usize {
        let _ = tokio::time::timeout(limit, self.ended()).await;
        self.count()
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.0.0.send_modify(|count| *count -= 1);
    }
}

/// A number that many threads count, and its guard.
#[derive(Debug, Default)]
pub(crate) struct Gauge(AtomicUsize);

#[derive(Debug)]
pub(crate) struct Raised(Arc<Gauge>);

impl Gauge {
    pub(crate) fn raise(self: &Arc<Self>) -> Raised {
        self.0.fetch_add(1, Ordering::Relaxed);
        Raised(Arc::clone(self))
    }

    pub(crate) fn value(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Drop for Raised {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn draining_waits_for_the_last_request_and_no_longer() {
        let in_flight = InFlight::new();
        assert_eq!(in_flight.drained(Duration::from_secs(5)).await, 0);
        let (first, second) = (in_flight.begin(), in_flight.begin());
        assert_eq!(in_flight.drained(Duration::from_secs(5)).await, 2);
        let before = tokio::time::Instant::now();
        tokio::spawn(async move {
            drop(first);
            tokio::time::sleep(Duration::from_secs(1)).await;
            drop(second);
        });
        assert_eq!(in_flight.drained(Duration::from_secs(5)).await, 0);
        assert_eq!(before.elapsed(), Duration::from_secs(1));
    }

    #[test]
    fn a_gauge_falls_with_its_guards() {
        let gauge = Arc::new(Gauge::default());
        let (one, two) = (gauge.raise(), gauge.raise());
        assert_eq!(gauge.value(), 2);
        drop((one, two));
        assert_eq!(gauge.value(), 0);
    }
}
