//! What is done to the fleet while requests are sent.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use warmshard_config::units::{HostId, WorkerName};

use super::shape::some_time;

/// Something that happens during a run.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(try_from = "EventTable")]
pub struct Event {
    /// After the start of the run, warm-up included.
    pub at: Duration,
    pub action: Action,
}

/// What happens. A real run needs the commands; the simulator does the rest by itself.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// New versions of these workers, or of all of them; `command` makes one, `{worker}` in it
    /// being the worker's name
    Deploy {
        workers: Option<Vec<WorkerName>>,
        command: Option<String>,
    },
    AddHost {
        host: HostId,
        command: Option<String>,
    },
    /// No new requests; what is in flight ends
    DrainHost {
        host: HostId,
        command: Option<String>,
    },
    /// The host's process is killed
    KillHost {
        host: HostId,
    },
    /// This file's content becomes that of the router's shard file
    ShardFile {
        file: PathBuf,
    },
    /// Any other command, run without a shell
    Run {
        command: String,
    },
}

/// An event as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct EventTable {
    #[serde(deserialize_with = "some_time")]
    at: Duration,
    action: String,
    host: Option<HostId>,
    workers: Option<Vec<WorkerName>>,
    command: Option<String>,
    file: Option<PathBuf>,
}

const ACTIONS: &str = "`deploy`, `add-host`, `drain-host`, `kill-host` with `host`, `shard-file` with `file`, or `run` with `command`";

impl TryFrom<EventTable> for Event {
    type Error = String;

    fn try_from(table: EventTable) -> Result<Self, String> {
        let EventTable { at, action, host, workers, command, file } = table;
        let action = match (action.as_str(), host, workers, command, file) {
            ("deploy", None, workers, command, None) => Action::Deploy { workers, command },
            ("add-host", Some(host), None, command, None) => Action::AddHost { host, command },
            ("drain-host", Some(host), None, command, None) => Action::DrainHost { host, command },
            ("kill-host", Some(host), None, None, None) => Action::KillHost { host },
            ("shard-file", None, None, None, Some(file)) => Action::ShardFile { file },
            ("run", None, None, Some(command), None) => Action::Run { command },
            _ => {
                return Err(format!(
                    "found the action `{action}` with keys that do not fit, expected {ACTIONS}"
                ));
            }
        };
        Ok(Self { at, action })
    }
}

impl std::fmt::Display for Action {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Deploy { workers: None, .. } => f.write_str("deploy all workers"),
            Self::Deploy { workers: Some(workers), .. } if workers.len() > 3 => {
                write!(f, "deploy {} workers", workers.len())
            }
            Self::Deploy { workers: Some(workers), .. } => {
                let names: Vec<_> = workers.iter().map(WorkerName::as_str).collect();
                write!(f, "deploy {}", names.join(", "))
            }
            Self::AddHost { host, .. } => write!(f, "add {host}"),
            Self::DrainHost { host, .. } => write!(f, "drain {host}"),
            Self::KillHost { host } => write!(f, "kill {host}"),
            Self::ShardFile { file } => write!(f, "shard file {}", file.display()),
            Self::Run { command } => write!(f, "run {command}"),
        }
    }
}
