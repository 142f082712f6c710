//! Requests as they were recorded: a trace file in one of two public formats, told apart by
//! the first line.
//!
//! | format | a line |
//! |---|---|
//! | Azure Functions 2019 | `HashOwner,HashApp,HashFunction,Trigger,` and a count for each minute, 1 to 1440 |
//! | Ilúvatar | `func_name,invoke_time_ms`: one request |
//!
//! Azure's says in which minute a request came, not when in it: they are spread over the
//! minute at random. Functions become workers in the order of their requests, most first.

use std::collections::HashMap;
use std::io;
use std::path::Path;

use super::Arrival;
use super::random::Random;

#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    #[error("cannot read the trace `{file}`")]
    Read { file: String, source: io::Error },
    #[error("`{file}` is not a table of commas")]
    Table { file: String, source: csv::Error },
    #[error(
        "found the columns `{found}` in `{file}`, expected `HashOwner,HashApp,HashFunction,Trigger,1,2,…` (Azure 2019) \
         or `func_name,invoke_time_ms` (Ilúvatar)"
    )]
    Columns { file: String, found: String },
    #[error("found `{found}` in line {line} of `{file}`, expected {expected}")]
    Value { file: String, line: u64, found: String, expected: &'static str },
    #[error("the trace `{file}` has no request between its start and the end of the run")]
    Empty { file: String },
    #[error("found more than {most} requests in the trace `{file}`; replay less of it")]
    TooMany { file: String, most: usize },
}

/// Which part of a trace is replayed, and how fast.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Part {
    /// Seconds of the trace that are left out first.
    pub start_s: f64,
    /// How long the run is, in seconds of the run.
    pub duration_s: f64,
    /// Seconds of the trace in one second of the run.
    pub speed: f64,
}

/// A trace, ready to be replayed.
#[derive(Debug, Clone, PartialEq)]
pub struct Trace {
    /// The functions' names, most requests first: the n-th is the n-th worker.
    pub functions: Vec<String>,
    /// In the order they are due.
    pub arrivals: Vec<Arrival>,
}

impl Trace {
    pub fn read(path: &Path, part: Part, seed: u64, most: usize) -> Result<Self, TraceError> {
        let file = path.display().to_string();
        let read = |source| TraceError::Read { file: file.clone(), source };
        Self::parse(&file, std::fs::File::open(path).map_err(read)?, part, seed, most)
    }

    fn parse(
        file: &str,
        text: impl io::Read,
        part: Part,
        seed: u64,
        most: usize,
    ) -> Result<Self, TraceError> {
        let mut table = csv::ReaderBuilder::new().flexible(true).trim(csv::Trim::All).from_reader(text);
        let broken = |source| TraceError::Table { file: file.to_owned(), source };
        let columns = table.headers().map_err(broken)?.clone();
        let mut calls = Calls { part, most, file, functions: HashMap::new(), all: Vec::new() };
        match (columns.get(0), columns.get(1), columns.get(2)) {
            (Some("func_name"), Some("invoke_time_ms"), _) => {
                for row in table.records() {
                    calls.invocation(&row.map_err(broken)?)?;
                }
            }
            (Some("HashOwner"), _, Some("HashFunction")) => {
                for (index, row) in table.records().enumerate() {
                    calls.per_minute(&row.map_err(broken)?, &mut Random::of(seed, index as u64))?;
                }
            }
            _ => {
                let found = columns.iter().take(6).collect::<Vec<_>>().join(",");
                return Err(TraceError::Columns { file: file.to_owned(), found });
            }
        }
        calls.sorted()
    }
}

/// What is read so far.
struct Calls<'a> {
    part: Part,
    most: usize,
    file: &'a str,
    functions: HashMap<String, u32>,
    /// Nanoseconds of the run, and the function in order of appearance.
    all: Vec<(u64, u32)>,
}

