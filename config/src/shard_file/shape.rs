//! Every key of a shard file: what it expects, its default and what it is for.

/// What a value looks like, for the JSON Schema. `expects` says it to people.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    Text,
    Duration,
    Whole {
        least: u64,
        most: u64,
    },
    Choice(&'static [&'static str]),
    /// A list of texts.
    Texts,
    /// A whole number, or a list of texts.
    CountOrTexts {
        most: u64,
    },
}

/// One key of a section.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    /// Completes "found …, expected …".
    pub(super) expects: &'static str,
    /// The default as TOML, or `None` when leaving it out means something of its own.
    pub(super) default: Option<&'static str>,
    /// Without it the table means nothing.
    pub(super) required: bool,
    pub(super) doc: &'static str,
}

/// One table of the file, or each element of an array of tables.
#[derive(Debug)]
pub(super) struct Section {
    pub(super) name: &'static str,
    pub(super) repeated: bool,
    pub(super) doc: &'static str,
    pub(super) keys: &'static [Key],
}

impl Section {
    pub(super) fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }

    /// As it is written in the file.
    pub(super) fn header(&self) -> String {
        if self.repeated { format!("[[{}]]", self.name) } else { format!("[{}]", self.name) }
    }
}

const fn key(
    name: &'static str,
    kind: Kind,
    expects: &'static str,
    default: Option<&'static str>,
    doc: &'static str,
) -> Key {
    Key { name, kind, expects, default, required: false, doc }
}

const fn required(name: &'static str, kind: Kind, expects: &'static str, doc: &'static str) -> Key {
    Key { name, kind, expects, default: None, required: true, doc }
}

const NAME: &str = "1 to 63 characters `a-z`, `0-9`, `-`, `_`, the first a letter or digit";
const DURATION: &str = "a duration as in `500ms`, `1.5s`, `10m`";
const COUNT: &str = "a whole number from 1 to 1000000";
const TRIES: &str = "a whole number from 1 to 100";

const fn whole(least: u64, most: u64) -> Kind {
    Kind::Whole { least, most }
}

const fn duration(name: &'static str, default: &'static str, doc: &'static str) -> Key {
    key(name, Kind::Duration, DURATION, Some(default), doc)
}

const fn tries(name: &'static str, default: &'static str, doc: &'static str) -> Key {
    key(name, whole(1, 100), TRIES, Some(default), doc)
}

pub(super) static LISTEN: Section = Section {
    name: "listen",
    repeated: false,
    doc: "Where the router listens.",
    keys: &[
        key(
            "data",
            Kind::Text,
            "an address as in `127.0.0.1:8080`",
            Some("\"127.0.0.1:8080\""),
            "Where requests for workers arrive. Port 0 takes a free one and reports it.",
        ),
        key(
            "admin",
            Kind::Text,
            "an address of this machine's loopback as in `127.0.0.1:9090`",
            Some("\"127.0.0.1:9090\""),
            "Where health, metrics and the admin API answer. Elsewhere than on loopback only with a token.",
        ),
        key(
            "tls",
            Kind::Text,
            "an address as in `0.0.0.0:443`",
            None,
            "Where requests for workers arrive over TLS, as HTTP/2 or HTTP/1.1. Needs `[[tls]]`.",
        ),
    ],
};

pub(super) static TLS: Section = Section {
    name: "tls",
    repeated: true,
    doc: "Certificates for `listen.tls`. The name that a client asks for (SNI) chooses the one that was made for \
          it; the first one answers clients that ask for no name, or for one that none was made for. The \
          files are read again when they change; while a changed one is unusable, the last good one stays.",
    keys: &[
        required(
            "certificate",
            Kind::Text,
            "a PEM file with a certificate and those that signed it, relative to this file",
            "The certificate, then the intermediate ones.",
        ),
        required(
            "key",
            Kind::Text,
            "a PEM file with the certificate's private key, relative to this file",
            "Its private key.",
        ),
    ],
};

