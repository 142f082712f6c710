//! What events did to the cold starts: how many more there were, and for how long.

use serde::Serialize;

use crate::measure::{Interval, Slice, Timeline};

/// An event as it happened.
#[derive(Debug, Clone, PartialEq)]
pub struct Happened {
    /// Seconds after the start of the run.
    pub at_s: f64,
    /// When it was over; none while it is not.
    pub until_s: Option<f64>,
    pub what: String,
    /// Why it did not work.
    pub failure: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EventReport {
    pub at_s: f64,
    pub until_s: Option<f64>,
    pub what: String,
    pub failure: Option<String>,
    /// The cold rate from the event before, or the start, to this event.
    pub before: Option<f64>,
    /// The highest cold rate of a slice until the next event, or the end.
    pub peak: Option<f64>,
    /// Cold starts in that time beyond what the rate before would have given.
    pub extra_cold: f64,
    /// From the event to the last slice above what was usual before; none if there was none.
    pub recovered_after_s: Option<f64>,
}

pub(super) fn reports(mut happened: Vec<Happened>, timeline: &Timeline) -> Vec<EventReport> {
    happened.sort_by(|a, b| a.at_s.total_cmp(&b.at_s));
    let starts: Vec<usize> = happened.iter().map(|event| slice_at(timeline, event.at_s)).collect();
    let report = |(index, event): (usize, Happened)| {
        let from = if index == 0 { 0 } else { starts[index - 1] };
        let to = starts.get(index + 1).copied().unwrap_or(timeline.slices().len());
        // The slice an event is in holds requests from before it, too.
        judge(event, &timeline.slices()[from..starts[index]], &timeline.slices()[starts[index]..to], timeline)
    };
    happened.into_iter().enumerate().map(report).collect()
}

fn slice_at(timeline: &Timeline, at_s: f64) -> usize {
    timeline.index(std::time::Duration::from_secs_f64(at_s.max(0.0)))
}

fn judge(event: Happened, before: &[Slice], after: &[Slice], timeline: &Timeline) -> EventReport {
    let sum = |slices: &[Slice]| {
        slices.iter().fold((0, 0), |(cold, of), slice| (cold + slice.cold, of + slice.labelled))
    };
    let (cold_before, of_before) = sum(before);
    let usual = Interval::of_share(cold_before, of_before);
    let (cold, of) = sum(after);
    let rate = usual.map_or(0.0, |usual| usual.rate);
    // A slice counts as above the usual when that is beyond chance.
    let high = usual.map_or(0.0, |usual| usual.high);
    let above =
        |slice: &Slice| Interval::of_share(slice.cold, slice.labelled).is_some_and(|found| found.low > high);
    let last = after.iter().rposition(above);
    let peak = after
        .iter()
        .filter(|slice| slice.labelled > 0)
        .map(|slice| slice.cold as f64 / slice.labelled as f64)
        .max_by(f64::total_cmp);
    let first = slice_at(timeline, event.at_s);
    let recovered_after_s = last.map(|last| {
        let end = (first + last + 1) as f64 * timeline.length().as_secs_f64();
        ((end - event.at_s) * 1000.0).round() / 1000.0
    });
    let extra_cold = ((cold as f64 - rate * of as f64) * 10.0).round() / 10.0;
    let Happened { at_s, until_s, what, failure } = event;
    let before = usual.map(|usual| usual.rate);
    EventReport { at_s, until_s, what, failure, before, peak, extra_cold, recovered_after_s }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn happened(at_s: f64) -> Happened {
        Happened { at_s, until_s: Some(at_s), what: "kill host-a".to_owned(), failure: None }
    }

    /// A run of 240 s in slices of one second: 1000 requests in each, so many of them cold.
    fn timeline(cold: impl Fn(usize) -> u64) -> Timeline {
        let mut timeline = Timeline::new(Duration::from_secs(240));
        for index in 0..timeline.slices().len() {
            let slice = timeline.slice_mut(index);
            (slice.requests, slice.labelled, slice.cold) = (1000, 1000, cold(index));
        }
        timeline
    }

    #[test]
    fn a_spike_and_its_end_are_seen() {
        let timeline = timeline(|second| if (100..107).contains(&second) { 200 } else { 1 });
        let report = &reports(vec![happened(100.0)], &timeline)[0];
        assert_eq!(report.before, Some(0.001));
        assert_eq!(report.peak, Some(0.2));
        assert_eq!(report.recovered_after_s, Some(7.0));
        assert_eq!(report.extra_cold, 7.0 * 199.0);
    }

    #[test]
    fn what_did_nothing_has_no_recovery() {
        let timeline = timeline(|second| (second % 2) as u64);
        let report = &reports(vec![happened(100.0)], &timeline)[0];
        assert_eq!(report.recovered_after_s, None);
        assert_eq!(report.extra_cold, 0.0);
    }

    #[test]
    fn each_event_is_judged_until_the_next_one() {
        let timeline = timeline(|second| if (150..160).contains(&second) { 300 } else { 0 });
        let both = reports(vec![happened(150.0), happened(100.0)], &timeline);
        assert_eq!((both[0].at_s, both[0].peak), (100.0, Some(0.0)));
        assert_eq!((both[1].at_s, both[1].recovered_after_s), (150.0, Some(10.0)));
    }
}
