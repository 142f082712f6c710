//! Shard files as operators write them, right and wrong.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::shape::{HOSTS, SECTIONS, Section};
use super::*;
use crate::placement::Asked;
use crate::units::{HostId, Weight};

/// A machine with these variables, files and folders, and nothing else.
#[derive(Default)]
struct Machine {
    variables: HashMap<&'static str, &'static str>,
    files: HashMap<PathBuf, &'static str>,
    folders: Vec<PathBuf>,
}

impl Surroundings for Machine {
    fn variable(&self, name: &str) -> Option<String> {
        self.variables.get(name).map(ToString::to_string)
    }

    fn read(&self, path: &Path) -> Result<String, String> {
        self.files.get(path).map(ToString::to_string).ok_or("no such file".to_owned())
    }

    fn is_folder(&self, path: &Path) -> bool {
        self.folders.iter().any(|folder| folder == path)
    }

    fn check_certificate(&self, files: &CertificateFiles) -> Result<(), Unusable> {
        let missing = |path: &Path| format!("{}: no such file", path.display());
        if files.certificate != Path::new("conf/a.pem") {
            return Err(Unusable::Certificate(missing(&files.certificate)));
        }
        if files.key == Path::new("conf/a.key") { Ok(()) } else { Err(Unusable::Key(missing(&files.key))) }
    }
}

fn machine() -> Machine {
    Machine {
        variables: HashMap::from([("FLEET_KEY", "0123456789abcdef"), ("SHORT", "short")]),
        files: HashMap::from([
            ("conf/fleet.key".into(), "fedcba9876543210\n"),
            ("conf/ca.pem".into(), "certificates"),
        ]),
        folders: vec!["conf/../examples/hello".into()],
    }
}

fn read(text: &str) -> Result<Settings, Problems> {
    parse(Path::new("conf/shard.toml"), text, &machine())
}

/// The problems as printed, without the last line that counts them.
fn problems(text: &str) -> Vec<String> {
    let problems = read(text).expect_err("this file has problems");
    let printed = problems.to_string();
    let (list, count) = printed.rsplit_once('\n').expect("a list and a count");
    assert!(count.starts_with(&problems.list.len().to_string()), "{count}");
    list.lines().map(str::to_owned).collect()
}

#[test]
fn a_small_file_has_all_defaults() {
    let settings = read("[embedded]\n").unwrap();
    assert_eq!(settings.listen.data.to_string(), "127.0.0.1:8080");
    assert_eq!(settings.listen.admin.to_string(), "127.0.0.1:9090");
    assert_eq!(settings.timeouts.drain, Duration::from_secs(5));
    assert_eq!(settings.key, None);
    let ids: Vec<String> = settings.members().iter().map(|member| member.id.to_string()).collect();
    assert_eq!(ids, ["host-a", "host-b"]);
    assert_eq!(settings.routes.find(&Asked::of_host("x.localhost")).unwrap().as_str(), "x");
}

#[test]
fn documented_defaults_are_the_real_ones() {
    let mut text = String::new();
    // `[etcd]` takes the place of `[embedded]`, and `[host_tls]` has no place beside it.
    let fits = |section: &&&Section| !section.repeated && !["etcd", "host_tls"].contains(&section.name);
    for section in SECTIONS.iter().filter(fits) {
        text.push_str(&format!("{}\n", section.header()));
        for key in section.keys {
            if let Some(default) = key.default {
                text.push_str(&format!("{} = {default}\n", key.name));
            }
        }
    }
    assert_eq!(read(&text).unwrap(), read("[embedded]\n").unwrap());
    assert_eq!(HOSTS.key("weight").unwrap().default, Some("1"));
}

#[test]
fn a_fleet_of_its_own_is_read_whole() {
    let settings = read(
        r#"
        [listen]
        data = "0.0.0.0:80"
        [[routes]]
        host = "shop.example.com"
        worker = "checkout"
        [[routes]]
        host = "{worker}.example.com"
        [[hosts]]
        id = "h1"
        address = "10.0.0.1:7070"
        [[hosts]]
        id = "h2"
        address = "10.0.0.2:7070"
        weight = 3
        [fleet]
        key_file = "fleet.key"
        [placement]
        seed = 0xff
        "#,
    )
    .unwrap();
    assert_eq!(settings.key.unwrap().reveal(), "fedcba9876543210");
    assert_eq!(settings.placement.policy, PlacementPolicy::Ring { vnodes: 512, seed: 255 });
    let Fleet::External(hosts) = &settings.fleet else { panic!("external hosts") };
    assert_eq!(hosts[1].member.id, HostId::parse("h2").unwrap());
    assert_eq!(hosts[1].member.weight, Weight::new(3).unwrap());
    assert_eq!(settings.routes.find(&Asked::of_host("shop.example.com")).unwrap().as_str(), "checkout");
}

