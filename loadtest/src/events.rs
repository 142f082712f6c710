//! Scripted events of a real run: done to the fleet at their time, one after the other.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Method, Request};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Command;
use warmshard_config::units::{HostId, WorkerName};
use warmshard_config::wire::HostsReply;

use crate::client::{self, Body, Failure};
use crate::cold_start::CommandLine;
use crate::report::Happened;
use crate::scenario::{Action, Event, Scenario};
use crate::target::{BaseUrl, TargetError};

/// How long the router's admin listener may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long the command of an event may take.
const COMMAND_PATIENCE: Duration = Duration::from_secs(600);
const WORKER: &str = "{worker}";

/// Found before the first request is sent.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EventsError {
    #[error("the event `{event}` needs {needed}")]
    Needs { event: String, needed: &'static str },
    #[error("the command of the event `{event}` cannot be used: {reason}")]
    Command { event: String, reason: String },
    #[error("cannot read `{}` of the event `{event}`", file.display())]
    File { event: String, file: PathBuf, source: std::io::Error },
    #[error(transparent)]
    Admin(#[from] TargetError),
}

/// Something to do, with everything it needs.
#[derive(Debug)]
enum Deed {
    Run(Vec<CommandLine>),
    Kill { host: HostId, admin: SocketAddr },
    Drain { host: HostId, admin: SocketAddr },
    Replace { file: PathBuf, text: Bytes },
}

#[derive(Debug)]
pub(crate) struct Conductor {
    /// In the order they are due.
    deeds: Vec<(Duration, String, Deed)>,
}

impl Conductor {
    pub(crate) async fn new(
        scenario: &Scenario,
        admin: Option<&BaseUrl>,
        shard_file: Option<&Path>,
    ) -> Result<Self, EventsError> {
        let admin = match admin {
            Some(url) => Some(url.resolve().await?),
            None => None,
        };
        let deed = |event: &Event| {
            let deed = deed(&event.action, &scenario.workers, admin, shard_file)?;
            Ok((event.at, event.action.to_string(), deed))
        };
        Ok(Self { deeds: scenario.events.iter().map(deed).collect::<Result<_, EventsError>>()? })
    }

    /// Does everything at its time and tells what came of it.
    pub(crate) async fn conduct(self, start: Instant) -> Vec<Happened> {
        let mut happened = Vec::new();
        for (at, what, deed) in self.deeds {
            tokio::time::sleep_until((start + at).into()).await;
            let at_s = start.elapsed().as_secs_f64();
            let failure = deed.perform().await.err();
            let until_s = Some(start.elapsed().as_secs_f64());
            happened.push(Happened { at_s, until_s, what, failure });
        }
        happened
    }
}

fn deed(
    action: &Action,
    workers: &[WorkerName],
    admin: Option<SocketAddr>,
    shard_file: Option<&Path>,
) -> Result<Deed, EventsError> {
    let event = action.to_string();
    let needs = |needed| EventsError::Needs { event: event.clone(), needed };
    let parse = |command: &str| {
        CommandLine::parse(command)
            .map_err(|error| EventsError::Command { event: event.clone(), reason: error.to_string() })
    };
    match action {
        Action::Deploy { workers: chosen, command } => {
            let command = command.as_deref().ok_or_else(|| {
                needs(
                    "a `command` that deploys, such as `isolate-host deploy examples/hello --name {worker}`",
                )
            })?;
            if !command.contains(WORKER) {
                return Ok(Deed::Run(vec![parse(command)?]));
            }
            let each = chosen.as_deref().unwrap_or(workers);
            let commands = each.iter().map(|worker| parse(&command.replace(WORKER, worker.as_str())));
            Ok(Deed::Run(commands.collect::<Result<_, _>>()?))
        }
        Action::DrainHost { host, command: None } => {
            let admin = admin.ok_or_else(|| needs("--admin, to ask the router for it, or a `command`"))?;
            Ok(Deed::Drain { host: host.clone(), admin })
        }
        Action::AddHost { command, .. } | Action::DrainHost { command, .. } => {
            let command = command
                .as_deref()
                .ok_or_else(|| needs("a `command`; or change the membership with an event `shard-file`"))?;
            Ok(Deed::Run(vec![parse(command)?]))
        }
        Action::Run { command } => Ok(Deed::Run(vec![parse(command)?])),
        Action::KillHost { host } => {
            let admin = admin.ok_or_else(|| needs("--admin, to ask the router for the host's process"))?;
            Ok(Deed::Kill { host: host.clone(), admin })
        }
        Action::ShardFile { file } => {
            let text = std::fs::read(file).map_err(|source| EventsError::File {
                event: event.clone(),
                file: file.clone(),
                source,
            })?;
            let target = shard_file.ok_or_else(|| needs("--shard-file, the file the router has read"))?;
            Ok(Deed::Replace { file: target.to_owned(), text: text.into() })
        }
    }
}

impl Deed {
    /// Errors are for people: they go into the report.
    async fn perform(self) -> Result<(), String> {
        match self {
            Self::Run(commands) => {
                for command in commands {
                    run_command(&command).await?;
                }
                Ok(())
            }
            Self::Kill { host, admin } => kill(&host, admin).await,
            Self::Drain { host, admin } => {
                ask(admin, Method::POST, &format!("/drain?host={host}")).await.map(drop)
            }
            Self::Replace { file, text } => {
                replace(&file, &text).map_err(|error| format!("cannot write `{}`: {error}", file.display()))
            }
        }
    }
}

async fn run_command(line: &CommandLine) -> Result<(), String> {
    let mut command = Command::from(line.as_written());
    command.stdin(std::process::Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(COMMAND_PATIENCE, command.output())
        .await
        .map_err(|_| format!("`{}` took more than {:?}", line.text(), COMMAND_PATIENCE))?
        .map_err(|error| format!("cannot start `{}`: {error}", line.text()))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let last = said.trim().lines().next_back().unwrap_or_default().to_owned();
    Err(format!("`{}` ended with {}: {last}", line.text(), output.status))
}

/// Kills the process that the router says is this host's.
async fn kill(host: &HostId, admin: SocketAddr) -> Result<(), String> {
    let hosts = hosts(admin).await?;
    let found = hosts.hosts.iter().find(|view| view.id == *host);
    let view = found.ok_or_else(|| {
        let all: Vec<_> = hosts.hosts.iter().map(|view| view.id.as_str()).collect();
        format!("found no host `{host}`, expected one of {}", all.join(", "))
    })?;
    let pid = view.pid.and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?)).ok_or_else(|| {
        format!(
            "the router does not know the process of `{host}`: only hosts that it has started can be killed"
        )
    })?;
    kill_process(pid, Signal::KILL).map_err(|error| format!("cannot kill `{host}`: {error}"))
}

