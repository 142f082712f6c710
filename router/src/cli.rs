//! The command line.

use std::ffi::OsString;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use warmshard_config::shard_file::{self, Settings};
use warmshard_config::units::{WorkerName, parse_duration};

use crate::embedded::HostProgram;
use crate::reload::Force;
use crate::shutdown::Leash;
use crate::{publish, server, shard_commands, surroundings, telemetry};

/// The first argument that makes this executable an isolate host instead.
pub(crate) const ISOLATE_HOST: &str = "isolate-host";

/// A shard file with problems, as clap has it for wrong arguments.
const WRONG_INPUT: u8 = 2;

/// Sends each worker's requests to the isolate host that keeps it warm.
///
/// With no argument it uses config/dev.toml: it starts two isolate hosts as child
/// processes, deploys the example workers and prints how to reach them.
/// Ctrl-C drains and stops everything.
#[derive(Debug, Parser)]
#[command(
    name = "router",
    version,
    args_conflicts_with_subcommands = true,
    after_help = "Environment:\n  \
        WARMSHARD_LOG         what to log to stderr: a level or a filter as `info,router=debug` [default: info]\n  \
        WARMSHARD_LOG_FORMAT  `json` for one JSON object on each line\n\n\
        Exit status:\n  0  stopped by SIGINT or SIGTERM, or nothing wrong\n  1  could not start\n  2  wrong arguments or shard file\n\n\
        Examples:\n  router\n  router --config /etc/warmshard/shard.toml\n  router check config/dev.toml\n  router plan shard.toml new.toml\n  router explain shard.toml fastapi"
)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    start: Start,
}

#[derive(Debug, clap::Args)]
struct Start {
    /// The shard file: listeners, routes, hosts, placement, limits [default: config/dev.toml]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Write addresses and hosts to this file as JSON once everything answers
    ///
    /// The file is written anew when a host was restarted.
    #[arg(long, value_name = "PATH")]
    ready_file: Option<PathBuf>,

    /// Take over from the router that was started with the same path, without refusing a connection
    ///
    /// When this router is ready, the one before it accepts no more and ends. Start the next
    /// version with the same path to replace this one.
    #[arg(long, value_name = "PATH")]
    upgrade_socket: Option<PathBuf>,

    /// Stop when standard input ends, as it does when the parent process dies
    #[arg(long)]
    exit_with_parent: bool,

    /// Start this executable as embedded isolate host instead of the router's own
    #[arg(long, value_name = "PROGRAM", hide = true)]
    isolate_host: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Check a shard file and print everything that is wrong with it
    Check {
        /// The shard file
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Say what changing from one shard file to another would move
    Plan {
        /// The shard file in use
        #[arg(value_name = "OLD")]
        old: PathBuf,
        /// The one to come
        #[arg(value_name = "NEW")]
        new: PathBuf,
    },
    /// Say which hosts a worker has, best first
    Explain {
        /// The shard file
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// The worker's name
        #[arg(value_name = "WORKER", value_parser = WorkerName::parse)]
        worker: WorkerName,
    },
    /// Put hosts and placement into etcd for every router to follow
    Publish {
        /// `[[hosts]]` and `[placement]` as in a shard file
        #[arg(value_name = "MEMBERSHIP")]
        membership: PathBuf,
        /// A router's shard file, whose `[etcd]` says where to
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// How long from now it takes effect [default: `handoff.wait` of the shard file]
        #[arg(long, value_name = "TIME", value_parser = parse_duration)]
        wait: Option<Duration>,
        /// Publish it however much it moves
        #[arg(long)]
        force: bool,
    },
    /// Print the reference of all keys of a shard file
    Reference {
        /// As JSON Schema, for editors
        #[arg(long)]
        json_schema: bool,
    },
}

/// Runs the command line; `args` come without the program's name.
pub(crate) fn run(mut args: Vec<OsString>) -> ExitCode {
    if args.first().is_some_and(|first| first == ISOLATE_HOST) {
        return run_isolate_host(args.split_off(1));
    }
    args.insert(0, "router".into());
    match Arguments::try_parse_from(args) {
        Ok(Arguments { command: Some(command), .. }) => look(command),
        Ok(Arguments { command: None, start }) => serve(start),
        Err(error) => {
            // Nothing can be done when even the usage cannot be printed.
            let _ = error.print();
            ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(WRONG_INPUT))
        }
    }
}

