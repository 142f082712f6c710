//! Processes that are killed, and disks that are full: nothing half is ever seen, nothing is left behind.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};
use isolate_host::store::Store;
use rustix::process::Signal;
use system_tests::folders::{files_below, forget_deployments, own_cache};
use system_tests::{Ended, Host, Running, deploy, deploy_command, example, finish, wait_until};
use warmshard_config::units::WorkerName;

use crate::executable;

/// What a deploy prints when it begins something during which it is killed here.
const MOMENTS: [&str; 4] = [
    "run the top level of `hello` …",
    "store the deployment …",
    "prepare `hello` …",
    "compile `the memory image of hello` …",
];

/// Whether a worker is deployed and everything of it is what its names say.
fn is_deployed(folder: &Path) -> Result<bool> {
    let store = Store::open(folder)?;
    let name = WorkerName::parse("hello")?;
    let Some(id) = store.current(&name)? else { return Ok(false) };
    let record = store.record(&name, &id)?;
    store.verified(&record.files)?;
    store.verified(&record.snapshot)?;
    Ok(true)
}

/// Every blob of a store is what its name says, whoever was killed while writing.
fn assert_whole(store: &Path) -> Result<()> {
    for path in files_below(&store.join("blobs"))? {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if !name.starts_with('.') {
            let content = isolate_host::pyodide::code_cache::content_key(&std::fs::read(&path)?);
            assert_eq!(content, name, "half a blob is visible");
        }
    }
    Ok(())
}

fn leftovers(folders: &[&Path]) -> Result<Vec<PathBuf>> {
    let mut left = Vec::new();
    for folder in folders {
        let is_temporary = |path: &PathBuf| {
            path.components().any(|part| {
                let part = part.as_os_str().to_string_lossy();
                part.starts_with(".tmp") || part.starts_with("make-")
            })
        };
        let below = files_below(folder)?.into_iter();
        left.extend(below.filter(|path| is_temporary(&path.strip_prefix(folder).unwrap_or(path).to_owned())));
    }
    Ok(left)
}

#[test]
fn a_deploy_killed_at_any_moment_leaves_nothing_half_and_the_next_one_succeeds() -> Result<()> {
    // The packages and the runtime are made once, for all tests.
    assert!(deploy(executable(), &example("hello"), &system_tests::store())?.status.success());
    let folder = tempfile::tempdir()?;
    let temporary = folder.path().join("tmp");
    std::fs::create_dir(&temporary)?;
    let cache = own_cache(folder.path())?;
    let command = |store: &Path| {
        let mut command = deploy_command(executable(), &example("hello"), store);
        command.env("WARMSHARD_CACHE", &cache).env("TMPDIR", &temporary);
        command
    };
    let (mut stores, mut killed) = (Vec::new(), 0);
    for (number, moment) in MOMENTS.into_iter().enumerate() {
        // At the moment itself, and a little later, when files are being written.
        for later in [0, 40] {
            let store = folder.path().join(format!("store-{number}-{later}"));
            forget_deployments(&cache)?;
            let mut running = Running::start(command(&store), store.with_extension("log"))?;
            let mut ended = false;
            wait_until(Duration::from_secs(300), moment, || {
                ended = running.check_alive().is_err();
                Ok(ended || running.log().contains(moment))
            })?;
            std::thread::sleep(Duration::from_millis(later));
            if !ended && running.signal(Signal::KILL).is_ok() {
                killed += usize::from(running.wait(Duration::from_secs(20))?.code().is_none());
            }
            assert_whole(&store)?;
            // Either all of it is there or nothing; opening the store cleans up.
            is_deployed(&store)?;
            stores.push(store);
        }
    }
    assert!(killed >= MOMENTS.len(), "only {killed} deploys were killed before they ended");
    for store in &stores[..2] {
        let whole = finish(command(store))?;
        assert!(whole.status.success(), "{}", whole.stderr);
        assert!(is_deployed(store)?);
    }
    let folders: Vec<&Path> = stores.iter().map(PathBuf::as_path).chain([cache.as_path()]).collect();
    assert_eq!(leftovers(&folders)?, Vec::<PathBuf>::new());
    assert_eq!(files_below(&temporary)?, Vec::<PathBuf>::new());
    Ok(())
}

#[test]
fn a_host_killed_while_it_prepares_starts_again() -> Result<()> {
    let store = system_tests::store();
    assert!(deploy(executable(), &example("hello"), &store)?.status.success());
    let folder = tempfile::tempdir()?;
    let cache = own_cache(folder.path())?;
    let environment = cache.to_string_lossy().into_owned();
    let mut command = system_tests::program(executable(), "isolate-host");
    command.arg("serve").arg("--store").arg(&store);
    command.env("WARMSHARD_FLEET_KEY", "a-key-of-sixteen-letters").env("WARMSHARD_CACHE", &cache);
    forget_deployments(&cache)?;
    let mut running = Running::start(command, folder.path().join("log"))?;
    wait_until(Duration::from_secs(300), "the host to compile", || {
        running.check_alive()?;
        Ok(running.log().contains("compile `the memory image of"))
    })?;
    running.signal(Signal::KILL)?;
    running.wait(Duration::from_secs(20))?;
    let host = Host::start(executable(), &store, &[("WARMSHARD_CACHE", &environment)])?;
    assert_eq!(host.get("hello", "/")?.status, 200, "{}", host.process.log());
    assert_eq!(leftovers(&[&cache])?, Vec::<PathBuf>::new());
    Ok(())
}

