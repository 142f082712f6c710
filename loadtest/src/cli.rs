//! The command line: what can be asked for, each default with its reason.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use http::{Method, Uri};
use warmshard_config::units::{WorkerName, parse_duration};

use crate::report::Condition;
use crate::scenario::{Connection, ScenarioError, ScenarioFile};
use crate::schedule::Rate;
use crate::simulate::PolicyName;
use crate::target::{BaseUrl, HostPattern, parse_path};

const RUN_EXAMPLES: &str = "\
Examples:
  200 requests a second for 10 seconds, spread over two workers of a local router:
    loadtest run --target http://127.0.0.1:8080 --workers fastapi,hello --rate 200 --duration 10s

  Poisson arrivals, report also as JSON (fields: loadtest/REPORTS.md) and as a page with plots:
    loadtest run --target http://127.0.0.1:8080 --workers hello --rate 500 --duration 1m \\
      --arrivals poisson --seed 7 --json report.json --html report.html

  A scenario (keys: docs/load-testing.md); more than 0.01 % cold starts are a failure:
    loadtest run --target http://127.0.0.1:8080 --scenario burst.toml --fail-if 'cold_rate>0.0001'

The load is open loop: the schedule is fixed before the first request, and latency is counted from
the moment a request was meant to start, so a server that stalls cannot hide it. Ctrl-C prints the
report so far.

Exit status:
  0  done
  1  every request failed, or the run could not be done
  2  wrong arguments
  3  a --fail-if condition holds
  4  --strict, and the run is not valid";

const SIMULATE_EXAMPLES: &str = "\
Examples:
  What a fleet of 100 hosts would do with a day like Azure's, every policy beside the others:
    loadtest simulate --hosts 100 --scenario day.toml

  The hosts and policies of a shard file:
    loadtest simulate --shard-file config/dev.toml --scenario day.toml --policies ours,strict

Nothing is sent: hosts and time are simulated; placement, refusal, width, pool and eviction are the
code that routers and hosts run. The same seed gives the same report.

Exit status: as for `loadtest run`; --fail-if is about the first policy.";

const COMPARE_EXAMPLES: &str = "\
Examples:
  Before and after a change:
    loadtest compare before.json after.json

A difference is beyond noise when the 95 % intervals of the two runs do not overlap. They hold what
chance does within a run; how much two runs differ by themselves shows when a run is repeated.";

const COLD_START_EXAMPLES: &str = "\
Examples:
  Forced cold starts through a router and two hosts, which are started for it:
    loadtest cold-start --worker examples/fastapi --runs 300

  The same, each run followed by a native server started from nothing:
    loadtest cold-start --worker examples/fastapi --runs 300 \\
      --versus '.venv/bin/uvicorn native_app:app --port {port}' --json cold-start.json

  Against a fleet that already runs and has the worker:
    loadtest cold-start --worker examples/fastapi --runs 100 \\
      --target http://127.0.0.1:8080 --admin http://127.0.0.1:9090

Every run first drops all isolates of the worker, then times one request over a new connection, from
before connect() to the last byte of the answer. An answer that does not say `cold` makes the whole
measurement invalid. The native server is timed from before its process is created to the last byte of
its first successful answer. Figures are only meaningful for release builds.";

/// Load tests for warmshard that measure the cold-start rate
#[derive(Debug, Parser)]
#[command(name = "loadtest", version)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Send an open-loop load and report latency, cold-start rate and errors
    #[command(after_help = RUN_EXAMPLES)]
    Run(Box<RunArgs>),
    /// Run a load through fleets that do not exist, under one policy or several
    #[command(after_help = SIMULATE_EXAMPLES)]
    Simulate(Box<SimulateArgs>),
    /// Say what changed from one report to another
    #[command(after_help = COMPARE_EXAMPLES)]
    Compare(CompareArgs),
    /// Measure forced cold starts, side by side with a native server process
    #[command(after_help = COLD_START_EXAMPLES)]
    ColdStart(Box<ColdStartArgs>),
}

#[derive(Debug, Args)]
pub struct RunArgs {
    /// Where the router listens, as `http://HOST:PORT` or `https://HOST:PORT`
    #[arg(long, value_name = "URL")]
    pub target: BaseUrl,

    #[command(flatten)]
    pub load: LoadArgs,

    /// Path and query to ask for [default: that of --target]
    #[arg(long, value_parser = parse_path)]
    pub path: Option<Uri>,

    /// Request method [default: GET]
    #[arg(long)]
    pub method: Option<Method>,

    /// Body to send with every request
    #[arg(long, value_name = "TEXT")]
    pub body: Option<String>,

    /// Whether connections are used again [default: keep-alive]
    #[arg(long, value_enum)]
    pub connection: Option<Connection>,

