//! From the tree to [`Settings`]: every section is looked at, whatever the
//! others had wrong.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use toml::de::{DeTable, DeValue};

use super::problem::{Problem, Problems, line_of};
use super::reader::{self, File, Fit, Misfit, Table};
use super::settings::{
    CertificateFiles, Embedded, Etcd, ExternalHost, Fleet, Handoff, HostTlsFiles, Limits, Listen,
    PlacementPolicy, PlacementSettings, Published, Reload, Retries, Settings, Timeouts,
};
use super::shape::Section;
use super::{Surroundings, Unusable, shape};
use crate::health::HealthPolicy;
use crate::placement::{
    Bound, HeaderRule, HostPattern, HostState, Member, PathPrefix, RampPolicy, Ring, Route, Routes,
    WidthPolicy, ZoneOrder,
};
use crate::prewarm::PrewarmPolicy;
use crate::units::{FleetKey, HostId, Password, Weight, WorkerName, ZoneName};

/// `None` only when there are problems; there may be problems all the same.
pub(super) fn resolve<'t>(
    text: &'t str,
    root: &'t DeTable<'t>,
    base: &Path,
    surroundings: &dyn Surroundings,
    problems: &mut Problems,
) -> Option<Settings> {
    let file = &mut File::new(text, root, problems);
    let admin_token = secret(file, &shape::ADMIN, ["token_file", "token_env"], base, surroundings);
    let listen = listen(file, admin_token != Some(None));
    let tls = certificates(file, &listen, base, surroundings);
    let routes = routes(file);
    let etcd = etcd(file, base, surroundings);
    let fleet = fleet(file, etcd.is_some(), base, surroundings);
    let placement = placement(file, None);
    if etcd.is_some() {
        refuse_placement_beside_etcd(file);
    }
    let health = health(file);
    let timeouts = timeouts(file);
    let prewarm = prewarm(file);
    let (limits, retries, reload, handoff) = (limits(file), retries(file), reload(file), handoff(file));
    let key = secret(file, &shape::FLEET, ["key_file", "key_env"], base, surroundings);
    let host_tls = host_tls(file, base, surroundings);
    match fleet {
        Some(Fleet::External(_)) if key == Some(None) && !is_certified(&host_tls) => missing_key(file),
        Some(Fleet::Embedded(_)) => refuse_host_tls_beside_embedded(file),
        _ => {}
    }
    Some(Settings {
        listen,
        tls,
        routes,
        fleet: fleet?,
        etcd: etcd.flatten(),
        placement: placement?,
        health,
        timeouts,
        limits,
        prewarm,
        retries,
        reload,
        handoff,
        admin_token: admin_token?,
        key: key?,
        host_tls: host_tls?,
    })
}

fn listen(file: &mut File<'_, '_>, has_token: bool) -> Listen {
    let table = file.table(&shape::LISTEN);
    let local = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let data = table.get(file, "data", reader::address).unwrap_or(local(8080));
    let admin = table
        .get(file, "admin", |value| if has_token { reader::address(value) } else { loopback(value) })
        .unwrap_or(local(9090));
    let tls = table.get(file, "tls", reader::address);
    let given = [("data", Some(data)), ("admin", Some(admin)), ("tls", tls)];
    for (n, (key, address)) in given.iter().enumerate() {
        let same = |(_, earlier): &&(&str, Option<SocketAddr>)| {
            address.is_some_and(|address| address.port() != 0 && *earlier == Some(address))
        };
        if let (Some((other, _)), Some(address)) = (given[..n].iter().find(same), address) {
            file.problems.push(Problem {
                line: table.line,
                key: format!("listen.{key}"),
                found: format!("{address}, which is `listen.{other}` as well"),
                expected: "different addresses".to_owned(),
                hint: None,
            });
        }
    }
    Listen { data, admin, tls }
}

