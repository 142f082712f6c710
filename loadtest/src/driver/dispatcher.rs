//! Hands out each job at its time, from a thread of its own: the timers of the async
//! runtime only count whole milliseconds, which is as long as a warm request takes.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;

use super::Run;
use super::board::Offer;
use super::lane::Lane;

/// How soon a stop is noticed.
const LONGEST_SLEEP: Duration = Duration::from_millis(50);

pub(super) fn spawn(run: Arc<Run>, runtime: Handle) -> io::Result<JoinHandle<()>> {
    thread::Builder::new().name("dispatcher".to_owned()).spawn(move || dispatch(&run, &runtime))
}

fn dispatch(run: &Arc<Run>, runtime: &Handle) {
    for arrival in run.plan.schedule.arrivals() {
        if !wait_until(run.start + arrival.due(), run) {
            break;
        }
        run.dispatched.fetch_add(1, Ordering::AcqRel);
        match run.board.offer(*arrival) {
            Offer::HandedOver => {}
            Offer::Queued => {
                run.queued.fetch_add(1, Ordering::Relaxed);
            }
            Offer::NewLane { lane, job, jobs } => {
                runtime.spawn(Lane::new(Arc::clone(run), lane, jobs).run(job));
            }
        }
    }
    run.all_dispatched.store(true, Ordering::Release);
    run.progress.notify_one();
}

/// False when the run is to stop before that.
fn wait_until(due: Instant, run: &Run) -> bool {
    loop {
        if run.stop.load(Ordering::Acquire) {
            return false;
        }
        let left = due.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return true;
        }
        thread::sleep(left.min(LONGEST_SLEEP));
    }
}
