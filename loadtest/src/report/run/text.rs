//! The report of a run as a table.

use std::collections::BTreeMap;
use std::fmt;

use super::super::table::{Table, ms};
use super::RunReport;
use crate::measure::Summary;

impl fmt::Display for RunReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let requests = &self.requests;
        let partly = if self.interrupted { ", interrupted" } else { "" };
        writeln!(
            f,
            "{} requests in {:.1} s ({:.1}/s succeeded{partly}), {} failed, {} unfinished of {} planned",
            requests.completed,
            self.elapsed_s,
            self.throughput_per_s,
            requests.failed,
            requests.unfinished,
            requests.planned,
        )?;
        self.write_starts(f)?;
        self.write_latencies(f)?;
        write_counts(f, "errors", &self.errors)?;
        write_counts(f, "hosts", &self.hosts)?;
        self.write_generator(f)
    }
}

impl RunReport {
    fn write_starts(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.cold_rate {
            Some(cold) => writeln!(
                f,
                "cold starts: {:.4} % ({} of {}; 95 % sure: {:.4} % to {:.4} %)",
                cold.rate * 100.0,
                cold.hits,
                cold.of,
                cold.low * 100.0,
                cold.high * 100.0
            )?,
            None => writeln!(f, "cold starts: unknown, no successful answer said how it started")?,
        }
        let seen = self.starts.iter().filter(|(_, count)| **count > 0);
        let seen: Vec<String> = seen.map(|(kind, count)| format!("{kind} {count}")).collect();
        if !seen.is_empty() {
            writeln!(f, "starts: {}", seen.join(", "))?;
        }
        Ok(())
    }

    fn write_latencies(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new(["p50", "p90", "p99", "p99.9", "max", "mean", "n"]);
        let restore = [("restore", self.restore_ms.as_ref())];
        for (label, summary) in self.latency_ms.named().into_iter().chain(restore) {
            if let Some(summary) = summary {
                table.row(label, cells(summary));
            }
        }
        if table.is_empty() {
            return Ok(());
        }
        writeln!(f, "\nlatency in ms, from the intended start to the last byte:\n{table}")
    }

    fn write_generator(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(lag) = &self.generator.lag_ms {
            writeln!(
                f,
                "generator: p50 {} ms, p99 {} ms, at most {} ms late; {} connections opened",
                ms(lag.p50),
                ms(lag.p99),
                ms(lag.max),
                self.generator.connections_opened
            )?;
        }
        for problem in &self.invalid_because {
            writeln!(f, "INVALID RUN: {problem}")?;
        }
        Ok(())
    }
}

fn cells(summary: &Summary) -> [String; 7] {
    let Summary { p50, p90, p99, p999, min: _, max, mean, n } = *summary;
    [ms(p50), ms(p90), ms(p99), ms(p999), ms(max), ms(mean), n.to_string()]
}

fn write_counts(f: &mut fmt::Formatter<'_>, what: &str, counts: &BTreeMap<String, u64>) -> fmt::Result {
    if counts.is_empty() {
        return Ok(());
    }
    let counts: Vec<String> = counts.iter().map(|(name, count)| format!("{name} {count}")).collect();
    writeln!(f, "{what}: {}", counts.join(", "))
}