fn certificates(
    file: &mut File<'_, '_>,
    listen: &Listen,
    base: &Path,
    surroundings: &dyn Surroundings,
) -> Vec<CertificateFiles> {
    let tables = file.tables(&shape::TLS);
    let path = |value: &DeValue<'_>| Ok(base.join(reader::text(value)?));
    let mut certificates = Vec::new();
    for table in &tables {
        let certificate = table.required(file, "certificate", path);
        let key = table.required(file, "key", path);
        let (Some(certificate), Some(key)) = (certificate, key) else { continue };
        let files = CertificateFiles { certificate, key };
        check_pair(file, table, &files, surroundings);
        certificates.push(files);
    }
    let line = tables.first().and_then(|table| table.line);
    let (key, found, expected) = match (listen.tls.is_some(), tables.is_empty()) {
        (true, true) => ("tls", "no certificate", "one in `[[tls]]`, since `listen.tls` is given"),
        (false, false) => ("listen.tls", "no address", "one, since there are certificates in `[[tls]]`"),
        _ => return certificates,
    };
    let (key, found, expected) = (key.to_owned(), found.to_owned(), expected.to_owned());
    file.problems.push(Problem { line, key, found, expected, hint: None });
    certificates
}

fn check_pair(
    file: &mut File<'_, '_>,
    table: &Table<'_>,
    files: &CertificateFiles,
    surroundings: &dyn Surroundings,
) {
    match surroundings.check_certificate(files) {
        Err(Unusable::Certificate(why)) => {
            table.get(file, "certificate", |_| Err::<(), _>(Misfit::because(&why)));
        }
        Err(Unusable::Key(why)) => {
            table.get(file, "key", |_| Err::<(), _>(Misfit::because(&why)));
        }
        Ok(()) => {}
    }
}

/// `None`: there is such a table and something is wrong with it. `Some(None)`: there is none.
fn host_tls(
    file: &mut File<'_, '_>,
    base: &Path,
    surroundings: &dyn Surroundings,
) -> Option<Option<HostTlsFiles>> {
    let table = file.table(&shape::HOST_TLS);
    if !table.is_present() {
        return Some(None);
    }
    let path = |value: &DeValue<'_>| Ok(base.join(reader::text(value)?));
    let readable = |value: &DeValue<'_>| {
        let path = base.join(reader::text(value)?);
        let read = surroundings.read(&path);
        read.map_err(|why| Misfit::because(&format!("{}: {why}", path.display())))?;
        Ok(path)
    };
    let ca = table.required(file, "ca", readable);
    let own = match (table.get(file, "certificate", path), table.get(file, "key", path)) {
        (Some(certificate), Some(key)) => {
            let files = CertificateFiles { certificate, key };
            check_pair(file, &table, &files, surroundings);
            Some(files)
        }
        (None, None) => None,
        (certificate, _) => {
            let (found, other) =
                if certificate.is_some() { ("certificate", "key") } else { ("key", "certificate") };
            file.problems.push(Problem {
                line: table.line,
                key: "host_tls".to_owned(),
                found: format!("`{found}` without `{other}`"),
                expected: "both or neither".to_owned(),
                hint: None,
            });
            None
        }
    };
    Some(Some(HostTlsFiles { ca: ca?, own }))
}

/// Whether the router has something else than a key to show.
fn is_certified(host_tls: &Option<Option<HostTlsFiles>>) -> bool {
    // What is wrong with it has been reported.
    host_tls.as_ref().is_none_or(|files| files.as_ref().is_some_and(|files| files.own.is_some()))
}

fn refuse_host_tls_beside_embedded(file: &mut File<'_, '_>) {
    let table = file.table(&shape::HOST_TLS);
    if table.is_present() {
        file.problems.push(Problem {
            line: table.line,
            key: "host_tls".to_owned(),
            found: "`[host_tls]` beside `[embedded]`".to_owned(),
            expected: "it beside `[[hosts]]` or `[etcd]`: embedded hosts are on this machine".to_owned(),
            hint: None,
        });
    }
}

fn loopback(value: &DeValue<'_>) -> Fit<SocketAddr> {
    let address = reader::address(value)?;
    if address.ip().is_loopback() {
        return Ok(address);
    }
    Err(Misfit::because(&"without a token in `[admin]` the admin API stays on this machine"))
}

