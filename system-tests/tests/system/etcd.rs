//! Membership from a real etcd: taken, changed, gone, wiped, restarted.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use reqwest::Method;
use rustix::process::Signal;
use system_tests::{HostProcess, RoutedFleet, Running, deploy, example, failed, store, wait_until};

use crate::executable;

const KEY: &str = "a-fleet-key-of-the-system-tests";

/// etcd's program: Debian's package `etcd-server`, or what WARMSHARD_ETCD names.
fn program() -> Result<PathBuf> {
    let named = std::env::var_os("WARMSHARD_ETCD").map(PathBuf::from);
    let tools = system_tests::root().join("target/tools/etcd/usr/bin/etcd");
    let in_path = std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())
        .map(|folder| folder.join("etcd"))
        .find(|path| path.is_file());
    named.or(in_path).or_else(|| tools.is_file().then_some(tools)).context(
        "found no etcd, expected `etcd` in PATH, in target/tools (run `make tools`) or named by WARMSHARD_ETCD",
    )
}

/// An etcd with a folder and addresses of its own.
struct Etcd {
    running: Running,
    folder: PathBuf,
    client: String,
    peer: String,
}

/// Free right now; etcd cannot take port 0.
fn free_address() -> Result<String> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string())
}

impl Etcd {
    fn start(folder: &Path) -> Result<Self> {
        let (client, peer) = (format!("http://{}", free_address()?), format!("http://{}", free_address()?));
        let folder = folder.join("etcd");
        let running = launch(&folder, &client, &peer)?;
        let mut etcd = Self { running, folder, client, peer };
        etcd.until_healthy()?;
        Ok(etcd)
    }

    fn until_healthy(&mut self) -> Result<()> {
        let (client, running) = (reqwest::blocking::Client::new(), &mut self.running);
        let address = format!("{}/health", self.client);
        wait_until(Duration::from_secs(60), "etcd to answer", || {
            running.check_alive()?;
            Ok(client
                .get(&address)
                .send()
                .is_ok_and(|answer| answer.text().is_ok_and(|text| text.contains("true"))))
        })
        .with_context(|| self.running.log())
    }

    fn kill(&mut self) -> Result<()> {
        self.running.signal(Signal::KILL)?;
        self.running.wait(Duration::from_secs(20)).map(drop)
    }

    fn restart(&mut self) -> Result<()> {
        self.running = launch(&self.folder, &self.client, &self.peer)?;
        self.until_healthy()
    }

    /// Everything in it is lost.
    fn wipe(&mut self) -> Result<()> {
        self.kill()?;
        std::fs::remove_dir_all(&self.folder)?;
        self.restart()
    }

    /// What the JSON gateway answers.
    fn call(&self, path: &str, body: &str) -> Result<String> {
        let client = reqwest::blocking::Client::new();
        Ok(client
            .post(format!("{}{path}", self.client))
            .body(body.to_owned())
            .send()?
            .error_for_status()?
            .text()?)
    }
}

fn launch(folder: &Path, client: &str, peer: &str) -> Result<Running> {
    let mut command = Command::new(program()?);
    command
        .args(["--name", "one", "--data-dir"])
        .arg(folder)
        .args(["--listen-client-urls", client, "--advertise-client-urls", client])
        .args(["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer])
        .args(["--initial-cluster", &format!("one={peer}")])
        // Durability is not what is tested here.
        .arg("--unsafe-no-fsync");
    Running::start(command, folder.with_extension("log"))
}

fn membership(hosts: &[(&str, &str)]) -> String {
    let mut text = String::from("[placement]\nramp_steps = 1\n");
    for (id, address) in hosts {
        text.push_str(&format!("[[hosts]]\nid = \"{id}\"\naddress = \"{address}\"\n"));
    }
    text
}

/// Runs `router publish`.
fn publish(shard_file: &Path, hosts: &[(&str, &str)], more: &[&str]) -> Result<(bool, String)> {
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), membership(hosts))?;
    let output = Command::new(executable())
        .args(["router", "publish", "--config"])
        .arg(shard_file)
        .arg(file.path())
        .args(more)
        .env("SYSTEM_TEST_KEY", KEY)
        .output()?;
    let text = [output.stdout, output.stderr].concat();
    Ok((output.status.success(), String::from_utf8_lossy(&text).into_owned()))
}

fn rest(etcd: &Etcd) -> String {
    format!("[handoff]\nwait = \"1s\"\n[etcd]\nendpoints = [\"{}\"]\ntimeout = \"1s\"\n", etcd.client)
}

/// A shard file to publish with before any router runs.
fn shard_file(folder: &Path, rest: &str) -> Result<PathBuf> {
    let path = folder.join("publisher.toml");
    std::fs::write(&path, format!("[fleet]\nkey_env = \"SYSTEM_TEST_KEY\"\n{rest}"))?;
    Ok(path)
}

fn ids(fleet: &RoutedFleet) -> Result<Vec<String>> {
    let ring = fleet.admin(Method::GET, "/ring")?;
    let members = ring["members"].as_array().context("members")?;
    members.iter().map(|member| Ok(member["id"].as_str().context("an ID")?.to_owned())).collect()
}

fn until_hosts(fleet: &RoutedFleet, expected: &[&str]) -> Result<()> {
    wait_until(Duration::from_secs(30), "the membership to change", || Ok(ids(fleet)? == expected))
        .with_context(|| fleet.router.log())
}

fn hosts(ids: &[&str], folder: &Path) -> Result<Vec<HostProcess>> {
    let deployed = deploy(executable(), &example("hello"), &store())?;
    ensure!(deployed.status.success(), "{}", deployed.stderr);
    ids.iter().map(|id| HostProcess::start(executable(), id, "127.0.0.1:0", &[], folder)).collect()
}