#[test]
fn hosts_may_come_from_etcd() {
    let text = "[fleet]\nkey_env = \"FLEET_KEY\"\n[etcd]\nendpoints = [\"http://10.0.0.5:2379/\"]\n\
                user = \"router\"\npassword_env = \"SHORT\"\n[placement]\nzone = \"west\"\n";
    let settings = read(text).unwrap();
    let etcd = settings.etcd.clone().unwrap();
    assert_eq!(
        (etcd.endpoints, settings.fleet.clone()),
        (vec!["http://10.0.0.5:2379".into()], Fleet::External(vec![]))
    );
    assert_eq!(etcd.copy, PathBuf::from("conf/membership.copy.json"));
    assert!(!format!("{:?}", etcd.user).contains("short"), "it never shows");
    let record = "[placement]\npolicy = \"rendezvous\"\nzones = \"local\"\n\
                  [[hosts]]\nid = \"a\"\naddress = \"10.0.0.1:7070\"\n";
    let published = parse_published(Path::new("record"), record, etcd.zone.as_ref()).unwrap();
    let settings = settings.with(published);
    assert_eq!(settings.members().len(), 1);
    assert!(matches!(settings.placement.zones, crate::placement::ZoneOrder::Local(_)));

    let wrong =
        parse_published(Path::new("record"), "[listen]\ndata = \"x\"\n", None).unwrap_err().to_string();
    assert!(wrong.contains("stays in each router's shard file") && wrong.contains("at least one"), "{wrong}");
    let found = problems(
        "[etcd]\nendpoints = [\"https://x:1\"]\nuser = \"a\"\n[placement]\nvnodes = 5\n[[hosts]]\nid = \"a\"\n",
    )
    .join("\n");
    for part in ["etcd.endpoints[0]", "placement.vnodes", "`[etcd]` beside `[[hosts]]`"] {
        assert!(found.contains(part), "no {part} in {found}");
    }
}

#[test]
fn every_problem_is_told_in_one_run() {
    let found = problems(
        r#"[listen]
data = "8080"
admin = "0.0.0.0:9090"
[helth]
[health]
intervall = "1s"
timeout = "soon"
down_after = 0
[embedded]
hosts = 27
workers = ["../examples/hello", "../examples/nope", 3]
[placement]
policy = "random"
vnodes = "many"
"#,
    );
    let expected = [
        "conf/shard.toml:2: `listen.data`: found \"8080\", expected an address as in `127.0.0.1:8080`",
        "conf/shard.toml:3: `listen.admin`: found \"0.0.0.0:9090\", expected an address of this machine's loopback as in `127.0.0.1:9090`",
        "  hint: without a token in `[admin]` the admin API stays on this machine",
        "conf/shard.toml:4: `helth`: found an unknown section, expected one of [listen], [[tls]], [[routes]], [[hosts]], [embedded], [etcd], [placement], [handoff], [health], [retries], [timeouts], [limits], [prewarm], [fleet], [host_tls], [admin], [reload]",
        "  hint: did you mean `health`?",
        "conf/shard.toml:6: `health.intervall`: found an unknown key, expected one of `interval`, `timeout`, `down_after`, `up_after`, `errors`, `settle`, `eject_after`, `eject_for`, `eject_most`",
        "  hint: did you mean `interval`?",
        "conf/shard.toml:7: `health.timeout`: found \"soon\", expected a duration as in `500ms`, `1.5s`, `10m`",
        "conf/shard.toml:8: `health.down_after`: found 0, expected a whole number from 1 to 100",
        "conf/shard.toml:10: `embedded.hosts`: found 27, expected how many isolate hosts to start, from 1 to 26, or a list of their IDs",
        "conf/shard.toml:11: `embedded.workers[1]`: found \"../examples/nope\", expected a list of folders, relative to this file",
        "  hint: there is no folder conf/../examples/nope",
        "conf/shard.toml:11: `embedded.workers[2]`: found 3, expected a list of folders, relative to this file",
        "conf/shard.toml:13: `placement.policy`: found \"random\", expected `ring` or `rendezvous`",
        "conf/shard.toml:14: `placement.vnodes`: found \"many\", expected a whole number from 1 to 4096",
    ];
    assert_eq!(found, expected);
}