fn routes(file: &mut File<'_, '_>) -> Routes {
    let tables = file.tables(&shape::ROUTES);
    if tables.is_empty() {
        let host = "{worker}.localhost".parse().expect("a valid pattern");
        return Routes(vec![Route::of_host(host, None)]);
    }
    let mut routes = Vec::new();
    for table in &tables {
        let before = file.problems.list.len();
        let route = Route {
            host: table.get(file, "host", reader::parsed::<HostPattern>),
            path: table.get(file, "path", reader::parsed::<PathPrefix>),
            header: table.get(file, "header", reader::parsed::<HeaderRule>),
            worker: table.get(file, "worker", worker_name),
        };
        // What is written down but wrong has been reported already.
        if table.is_present() && file.problems.list.len() == before {
            refuse_unclear(file, table, &route);
        }
        routes.push(route);
    }
    Routes(routes)
}

/// A route says what it looks at, and which worker is meant exactly once.
fn refuse_unclear(file: &mut File<'_, '_>, table: &Table<'_>, route: &Route) {
    let (found, expected) = match (route.is_bounded(), route.times_named()) {
        (true, 1) => return,
        (false, _) => ("no condition", "`host`, `path` or `header`"),
        (true, 0) => ("nothing that names a worker", NAMES_A_WORKER),
        (true, _) => ("more than one thing that names a worker", NAMES_A_WORKER),
    };
    file.problems.push(Problem {
        line: table.line,
        key: table.path.clone(),
        found: found.to_owned(),
        expected: expected.to_owned(),
        hint: None,
    });
}

const NAMES_A_WORKER: &str = "one of `worker`, `{worker}` in `host` and `{worker}` in `header`";

fn worker_name(value: &DeValue<'_>) -> Fit<WorkerName> {
    WorkerName::parse(reader::text(value)?).map_err(|error| Misfit::because(&error))
}

fn host_id(value: &DeValue<'_>) -> Fit<HostId> {
    HostId::parse(reader::text(value)?).map_err(|error| Misfit::because(&error))
}

/// `[[hosts]]` and `[placement]` alone, as a record in etcd has them.
pub(super) fn published<'t>(
    text: &'t str,
    root: &'t DeTable<'t>,
    zone: Option<&ZoneName>,
    problems: &mut Problems,
) -> Option<Published> {
    let file = &mut File::new(text, root, problems);
    let allowed = [shape::HOSTS.name, shape::PLACEMENT.name];
    for (name, _) in root.iter().filter(|(name, _)| !allowed.contains(&name.get_ref().as_ref())) {
        file.problems.push(Problem {
            line: Some(line_of(text, name.span().start)),
            key: name.get_ref().to_string(),
            found: "a section that stays in each router's shard file".to_owned(),
            expected: "only `[[hosts]]` and `[placement]`".to_owned(),
            hint: None,
        });
    }
    let hosts = external_hosts(file);
    if hosts.is_none() {
        file.problems.push(Problem {
            line: None,
            key: "hosts".to_owned(),
            found: "no host".to_owned(),
            expected: "at least one `[[hosts]]`".to_owned(),
            hint: None,
        });
    }
    let placement = placement(file, zone)?;
    Some(Published { hosts: hosts?, placement })
}