    /// The `Host` header; the connection goes to --target whatever it says
    #[arg(long, value_name = "PATTERN", default_value = "{worker}.localhost")]
    pub host_pattern: HostPattern,

    /// The most connections, and so requests in flight; a run that needs more is reported as invalid
    #[arg(long, alias = "max-in-flight", value_name = "N", default_value = "1024")]
    pub connections: NonZeroUsize,

    /// How long a request may take, counted from when it was meant to start
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = parse_duration)]
    pub timeout: Duration,

    /// Certificates that an https target's may be signed by, as PEM [default: this machine's]
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,

    /// Take any certificate of an https target's
    #[arg(long, conflicts_with = "ca")]
    pub insecure: bool,

    /// The router's admin listener; events that kill hosts need it
    #[arg(long, value_name = "URL")]
    pub admin: Option<BaseUrl>,

    /// The router's shard file; events that change it need it
    #[arg(long, value_name = "FILE")]
    pub shard_file: Option<PathBuf>,

    #[command(flatten)]
    pub output: OutputArgs,
}

/// A scenario, and flags that go before what it says.
#[derive(Debug, Clone, Default, Args)]
pub struct LoadArgs {
    /// A file that says all of this and more
    #[arg(long, value_name = "FILE")]
    pub scenario: Option<PathBuf>,

    /// Workers to send requests to
    #[arg(long, value_name = "NAME,…", value_delimiter = ',', value_parser = WorkerName::parse)]
    pub workers: Option<Vec<WorkerName>>,

    /// How requests are spread over the workers: `uniform`, `zipf` or `azure` [default: uniform]
    #[arg(long, value_name = "KIND")]
    pub popularity: Option<String>,

    /// Requests per second, over all workers
    #[arg(long, value_name = "N")]
    pub rate: Option<Rate>,

    /// How long to send, such as `10s` or `5m`
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub duration: Option<Duration>,

    /// How much of that comes first and is not counted
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub warmup: Option<Duration>,

    /// How requests follow one another: `constant`, `poisson`, `periodic`, `bursty` or `azure` [default: constant]
    #[arg(long, value_name = "KIND")]
    pub arrivals: Option<String>,

    /// Decides the arrivals and which worker each one is for [default: 1]
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,

    /// Replay this file of recorded requests (Azure 2019 or Ilúvatar)
    #[arg(long, value_name = "FILE")]
    pub trace: Option<PathBuf>,
}

impl LoadArgs {
    /// The scenario's file, if any, with what the flags say put over it.
    pub fn scenario(&self) -> Result<ScenarioFile, ScenarioError> {
        let mut file = match &self.scenario {
            Some(path) => ScenarioFile::read(path)?,
            None => ScenarioFile::default(),
        };
        let LoadArgs { scenario: _, workers, popularity, rate, duration, warmup, arrivals, seed, trace } =
            self.clone();
        if let Some(workers) = workers {
            (file.workers.names, file.workers.pattern, file.workers.count) = (Some(workers), None, None);
        }
        if let Some(trace) = trace {
            // As it is written here, not from the scenario's folder.
            file.load.trace = Some(std::path::absolute(&trace).unwrap_or(trace));
        }
        file.workers.popularity = popularity.or(file.workers.popularity);
        file.load.rate = rate.map(Rate::per_second).or(file.load.rate);
        file.load.arrivals = arrivals.or(file.load.arrivals);
        file.duration = duration.or(file.duration);
        file.warmup = warmup.or(file.warmup);
        file.seed = seed.or(file.seed);
        Ok(file)
    }
}

/// Where a report goes, and what it decides.
#[derive(Debug, Clone, Default, Args)]
pub struct OutputArgs {
    /// Write the report here as JSON, too
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,

    /// Write the report here as a page with plots, too
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,

    /// Exit with 3 when this holds, such as `cold_rate>0.0001` or `latency_ms.all.p99>50`; may be
    /// given more than once. A field that has no value holds
    #[arg(long, value_name = "CONDITION")]
    pub fail_if: Vec<Condition>,

    /// Exit with 4 when the run is not valid
    #[arg(long)]
    pub strict: bool,
}

#[derive(Debug, Args)]
pub struct SimulateArgs {
    /// The hosts, and what the routers go by
    #[arg(long, value_name = "FILE", required_unless_present = "hosts")]
    pub shard_file: Option<PathBuf>,

    /// So many hosts, instead of those of the shard file
    #[arg(long, value_name = "N")]
    pub hosts: Option<NonZeroUsize>,

    #[command(flatten)]
    pub load: LoadArgs,

    /// Policies to compare [default: all]
    #[arg(long, value_enum, value_name = "NAME,…", value_delimiter = ',')]
    pub policies: Vec<PolicyName>,

