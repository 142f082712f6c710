//! Progress as lines, for output that is not a terminal.

use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::{Outcome, Progress, StepView};

/// Writes a line when a step begins and, when it took a while, one when it ended.
pub(super) struct Lines<W> {
    out: Arc<Mutex<W>>,
}

impl<W: Write + Send> Lines<W> {
    pub(super) fn new(out: W) -> Self {
        Self { out: Arc::new(Mutex::new(out)) }
    }
}

impl<W: Write + Send + 'static> Progress for Lines<W> {
    fn open(&self, what: &str) -> Box<dyn StepView> {
        write_line(&self.out, &format!("{what} …"));
        Box::new(Line { out: Arc::clone(&self.out), what: what.to_owned(), began: Instant::now() })
    }
}

struct Line<W> {
    out: Arc<Mutex<W>>,
    what: String,
    began: Instant,
}

impl<W: Write + Send> StepView for Line<W> {
    fn total(&self, _units: u64) {}
    fn advance(&self, _units: u64) {}
    fn note(&self, _text: &str) {}

    fn end(&self, outcome: Outcome<'_>) {
        write_line(&self.out, &ending(&self.what, outcome, self.began.elapsed()));
    }
}

/// The line that tells how a step ended.
pub(super) fn ending(what: &str, outcome: Outcome<'_>, took: Duration) -> String {
    let seconds = took.as_secs_f64();
    match outcome {
        Outcome::Done("") => format!("{what}: done in {seconds:.1} s"),
        Outcome::Done(result) => format!("{what}: done in {seconds:.1} s, {result}"),
        Outcome::Abandoned => format!("{what}: given up after {seconds:.1} s"),
    }
}

/// Progress is a courtesy: a closed pipe must not end the work it reports.
fn write_line<W: Write>(out: &Mutex<W>, line: &str) {
    let mut out = out.lock().unwrap_or_else(PoisonError::into_inner);
    let _ = writeln!(out, "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Default)]
    struct Buffer(Arc<Mutex<Vec<u8>>>);

    impl Write for Buffer {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn shown(run: impl FnOnce(&dyn Progress)) -> String {
        let buffer = Buffer::default();
        run(&Lines::new(buffer.clone()));
        String::from_utf8(buffer.0.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn a_step_has_a_line_at_each_end() {
        let text = shown(|progress| progress.step("compile").done_with("22 MB"));
        assert!(text.starts_with("compile …\ncompile: done in 0."), "{text}");
        assert!(text.ends_with("s, 22 MB\n"), "{text}");
    }

    #[test]
    fn a_dropped_step_is_given_up() {
        let text = shown(|progress| drop(progress.step("compile")));
        assert!(text.contains("compile: given up"), "{text}");
    }
}
