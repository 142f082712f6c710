//! From the tree to [`Settings`]: every section is looked at, whatever the
//! others had wrong.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use toml::de::{DeTable, DeValue};

use super::problem::{Problem, Problems, line_of};
use super::reader::{self, File, Fit, Misfit, Table};
use super::settings::{Embedded, ExternalHost, Fleet, Listen, PlacementPolicy, Settings, Timeouts};
use super::{Surroundings, shape};
use crate::health::HealthPolicy;
use crate::placement::{HostPattern, Member, Ring, Route, Routes};
use crate::units::{FleetKey, HostId, Weight, WorkerName};

/// `None` only when there are problems; there may be problems all the same.
pub(super) fn resolve<'t>(
    text: &'t str,
    root: &'t DeTable<'t>,
    base: &Path,
    surroundings: &dyn Surroundings,
    problems: &mut Problems,
) -> Option<Settings> {
    let file = &mut File::new(text, root, problems);
    let listen = listen(file);
    let routes = routes(file);
    let fleet = fleet(file, base, surroundings);
    let placement = placement(file);
    let health = health(file);
    let timeouts = timeouts(file);
    let key = key(file, base, surroundings);
    if let Some(Fleet::External(_)) = fleet
        && key == Some(None)
    {
        missing_key(file);
    }
    Some(Settings { listen, routes, fleet: fleet?, placement, health, timeouts, key: key? })
}

fn listen(file: &mut File<'_, '_>) -> Listen {
    let table = file.table(&shape::LISTEN);
    let local = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let data = table.get(file, "data", reader::address).unwrap_or(local(8080));
    let admin = table.get(file, "admin", loopback).unwrap_or(local(9090));
    if data == admin && data.port() != 0 {
        file.problems.push(Problem {
            line: table.line,
            key: "listen.admin".to_owned(),
            found: format!("{admin}, which is `listen.data` as well"),
            expected: "two different addresses".to_owned(),
            hint: None,
        });
    }
    Listen { data, admin }
}

fn loopback(value: &DeValue<'_>) -> Fit<SocketAddr> {
    let address = reader::address(value)?;
    if address.ip().is_loopback() {
        return Ok(address);
    }
    Err(Misfit::because(&"the admin API asks for no password, so it stays on this machine"))
}

fn routes(file: &mut File<'_, '_>) -> Routes {
    let tables = file.tables(&shape::ROUTES);
    if tables.is_empty() {
        let host = "{worker}.localhost".parse().expect("a valid pattern");
        return Routes(vec![Route { host, worker: None }]);
    }
    let mut routes = Vec::new();
    for table in &tables {
        let host = table.required(file, "host", reader::parsed::<HostPattern>);
        let worker = table.get(file, "worker", worker_name);
        let Some(host) = host else { continue };
        // A worker that is written down but wrong has been reported already.
        let names_worker = table.node("worker").is_some();
        if host.names_worker() == names_worker {
            let found = if names_worker {
                "a worker and a host name with `{worker}`"
            } else {
                "a host name without `{worker}` and no worker"
            };
            file.problems.push(Problem {
                line: table.line,
                key: table.path.clone(),
                found: found.to_owned(),
                expected: "one of the two to say which worker is meant".to_owned(),
                hint: None,
            });
        }
        routes.push(Route { host, worker });
    }
    Routes(routes)
}

fn worker_name(value: &DeValue<'_>) -> Fit<WorkerName> {
    WorkerName::parse(reader::text(value)?).map_err(|error| Misfit::because(&error))
}

fn host_id(value: &DeValue<'_>) -> Fit<HostId> {
    HostId::parse(reader::text(value)?).map_err(|error| Misfit::because(&error))
}

