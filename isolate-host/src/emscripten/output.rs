//! Standard output and error of a worker, as log lines of the host.

use warmshard_config::units::WorkerName;

/// Longest line that is logged whole.
const LINE_LIMIT: usize = 8 << 10;
/// Lines an isolate may log at once, and per second after that.
const BURST: f64 = 1_000.0;
const LINES_PER_SECOND: f64 = 200.0;

/// Collects what a worker writes and logs it line by line.
#[derive(Debug)]
pub struct Output {
    worker: WorkerName,
    streams: [Vec<u8>; 2],
    budget: f64,
    refilled: std::time::Instant,
    dropped: u64,
}

impl Output {
    pub fn worker(&self) -> &WorkerName {
        &self.worker
    }

    pub fn new(worker: WorkerName) -> Self {
        Self {
            worker,
            streams: Default::default(),
            budget: BURST,
            refilled: std::time::Instant::now(),
            dropped: 0,
        }
    }

    /// Takes bytes written to descriptor 1 or 2.
    pub fn write(&mut self, descriptor: i32, bytes: &[u8]) {
        let stream = usize::from(descriptor == 2);
        for part in bytes.split_inclusive(|&byte| byte == b'\n') {
            let held = &mut self.streams[stream];
            let room = LINE_LIMIT.saturating_sub(held.len());
            held.extend(&part[..part.len().min(room)]);
            if part.ends_with(b"\n") {
                let line = std::mem::take(&mut self.streams[stream]);
                let text = String::from_utf8_lossy(&line);
                self.log(["stdout", "stderr"][stream], text.trim_end_matches('\n'));
            }
        }
    }

    /// Logs one line from elsewhere.
    pub fn line(&mut self, text: &str) {
        self.log("log", text);
    }

    fn log(&mut self, stream: &'static str, text: &str) {
        if self.spend() {
            tracing::info!(target: "worker", worker = %self.worker, stream, "{text}");
        }
    }

    /// Whether one more line may be logged: a worker that floods the log costs its own lines only.
    pub fn spend(&mut self) -> bool {
        let now = std::time::Instant::now();
        let earned = now.duration_since(self.refilled).as_secs_f64() * LINES_PER_SECOND;
        self.refilled = now;
        self.budget = (self.budget + earned).min(BURST);
        if self.budget < 1.0 {
            self.dropped += 1;
            return false;
        }
        self.budget -= 1.0;
        if self.dropped > 0 {
            tracing::warn!(target: "worker", worker = %self.worker, dropped = self.dropped, "log lines dropped");
            self.dropped = 0;
        }
        true
    }
}

impl Output {
    /// Logs what Python's `logging`, or the platform on a worker's behalf, says about a request.
    pub fn record(&mut self, level: i64, request: u32, text: &str) {
        if !self.spend() {
            return;
        }
        let worker = &self.worker;
        match level {
            40.. => tracing::error!(target: "worker", %worker, request, "{text}"),
            30..40 => tracing::warn!(target: "worker", %worker, request, "{text}"),
            20..30 => tracing::info!(target: "worker", %worker, request, "{text}"),
            _ => tracing::debug!(target: "worker", %worker, request, "{text}"),
        }
    }
}