/// The kernel refuses to make a file larger than so many blocks of 512 bytes, as a full disk
/// refuses to make it longer; the process is told by an error, not by a signal.
fn limited(command: &Command, blocks: u64) -> Command {
    let mut limited = Command::new("sh");
    limited.arg("-c").arg(format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" \"$@\""));
    limited.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            limited.env(name, value);
        }
    }
    limited
}

/// A file system of its own size in memory; unmounted when dropped. Only root can have one.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount(kilobytes: u32) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        succeed(
            Command::new("mount")
                .args(["-t", "tmpfs", "-o"])
                .arg(format!("size={kilobytes}k"))
                .args(["tmpfs"])
                .arg(folder.path()),
        )?;
        Ok(Self(folder))
    }

    fn resize(&self, kilobytes: u32) -> Result<()> {
        succeed(Command::new("mount").arg("-o").arg(format!("remount,size={kilobytes}k")).arg(self.0.path()))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}

fn succeed(command: &mut Command) -> Result<()> {
    let ended = command.output()?;
    ensure!(ended.status.success(), "{command:?}: {}", String::from_utf8_lossy(&ended.stderr));
    Ok(())
}

#[test]
fn a_disk_without_room_is_a_clear_error_and_harms_nothing() -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        // Straight to the terminal: the test harness keeps what is printed to itself.
        let told = "NOT TESTED: a disk without room, for only root can mount a small one; \
            `a_file_that_cannot_grow_is_a_clear_error_and_harms_nothing` tests limited files instead\n";
        std::io::Write::write_all(&mut std::io::stderr(), told.as_bytes())?;
        return Ok(());
    }
    const ENOUGH: u32 = 1 << 20;
    assert!(deploy(executable(), &example("hello"), &system_tests::store())?.status.success());
    // The store: too little for anything, for a good part of the snapshot, for the last of its 16 MB (the rest is holes).
    let store = SmallDisk::mount(4)?;
    for kilobytes in [8, 4000, 15_000] {
        store.resize(kilobytes)?;
        assert_no_room(&finish(deploy_command(executable(), &example("hello"), store.path()))?);
        assert_whole(store.path())?;
        assert!(!is_deployed(store.path())?);
    }
    store.resize(ENOUGH)?;
    let whole = finish(deploy_command(executable(), &example("hello"), store.path()))?;
    assert!(whole.status.success(), "{}", whole.stderr);
    assert!(is_deployed(store.path())?);
    assert_eq!(leftovers(&[store.path()])?, Vec::<PathBuf>::new());
    // Where the snapshot is written before it goes to the store.
    let (temporary, other_store) = (SmallDisk::mount(4000)?, tempfile::tempdir()?);
    let mut command = deploy_command(executable(), &example("hello"), other_store.path());
    command.env("TMPDIR", temporary.path());
    assert_no_room(&finish(command)?);
    assert!(!is_deployed(other_store.path())?);
    // The private cache, full once the runtime is there: what is compiled is not kept, and that is all.
    let roomy = tempfile::tempdir()?;
    let cache = own_cache(roomy.path())?;
    forget_deployments(&cache)?;
    let used: u64 =
        files_below(&cache)?.iter().map(|file| file.metadata().map_or(0, |found| found.len())).sum();
    let disk = SmallDisk::mount(u32::try_from(used / 1024)? + 2000)?;
    succeed(Command::new("cp").arg("-a").args([&cache, disk.path()]))?;
    let cache = disk.path().join("cache");
    let mut command = deploy_command(executable(), &example("hello"), other_store.path());
    command.env("WARMSHARD_CACHE", &cache);
    let deployed = finish(command)?;
    assert!(deployed.status.success(), "{}", deployed.stderr);
    assert!(deployed.stderr.contains("cannot keep the compiled code"), "{}", deployed.stderr);
    assert!(deployed.stderr.contains("No space left on device"), "{}", deployed.stderr);
    assert!(is_deployed(other_store.path())?);
    assert_eq!(leftovers(&[&cache])?, Vec::<PathBuf>::new());
    Ok(())
}

fn assert_no_room(ended: &Ended) {
    assert_eq!(ended.status.code(), Some(1), "{}{}", ended.stdout, ended.stderr);
    for expected in ["error: ", "No space left on device (os error 28)"] {
        assert!(ended.stderr.contains(expected), "no `{expected}` in:\n{}", ended.stderr);
    }
}

#[test]
fn a_file_that_cannot_grow_is_a_clear_error_and_harms_nothing() -> Result<()> {
    assert!(deploy(executable(), &example("hello"), &system_tests::store())?.status.success());
    let store = tempfile::tempdir()?;
    let command = deploy_command(executable(), &example("hello"), store.path());
    // Too little for anything, for the snapshot, for its copy in the store.
    for blocks in [1, 2000, 40_000] {
        let failed = finish(limited(&command, blocks))?;
        assert_eq!(failed.status.code(), Some(1), "{blocks}: {}{}", failed.stdout, failed.stderr);
        assert!(failed.stderr.contains("error: "), "{}", failed.stderr);
        assert!(failed.stderr.contains("File too large (os error 27)"), "{}", failed.stderr);
        assert_whole(store.path())?;
        assert!(!is_deployed(store.path())?);
    }
    let whole = finish(command)?;
    assert!(whole.status.success(), "{}", whole.stderr);
    assert!(is_deployed(store.path())?);
    assert_eq!(leftovers(&[store.path()])?, Vec::<PathBuf>::new());
    Ok(())
}
