//! The report of a run as a table.

use std::collections::BTreeMap;
use std::fmt;

use super::super::table::{Table, ms};
use super::RunReport;
use crate::measure::Summary;

impl fmt::Display for RunReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let requests = &self.requests;
        writeln!(f, "{}: {}", self.target, self.traffic)?;
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
        self.write_hosts(f)?;
        self.write_deciles(f)?;
        self.write_events(f)?;
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
        write_counts(f, "causes of cold starts", &self.causes)?;
        Ok(())
    }

    fn write_latencies(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new(["p50", "p90", "p99", "p99.9", "max", "mean", "n"]);
        let restore = [
            ("first byte", self.first_byte_ms.as_ref()),
            ("added hop", self.hop_ms.as_ref()),
            ("restore", self.restore_ms.as_ref()),
        ];
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

    fn write_hosts(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MOST: usize = 12;
        if self.hosts.is_empty() {
            return Ok(());
        }
        let mut table = Table::new(["requests", "cold"]);
        for (host, row) in self.hosts.iter().take(MOST) {
            table.row(host, [row.requests.to_string(), row.cold.to_string()]);
        }
        write!(f, "hosts")?;
        if let Some(ratio) = self.busiest_over_mean {
            write!(f, " (busiest over mean {ratio:.2})")?;
        }
        writeln!(f, ":\n{table}")?;
        if self.hosts.len() > MOST {
            writeln!(f, "  … and {} more\n", self.hosts.len() - MOST)?;
        }
        if let Some(evictions) = self.evictions {
            writeln!(f, "evictions: {evictions}")?;
        }
        Ok(())
    }

    fn write_deciles(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.deciles.iter().map(|decile| decile.workers).sum::<usize>() < 20 {
            return Ok(());
        }
        let mut table = Table::new(["workers", "requests", "cold", "cold %"]);
        for (tenth, decile) in self.deciles.iter().enumerate() {
            let rate = decile.cold_rate.map_or(String::new(), |rate| format!("{:.4}", rate * 100.0));
            let cells =
                [decile.workers.to_string(), decile.requests.to_string(), decile.cold.to_string(), rate];
            table.row(format!("{}", tenth + 1), cells);
        }
        writeln!(f, "workers by popularity, in tenths:\n{table}")
    }

    fn write_events(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for event in &self.events {
            let percent =
                |rate: Option<f64>| rate.map_or("?".to_owned(), |rate| format!("{:.3} %", rate * 100.0));
            write!(f, "at {:.1} s: {}: ", event.at_s, event.what)?;
            if let Some(failure) = &event.failure {
                writeln!(f, "FAILED: {failure}")?;
                continue;
            }
            write!(f, "cold rate {} before, {} at most", percent(event.before), percent(event.peak))?;
            match event.recovered_after_s {
                Some(seconds) => writeln!(
                    f,
                    ", back to usual after {seconds:.1} s with {:.0} more cold starts",
                    event.extra_cold
                )?,
                None => writeln!(f, ", never beyond the usual")?,
            }
        }
        Ok(())
    }

    fn write_generator(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(generator) = &self.generator
            && let Some(lag) = &generator.lag_ms
        {
            writeln!(
                f,
                "generator: p50 {} ms, p99 {} ms, at most {} ms late; {} connections opened",
                ms(lag.p50),
                ms(lag.p99),
                ms(lag.max),
                generator.connections_opened
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