/// `Some(None)`: there is such a section and something is wrong with it.
fn etcd(file: &mut File<'_, '_>, base: &Path, surroundings: &dyn Surroundings) -> Option<Option<Etcd>> {
    let table = file.table(&shape::ETCD);
    if !table.is_present() {
        return None;
    }
    let before = file.problems.list.len();
    table.required(file, "endpoints", |_| Ok(()));
    let endpoint = |value: &DeValue<'_>| {
        let text = reader::text(value)?.trim_end_matches('/');
        let address = text.strip_prefix("http://").filter(|rest| !rest.is_empty() && !rest.contains('/'));
        address.map(|_| text.to_owned()).ok_or_else(|| {
            Misfit::because(&"only `http://HOST:PORT`; for etcd with TLS put a proxy such as `etcd grpc-proxy` on this machine")
        })
    };
    let endpoints: Vec<String> =
        table.list(file, "endpoints", endpoint).into_iter().map(|(endpoint, _)| endpoint).collect();
    if endpoints.is_empty() && table.node("endpoints").is_some() && file.problems.list.len() == before {
        table.get(file, "endpoints", |_| Err::<(), _>(Misfit::PLAIN));
    }
    let prefix = |value: &DeValue<'_>| {
        let text = reader::text(value)?;
        if text.starts_with('/') { Ok(text.to_owned()) } else { Err(Misfit::PLAIN) }
    };
    let prefix = table.get(file, "prefix", prefix).unwrap_or_else(|| "/warmshard".to_owned());
    let user = table.get(file, "user", |value| Ok(reader::text(value)?.to_owned()));
    let password = password(file, &table, base, surroundings);
    let user = match (user, password) {
        (Some(user), Some(password)) => Some((user, password)),
        (None, None) => None,
        (user, _) if file.problems.list.len() == before => {
            let (found, expected) = match user {
                Some(_) => ("a user without a password", "`password_file` or `password_env` too"),
                None => ("a password without a user", "`user` too"),
            };
            file.problems.push(Problem {
                line: table.line,
                key: "etcd".to_owned(),
                found: found.to_owned(),
                expected: expected.to_owned(),
                hint: None,
            });
            None
        }
        _ => None,
    };
    let copy = table.get(file, "copy", |value| Ok(base.join(reader::text(value)?)));
    let copy = copy.unwrap_or_else(|| base.join("membership.copy.json"));
    let timeout = table.get(file, "timeout", reader::duration).unwrap_or(Duration::from_secs(2));
    let is_good = file.problems.list.len() == before;
    // A zone that cannot be one is told where the section is read.
    let zone = file.table(&shape::PLACEMENT).node("zone").and_then(|node| zone_name(node.get_ref()).ok());
    Some(is_good.then_some(Etcd { endpoints, prefix, user, copy, timeout, zone }))
}

fn password(
    file: &mut File<'_, '_>,
    table: &Table<'_>,
    base: &Path,
    surroundings: &dyn Surroundings,
) -> Option<Password> {
    let parse = |text: &str| Password::parse(text).ok_or_else(|| Misfit::because(&"it is empty"));
    let from_file = |value: &DeValue<'_>| {
        let path = base.join(reader::text(value)?);
        let text = surroundings.read(&path);
        parse(&text.map_err(|why| Misfit::because(&format!("{}: {why}", path.display())))?)
    };
    let from_variable = |value: &DeValue<'_>| {
        let name = reader::text(value)?;
        let unset = || Misfit::because(&format!("the environment variable `{name}` is not set"));
        parse(&surroundings.variable(name).ok_or_else(unset)?)
    };
    table.get(file, "password_file", from_file).or(table.get(file, "password_env", from_variable))
}

/// The record says how workers are placed; two sources would be one too many.
fn refuse_placement_beside_etcd(file: &mut File<'_, '_>) {
    let table = file.table(&shape::PLACEMENT);
    let others = shape::PLACEMENT.keys.iter().filter(|key| key.name != "zone");
    for key in others.filter(|key| table.node(key.name).is_some()) {
        let line = table.node(key.name).map(|node| line_of(file.text, node.span().start));
        file.problems.push(Problem {
            line,
            key: format!("placement.{}", key.name),
            found: "a key that comes from etcd".to_owned(),
            expected: "only `zone` beside `[etcd]`".to_owned(),
            hint: Some("put it into the file that `router publish` publishes".to_owned()),
        });
    }
}

fn fleet(
    file: &mut File<'_, '_>,
    from_etcd: bool,
    base: &Path,
    surroundings: &dyn Surroundings,
) -> Option<Fleet> {
    let external = external_hosts(file);
    let table = file.table(&shape::EMBEDDED);
    let embedded = embedded(file, &table, base, surroundings);
    let (line, found) = match (external, table.is_present()) {
        (None, false) if from_etcd => return Some(Fleet::External(Vec::new())),
        (Some(_), _) | (_, true) if from_etcd => (table.line, "`[etcd]` beside `[[hosts]]` or `[embedded]`"),
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
        expected: "one of `[[hosts]]`, `[embedded]` and `[etcd]` to say where the isolate hosts are"
            .to_owned(),
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
        let zone = table.get(file, "zone", zone_name);
        let state = table.get(file, "state", host_state).unwrap_or(HostState::Active);
        if let Some(id) = &id {
            refuse_repeated(file, table, "id", id.to_string(), &mut ids);
        }
        if let Some(address) = &address {
            refuse_repeated(file, table, "address", address.to_string(), &mut addresses);
        }
        if let (Some(id), Some(address)) = (id, address) {
            let member = Member::new(id, weight).in_zone(zone);
            hosts.push(ExternalHost { member, address, state });
        }
    }
    if !hosts.is_empty() && hosts.iter().all(|host| host.state != HostState::Active) {
        let all_active = "at least one that is `active`".to_owned();
        let found = "no host that is to get requests".to_owned();
        let line = tables.first().and_then(|table| table.line);
        let key = "hosts".to_owned();
        file.problems.push(Problem { line, key, found, expected: all_active, hint: None });
    }
    (!tables.is_empty()).then_some(hosts)
}