pub(super) static ROUTES: Section = Section {
    name: "routes",
    repeated: true,
    doc: "Which worker a request is for. The first route that fits counts. A route may look at the host \
          name, the path and a header, and then all of them must fit. Exactly one of `worker`, `{worker}` \
          in `host` and `{worker}` in `header` says which worker is meant. Left out, there is one route \
          with `host = \"{worker}.localhost\"`.",
    keys: &[
        key(
            "host",
            Kind::Text,
            "a host name in which `{worker}` may stand once for the worker's name, as in `{worker}.localhost`",
            None,
            "The host names this route takes.",
        ),
        key(
            "path",
            Kind::Text,
            "the beginning of a path as in `/api`",
            None,
            "The paths this route takes: this one and those below it. The worker gets the path unchanged.",
        ),
        key(
            "header",
            Kind::Text,
            "a header and its value as in `x-tenant: blue`, or `x-worker: {worker}`",
            None,
            "The header that a request must have.",
        ),
        key("worker", Kind::Text, NAME, None, "The worker, where neither host name nor header names it."),
    ],
};

pub(super) static HOSTS: Section = Section {
    name: "hosts",
    repeated: true,
    doc: "Isolate hosts that run by themselves, on this machine or others.",
    keys: &[
        required(
            "id",
            Kind::Text,
            NAME,
            "What the ring places. Keep it when the address changes: no worker moves then.",
        ),
        required(
            "address",
            Kind::Text,
            "an address as in `10.0.0.7:7070`",
            "Where the isolate host listens.",
        ),
        key(
            "weight",
            whole(1, 100),
            "a whole number from 1 to 100",
            Some("1"),
            "The host's share relative to the others.",
        ),
        key(
            "zone",
            Kind::Text,
            NAME,
            None,
            "Hosts that fail together: a rack, a room, a data centre. See `placement.zones`.",
        ),
        key(
            "state",
            Kind::Choice(&["active", "draining", "out"]),
            "`active`, `draining` or `out`",
            Some("\"active\""),
            "`draining` empties the host over `placement.ramp`; `out` keeps it in the file and gives it nothing.",
        ),
    ],
};

pub(super) static EMBEDDED: Section = Section {
    name: "embedded",
    repeated: false,
    doc: "Isolate hosts that the router starts itself, as child processes. Either this or `[[hosts]]`.",
    keys: &[
        key(
            "hosts",
            Kind::CountOrTexts { most: 26 },
            "how many isolate hosts to start, from 1 to 26, or a list of their IDs",
            Some("2"),
            "A number stands for `host-a`, `host-b` and so on.",
        ),
        key(
            "workers",
            Kind::Texts,
            "a list of folders, relative to this file",
            Some("[]"),
            "Workers to deploy before serving; one that is deployed already is left alone.",
        ),
        key(
            "store",
            Kind::Text,
            "a folder, relative to this file",
            None,
            "The deployment store. Left out, it is the user's own.",
        ),
        key("max_isolates", whole(1, 1_000_000), COUNT, None, "The most isolates one host keeps."),
        key(
            "requests_per_isolate",
            whole(1, 1_000_000),
            COUNT,
            None,
            "The most requests one isolate serves at a time.",
        ),
    ],
};

pub(super) static ETCD: Section = Section {
    name: "etcd",
    repeated: false,
    doc: "Where hosts and placement come from, in place of `[[hosts]]` and `[placement]`: a record in etcd, put \
          there by `router publish`, that all routers follow. In `[placement]` only `zone` stays in the file. \
          While etcd is gone, or has no record, the last good one stays in force.",
    keys: &[
        Key {
            required: true,
            ..key(
                "endpoints",
                Kind::Texts,
                "a list of addresses as in `[\"http://10.0.0.5:2379\"]`",
                None,
                "The members of the etcd cluster; one that does not answer is followed by the next.",
            )
        },
        key(
            "prefix",
            Kind::Text,
            "a text that starts with `/`",
            Some("\"/warmshard\""),
            "The record is `PREFIX/membership`.",
        ),
        key("user", Kind::Text, "a name that etcd knows", None, "Who the router is to etcd."),
        key(
            "password_file",
            Kind::Text,
            "a file that holds the user's password, relative to this file",
            None,
            "The user's password, from a file.",
        ),
        key(
            "password_env",
            Kind::Text,
            "the name of an environment variable that holds the user's password",
            None,
            "The same, from the environment.",
        ),
        key(
            "copy",
            Kind::Text,
            "a file, relative to this file",
            Some("\"membership.copy.json\""),
            "Where the last good record is kept, for a start while etcd is gone.",
        ),
        duration("timeout", "\"2s\"", "How long a call to etcd may take."),
    ],
};

