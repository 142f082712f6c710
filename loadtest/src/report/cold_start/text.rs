//! The report of forced cold starts as a table.

use std::fmt;

use super::super::table::{Table, ms};
use super::{ColdStartReport, Control, Ratio, Row};
use crate::measure::Spread;

impl fmt::Display for ColdStartReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "cold starts of `{}` (GET {})", self.worker, self.path)?;
        if self.interrupted {
            writeln!(f, "INTERRUPTED: these are the starts so far")?;
        }
        self.write_distributions(f)?;
        self.write_method(f)?;
        self.write_published(f)
    }
}

impl ColdStartReport {
    fn write_distributions(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new(["p50", "p90", "p99", "min", "max", "mean", "n"]);
        let rows = [
            ("warmshard cold start", self.cold),
            ("  of it the restore", self.restore),
            ("native process", self.versus),
        ];
        for (label, spread) in rows {
            if let Some(Spread { p50, p90, p99, min, max, n, mean }) = spread {
                table.row(label, [ms(p50), ms(p90), ms(p99), ms(min), ms(max), ms(mean), n.to_string()]);
            }
        }
        if table.is_empty() {
            return writeln!(f, "nothing was measured");
        }
        writeln!(f, "\nin ms:\n{table}")?;
        if let Some(Ratio { p50, p99 }) = self.ratio {
            writeln!(f, "the cold start is {p50:.1} times faster at p50, {p99:.1} times at p99\n")?;
        }
        Ok(())
    }

    fn write_method(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "cold start: all isolates evicted, then one request over a new connection through router and host, from\n  \
             before connect() to the last byte; each answer said `cold`"
        )?;
        if let Some(Control { command, python }) = &self.control {
            let python = python.as_deref().unwrap_or("of unknown version (name it with --versus-python)");
            writeln!(
                f,
                "native process: `{command}`, Python {python}, from before it is\n  started to the last byte of its first successful answer"
            )?;
        }
        if self.same_answer == Some(false) {
            writeln!(f, "NOTE: the two answers differ: they may not be the same program")?;
        }
        writeln!(
            f,
            "not counted: {} warm-up runs of each kind; {} ms of rest before each start",
            self.warmup, self.pause_ms
        )?;
        if self.build == "development" {
            writeln!(f, "NOTE: this is a development build; figures need a release build")?;
        }
        Ok(())
    }

    /// The article's table, with rows of our own that say so.
    fn write_published(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\nmean cold starts in seconds (a worker that imports httpx, fastapi and pydantic):\n")?;
        writeln!(f, "  {:<52} {:>10}  source", "platform", "mean")?;
        for Row { platform, mean_s, measured_here } in self.rows() {
            let source = if measured_here { "measured here" } else { "published, not measured here" };
            writeln!(f, "  {platform:<52} {mean_s:>10.4}  {source}")?;
        }
        Ok(())
    }
}