#[test]
fn hosts_must_be_complete_and_different() {
    let found = problems(
        r#"[[hosts]]
id = "a"
address = "10.0.0.1:1"
[[hosts]]
id = "a"
address = "10.0.0.1:1"
weight = 0
[[hosts]]
id = "B"
[fleet]
key_env = "FLEET_KEY"
"#,
    );
    let expected = [
        "conf/shard.toml:5: `hosts[1].id`: found `a` a second time, expected each host to have its own",
        "  hint: the first one is on line 2",
        "conf/shard.toml:6: `hosts[1].address`: found `10.0.0.1:1` a second time, expected each host to have its own",
        "  hint: the first one is on line 3",
        "conf/shard.toml:7: `hosts[1].weight`: found 0, expected a whole number from 1 to 100",
        "conf/shard.toml:8: `hosts[2].address`: found no such key, expected an address as in `10.0.0.7:7070`",
        "conf/shard.toml:9: `hosts[2].id`: found \"B\", expected 1 to 63 characters `a-z`, `0-9`, `-`, `_`, the first a letter or digit",
        "  hint: found `B` in the name `B`, expected only `a-z`, `0-9`, `-` and `_`, starting with a letter or digit",
    ];
    assert_eq!(found, expected);
}

#[test]
fn hosts_come_from_one_place() {
    assert!(problems("")[0].contains("found neither `[[hosts]]` nor `[embedded]`"));
    let both =
        "[embedded]\n[[hosts]]\nid = \"a\"\naddress = \"10.0.0.1:1\"\n[fleet]\nkey_env = \"FLEET_KEY\"\n";
    assert!(problems(both)[0].contains("found both `[[hosts]]` and `[embedded]`"));
    assert_eq!(
        problems("embedded = 3\n"),
        ["conf/shard.toml:1: `embedded`: found 3, expected a table `[embedded]`"]
    );
}

#[test]
fn keys_are_checked_and_never_shown() {
    let with = |fleet: &str| format!("[[hosts]]\nid = \"a\"\naddress = \"10.0.0.1:1\"\n{fleet}");
    assert!(problems(&with(""))[0].contains("`fleet`: found no fleet key"));
    assert!(problems(&with("[fleet]\nkey_env = \"MISSING\"\n"))[1].contains("`MISSING` is not set"));
    let short = problems(&with("[fleet]\nkey_env = \"SHORT\"\n"));
    assert_eq!(short[1], "  hint: found a fleet key of 5 characters, expected 16 to 256");
    assert!(problems(&with("[fleet]\nkey_file = \"none.key\"\n"))[1].contains("conf/none.key: no such file"));
    let both = with("[fleet]\nkey_env = \"FLEET_KEY\"\nkey_file = \"fleet.key\"\n");
    assert!(problems(&both)[0].contains("both `key_file` and `key_env`"));
}

#[test]
fn routes_say_which_worker_is_meant() {
    let with = |route: &str| format!("[embedded]\n[[routes]]\n{route}\n");
    let needless = problems(&with("host = \"{worker}.test\"\nworker = \"x\""));
    assert!(needless[0].contains("found more than one thing that names a worker"), "{needless:?}");
    assert!(problems(&with("host = \"a.test\""))[0].contains("found nothing that names a worker"));
    assert!(problems(&with("host = \"{name}.test\""))[1].contains("found `{`"));
    assert!(problems(&with("worker = \"x\""))[0].contains("`routes[0]`: found no condition"));
    let ours = problems(&with("header = \"x-warmshard-worker: {worker}\""));
    assert!(ours[1].contains("which clients cannot send"), "{ours:?}");
    let all = with("host = \"a.test\"\npath = \"/api\"\nheader = \"x-worker: {worker}\"");
    assert_eq!(read(&all).unwrap().routes.0[0].to_string(), "a.test/api with x-worker: {worker}");
}

#[test]
fn hosts_have_zones_and_states() {
    let fleet = "[fleet]\nkey_env = \"FLEET_KEY\"\n";
    let host = |id: &str, rest: &str| {
        format!("[[hosts]]\nid = \"{id}\"\naddress = \"10.0.0.1:{}\"\n{rest}\n", 1 + id.len())
    };
    let text = [
        host("a", "zone = \"west\""),
        host("bb", "state = \"draining\""),
        host("ccc", "state = \"out\""),
        fleet.into(),
    ];
    let settings = read(&text.concat()).unwrap();
    let members = settings.members();
    let shares: Vec<u32> = members.iter().map(|member| member.share.thousandths()).collect();
    assert_eq!(shares, [1000, 0, 0]);
    assert_eq!(members[0].zone.as_ref().unwrap().as_str(), "west");

    let nobody = [host("a", "state = \"out\""), fleet.into()].concat();
    assert!(problems(&nobody)[0].contains("found no host that is to get requests"));
    let local = [host("a", ""), fleet.into(), "[placement]\nzones = \"local\"\n".into()].concat();
    assert!(problems(&local)[0].contains("`placement.zone`: found no zone of this router"));
}

#[test]
fn with_a_token_the_admin_api_may_be_reached_from_elsewhere() {
    let open = "[embedded]\n[listen]\nadmin = \"0.0.0.0:9090\"\n";
    assert!(read(open).is_err());
    let settings = read(&format!("{open}[admin]\ntoken_env = \"FLEET_KEY\"\n")).unwrap();
    assert!(settings.admin_token.is_some());
}

