//! One child process: its output kept, its end certain.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

/// A process under way; ended when dropped.
pub struct Running {
    child: Child,
    log: PathBuf,
}

/// A process that has ended by itself.
#[derive(Debug)]
pub struct Ended {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

/// A command that runs one of the three programs in the tests' surroundings.
pub fn program(executable: &Path, name: &str) -> Command {
    let mut command = Command::new(executable);
    command
        .arg(name)
        .env("WARMSHARD_CACHE", crate::cache())
        .env("WARMSHARD_STORE", crate::store())
        .env("WARMSHARD_LOG", "info")
        .stdin(Stdio::null());
    command
}

/// Runs a command to its end.
pub fn finish(mut command: Command) -> Result<Ended> {
    let output = command.output().with_context(|| format!("cannot run {command:?}"))?;
    Ok(Ended {
        status: output.status,
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

impl Running {
    /// Starts a command with everything it prints going to `log`.
    pub fn start(mut command: Command, log: PathBuf) -> Result<Self> {
        let file = std::fs::File::create(&log).with_context(|| format!("cannot create {}", log.display()))?;
        command.stdout(file.try_clone()?).stderr(file);
        let child = command.spawn().with_context(|| format!("cannot start {command:?}"))?;
        Ok(Self { child, log })
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Everything it has printed so far.
    pub fn log(&self) -> String {
        let mut text = Vec::new();
        if let Ok(mut file) = std::fs::File::open(&self.log) {
            let _ = file.read_to_end(&mut text);
        }
        String::from_utf8_lossy(&text).into_owned()
    }

    /// Fails, with its output, when it has ended although it should run.
    pub fn check_alive(&mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            bail!("the process ended ({status}) and printed:\n{}", self.log());
        }
        Ok(())
    }

    pub fn signal(&self, signal: Signal) -> Result<()> {
        kill_process(Pid::from_child(&self.child), signal).context("cannot signal the process")
    }

    /// Waits for its end.
    pub fn wait(&mut self, most: Duration) -> Result<ExitStatus> {
        let mut ended = None;
        wait_until(most, "the process to end", || {
            ended = self.child.try_wait()?;
            Ok(ended.is_some())
        })?;
        ended.context("the process ended")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(Some(_))) {
            return;
        }
        let _ = self.signal(Signal::TERM);
        if self.wait(Duration::from_secs(20)).is_err() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Waits for a condition, looking often; fails when it takes longer than `most`.
pub fn wait_until(most: Duration, what: &str, mut met: impl FnMut() -> Result<bool>) -> Result<()> {
    let began = Instant::now();
    while !met()? {
        if began.elapsed() > most {
            bail!("waited {most:?} for {what}");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

/// Whether a process exists (and is not merely unreaped).
pub fn alive(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit(')').next().unwrap_or_default().trim_start().starts_with('Z'))
}

/// The most memory a process has had resident, in bytes.
pub fn peak_memory(pid: u32) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
    let kilobytes: u64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kilobytes * 1024)
}