#[cfg(feature = "embedded")]
fn run_isolate_host(args: Vec<OsString>) -> ExitCode {
    isolate_host::run(args)
}

#[cfg(not(feature = "embedded"))]
fn run_isolate_host(_: Vec<OsString>) -> ExitCode {
    eprintln!("this router was built without isolate hosts: build it with the feature `embedded`");
    ExitCode::from(WRONG_INPUT)
}

/// The commands that print something and are done.
fn look(command: Command) -> ExitCode {
    let text = match command {
        Command::Check { file } => read(&file).map(|settings| shard_commands::check(&file, &settings) + "\n"),
        Command::Plan { old, new } => match (read(&old), read(&new)) {
            (Some(old), Some(new)) => Some(shard_commands::describe_plan(&old, &new)),
            _ => None,
        },
        Command::Publish { membership, config, wait, force } => {
            let Some(settings) = read(&config) else { return ExitCode::from(WRONG_INPUT) };
            let force = if force { Force::Yes } else { Force::No };
            match publish::publish(&settings, &membership, wait, force) {
                Ok(text) => Some(text),
                Err(error) => {
                    eprintln!("{}", describe(error.as_ref()));
                    return ExitCode::FAILURE;
                }
            }
        }
        Command::Explain { file, worker } => {
            read(&file).map(|settings| shard_commands::explain(&settings, &worker))
        }
        Command::Reference { json_schema: false } => Some(shard_file::markdown()),
        Command::Reference { json_schema: true } => Some(shard_file::json_schema()),
    };
    let Some(text) = text else {
        return ExitCode::from(WRONG_INPUT);
    };
    // Whoever closed stdout does not want to read it.
    let _ = std::io::stdout().write_all(text.as_bytes());
    ExitCode::SUCCESS
}

fn serve(start: Start) -> ExitCode {
    telemetry::start_logging();
    let file = start.config.unwrap_or_else(surroundings::default_shard_file);
    let (settings, text) = match surroundings::read_shard_file(&file) {
        Ok(read) => read,
        Err(problems) => {
            eprintln!("{problems}");
            return ExitCode::from(WRONG_INPUT);
        }
    };
    let program = start.isolate_host.map_or_else(HostProgram::own, |path| Ok(HostProgram::at(path)));
    let outcome = program.map_err(Into::into).and_then(|program| {
        let leash = if start.exit_with_parent { Leash::StandardInput } else { Leash::None };
        let (ready_file, upgrade_socket) = (start.ready_file, start.upgrade_socket);
        server::run(server::Start { file, text, settings, program, ready_file, upgrade_socket, leash })
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}", describe(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

fn read(file: &std::path::Path) -> Option<Settings> {
    let read = surroundings::read_shard_file(file).map(|(settings, _)| settings);
    read.inspect_err(|problems| eprintln!("{problems}")).ok()
}

/// An error and what caused it, each layer once.
fn describe(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = format!("error: {error}");
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!("\n  because: {error}"));
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_holds_together() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn arguments_are_read() {
        let parse = |args: &[&str]| Arguments::try_parse_from([&["router"], args].concat());
        assert!(parse(&[]).unwrap().command.is_none());
        let start = parse(&["--config", "a.toml", "--ready-file", "r.json"]).unwrap().start;
        assert!(!start.exit_with_parent);
        assert_eq!(start.config, Some("a.toml".into()));
        assert_eq!(start.ready_file, Some("r.json".into()));
        let Some(Command::Check { file }) = parse(&["check", "b.toml"]).unwrap().command else {
            panic!("a subcommand");
        };
        assert_eq!(file, PathBuf::from("b.toml"));
        assert!(parse(&["--nonsense"]).is_err());
    }
}