#[test]
fn certificates_are_relative_to_the_file_and_checked() {
    let with = |tls: &str| format!("[embedded]\n[listen]\ntls = \"0.0.0.0:443\"\n{tls}");
    let settings = read(&with("[[tls]]\ncertificate = \"a.pem\"\nkey = \"a.key\"\n")).unwrap();
    assert_eq!(settings.tls[0].certificate, Path::new("conf/a.pem"));
    assert_eq!(settings.listen.tls.unwrap().port(), 443);
    let wrong =
        problems(&with("[[tls]]\ncertificate = \"b.pem\"\nkey = \"a.key\"\n[[tls]]\nkey = \"a.key\"\n"));
    assert!(
        wrong[0].starts_with("conf/shard.toml:5: `tls[0].certificate`: found \"b.pem\", expected a PEM file")
    );
    assert_eq!(wrong[1], "  hint: conf/b.pem: no such file");
    assert!(wrong[2].starts_with("conf/shard.toml:7: `tls[1].certificate`: found no such key"), "{wrong:?}");
    let key = problems(&with("[[tls]]\ncertificate = \"a.pem\"\nkey = \"b.key\"\n"));
    assert!(key[0].starts_with("conf/shard.toml:6: `tls[0].key`"), "{key:?}");
    assert!(problems(&with(""))[0].contains("`tls`: found no certificate"));
    let unused = problems("[embedded]\n[[tls]]\ncertificate = \"a.pem\"\nkey = \"a.key\"\n");
    assert!(unused[0].starts_with("conf/shard.toml:2: `listen.tls`: found no address"), "{unused:?}");
    let twice = problems("[embedded]\n[listen]\ndata = \"1.1.1.1:1\"\ntls = \"1.1.1.1:1\"\n");
    assert!(twice[0].contains("`listen.tls`: found 1.1.1.1:1, which is `listen.data` as well"), "{twice:?}");
}

#[test]
fn the_files_to_start_from_have_no_problems() {
    struct Anything;
    impl Surroundings for Anything {
        fn variable(&self, _: &str) -> Option<String> {
            Some("0123456789abcdef".to_owned())
        }
        fn read(&self, _: &Path) -> Result<String, String> {
            Ok("0123456789abcdef".to_owned())
        }
        fn is_folder(&self, path: &Path) -> bool {
            path.is_dir()
        }
    }
    for name in ["dev.toml", "three-hosts.toml", "fleet.toml"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(parse(&path, &text, &Anything).map(drop), Ok(()), "{name}");
    }
}

#[test]
fn all_syntax_errors_are_told_with_their_lines() {
    let found = problems("[listen\ndata = \"127.0.0.1:1\"\nadmin = = 3\n");
    assert!(found[0].starts_with("conf/shard.toml:1: found something that is not TOML ("), "{found:?}");
    assert!(found.iter().any(|line| line.starts_with("conf/shard.toml:3: ")), "{found:?}");
}

#[test]
fn hosts_over_tls_need_a_ca_and_a_key_or_a_certificate() {
    let host = "[[hosts]]\nid = \"a\"\naddress = \"10.0.0.1:1\"\n";
    let with = |lines: &str| format!("{host}[host_tls]\n{lines}");
    let mutual = "ca = \"ca.pem\"\ncertificate = \"a.pem\"\nkey = \"a.key\"\n";
    let settings = read(&with(mutual)).unwrap();
    let own = CertificateFiles { certificate: "conf/a.pem".into(), key: "conf/a.key".into() };
    let (ca, key) = ("conf/ca.pem".into(), settings.key.clone());
    assert_eq!((settings.host_tls, key), (Some(HostTlsFiles { ca, own: Some(own) }), None));
    let keyed = format!("{}[fleet]\nkey_env = \"FLEET_KEY\"\n", with("ca = \"ca.pem\"\n"));
    assert_eq!(read(&keyed).unwrap().host_tls.map(|files| files.own), Some(None));

    assert!(problems(&with("ca = \"ca.pem\"\n"))[0].contains("found no fleet key"));
    assert!(problems(&with(""))[0].contains("`host_tls.ca`: found no such key"));
    assert!(problems(&with("ca = \"none.pem\"\n"))[1].contains("conf/none.pem: no such file"));
    let has = |text: &str, expected: &str| problems(text).iter().any(|line| line.contains(expected));
    let half = with("ca = \"ca.pem\"\nkey = \"a.key\"\n");
    assert!(has(&half, "found `key` without `certificate`, expected both or neither"));
    let embedded = format!("[embedded]\n[host_tls]\n{mutual}");
    assert!(has(&embedded, "found `[host_tls]` beside `[embedded]`"));
}