pub(super) static PLACEMENT: Section = Section {
    name: "placement",
    repeated: false,
    doc: "Which host is a worker's home, and when it gets more than one. Routers must agree on `policy`, \
          `vnodes`, `seed`, `zones` and, with `zones = \"local\"`, those of one zone on `zone`.",
    keys: &[
        key(
            "policy",
            Kind::Choice(&["ring", "rendezvous"]),
            "`ring` or `rendezvous`",
            Some("\"ring\""),
            "How workers are spread over hosts. `rendezvous` spreads a lost host's workers more evenly.",
        ),
        key(
            "vnodes",
            whole(1, 4096),
            "a whole number from 1 to 4096",
            Some("512"),
            "Points on the ring for a host of weight one.",
        ),
        key(
            "seed",
            whole(0, u64::MAX),
            "a whole number from 0",
            Some("0"),
            "Another seed gives every worker another home.",
        ),
        key(
            "zones",
            Kind::Choice(&["ignore", "spread", "local"]),
            "`ignore`, `spread` or `local`",
            Some("\"ignore\""),
            "`spread`: a worker's second host is in another zone than its first. `local`: the hosts of this \
             router's zone come first, so that each zone keeps a copy warm.",
        ),
        key("zone", Kind::Text, NAME, None, "The zone this router is in, for `zones = \"local\"`."),
        key(
            "load_factor",
            whole(101, 10_000),
            "percent of the mean, a whole number from 101 to 10000",
            Some("125"),
            "A host that has more in flight than this many percent of a host's mean, and more than \
             `soft_limit`, is passed over for a worker's next host.",
        ),
        key(
            "soft_limit",
            whole(1, 1_000_000),
            COUNT,
            Some("32"),
            "So many requests in flight are never too many for a host of weight one.",
        ),
        key(
            "homes",
            whole(1, 8),
            "a whole number from 1 to 8",
            Some("2"),
            "Where a worker of one host may live: while its first host is full it is restored at whichever of so \
             many hosts that costs least. 1: at its first host alone.",
        ),
        key(
            "max_width",
            whole(1, 65_535),
            "a whole number from 1 to 65535",
            Some("65535"),
            "The most hosts one worker is spread over.",
        ),
        duration(
            "width_hold",
            "\"30s\"",
            "How long a worker's load must have been low before it is spread over one host less.",
        ),
        key(
            "width_slack",
            whole(1, 99),
            "percent, a whole number from 1 to 99",
            Some("70"),
            "Low is at most this many percent of the load that made the worker need the host.",
        ),
        duration(
            "width_trial",
            "\"5m\"",
            "After this long one host less is tried whatever the load; doubled each time that fails.",
        ),
        duration(
            "ramp",
            "\"30s\"",
            "How long a host that joins is filled, and one that is `draining` emptied.",
        ),
        tries("ramp_steps", "10", "In how many steps; each step is an epoch."),
    ],
};

pub(super) static HEALTH: Section = Section {
    name: "health",
    repeated: false,
    doc: "When a host is taken out and brought back. A worker's own errors never count.",
    keys: &[
        duration("interval", "\"1s\"", "How often each host is probed."),
        duration("timeout", "\"1s\"", "How long a probe may take."),
        tries("down_after", "3", "Failed probes in a row that take a host down."),
        tries("up_after", "2", "Good probes in a row that bring it back."),
        tries("errors", "3", "Failed connections in a row that take a host down at once."),
        duration("settle", "\"10s\"", "How long a host that died is up again before requests return to it."),
        tries(
            "eject_after",
            "5",
            "Requests in a row that a host itself failed or never answered, of more than one worker, that \
             eject it for a while.",
        ),
        duration("eject_for", "\"10s\"", "How long; twice as long the second time in a row, and so on."),
        key(
            "eject_most",
            whole(0, 100),
            "percent, a whole number from 0 to 100",
            Some("50"),
            "The most hosts that are ejected at the same time.",
        ),
    ],
};

