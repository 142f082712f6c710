//! Which lane takes the next job.

use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc;

use crate::schedule::Arrival;

/// One request to be sent now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Job {
    pub(super) arrival: Arrival,
    /// It had to wait because every connection was busy.
    pub(super) queued: bool,
}

/// What became of a job that was offered.
#[derive(Debug)]
pub(super) enum Offer {
    HandedOver,
    /// A new lane is to be started with this job, and gets further ones here.
    NewLane {
        lane: usize,
        job: Job,
        jobs: mpsc::Receiver<Job>,
    },
    Queued,
}

#[derive(Debug)]
pub(super) struct Board {
    limit: NonZeroUsize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    lanes: Vec<mpsc::Sender<Job>>,
    /// The one that became idle last is on top.
    idle: Vec<usize>,
    backlog: VecDeque<Job>,
}

impl Board {
    pub(super) fn new(limit: NonZeroUsize) -> Self {
        Self { limit, state: Mutex::default() }
    }

    pub(super) fn offer(&self, arrival: Arrival) -> Offer {
        let job = Job { arrival, queued: false };
        let mut state = self.state();
        while let Some(lane) = state.idle.pop() {
            // An idle lane's channel is empty; sending fails only if the lane is gone.
            if state.lanes[lane].try_send(job).is_ok() {
                return Offer::HandedOver;
            }
        }
        if state.lanes.len() < self.limit.get() {
            let (sender, jobs) = mpsc::channel(1);
            state.lanes.push(sender);
            return Offer::NewLane { lane: state.lanes.len() - 1, job, jobs };
        }
        state.backlog.push_back(Job { queued: true, ..job });
        Offer::Queued
    }

    /// What a lane that is done with its job does next; none: it is now idle and will be
    /// handed jobs through its channel.
    pub(super) fn next(&self, lane: usize) -> Option<Job> {
        let mut state = self.state();
        let job = state.backlog.pop_front();
        if job.is_none() {
            state.idle.push(lane);
        }
        job
    }

    /// Ends every idle lane, and drops what was waiting.
    pub(super) fn close(&self) {
        *self.state() = State::default();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrival(due_ns: u64) -> Arrival {
        Arrival { due_ns, worker: 0 }
    }

    #[test]
    fn lanes_are_opened_up_to_the_limit_and_then_jobs_queue() {
        let board = Board::new(NonZeroUsize::new(2).unwrap());
        assert!(matches!(board.offer(arrival(1)), Offer::NewLane { lane: 0, .. }));
        assert!(matches!(board.offer(arrival(2)), Offer::NewLane { lane: 1, .. }));
        assert!(matches!(board.offer(arrival(3)), Offer::Queued));
        assert_eq!(board.next(0), Some(Job { arrival: arrival(3), queued: true }));
        assert_eq!(board.next(0), None);
    }

    #[test]
    fn the_lane_that_became_idle_last_is_used_first() {
        let board = Board::new(NonZeroUsize::new(8).unwrap());
        let Offer::NewLane { jobs: mut first, .. } = board.offer(arrival(1)) else { panic!() };
        let Offer::NewLane { jobs: mut second, .. } = board.offer(arrival(2)) else { panic!() };
        assert_eq!(board.next(0), None);
        assert_eq!(board.next(1), None);
        assert!(matches!(board.offer(arrival(3)), Offer::HandedOver));
        assert!(first.try_recv().is_err());
        assert_eq!(second.try_recv().unwrap().arrival, arrival(3));
    }
}