fn fleet(file: &mut File<'_, '_>, base: &Path, surroundings: &dyn Surroundings) -> Option<Fleet> {
    let external = external_hosts(file);
    let table = file.table(&shape::EMBEDDED);
    let embedded = embedded(file, &table, base, surroundings);
    let (line, found) = match (external, table.is_present()) {
        (None, true) => return Some(Fleet::Embedded(embedded)),
        (Some(hosts), false) => return Some(Fleet::External(hosts)),
        (Some(_), true) => (table.line, "both `[[hosts]]` and `[embedded]`"),
        // What stands in their place but is no table has been reported already.
        (None, false) if table.line.is_some() => return None,
        (None, false) => (None, "neither `[[hosts]]` nor `[embedded]`"),
    };
    file.problems.push(Problem {
        line,
        key: String::new(),
        found: found.to_owned(),
        expected: "one of the two to say where the isolate hosts are".to_owned(),
        hint: Some("`[embedded]` starts hosts on this machine".to_owned()),
    });
    None
}

fn external_hosts(file: &mut File<'_, '_>) -> Option<Vec<ExternalHost>> {
    let tables = file.tables(&shape::HOSTS);
    let mut hosts = Vec::new();
    let mut ids = HashMap::new();
    let mut addresses = HashMap::new();
    for table in &tables {
        let id = table.required(file, "id", host_id);
        let address = table.required(file, "address", reader::address);
        let weight = table.get(file, "weight", weight).unwrap_or(Weight::ONE);
        if let Some(id) = &id {
            refuse_repeated(file, table, "id", id.to_string(), &mut ids);
        }
        if let Some(address) = &address {
            refuse_repeated(file, table, "address", address.to_string(), &mut addresses);
        }
        if let (Some(id), Some(address)) = (id, address) {
            hosts.push(ExternalHost { member: Member::new(id, weight), address });
        }
    }
    (!tables.is_empty()).then_some(hosts)
}

fn weight(value: &DeValue<'_>) -> Fit<Weight> {
    let number = reader::within(0..=u32::MAX)(value)?;
    Weight::new(number).ok_or(Misfit::PLAIN)
}

fn refuse_repeated(
    file: &mut File<'_, '_>,
    table: &Table<'_>,
    key: &str,
    value: String,
    seen: &mut HashMap<String, Option<usize>>,
) {
    let line = table.node(key).map(|node| line_of(file.text, node.span().start));
    if let Some(&first) = seen.get(&value) {
        file.problems.push(Problem {
            line,
            key: format!("{}.{key}", table.path),
            found: format!("`{value}` a second time"),
            expected: "each host to have its own".to_owned(),
            hint: first.map(|line| format!("the first one is on line {line}")),
        });
    } else {
        seen.insert(value, line);
    }
}

fn embedded(
    file: &mut File<'_, '_>,
    table: &Table<'_>,
    base: &Path,
    surroundings: &dyn Surroundings,
) -> Embedded {
    let hosts = embedded_ids(file, table);
    let folder = |value: &DeValue<'_>| {
        let path = base.join(reader::text(value)?);
        if surroundings.is_folder(&path) {
            return Ok(path);
        }
        Err(Misfit::because(&format!("there is no folder {}", path.display())))
    };
    let workers = table.list(file, "workers", folder);
    let store = |value: &DeValue<'_>| Ok(base.join(reader::text(value)?));
    Embedded {
        hosts,
        workers: workers.into_iter().map(|(folder, _)| folder).collect(),
        store: table.get(file, "store", store),
        max_isolates: table.get(file, "max_isolates", reader::within(1..=1_000_000)),
        requests_per_isolate: table.get(file, "requests_per_isolate", reader::within(1..=1_000_000)),
    }
}

/// A number stands for `host-a`, `host-b`, and so on.
fn embedded_ids(file: &mut File<'_, '_>, table: &Table<'_>) -> Vec<HostId> {
    let numbered = |count: u32| {
        let letters = ('a'..='z').take(count as usize);
        letters.map(|c| HostId::parse(&format!("host-{c}")).expect("a valid ID")).collect()
    };
    match table.node("hosts") {
        Some(node) if node.get_ref().is_array() => {
            let mut ids = Vec::new();
            for (id, node) in table.list(file, "hosts", host_id) {
                if ids.contains(&id) {
                    file.problems.push(Problem {
                        line: Some(line_of(file.text, node.span().start)),
                        key: "embedded.hosts".to_owned(),
                        found: format!("`{id}` a second time"),
                        expected: "each host to have its own".to_owned(),
                        hint: None,
                    });
                }
                ids.push(id);
            }
            if node.get_ref().as_array().is_some_and(|list| list.is_empty()) {
                table.get(file, "hosts", |_| Err::<(), _>(Misfit::PLAIN));
            }
            ids
        }
        Some(_) => table.get(file, "hosts", reader::within(1..=26)).map(numbered).unwrap_or_default(),
        None => numbered(2),
    }
}