    #[command(flatten)]
    pub output: OutputArgs,
}

#[derive(Debug, Args)]
pub struct CompareArgs {
    /// A report that `--json` has written
    #[arg(value_name = "BEFORE.json")]
    pub before: PathBuf,

    #[arg(value_name = "AFTER.json")]
    pub after: PathBuf,

    /// Exit with 3 when this changed so, beyond noise: `cold_rate>1.1` is ten percent more of them
    #[arg(long, value_name = "CONDITION")]
    pub fail_if: Vec<Condition>,
}

#[derive(Debug, Args)]
pub struct ColdStartArgs {
    /// Folder of the worker (its name is read from it; the fleet deploys it when it has not yet)
    #[arg(long, value_name = "DIR")]
    pub worker: PathBuf,

    /// Cold starts to measure
    #[arg(long, value_name = "N", default_value = "100")]
    pub runs: NonZeroUsize,

    /// Runs of each kind before them that are not counted
    #[arg(long, value_name = "K", default_value_t = 3)]
    pub warmup: usize,

    /// Command of a native server to compare with; `{port}` in it becomes a free port. Run without a
    /// shell; `NAME=value` words in front set its environment
    #[arg(long, value_name = "COMMAND")]
    pub versus: Option<String>,

    /// Starts of the native server to measure [default: as many as --runs]
    #[arg(long, value_name = "M", requires = "versus")]
    pub versus_runs: Option<NonZeroUsize>,

    /// The native server's Python version, where it cannot be found out from the command
    #[arg(long, value_name = "VERSION", requires = "versus", env = "WARMSHARD_VERSUS_PYTHON")]
    pub versus_python: Option<String>,

    /// Path to ask for, of the worker and of the native server
    #[arg(long, default_value = "/", value_parser = parse_path)]
    pub path: Uri,

    /// How long one start may take
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = parse_duration)]
    pub timeout: Duration,

    /// Rest before each timed start, the same for both kinds: what the run before left behind has ended
    #[arg(long, value_name = "TIME", default_value = "20ms", value_parser = parse_duration)]
    pub pause: Duration,

    /// Write the result here as JSON, too
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,

    /// Command that starts the router [default: `router` beside this executable]
    #[arg(long, value_name = "COMMAND", conflicts_with_all = ["target", "admin"])]
    pub router: Option<String>,

    /// How long the router may take until it is ready: a first start downloads, compiles and deploys
    #[arg(long, value_name = "TIME", default_value = "30m", value_parser = parse_duration)]
    pub ready_timeout: Duration,

    /// Use the running router that listens here, instead of starting one
    #[arg(long, value_name = "URL", requires = "admin")]
    pub target: Option<BaseUrl>,

    /// The admin listener of that router
    #[arg(long, value_name = "URL", requires = "target")]
    pub admin: Option<BaseUrl>,

    /// The `Host` header that names the worker
    #[arg(long, value_name = "PATTERN", default_value = "{worker}.localhost")]
    pub host_pattern: HostPattern,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_examples_parse() {
        let arguments =
            "loadtest run --target http://127.0.0.1:8080 --workers fastapi,hello --rate 200 --duration 10s";
        let Command::Run(run) = Cli::parse_from(arguments.split(' ')).command else { panic!("not a run") };
        let scenario = run.load.scenario().unwrap().resolve().unwrap();
        assert_eq!(scenario.workers.iter().map(WorkerName::as_str).collect::<Vec<_>>(), ["fastapi", "hello"]);
        assert_eq!(scenario.schedule().unwrap().len(), 2000);
        let arguments = "loadtest cold-start --worker examples/fastapi --runs 300";
        let Command::ColdStart(cold) = Cli::parse_from(arguments.split(' ')).command else {
            panic!("not a cold start")
        };
        assert_eq!((cold.runs.get(), cold.warmup), (300, 3));
    }

    #[test]
    fn mistakes_are_named() {
        let error = |right: &str, wrong: &str| {
            let arguments = "loadtest run --target http://a --workers a --rate 1 --duration 1s --path / --timeout 5s \
                             --host-pattern {worker}";
            assert!(Cli::try_parse_from(arguments.split_whitespace()).is_ok());
            let arguments = arguments.replace(right, wrong);
            Cli::try_parse_from(arguments.split_whitespace()).unwrap_err().to_string()
        };
        assert!(error("{worker}", "localhost").contains("expected {worker} in it"));
        assert!(error("--rate 1", "--rate 0").contains("greater than 0"));
        assert!(error("--path /", "--path x").contains("start with `/`"));
        assert!(error("--timeout 5s", "--timeout 5").contains("number and a unit"));
        assert!(error("--workers a", "--workers A").contains("found `A` in the name"));
    }
}
