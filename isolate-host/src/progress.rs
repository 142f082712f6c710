//! Tells a person what a long step is doing, without the step knowing how it is shown.
//!
//! Code that may take longer than a second takes a `&dyn Progress` and opens a
//! [`Step`] for each thing it does. On a terminal a step is a spinner or a bar,
//! elsewhere a line when it begins and a line when it ends.

mod plain;
mod terminal;

use std::io::IsTerminal;

/// Where steps are announced.
pub trait Progress: Send + Sync {
    /// Announces a step, such as ``compile `pydantic_core` ``; the view lives until the step ends.
    fn open(&self, what: &str) -> Box<dyn StepView>;
}

/// How one running step is shown; [`Step`] makes sure it is always ended.
pub trait StepView: Send + Sync {
    /// How much there is to do, in units of the step's own (bytes, files).
    fn total(&self, units: u64);
    /// That many more units are done.
    fn advance(&self, units: u64);
    /// What the step is at right now, such as a line of a tool's output.
    fn note(&self, text: &str);
    /// The step ended; called exactly once.
    fn end(&self, outcome: Outcome<'_>);
}

/// How a step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome<'a> {
    /// It did what it was to do; the text may add a figure such as `22 MB`.
    Done(&'a str),
    /// It was dropped before it was done: the error is told by whoever got it.
    Abandoned,
}

/// A step under way. Dropping it without [`Step::done`] shows it as abandoned.
pub struct Step {
    view: Box<dyn StepView>,
    ended: bool,
}

impl dyn Progress + '_ {
    /// Begins a step.
    pub fn step(&self, what: &str) -> Step {
        Step { view: self.open(what), ended: false }
    }
}

impl Step {
    /// Sets how many units there are in all.
    pub fn total(&self, units: u64) {
        self.view.total(units);
    }

    /// Reports that many more units as done.
    pub fn advance(&self, units: u64) {
        self.view.advance(units);
    }

    /// Shows what the step is at right now.
    pub fn note(&self, text: &str) {
        self.view.note(text);
    }

    /// Ends the step well.
    pub fn done(self) {
        self.done_with("");
    }

    /// Ends the step well, with a figure worth telling.
    pub fn done_with(mut self, result: &str) {
        self.ended = true;
        self.view.end(Outcome::Done(result));
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        if !self.ended {
            self.view.end(Outcome::Abandoned);
        }
    }
}

/// Progress for a person at standard error: bars on a terminal, plain lines elsewhere.
pub fn to_stderr() -> Box<dyn Progress> {
    if std::io::stderr().is_terminal() {
        Box::new(terminal::Bars::new())
    } else {
        Box::new(plain::Lines::new(std::io::stderr()))
    }
}

/// Shows nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn open(&self, _what: &str) -> Box<dyn StepView> {
        Box::new(Self)
    }
}

impl StepView for Silent {
    fn total(&self, _units: u64) {}
    fn advance(&self, _units: u64) {}
    fn note(&self, _text: &str) {}
    fn end(&self, _outcome: Outcome<'_>) {}
}

/// Announces steps in the log, for a process nobody watches (a serving host).
#[derive(Debug, Clone, Copy, Default)]
pub struct ToLog;

impl Progress for ToLog {
    fn open(&self, what: &str) -> Box<dyn StepView> {
        tracing::info!(step = what, "step begins");
        Box::new(LogStep { what: what.to_owned(), began: std::time::Instant::now() })
    }
}

struct LogStep {
    what: String,
    began: std::time::Instant,
}

impl StepView for LogStep {
    fn total(&self, _units: u64) {}
    fn advance(&self, _units: u64) {}
    fn note(&self, text: &str) {
        tracing::debug!(step = self.what, "{text}");
    }
    fn end(&self, outcome: Outcome<'_>) {
        let seconds = self.began.elapsed().as_secs_f64();
        match outcome {
            Outcome::Done(result) => tracing::info!(step = self.what, seconds, result, "step done"),
            Outcome::Abandoned => tracing::warn!(step = self.what, seconds, "step abandoned"),
        }
    }
}