fn placement(file: &mut File<'_, '_>) -> PlacementPolicy {
    let table = file.table(&shape::PLACEMENT);
    let ring = |value: &DeValue<'_>| {
        if reader::text(value)? == "ring" { Ok(()) } else { Err(Misfit::PLAIN) }
    };
    table.get(file, "policy", ring);
    let vnodes = table.get(file, "vnodes", reader::within(1..=4096)).unwrap_or(Ring::DEFAULT_VNODES);
    let seed = table.get(file, "seed", reader::whole).unwrap_or(Ring::DEFAULT_SEED);
    PlacementPolicy::Ring { vnodes, seed }
}

fn health(file: &mut File<'_, '_>) -> HealthPolicy {
    let table = file.table(&shape::HEALTH);
    let tries = reader::within(1..=100);
    let default = HealthPolicy::default();
    HealthPolicy {
        interval: table.get(file, "interval", reader::duration).unwrap_or(default.interval),
        timeout: table.get(file, "timeout", reader::duration).unwrap_or(default.timeout),
        down_after: table.get(file, "down_after", &tries).unwrap_or(default.down_after),
        up_after: table.get(file, "up_after", &tries).unwrap_or(default.up_after),
        errors: table.get(file, "errors", &tries).unwrap_or(default.errors),
        settle: table.get(file, "settle", reader::duration).unwrap_or(default.settle),
    }
}

fn timeouts(file: &mut File<'_, '_>) -> Timeouts {
    let table = file.table(&shape::TIMEOUTS);
    let mut read = |key, default| {
        let found = table.get(file, key, reader::duration);
        found.unwrap_or(Duration::from_secs(default))
    };
    Timeouts {
        connect: read("connect", 1),
        silence: read("silence", 5 * 60),
        client_idle: read("client_idle", 75),
        drain: read("drain", 5),
    }
}

/// `None`: there is a key and something is wrong with it. `Some(None)`: there is no key.
fn key(file: &mut File<'_, '_>, base: &Path, surroundings: &dyn Surroundings) -> Option<Option<FleetKey>> {
    let table = file.table(&shape::FLEET);
    let from_file = |value: &DeValue<'_>| {
        let path = base.join(reader::text(value)?);
        let text = surroundings.read(&path);
        let text = text.map_err(|why| Misfit::because(&format!("{}: {why}", path.display())))?;
        FleetKey::parse(&text).map_err(|error| Misfit::because(&error))
    };
    let from_variable = |value: &DeValue<'_>| {
        let name = reader::text(value)?;
        let unset = || Misfit::because(&format!("the environment variable `{name}` is not set"));
        let text = surroundings.variable(name).ok_or_else(unset)?;
        FleetKey::parse(&text).map_err(|error| Misfit::because(&error))
    };
    if table.node("key_file").is_some() && table.node("key_env").is_some() {
        file.problems.push(Problem {
            line: table.line,
            key: "fleet".to_owned(),
            found: "both `key_file` and `key_env`".to_owned(),
            expected: "one of the two".to_owned(),
            hint: None,
        });
    }
    let before = file.problems.list.len();
    let key = table.get(file, "key_file", from_file).or(table.get(file, "key_env", from_variable));
    (key.is_some() || file.problems.list.len() == before).then_some(key)
}

fn missing_key(file: &mut File<'_, '_>) {
    let problem = Problem {
        line: None,
        key: "fleet".to_owned(),
        found: "no fleet key".to_owned(),
        expected:
            "`key_file` or `key_env` in `[fleet]`, since `[[hosts]]` only serve routers that know their key"
                .to_owned(),
        hint: None,
    };
    file.problems.push(problem.with_hint("make one with `openssl rand -hex 32`"));
}