fn zone_name(value: &DeValue<'_>) -> Fit<ZoneName> {
    ZoneName::parse(reader::text(value)?).map_err(|error| Misfit::because(&error))
}

fn host_state(value: &DeValue<'_>) -> Fit<HostState> {
    match reader::text(value)? {
        "active" => Ok(HostState::Active),
        "draining" => Ok(HostState::Draining),
        "out" => Ok(HostState::Out),
        _ => Err(Misfit::PLAIN),
    }
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

/// `zone` is the router's own where the file does not say it.
fn placement(file: &mut File<'_, '_>, zone: Option<&ZoneName>) -> Option<PlacementSettings> {
    let table = file.table(&shape::PLACEMENT);
    let is_ring = |value: &DeValue<'_>| match reader::text(value)? {
        "ring" => Ok(true),
        "rendezvous" => Ok(false),
        _ => Err(Misfit::PLAIN),
    };
    let is_ring = table.get(file, "policy", is_ring).unwrap_or(true);
    let vnodes = table.get(file, "vnodes", reader::within(1..=4096)).unwrap_or(Ring::DEFAULT_VNODES);
    let seed = table.get(file, "seed", reader::whole).unwrap_or(Ring::DEFAULT_SEED);
    let policy =
        if is_ring { PlacementPolicy::Ring { vnodes, seed } } else { PlacementPolicy::Rendezvous { seed } };
    let zones = zones(file, &table, zone);
    let factor = table.get(file, "load_factor", reader::within(101..=10_000));
    let soft_limit = table.get(file, "soft_limit", reader::within(1..=1_000_000)).unwrap_or(32);
    let homes = table.get(file, "homes", reader::within(1..=8)).map_or(2, |homes| homes as u16);
    let (width, ramp) = (width(file, &table), ramp(file, &table));
    let bound = factor.map_or(Bound::default(), |factor_percent| Bound { factor_percent });
    Some(PlacementSettings { policy, zones: zones?, bound, soft_limit, homes, width, ramp })
}

fn zones(file: &mut File<'_, '_>, table: &Table<'_>, zone: Option<&ZoneName>) -> Option<ZoneOrder> {
    let own = table.get(file, "zone", zone_name).or(zone.cloned());
    let known = |value: &DeValue<'_>| match reader::text(value)? {
        order @ ("ignore" | "spread" | "local") => Ok(order.to_owned()),
        _ => Err(Misfit::PLAIN),
    };
    let order = match table.node("zones") {
        Some(_) => table.get(file, "zones", known)?,
        None => "ignore".to_owned(),
    };
    match (order.as_str(), own) {
        ("local", Some(own)) => Some(ZoneOrder::Local(own)),
        ("local", None) => {
            file.problems.push(Problem {
                line: table.line,
                key: "placement.zone".to_owned(),
                found: "no zone of this router".to_owned(),
                expected: "the one it is in, since `zones` is `local`".to_owned(),
                hint: None,
            });
            None
        }
        ("spread", _) => Some(ZoneOrder::Spread),
        _ => Some(ZoneOrder::Ignore),
    }
}

fn width(file: &mut File<'_, '_>, table: &Table<'_>) -> WidthPolicy {
    let default = WidthPolicy::default();
    let most = table.get(file, "max_width", reader::within(1..=u32::from(u16::MAX)));
    WidthPolicy {
        most: most.and_then(|most| u16::try_from(most).ok()).unwrap_or(default.most),
        hold: table.get(file, "width_hold", reader::duration).unwrap_or(default.hold),
        slack_percent: table
            .get(file, "width_slack", reader::within(1..=99))
            .unwrap_or(default.slack_percent),
        trial: table.get(file, "width_trial", reader::duration).unwrap_or(default.trial),
    }
}