impl Calls<'_> {
    fn invocation(&mut self, row: &csv::StringRecord) -> Result<(), TraceError> {
        let time = row.get(1).unwrap_or_default();
        let at: f64 =
            time.parse().ok().filter(|at: &f64| at.is_finite() && *at >= 0.0).ok_or_else(|| {
                self.wrong(row, time, "the time of a request in milliseconds, such as `1500`")
            })?;
        self.call(row.get(0).unwrap_or_default(), at / 1000.0)
    }

    fn per_minute(&mut self, row: &csv::StringRecord, random: &mut Random) -> Result<(), TraceError> {
        let name = [0, 1, 2].map(|column| row.get(column).unwrap_or_default()).join("/");
        for (minute, count) in row.iter().skip(4).enumerate() {
            if count == "0" || count.is_empty() {
                continue;
            }
            let calls: u32 = count
                .parse()
                .map_err(|_| self.wrong(row, count, "how many requests came in a minute, such as `3`"))?;
            for _ in 0..calls {
                self.call(&name, 60.0 * (minute as f64 + random.uniform()))?;
            }
        }
        Ok(())
    }

    /// A request at this second of the trace.
    fn call(&mut self, function: &str, at: f64) -> Result<(), TraceError> {
        let at = (at - self.part.start_s) / self.part.speed;
        if !(0.0..self.part.duration_s).contains(&at) {
            return Ok(());
        }
        if self.all.len() == self.most {
            return Err(TraceError::TooMany { file: self.file.to_owned(), most: self.most });
        }
        let next = self.functions.len() as u32;
        let function = match self.functions.get(function) {
            Some(&known) => known,
            None => *self.functions.entry(function.to_owned()).or_insert(next),
        };
        self.all.push(((at * 1e9) as u64, function));
        Ok(())
    }

    fn wrong(&self, row: &csv::StringRecord, found: &str, expected: &'static str) -> TraceError {
        let line = row.position().map_or(0, csv::Position::line);
        TraceError::Value { file: self.file.to_owned(), line, found: found.to_owned(), expected }
    }

    fn sorted(mut self) -> Result<Trace, TraceError> {
        if self.all.is_empty() {
            return Err(TraceError::Empty { file: self.file.to_owned() });
        }
        self.all.sort_unstable();
        let mut counts = vec![0u64; self.functions.len()];
        self.all.iter().for_each(|&(_, function)| counts[function as usize] += 1);
        let mut order: Vec<u32> = (0..counts.len() as u32).collect();
        order.sort_by_key(|&function| (std::cmp::Reverse(counts[function as usize]), function));
        let mut worker_of = vec![0u32; order.len()];
        order.iter().enumerate().for_each(|(worker, &function)| worker_of[function as usize] = worker as u32);
        let mut functions = vec![String::new(); order.len()];
        for (name, function) in self.functions {
            functions[worker_of[function as usize] as usize] = name;
        }
        let arrival =
            |&(due_ns, function): &(u64, u32)| Arrival { due_ns, worker: worker_of[function as usize] };
        Ok(Trace { functions, arrivals: self.all.iter().map(arrival).collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: Part = Part { start_s: 0.0, duration_s: 86_400.0, speed: 1.0 };

    fn parse(text: &str, part: Part) -> Result<Trace, TraceError> {
        Trace::parse("trace.csv", text.as_bytes(), part, 1, 1000)
    }

    #[test]
    fn iluvatars_format_is_one_request_a_line() {
        let trace = parse("func_name,invoke_time_ms\nb,1500\na,20\nb,0\n", WHOLE).unwrap();
        assert_eq!(trace.functions, ["b", "a"]);
        let found: Vec<_> = trace.arrivals.iter().map(|call| (call.due_ns, call.worker)).collect();
        assert_eq!(found, [(0, 0), (20_000_000, 1), (1_500_000_000, 0)]);
    }

    #[test]
    fn azures_format_is_a_count_for_each_minute() {
        let text = "HashOwner,HashApp,HashFunction,Trigger,1,2,3\no,a,f,http,0,2,0\no,a,g,timer,1,1,1\n";
        let trace = parse(text, WHOLE).unwrap();
        assert_eq!(trace.functions, ["o/a/g", "o/a/f"]);
        let minutes: Vec<_> =
            trace.arrivals.iter().map(|call| (call.due_ns / 60_000_000_000, call.worker)).collect();
        assert_eq!(minutes.len(), 5);
        assert_eq!(minutes.iter().filter(|found| **found == (1, 1)).count(), 2);
        assert!(trace.arrivals.is_sorted_by_key(|call| call.due_ns));
        assert_eq!(parse(text, WHOLE).unwrap(), trace, "the same seed, the same moments");
    }

    #[test]
    fn a_part_can_be_replayed_faster() {
        let text = "func_name,invoke_time_ms\na,1000\na,61000\na,121000\n";
        let trace = parse(text, Part { start_s: 60.0, duration_s: 1.0, speed: 60.0 }).unwrap();
        assert_eq!(trace.arrivals.len(), 1);
        assert_eq!(trace.arrivals[0].due_ns, 16_666_666);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let error = |text: &str| parse(text, WHOLE).unwrap_err().to_string();
        assert!(error("a,b\n1,2\n").contains("found the columns `a,b`"));
        assert!(error("").contains("found the columns ``"));
        assert!(error("func_name,invoke_time_ms\na,soon\n").contains("`soon` in line 2"));
        assert!(error("func_name,invoke_time_ms\n").contains("no request"));
        let header = "HashOwner,HashApp,HashFunction,Trigger,1\n";
        assert!(error(&format!("{header}o,a,f,http,-4\n")).contains("`-4` in line 2"));
        assert!(error(&format!("{header}o,a,f,http,4000\n")).contains("more than 1000"));
    }
}
