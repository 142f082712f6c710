//! What is said once everything answers: the banner for people, the ready file
//! for programs.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use warmshard_config::placement::Routes;
use warmshard_config::shard_file::{Fleet as FleetSettings, Settings};
use warmshard_config::units::WorkerName;
use warmshard_config::wire::{ReadyFile, ReadyHost};

use crate::embedded;
use crate::fleet::Fleet;

/// Where the router listens, port 0 resolved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Addresses {
    pub(crate) data: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) tls: Option<SocketAddr>,
}

/// Prints the banner to stdout.
pub(crate) fn print(addresses: Addresses, fleet: &Fleet, settings: &Settings) {
    let workers = match &settings.fleet {
        FleetSettings::Embedded(embedded) => embedded::worker_names(&embedded.workers),
        FleetSettings::External(_) => Vec::new(),
    };
    let text = text(addresses, &fleet.all_up().unwrap_or_default(), &workers, &settings.routes);
    let mut stdout = io::stdout().lock();
    // Somebody who closed stdout does not want to read it.
    let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
}

fn text(addresses: Addresses, hosts: &[ReadyHost], workers: &[WorkerName], routes: &Routes) -> String {
    let mut text = String::from("\nwarmshard is ready\n\n");
    let mut row = |name: &str, what: String| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  {name:<8} {what}");
    };
    row("data", format!("http://{}", addresses.data));
    if let Some(tls) = addresses.tls {
        row("tls", format!("https://{tls}"));
    }
    row("admin", format!("http://{}  (/healthz /readyz /metrics /hosts)", addresses.admin));
    for host in hosts {
        let process = host.pid.map(|pid| format!("process {pid}, ")).unwrap_or_default();
        row(host.id.as_str(), format!("{process}http://{}", host.addr));
    }
    let lines: Vec<String> =
        workers.iter().filter_map(|worker| Some(curl(addresses.data, &routes.example(worker)?))).collect();
    if !lines.is_empty() {
        text.push_str("\nTry:\n");
        for line in lines {
            let _ = writeln!(text, "  {line}");
        }
    }
    text.push_str("\nCtrl-C stops everything.\n\n");
    text
}

/// A line to paste into a shell. Names below `localhost` reach this machine by
/// themselves; others are given as a header.
fn curl(data: SocketAddr, host: &str) -> String {
    let port = data.port();
    if host == "localhost" || host.ends_with(".localhost") {
        return format!("curl http://{host}:{port}/");
    }
    format!("curl -H 'Host: {host}' http://{data}/")
}

/// Writes the ready file if every host is up; otherwise leaves it as it is.
pub(crate) fn write_ready_file(path: &Path, addresses: Addresses, fleet: &Fleet) -> io::Result<()> {
    let Some(hosts) = fleet.all_up() else {
        return Ok(());
    };
    write(path, &ReadyFile { data: addresses.data, tls: addresses.tls, admin: addresses.admin, hosts })
}

/// Writes it anew whenever a host was restarted.
pub(crate) async fn keep_ready_file(path: PathBuf, addresses: Addresses, fleet: Arc<Fleet>) {
    let mut changes = fleet.changes();
    let mut written = fleet.all_up();
    while changes.changed().await.is_ok() {
        let hosts = fleet.all_up();
        if hosts.is_none() || hosts == written {
            continue;
        }
        if let Err(error) = write_ready_file(&path, addresses, &fleet) {
            tracing::error!(path = %path.display(), %error, "the ready file cannot be written");
        }
        written = hosts;
    }
}

/// A file of an earlier start must not be taken for this one's.
pub(crate) fn remove_ready_file(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Whoever sees the file sees all of it: it is renamed into place.
fn write(path: &Path, ready: &ReadyFile) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let mut file = tempfile::NamedTempFile::new_in(folder.unwrap_or(Path::new(".")))?;
    serde_json::to_writer(&mut file, ready)?;
    file.write_all(b"\n")?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use warmshard_config::health::Observation;
    use warmshard_config::placement::Route;
    use warmshard_config::units::HostId;

    use super::*;
    use crate::fleet::{Place, tests::fleet_of};

    fn addresses() -> Addresses {
        let [data, admin, tls] = [8080, 9090, 8443].map(|port| ([127, 0, 0, 1], port).into());
        Addresses { data, admin, tls: Some(tls) }
    }

    #[test]
    fn the_banner_has_processes_and_lines_to_paste() {
        let host = ReadyHost {
            id: HostId::parse("host-a").unwrap(),
            pid: Some(123),
            addr: ([127, 0, 0, 1], 40001).into(),
        };
        let workers = ["fastapi", "hello"].map(|name| WorkerName::parse(name).unwrap());
        let local = Route::of_host("{worker}.localhost".parse().unwrap(), None);
        let text = text(addresses(), &[host], &workers, &Routes(vec![local]));
        let expected = "
warmshard is ready

  data     http://127.0.0.1:8080
  tls      https://127.0.0.1:8443
  admin    http://127.0.0.1:9090  (/healthz /readyz /metrics /hosts)
  host-a   process 123, http://127.0.0.1:40001

Try:
  curl http://fastapi.localhost:8080/
  curl http://hello.localhost:8080/

Ctrl-C stops everything.

";
        assert_eq!(text, expected);
    }

    #[test]
    fn a_name_that_does_not_resolve_is_given_as_a_header() {
        let line = curl(addresses().data, "shop.example.com");
        assert_eq!(line, "curl -H 'Host: shop.example.com' http://127.0.0.1:8080/");
    }

    #[tokio::test]
    async fn the_ready_file_follows_restarts() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ready.json");
        let fleet = Arc::new(fleet_of(&["a"]));
        write_ready_file(&path, addresses(), &fleet).unwrap();
        assert!(!path.exists(), "no host is up yet");

        let host = Arc::clone(&fleet.roster().hosts()[0]);
        let keeper = tokio::spawn(keep_ready_file(path.clone(), addresses(), Arc::clone(&fleet)));
        tokio::task::yield_now().await;
        for port in [1, 2] {
            fleet.arrived(&host, Place { address: ([127, 0, 0, 1], port).into(), pid: Some(9) });
            fleet.observe(&host, Observation::ProbeSucceeded);
            let found = loop {
                let text = std::fs::read(&path).unwrap_or_default();
                match serde_json::from_slice::<ReadyFile>(&text) {
                    Ok(ready) if ready.hosts[0].addr.port() == port => break ready,
                    _ => tokio::task::yield_now().await,
                }
            };
            assert_eq!((found.data, found.hosts[0].pid), (addresses().data, Some(9)));
        }
        keeper.abort();
        remove_ready_file(&path).unwrap();
        remove_ready_file(&path).unwrap();
        assert!(!path.exists());
    }
}
