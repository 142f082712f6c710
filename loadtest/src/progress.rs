//! One line on standard error that says how it is going. On a terminal it is redrawn in
//! place; elsewhere (a log, CI) a plain line is printed now and then.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// How often the line is brought up to date.
pub(crate) const EVERY: Duration = Duration::from_secs(1);
/// How often a line is printed where none can be redrawn.
const PRINT_EVERY: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(crate) struct Progress {
    bar: ProgressBar,
    plain: Option<Plain>,
}

#[derive(Debug)]
struct Plain {
    started: Instant,
    printed: Instant,
}

impl Progress {
    /// Progress towards `total` steps.
    pub(crate) fn towards(total: u64) -> Self {
        let style = ProgressStyle::with_template("{elapsed:>4} [{bar:24}] {pos}/{len} {msg}")
            .expect("the template is valid");
        Self::drawing(ProgressBar::new(total).with_style(style.progress_chars("=> ")))
    }

    /// Progress of something whose end is not known.
    pub(crate) fn waiting() -> Self {
        let style =
            ProgressStyle::with_template("{elapsed:>4} {spinner} {msg}").expect("the template is valid");
        Self::drawing(ProgressBar::new_spinner().with_style(style))
    }

    fn drawing(bar: ProgressBar) -> Self {
        bar.set_draw_target(ProgressDrawTarget::stderr_with_hz(4));
        let now = Instant::now();
        let plain = (!std::io::stderr().is_terminal()).then_some(Plain { started: now, printed: now });
        Self { bar, plain }
    }

    pub(crate) fn show(&mut self, position: u64, message: String) {
        if let Some(plain) = &mut self.plain
            && plain.printed.elapsed() >= PRINT_EVERY
        {
            plain.printed = Instant::now();
            let seconds = plain.started.elapsed().as_secs();
            match self.bar.length() {
                Some(total) => eprintln!("{seconds}s {position}/{total} {message}"),
                None => eprintln!("{seconds}s {message}"),
            }
        }
        self.bar.set_position(position);
        self.bar.set_message(message);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