fn ramp(file: &mut File<'_, '_>, table: &Table<'_>) -> RampPolicy {
    let default = RampPolicy::default();
    RampPolicy {
        over: table.get(file, "ramp", reader::duration).unwrap_or(default.over),
        steps: table.get(file, "ramp_steps", reader::within(1..=100)).unwrap_or(default.steps),
    }
}

fn limits(file: &mut File<'_, '_>) -> Limits {
    let table = file.table(&shape::LIMITS);
    let default = Limits::default();
    Limits {
        head: table.get(file, "head", reader::within(1024..=1_000_000)).unwrap_or(default.head),
        head_time: table.get(file, "head_time", reader::duration).unwrap_or(default.head_time),
        body_silence: table.get(file, "body_silence", reader::duration).unwrap_or(default.body_silence),
        connections: table
            .get(file, "connections", reader::within(1..=1_000_000))
            .unwrap_or(default.connections),
    }
}

fn prewarm(file: &mut File<'_, '_>) -> PrewarmPolicy {
    let table = file.table(&shape::PREWARM);
    let default = PrewarmPolicy::default();
    let switch = |value: &DeValue<'_>| match reader::text(value)? {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err(Misfit::PLAIN),
    };
    PrewarmPolicy {
        on_handshake: table.get(file, "on_handshake", switch).unwrap_or(default.on_handshake),
        at_once: table.get(file, "at_once", reader::within(1..=1000)).unwrap_or(default.at_once),
        again_after: table.get(file, "again_after", reader::duration).unwrap_or(default.again_after),
    }
}

fn retries(file: &mut File<'_, '_>) -> Retries {
    let table = file.table(&shape::RETRIES);
    Retries { hosts: table.get(file, "hosts", reader::within(1..=100)).unwrap_or(8) }
}

fn reload(file: &mut File<'_, '_>) -> Reload {
    let table = file.table(&shape::RELOAD);
    Reload {
        watch: table.get(file, "watch", reader::duration).unwrap_or(Duration::from_secs(1)),
        most_moved_percent: table.get(file, "most_moved", reader::within(1..=100)).unwrap_or(50),
    }
}

fn handoff(file: &mut File<'_, '_>) -> Handoff {
    let table = file.table(&shape::HANDOFF);
    Handoff {
        wait: table.get(file, "wait", reader::duration_or_none).unwrap_or(Duration::from_secs(5)),
        workers: table.get(file, "workers", reader::within(1..=1_000_000)).unwrap_or(1000),
        concurrency: table.get(file, "concurrency", reader::within(1..=100)).unwrap_or(4),
        recent: table.get(file, "recent", reader::duration).unwrap_or(Duration::from_secs(600)),
    }
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
        eject_after: table.get(file, "eject_after", &tries).unwrap_or(default.eject_after),
        eject_for: table.get(file, "eject_for", reader::duration).unwrap_or(default.eject_for),
        eject_most: table.get(file, "eject_most", reader::within(0..=100)).unwrap_or(default.eject_most),
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
        linger: read("linger", 30),
    }
}

/// A secret from a file or a variable. `None`: there is one and something is wrong
/// with it. `Some(None)`: there is none.
fn secret(
    file: &mut File<'_, '_>,
    section: &'static Section,
    [file_key, variable_key]: [&'static str; 2],
    base: &Path,
    surroundings: &dyn Surroundings,
) -> Option<Option<FleetKey>> {
    let table = file.table(section);
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
    if table.node(file_key).is_some() && table.node(variable_key).is_some() {
        file.problems.push(Problem {
            line: table.line,
            key: section.name.to_owned(),
            found: format!("both `{file_key}` and `{variable_key}`"),
            expected: "one of the two".to_owned(),
            hint: None,
        });
    }
    let before = file.problems.list.len();
    let key = table.get(file, file_key, from_file).or(table.get(file, variable_key, from_variable));
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