async fn hosts(admin: SocketAddr) -> Result<HostsReply, String> {
    let body = ask(admin, Method::GET, "/hosts").await?;
    serde_json::from_slice(&body).map_err(|error| format!("the answer to /hosts is not understood: {error}"))
}

/// The body of the admin listener's answer.
async fn ask(admin: SocketAddr, method: Method, path: &str) -> Result<Vec<u8>, String> {
    let mut request = Request::new(Body::default());
    *request.method_mut() = method;
    *request.uri_mut() = path.parse().map_err(|error| format!("`{path}`: {error}"))?;
    let name = http::HeaderValue::from_str(&admin.to_string()).map_err(|error| error.to_string())?;
    request.headers_mut().insert(http::header::HOST, name);
    let answer = tokio::time::timeout(PATIENCE, client::once(admin, request)).await;
    let (reply, body) = answer
        .unwrap_or(Err(Failure::Timeout))
        .map_err(|failure| format!("the admin listener at {admin} did not answer: {failure}"))?;
    if !reply.status.is_success() {
        let said = String::from_utf8_lossy(&body);
        return Err(format!(
            "the admin listener at {admin} answered {} to {path}: {}",
            reply.status,
            said.trim()
        ));
    }
    Ok(body)
}

/// Beside the file and renamed: the router never reads half of it.
fn replace(file: &Path, text: &[u8]) -> std::io::Result<()> {
    let folder = match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let mut beside = tempfile::NamedTempFile::new_in(folder)?;
    std::io::Write::write_all(&mut beside, text)?;
    if let Ok(old) = std::fs::metadata(file) {
        beside.as_file().set_permissions(old.permissions())?;
    }
    beside.persist(file)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::ScenarioFile;

    fn scenario(events: &str) -> Scenario {
        let text = format!("duration = \"10s\"\nworkers.names = [\"a\", \"b\"]\nload.rate = 1\n{events}");
        toml::from_str::<ScenarioFile>(&text).unwrap().resolve().unwrap()
    }

    async fn error(events: &str) -> String {
        Conductor::new(&scenario(events), None, None).await.unwrap_err().to_string()
    }

    #[tokio::test]
    async fn what_an_event_needs_is_known_before_the_run() {
        let kill = "[[events]]\nat = \"1s\"\naction = \"kill-host\"\nhost = \"host-a\"";
        assert!(error(kill).await.contains("`kill host-a` needs --admin"));
        assert!(error("[[events]]\nat = \"1s\"\naction = \"deploy\"").await.contains("needs a `command`"));
        let broken = "[[events]]\nat = \"1s\"\naction = \"run\"\ncommand = \"x 'y\"";
        assert!(error(broken).await.contains("matching quotes"));
        let file = "[[events]]\nat = \"1s\"\naction = \"shard-file\"\nfile = \"/nowhere/x.toml\"";
        assert!(error(file).await.contains("`/nowhere/x.toml`"));
    }

    #[tokio::test]
    async fn events_happen_and_failures_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let touch = |name: &str| format!("touch {}/{name}", folder.path().display());
        let events = format!(
            "[[events]]\nat = \"20ms\"\naction = \"deploy\"\ncommand = \"{}-{{worker}}\"\n\
             [[events]]\nat = \"10ms\"\naction = \"run\"\ncommand = \"false\"\n",
            touch("deployed"),
        );
        let conductor = Conductor::new(&scenario(&events), None, None).await.unwrap();
        let happened = conductor.conduct(Instant::now()).await;
        assert!(happened[0].failure.as_ref().unwrap().contains("`false` ended with"), "{happened:?}");
        assert_eq!((happened[1].what.as_str(), &happened[1].failure), ("deploy all workers", &None));
        assert!(happened[1].at_s >= 0.02);
        assert!(folder.path().join("deployed-a").exists() && folder.path().join("deployed-b").exists());
    }

    #[tokio::test]
    async fn a_shard_file_is_replaced_whole() {
        let folder = tempfile::tempdir().unwrap();
        let (old, new) = (folder.path().join("old.toml"), folder.path().join("new.toml"));
        std::fs::write(&old, "old").unwrap();
        std::fs::write(&new, "new").unwrap();
        let events =
            format!("[[events]]\nat = \"1ms\"\naction = \"shard-file\"\nfile = \"{}\"", new.display());
        let conductor = Conductor::new(&scenario(&events), None, Some(&old)).await.unwrap();
        assert_eq!(conductor.conduct(Instant::now()).await[0].failure, None);
        assert_eq!(std::fs::read_to_string(&old).unwrap(), "new");
    }
}