#[test]
fn routers_follow_etcd_and_switch_at_the_same_moment() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut etcd = Etcd::start(folder.path())?;
    let rest = rest(&etcd);
    let publisher = shard_file(folder.path(), &rest)?;
    let hosts = hosts(&["a", "b", "c"], folder.path())?;
    let [a, b, c] = [0, 1, 2].map(|n| hosts[n].address.as_str());
    let two = [("a", a), ("b", b)];
    let (published, said) = publish(&publisher, &two, &[])?;
    ensure!(published, "{said}");

    let routers =
        [RoutedFleet::start(executable(), &[], &rest)?, RoutedFleet::start(executable(), &[], &rest)?];
    for router in &routers {
        assert_eq!(ids(router)?, ["a", "b"]);
        assert_eq!(router.get("hello", "/")?.status, 200);
    }
    let load = routers[0].load(&["hello"], 2);
    let three = [("a", a), ("b", b), ("c", c)];
    let (published, said) = publish(&publisher, &three, &["--wait", "3s"])?;
    ensure!(published, "{said}");
    let mut pending = Vec::new();
    for router in &routers {
        wait_until(Duration::from_secs(3), "the change to be coming", || {
            let ring = router.admin(Method::GET, "/ring")?;
            let coming = ring["pending"].clone();
            Ok(!coming.is_null() && {
                pending.push((coming["epoch"].clone(), coming["takes_effect_at"].clone()));
                true
            })
        })?;
    }
    assert_eq!(pending[0], pending[1], "the same epoch at the same moment");
    for router in &routers {
        until_hosts(router, &["a", "b", "c"])?;
        assert_eq!(router.admin(Method::GET, "/ring")?["epoch"], pending[0].0);
    }
    // A compaction ends watches that look back; changes go on being seen.
    let found = etcd.call("/v3/kv/range", "{\"key\":\"AA==\"}")?;
    let revision = found
        .split("\"revision\":\"")
        .nth(1)
        .and_then(|rest| rest.split('"').next())
        .context(found.clone())?;
    etcd.call("/v3/kv/compaction", &format!("{{\"revision\":\"{revision}\"}}"))?;
    etcd.kill()?;
    etcd.restart()?;
    let (published, said) = publish(&publisher, &two, &[])?;
    ensure!(published, "{said}");
    for router in &routers {
        until_hosts(router, &["a", "b"])?;
    }
    let outcomes = load.stop();
    assert!(failed(&outcomes).is_empty(), "{:?}", failed(&outcomes));
    Ok(())
}

#[test]
fn the_last_record_stays_while_etcd_is_gone_wiped_or_restarted() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut etcd = Etcd::start(folder.path())?;
    let copy = folder.path().join("copy.json");
    let rest = format!("{}copy = \"{}\"\n", rest(&etcd), copy.display());
    let publisher = shard_file(folder.path(), &rest)?;
    let hosts = hosts(&["a", "b"], folder.path())?;
    let [a, b] = [0, 1].map(|n| hosts[n].address.as_str());
    let (published, said) = publish(&publisher, &[("a", a), ("b", b)], &[])?;
    ensure!(published, "{said}");
    let fleet = RoutedFleet::start(executable(), &[], &rest)?;
    let load = fleet.load(&["hello"], 2);
    load.go_on_for(20)?;

    // Gone: everything goes on, and a router starts from its copy.
    etcd.kill()?;
    wait_until(Duration::from_secs(20), "the router to notice", || {
        Ok(fleet.router.log().contains("etcd does not answer"))
    })?;
    load.go_on_for(50)?;
    let second = RoutedFleet::start(executable(), &[], &rest)?;
    assert_eq!(ids(&second)?, ["a", "b"]);
    assert!(second.router.log().contains("starting with the copy"), "{}", second.router.log());
    assert_eq!(second.get("hello", "/")?.status, 200);

    // Back, as it was.
    etcd.restart()?;
    wait_until(Duration::from_secs(20), "etcd to be back", || {
        Ok(fleet.router.log().contains("etcd answers again"))
    })?;
    assert_eq!(ids(&fleet)?, ["a", "b"]);

    // Wiped: a fleet without hosts is not believed.
    etcd.wipe()?;
    let rejected = || fleet.admin(Method::GET, "/config").map(|config| config["record_rejected"].clone());
    wait_until(Duration::from_secs(30), "the record to be missed", || Ok(rejected()?.is_string()))?;
    assert!(rejected()?.to_string().contains("found no record"), "{}", rejected()?);
    assert_eq!(ids(&fleet)?, ["a", "b"]);
    load.go_on_for(50)?;

    // A surprisingly large change is refused, by whoever publishes and by routers, unless forced.
    let (published, said) = publish(&publisher, &[("a", a), ("b", b)], &[])?;
    ensure!(published, "{said}");
    wait_until(Duration::from_secs(30), "the record to be there again", || Ok(rejected()?.is_null()))?;
    let other = [("x", a), ("y", b)];
    let (published, said) = publish(&publisher, &other, &[])?;
    assert!(!published && said.contains("--force"), "{said}");
    let (published, said) = publish(&publisher, &other, &["--force"])?;
    ensure!(published, "{said}");
    until_hosts(&fleet, &["x", "y"])?;
    load.go_on_for(50)?;
    let outcomes = load.stop();
    assert!(failed(&outcomes).is_empty(), "{:?}\n{}", failed(&outcomes), fleet.router.log());
    Ok(())
}