pub(super) static FLEET: Section = Section {
    name: "fleet",
    repeated: false,
    doc: "The secret that router and hosts share. `[[hosts]]` need one; embedded hosts get a new one at each start.",
    keys: &[
        key(
            "key_file",
            Kind::Text,
            "a file that holds a key of 16 to 256 printable characters, relative to this file",
            None,
            "The key, from a file.",
        ),
        key(
            "key_env",
            Kind::Text,
            "the name of an environment variable that holds a key of 16 to 256 printable characters",
            None,
            "The same, from the environment.",
        ),
    ],
};

pub(super) static HOST_TLS: Section = Section {
    name: "host_tls",
    repeated: false,
    doc: "TLS between this router and `[[hosts]]`. With this table every host is spoken to over TLS, and its \
          certificate must be made for its ID. With a certificate of its own the router needs no fleet key \
          where hosts trust who signed it. The files are read again when they change; while a changed one is \
          unusable, the last good one stays.",
    keys: &[
        required(
            "ca",
            Kind::Text,
            "a PEM file with the certificates that hosts' certificates are signed by, relative to this file",
            "Whose signature makes a host one.",
        ),
        key(
            "certificate",
            Kind::Text,
            "a PEM file with a certificate and those that signed it, relative to this file",
            None,
            "What this router shows hosts.",
        ),
        key(
            "key",
            Kind::Text,
            "a PEM file with the certificate's private key, relative to this file",
            None,
            "Its private key.",
        ),
    ],
};

pub(super) static TIMEOUTS: Section = Section {
    name: "timeouts",
    repeated: false,
    doc: "How long things may take.",
    keys: &[
        duration("connect", "\"1s\"", "How long connecting to a host may take before the next one is asked."),
        duration("silence", "\"5m\"", "How long a host may send nothing before its answer is given up."),
        duration("client_idle", "\"75s\"", "How long a client's idle connection is kept."),
        duration("drain", "\"5s\"", "How long requests in flight may take to end when the router stops."),
        duration("linger", "\"30s\"", "How long connections may go on when another router has taken over."),
    ],
};

pub(super) static LIMITS: Section = Section {
    name: "limits",
    repeated: false,
    doc: "What a client may ask of the router. More is answered with 408 or 431, or the connection is closed.",
    keys: &[
        key(
            "head",
            whole(1024, 1_000_000),
            "bytes, a whole number from 1024 to 1000000",
            Some("32768"),
            "The largest head of a request: its first line and headers.",
        ),
        duration("head_time", "\"10s\"", "How long a client may take to send a head once it has begun."),
        duration(
            "body_silence",
            "\"60s\"",
            "How long it may send nothing in the middle of an HTTP/1.1 body.",
        ),
        key(
            "connections",
            whole(1, 1_000_000),
            COUNT,
            Some("10000"),
            "The most connections of clients at a time; one more is closed at once.",
        ),
    ],
};

pub(super) static RETRIES: Section = Section {
    name: "retries",
    repeated: false,
    doc: "What becomes of a request that a host refused or did not get.",
    keys: &[tries(
        "hosts",
        "8",
        "The most hosts that one request is sent to. A request that a host may have begun goes on to \
         another one only when its method is idempotent.",
    )],
};

