//! Deploys workers before the hosts start. `deploy` itself sees whether there is
//! anything to do.

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::Command;
use warmshard_config::units::WorkerName;
use warmshard_config::worker_config::{self, CONFIG_FILES, PROJECT_FILE, WorkerFiles};

use super::Embedded;

#[derive(Debug, thiserror::Error)]
pub(crate) enum DeployError {
    #[error("`deploy {}` cannot be started", folder.display())]
    Start { folder: PathBuf, source: std::io::Error },
    #[error("the worker in {} was not deployed ({status}); the reason is above", folder.display())]
    Failed { folder: PathBuf, status: ExitStatus },
}

impl Embedded {
    /// Deploys every worker of the shard file, one after the other: the first one
    /// may have to install the runtime, and their progress stays readable.
    pub(crate) async fn deploy(&self) -> Result<(), DeployError> {
        for folder in &self.settings.workers {
            tracing::info!(folder = %folder.display(), "deploying");
            let start = |source| DeployError::Start { folder: folder.clone(), source };
            let status = run(self.deploy_command(folder)).await.map_err(start)?;
            if !status.success() {
                return Err(DeployError::Failed { folder: folder.clone(), status });
            }
        }
        Ok(())
    }

    fn deploy_command(&self, folder: &Path) -> Command {
        let mut command = self.program.command();
        command.arg("deploy").arg(folder);
        if let Some(store) = &self.settings.store {
            command.arg("--store").arg(store);
        }
        // It would otherwise compete with the shell for the terminal's input.
        command.stdin(Stdio::null());
        command
    }
}

/// Runs to the end; dropping the future ends it and everything it started.
async fn run(mut command: Command) -> std::io::Result<ExitStatus> {
    let mut child = command.spawn()?;
    let mut group = Group(child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)));
    let status = child.wait().await;
    // Reaped: its ID may belong to somebody else from now on.
    group.0 = None;
    status
}

/// A process group that ends with this value.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // It may have ended just now, which is what is wanted.
            let _ = kill_process_group(group, Signal::TERM);
        }
    }
}

/// The names of the workers in these folders, for people to read.
pub(crate) fn worker_names(folders: &[PathBuf]) -> Vec<WorkerName> {
    folders.iter().filter_map(|folder| worker_name(folder)).collect()
}

/// `None` for a folder that is no worker; deploying it says why.
fn worker_name(folder: &Path) -> Option<WorkerName> {
    let read = |file: &str| std::fs::read_to_string(folder.join(file)).ok();
    let wrangler = CONFIG_FILES.iter().find_map(|&file| Some((file, read(file)?)));
    let pyproject = read(PROJECT_FILE);
    let files = WorkerFiles {
        wrangler: wrangler.as_ref().map(|(file, text)| (*file, text.as_str())),
        pyproject: pyproject.as_deref(),
        name: None,
    };
    Some(worker_config::resolve(files).ok()?.config.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn giving_up_ends_what_deploy_started() {
        let folder = tempfile::tempdir().unwrap();
        let mark = folder.path().join("pid");
        let mut command = Command::new("sh");
        // `sh` waits for a grandchild, as deploy does for the package installer.
        let script = format!("sleep 600 & echo $! > {0}.tmp; mv {0}.tmp {0}; wait", mark.display());
        command.args(["-c", &script]).process_group(0).kill_on_drop(true);
        let running = tokio::spawn(run(command));
        let pid: i32 = loop {
            match std::fs::read_to_string(&mark) {
                Ok(text) => break text.trim().parse().unwrap(),
                Err(_) => tokio::task::yield_now().await,
            }
        };
        running.abort();
        let _ = running.await;
        let pid = Pid::from_raw(pid).unwrap();
        while rustix::process::test_kill_process(pid).is_ok() && !is_zombie(pid) {
            tokio::task::yield_now().await;
        }
    }

    #[test]
    fn workers_are_named_as_their_files_say() {
        let folder = tempfile::tempdir().unwrap();
        let worker = folder.path().join("some-folder");
        std::fs::create_dir(&worker).unwrap();
        assert_eq!(worker_names(std::slice::from_ref(&worker)), []);
        let config = r#"{ "name": "shop", "main": "src/entry.py", "compatibility_date": "2026-01-01" }"#;
        std::fs::write(worker.join("wrangler.jsonc"), config).unwrap();
        assert_eq!(worker_names(&[worker]), [WorkerName::parse("shop").unwrap()]);
    }

    /// Ended, and only waiting for whoever inherited it.
    fn is_zombie(pid: Pid) -> bool {
        let path = format!("/proc/{}/stat", pid.as_raw_nonzero());
        std::fs::read_to_string(path).is_ok_and(|stat| stat.contains(") Z "))
    }
}
