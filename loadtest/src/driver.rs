//! Sends a schedule.
//!
//! ```text
//! dispatcher (a thread of its own: sleeps to the microsecond)
//!     │ one job per arrival, at its time
//!     ▼
//!   board ── an idle lane? hand it over ── room for another lane? open one ── else: queue
//!     │
//!     ▼
//!   lanes (a task and at most one connection each) ──▶ samples ──▶ measure
//! ```
//!
//! The dispatcher never waits for an answer, so the load stays what was asked for. Lanes
//! are reused last in, first out: as few connections are open as the load needs.

mod board;
mod dispatcher;
mod lane;

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use http::header::{CONNECTION, HOST};
use http::{HeaderMap, HeaderValue, Method, Request, Uri};
use tokio::sync::Notify;

use crate::client::{Body, Dial};
use crate::measure::Measure;
use crate::scenario::Connection;
use crate::schedule::Schedule;
use board::Board;

/// Time between the start of the dispatcher's thread and the first request.
const HEAD_START: Duration = Duration::from_millis(20);

/// What is sent, where, when and under which limits.
#[derive(Debug)]
pub struct Plan {
    pub dial: Dial,
    pub requests: Requests,
    pub schedule: Schedule,
    pub connections: NonZeroUsize,
    /// From the intended start to the last byte of the answer.
    pub timeout: Duration,
    /// Requests due before this are sent and not counted.
    pub warmup: Duration,
    /// From the first request to the last one that may be due.
    pub duration: Duration,
}

/// The requests of a run: the same for every worker but for the `Host` header.
#[derive(Debug, Clone)]
pub struct Requests {
    pub method: Method,
    pub path: Uri,
    pub headers: HeaderMap,
    pub body: Body,
    pub connection: Connection,
    /// One per worker, in the order of the list of workers.
    pub hosts: Vec<HeaderValue>,
}

impl Requests {
    /// Everything in it is shared and cheap to clone; the header map is the only allocation.
    fn build(&self, worker: u32) -> Request<Body> {
        let mut request = Request::new(self.body.clone());
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.path.clone();
        if !self.headers.is_empty() {
            *request.headers_mut() = self.headers.clone();
        }
        request.headers_mut().insert(HOST, self.hosts[worker as usize].clone());
        if self.connection == Connection::New {
            request.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        request
    }
}

/// Whether the schedule was sent to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    Finished,
    Interrupted,
}

/// A run under way: shared between dispatcher, lanes and the progress line.
#[derive(Debug)]
pub struct Run {
    plan: Plan,
    start: Instant,
    board: Board,
    measure: Mutex<Measure>,
    dispatched: AtomicU64,
    finished: AtomicU64,
    queued: AtomicU64,
    connections_opened: AtomicU64,
    stop: AtomicBool,
    /// The dispatcher has handed out its last job.
    all_dispatched: AtomicBool,
    progress: Notify,
}

impl Run {
    pub fn new(plan: Plan) -> Arc<Self> {
        let measure = Measure::new(plan.requests.hosts.len(), plan.duration, plan.warmup);
        let measure = Mutex::new(measure);
        Arc::new(Self {
            board: Board::new(plan.connections),
            plan,
            start: Instant::now() + HEAD_START,
            measure,
            dispatched: AtomicU64::new(0),
            finished: AtomicU64::new(0),
            queued: AtomicU64::new(0),
            connections_opened: AtomicU64::new(0),
            stop: AtomicBool::new(false),
            all_dispatched: AtomicBool::new(false),
            progress: Notify::new(),
        })
    }

    /// Sends everything and waits for every answer or timeout; `interrupt` ends it early,
    /// without waiting for what is in flight.
    pub async fn drive(self: &Arc<Self>, interrupt: impl Future<Output = ()>) -> std::io::Result<Ending> {
        let dispatcher = dispatcher::spawn(Arc::clone(self), tokio::runtime::Handle::current())?;
        let ending = tokio::select! {
            () = self.drained() => Ending::Finished,
            () = interrupt => Ending::Interrupted,
        };
        self.stop.store(true, Ordering::Release);
        // It notices within its longest sleep; joining off the runtime keeps lanes going.
        let _ = tokio::task::spawn_blocking(move || dispatcher.join()).await;
        self.board.close();
        Ok(ending)
    }

    async fn drained(&self) {
        loop {
            let progress = self.progress.notified();
            if self.all_dispatched.load(Ordering::Acquire) && self.in_flight() == 0 {
                return;
            }
            progress.await;
        }
    }

    pub fn measure(&self) -> MutexGuard<'_, Measure> {
        // Recording cannot leave it half done: a panic elsewhere does not spoil the report.
        self.measure.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// When the first request is due.
    pub fn start(&self) -> Instant {
        self.start
    }

    /// Time since the first request was due.
    pub fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    pub fn dispatched(&self) -> u64 {
        self.dispatched.load(Ordering::Acquire)
    }

    /// Dispatched and not over.
    pub fn in_flight(&self) -> u64 {
        let finished = self.finished.load(Ordering::Acquire);
        self.dispatched().saturating_sub(finished)
    }

    /// Requests that found every connection busy and the limit reached.
    pub fn queued(&self) -> u64 {
        self.queued.load(Ordering::Relaxed)
    }

    pub fn connections_opened(&self) -> u64 {
        self.connections_opened.load(Ordering::Relaxed)
    }

    fn sample_done(&self) {
        self.finished.fetch_add(1, Ordering::AcqRel);
        if self.all_dispatched.load(Ordering::Acquire) {
            self.progress.notify_one();
        }
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod tls_tests;
