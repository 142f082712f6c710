//! One lane: sends its jobs one after the other over a connection it keeps.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use http::Request;
use http::header::HOST;
use tokio::sync::mpsc;

use super::Run;
use super::board::Job;
use crate::client::{Body, Connection, Failure, Reply};
use crate::measure::Sample;
use crate::scenario;

#[derive(Debug)]
pub(super) struct Lane {
    run: Arc<Run>,
    lane: usize,
    jobs: mpsc::Receiver<Job>,
    connection: Option<Connection>,
}

impl Lane {
    pub(super) fn new(run: Arc<Run>, lane: usize, jobs: mpsc::Receiver<Job>) -> Self {
        Self { run, lane, jobs, connection: None }
    }

    pub(super) async fn run(mut self, first: Job) {
        let mut job = first;
        loop {
            self.perform(job).await;
            let next = self.run.board.next(self.lane);
            self.run.sample_done();
            job = match next {
                Some(job) => job,
                None => match self.idle().await {
                    Some(job) => job,
                    None => return,
                },
            };
        }
    }

    /// Waits for a job, and meanwhile notices when the server closes the connection: sending
    /// into a closed one would count as an error of the server.
    async fn idle(&mut self) -> Option<Job> {
        if let Some(connection) = &mut self.connection {
            tokio::select! {
                biased;
                job = self.jobs.recv() => return job,
                () = connection.closed() => {}
            }
            self.connection = None;
        }
        self.jobs.recv().await
    }

    async fn perform(&mut self, job: Job) {
        let due = self.run.start + job.arrival.due();
        let deadline = due + self.run.plan.timeout;
        let begun = Instant::now();
        let lag = (!job.queued).then(|| begun.saturating_duration_since(due));
        let outcome = if begun >= deadline {
            Err(Failure::Timeout)
        } else {
            let answer = self.request(job.arrival.worker);
            tokio::time::timeout_at(deadline.into(), answer).await.unwrap_or(Err(Failure::Timeout))
        };
        let latency = due.elapsed();
        let keep = self.run.plan.requests.connection == scenario::Connection::KeepAlive;
        if outcome.is_err() || !keep || !self.connection.as_ref().is_some_and(Connection::is_reusable) {
            self.connection = None;
        }
        let sample = Sample { worker: job.arrival.worker, due: job.arrival.due(), latency, lag, outcome };
        self.run.measure().record(&sample);
    }

    async fn request(&mut self, worker: u32) -> Result<Reply, Failure> {
        let mut request = self.run.plan.requests.build(worker);
        if let Some(connection) = &mut self.connection {
            match connection.exchange(request, |_| ()).await {
                Ok(reply) => return Ok(reply),
                // Closed by the server while it was idle: nothing went out, so once more.
                Err(error) => request = *error.unsent.ok_or(error.failure)?,
            }
        }
        self.request_anew(request).await
    }

    async fn request_anew(&mut self, request: Request<Body>) -> Result<Reply, Failure> {
        self.connection = None;
        // TLS asks for the worker this connection is opened for; later requests may name another.
        let name = request.headers().get(HOST).and_then(|name| name.to_str().ok()).unwrap_or_default();
        let connection = Connection::open(&self.run.plan.dial, name).await?;
        let connection = self.connection.insert(connection);
        self.run.connections_opened.fetch_add(1, Ordering::Relaxed);
        connection.exchange(request, |_| ()).await.map_err(|error| error.failure)
    }
}
