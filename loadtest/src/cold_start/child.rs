//! A child in a process group of its own, which is gone when this value is.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use std::os::unix::process::CommandExt;

use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, kill_process, kill_process_group, test_kill_process_group, waitid,
};

/// How long the descendants of a killed child may take to disappear. Killed ones are gone
/// in no time, unless whoever inherited them does not reap.
const GROUP_GONE: Duration = Duration::from_secs(1);

/// What a child reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Input {
    Nothing,
    /// Nothing, but the end comes with the end of this process, however that comes: the one sign
    /// that even SIGKILL leaves.
    UntilWeEnd,
}

#[derive(Debug)]
pub(crate) struct ChildGroup {
    child: Child,
    pid: Pid,
    log: PathBuf,
}

impl ChildGroup {
    /// Starts it with both outputs in the file `log`.
    pub(crate) fn spawn(mut command: Command, input: Input, log: &Path) -> io::Result<Self> {
        let output = File::create(log)?;
        let stdin = match input {
            Input::Nothing => Stdio::null(),
            // Its other end stays in `child`, and is closed by the system when we are killed.
            Input::UntilWeEnd => Stdio::piped(),
        };
        command.stdin(stdin).stdout(output.try_clone()?).stderr(output).process_group(0);
        let child = command.spawn()?;
        let pid = Pid::from_child(&child);
        Ok(Self { child, pid, log: log.to_owned() })
    }

    /// Whether it has ended. It is not reaped by that: until it is, nobody else can get its
    /// process ID, so its group can be killed without a doubt.
    pub(crate) fn has_ended(&self) -> bool {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        !matches!(waitid(WaitId::Pid(self.pid), options), Ok(None))
    }

    /// Asks it to end, and waits so long for it.
    pub(crate) async fn terminate(&self, patience: Duration) {
        let deadline = Instant::now() + patience;
        // It may have ended by itself.
        let _ = kill_process(self.pid, Signal::TERM);
        while !self.has_ended() && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// The last lines it wrote.
    pub(crate) fn last_words(&self, lines: usize) -> String {
        let text = tail(&self.log, 16 * 1024).unwrap_or_default();
        let all: Vec<&str> = text.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }
}

impl Drop for ChildGroup {
    fn drop(&mut self) {
        // Errors mean that nothing is left to kill.
        let _ = kill_process_group(self.pid, Signal::KILL);
        let _ = self.child.wait();
        let deadline = Instant::now() + GROUP_GONE;
        while test_kill_process_group(self.pid).is_ok() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

fn tail(path: &Path, bytes: u64) -> io::Result<String> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(bytes)))?;
    let mut text = Vec::new();
    file.take(bytes).read_to_end(&mut text)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, folder: &Path) -> ChildGroup {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        ChildGroup::spawn(command, Input::Nothing, &folder.join("log")).unwrap()
    }

    async fn until(condition: impl Fn() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !condition() {
            assert!(Instant::now() < deadline, "the condition did not come true within 20 s");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    fn runs(pid: i32) -> bool {
        // A killed process whose new parent does not reap stays visible as a zombie.
        let status = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        !status.is_empty() && !status.contains(") Z ")
    }

    #[tokio::test]
    async fn grandchildren_go_with_the_child() {
        let folder = tempfile::tempdir().unwrap();
        let child = shell("sleep 600 & echo $!; wait", folder.path());
        until(|| !child.last_words(1).is_empty()).await;
        let grandchild: i32 = child.last_words(1).parse().unwrap();
        let pid = child.pid.as_raw_nonzero().get();
        assert!(runs(pid) && runs(grandchild));
        drop(child);
        assert!(!runs(pid));
        until(|| !runs(grandchild)).await;
    }

    #[tokio::test]
    async fn input_ends_with_us() {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("cat");
        command.arg("-");
        let mut child = ChildGroup::spawn(command, Input::UntilWeEnd, &folder.path().join("log")).unwrap();
        assert!(!child.has_ended());
        drop(child.child.stdin.take());
        until(|| child.has_ended()).await;
    }

    #[tokio::test]
    async fn an_end_is_noticed_and_its_last_words_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let child = shell("echo one; echo two >&2; echo three; exit 3", folder.path());
        until(|| child.has_ended()).await;
        assert!(child.has_ended(), "looking twice gives the same answer");
        assert_eq!(child.last_words(2), "two\nthree");
    }

    #[tokio::test]
    async fn a_child_may_end_in_its_own_way() {
        let folder = tempfile::tempdir().unwrap();
        let child =
            shell("trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.01; done", folder.path());
        until(|| child.last_words(1) == "up").await;
        child.terminate(Duration::from_secs(20)).await;
        assert!(child.has_ended());
        assert_eq!(child.last_words(1), "bye");
    }
}
