//! Progress as spinners and bars on a terminal.

use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::plain::ending;
use super::{Outcome, Progress, StepView};

/// How often a spinner turns.
const TICK: Duration = Duration::from_millis(100);

/// A finished step shorter than this leaves no line behind.
const WORTH_A_LINE: Duration = Duration::from_millis(500);

pub(super) struct Bars {
    all: MultiProgress,
}

impl Bars {
    pub(super) fn new() -> Self {
        Self { all: MultiProgress::new() }
    }
}

impl Progress for Bars {
    fn open(&self, what: &str) -> Box<dyn StepView> {
        let bar = self.all.add(ProgressBar::new_spinner());
        bar.set_style(style("{spinner} {prefix} {elapsed} {wide_msg}"));
        bar.set_prefix(what.to_owned());
        bar.enable_steady_tick(TICK);
        Box::new(Bar { all: self.all.clone(), bar, what: what.to_owned(), began: Instant::now() })
    }
}

struct Bar {
    all: MultiProgress,
    bar: ProgressBar,
    what: String,
    began: Instant,
}

impl StepView for Bar {
    fn total(&self, units: u64) {
        self.bar.set_length(units);
        self.bar.set_style(style("{spinner} {prefix} {bar:30} {percent:>3}% {elapsed} {wide_msg}"));
    }

    fn advance(&self, units: u64) {
        self.bar.inc(units);
    }

    fn note(&self, text: &str) {
        self.bar.set_message(printable(text));
    }

    fn end(&self, outcome: Outcome<'_>) {
        let took = self.began.elapsed();
        self.bar.finish_and_clear();
        self.all.remove(&self.bar);
        if took >= WORTH_A_LINE || outcome == Outcome::Abandoned {
            // A terminal that went away must not end the work it reports.
            let _ = self.all.println(ending(&self.what, outcome, took));
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner())
}

/// A note may quote a tool or a package: control characters must not reach the terminal.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_cannot_drive_the_terminal() {
        assert_eq!(printable("a\u{1b}[2Jb\nc"), "a [2Jb c");
    }
}
