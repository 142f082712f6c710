//! One isolate host process: its pipes, its first line, its end.

use std::net::SocketAddr;
use std::process::{ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use warmshard_config::units::HostId;

#[derive(Debug, thiserror::Error)]
pub(crate) enum ChildError {
    #[error("isolate host `{host}` cannot be started")]
    Start { host: HostId, source: std::io::Error },
    #[error("isolate host `{host}` ended before it listened ({status}); its messages are above")]
    EndedEarly { host: HostId, status: String },
    #[error("isolate host `{host}` ended ({status})")]
    Ended { host: HostId, status: String },
}

/// A running isolate host.
#[derive(Debug)]
pub(super) struct HostProcess {
    host: HostId,
    child: Child,
    /// Held open: the host ends when it closes, which happens even when the router is killed.
    _alive: Option<ChildStdin>,
    output: Option<Lines<BufReader<ChildStdout>>>,
}

impl HostProcess {
    pub(super) fn start(mut command: Command, host: &HostId) -> Result<Self, ChildError> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let start = |source| ChildError::Start { host: host.clone(), source };
        let mut child = command.spawn().map_err(start)?;
        let _alive = child.stdin.take();
        let output = child.stdout.take().map(|stdout| BufReader::new(stdout).lines());
        Ok(Self { host: host.clone(), child, _alive, output })
    }

    pub(super) fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Waits for the line that says where it listens; what it prints later is logged.
    pub(super) async fn listening(&mut self) -> Result<SocketAddr, ChildError> {
        if let Some(mut output) = self.output.take() {
            while let Ok(Some(line)) = output.next_line().await {
                if let Some(address) = address_in(&line) {
                    tokio::spawn(log_output(self.host.clone(), output));
                    return Ok(address);
                }
                tracing::info!(host = %self.host, "{line}");
            }
        }
        let status = self.child.wait().await;
        Err(ChildError::EndedEarly { host: self.host.clone(), status: describe(status) })
    }

    /// Waits for its end. Dropping the future is fine.
    pub(super) async fn ended(&mut self) -> ChildError {
        let status = self.child.wait().await;
        ChildError::Ended { host: self.host.clone(), status: describe(status) }
    }

    /// Asks it to drain and end.
    pub(super) fn terminate(&self) {
        if let Some(pid) = self.running() {
            // It may have ended just now, which is what is wanted.
            let _ = kill_process(pid, Signal::TERM);
        }
    }

    /// Ends it and everything it started, and reaps it.
    pub(super) async fn kill(&mut self) {
        if let Some(pid) = self.running() {
            let _ = kill_process_group(pid, Signal::KILL);
        }
        let _ = self.child.wait().await;
    }

    /// `None` once it was reaped: then its ID may belong to somebody else.
    fn running(&self) -> Option<Pid> {
        Pid::from_raw(i32::try_from(self.child.id()?).ok()?)
    }
}

/// The address in `isolate-host ID listening on ADDRESS`.
fn address_in(line: &str) -> Option<SocketAddr> {
    let (_, address) = line.split_once(" listening on ")?;
    address.trim().parse().ok()
}

async fn log_output(host: HostId, mut output: Lines<BufReader<ChildStdout>>) {
    while let Ok(Some(line)) = output.next_line().await {
        tracing::info!(%host, "{line}");
    }
}

fn describe(status: std::io::Result<ExitStatus>) -> String {
    status.map_or_else(|error| error.to_string(), |status| status.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]).process_group(0).kill_on_drop(true);
        command
    }

    fn host() -> HostId {
        HostId::parse("host-a").unwrap()
    }

    #[test]
    fn the_address_is_read_from_the_promised_line() {
        let found = address_in("isolate-host host-a listening on 127.0.0.1:40001");
        assert_eq!(found, Some(([127, 0, 0, 1], 40001).into()));
        assert_eq!(address_in("starting"), None);
        assert_eq!(address_in("x listening on port 3"), None);
    }

    #[tokio::test]
    async fn a_host_listens_until_it_is_asked_to_end() {
        let script = "echo warming up; echo isolate-host host-a listening on 127.0.0.1:7; cat";
        let mut process = HostProcess::start(shell(script), &host()).unwrap();
        assert_eq!(process.listening().await.unwrap().port(), 7);
        assert!(process.pid().is_some());
        process.terminate();
        assert!(process.ended().await.to_string().contains("signal: 15"));
        assert_eq!(process.pid(), None);
    }

    #[tokio::test]
    async fn a_host_that_ends_early_says_so() {
        let mut process = HostProcess::start(shell("exit 3"), &host()).unwrap();
        let error = process.listening().await.unwrap_err();
        assert!(error.to_string().contains("ended before it listened (exit status: 3)"), "{error}");
    }

    #[tokio::test]
    async fn a_host_that_does_not_end_is_killed() {
        let script = "trap '' TERM; echo x listening on 127.0.0.1:7; while :; do sleep 1; done";
        let mut process = HostProcess::start(shell(script), &host()).unwrap();
        process.listening().await.unwrap();
        process.terminate();
        process.kill().await;
        assert_eq!(process.pid(), None);
    }

    #[tokio::test]
    async fn a_host_notices_that_the_router_is_gone() {
        let script = "echo x listening on 127.0.0.1:7; cat; exit 5";
        let mut process = HostProcess::start(shell(script), &host()).unwrap();
        process.listening().await.unwrap();
        process._alive = None;
        assert!(process.ended().await.to_string().contains("exit status: 5"));
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let _entered = runtime.enter();
        let error = HostProcess::start(Command::new("/no/such/program"), &host()).unwrap_err();
        assert_eq!(error.to_string(), "isolate host `host-a` cannot be started");
    }
}