pub(super) static PREWARM: Section = Section {
    name: "prewarm",
    repeated: false,
    doc: "Having a worker warm before its first request.",
    keys: &[
        key(
            "on_handshake",
            Kind::Choice(&["on", "off"]),
            "`on` or `off`",
            Some("\"on\""),
            "Whether the host name in a TLS handshake has its worker's host restore an isolate meanwhile.",
        ),
        key(
            "at_once",
            whole(1, 1000),
            "a whole number from 1 to 1000",
            Some("8"),
            "The most hosts that are being asked at a time. Names are free for whoever sends them.",
        ),
        duration("again_after", "\"10s\"", "How long one worker is not asked for again."),
    ],
};

pub(super) static RELOAD: Section = Section {
    name: "reload",
    repeated: false,
    doc: "The file is read again when it changes and on SIGHUP. What is wrong with it is logged, and the \
          last good one stays.",
    keys: &[
        duration("watch", "\"1s\"", "How often it is looked at for changes."),
        key(
            "most_moved",
            whole(1, 100),
            "percent, a whole number from 1 to 100",
            Some("50"),
            "A change that gives more than this many percent of all workers another home is refused \
             unless it is forced with `POST /reload?force=true`.",
        ),
    ],
};

pub(super) static HANDOFF: Section = Section {
    name: "handoff",
    repeated: false,
    doc: "A change that moves workers takes effect after a while, in which the hosts that will get them \
          restore those that were called recently, so that no request of theirs is cold. Routers that see \
          the same file change at the same time switch at the same time, so clocks should agree.",
    keys: &[
        key(
            "wait",
            Kind::Duration,
            "a duration as in `500ms`, `1.5s`, `10m`, or `0s` to switch at once",
            Some("\"5s\""),
            "From the time the file was changed to the moment it takes effect, whether or not every host \
             is done. Steps of `placement.ramp` are prepared as long before.",
        ),
        key(
            "workers",
            whole(1, 1_000_000),
            COUNT,
            Some("1000"),
            "The most workers that are handed over at one change, those called most first.",
        ),
        tries("concurrency", "4", "The most workers that one host is asked to restore at the same time."),
        duration("recent", "\"10m\"", "A worker that was not called for this long is not handed over."),
    ],
};

pub(super) static ADMIN: Section = Section {
    name: "admin",
    repeated: false,
    doc: "Who may use the admin API. Without a token everybody on this machine may.",
    keys: &[
        key(
            "token_file",
            Kind::Text,
            "a file that holds a token of 16 to 256 printable characters, relative to this file",
            None,
            "The token, sent as `Authorization: Bearer TOKEN`. `/healthz` and `/readyz` need none.",
        ),
        key(
            "token_env",
            Kind::Text,
            "the name of an environment variable that holds a token of 16 to 256 printable characters",
            None,
            "The same, from the environment.",
        ),
    ],
};

pub(super) static SECTIONS: [&Section; 17] = [
    &LISTEN, &TLS, &ROUTES, &HOSTS, &EMBEDDED, &ETCD, &PLACEMENT, &HANDOFF, &HEALTH, &RETRIES, &TIMEOUTS,
    &LIMITS, &PREWARM, &FLEET, &HOST_TLS, &ADMIN, &RELOAD,
];

/// The known name closest to an unknown one, if it is close enough to be meant.
pub(super) fn closest<'n>(unknown: &str, known: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    let scored = known.map(|name| (edits(unknown, name), name));
    let (distance, name) = scored.min_by_key(|&(distance, _)| distance)?;
    (distance <= 1 + unknown.len() / 4).then_some(name)
}

/// Insertions, removals and replacements that turn one word into the other.
fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, &y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_documented() {
        for section in SECTIONS {
            assert!(section.doc.ends_with('.'), "{}", section.name);
            for key in section.keys {
                assert!(key.doc.ends_with('.'), "{}.{}", section.name, key.name);
                assert!(!key.expects.is_empty());
            }
        }
    }

    #[test]
    fn slips_are_recognised_and_other_words_are_not() {
        let known = || HEALTH.keys.iter().map(|key| key.name);
        assert_eq!(closest("intervall", known()), Some("interval"));
        assert_eq!(closest("down-after", known()), Some("down_after"));
        assert_eq!(closest("colour", known()), None);
    }
}
