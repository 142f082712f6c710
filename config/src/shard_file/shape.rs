//! Every key of a shard file: what it expects, its default and what it is for.

/// One key of a section.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) name: &'static str,
    /// Completes "found …, expected …".
    pub(super) expects: &'static str,
    /// The default as TOML, or `None` when leaving it out means something of its own.
    #[cfg_attr(not(test), expect(dead_code, reason = "held against the code by a test"))]
    pub(super) default: Option<&'static str>,
    #[cfg_attr(not(test), expect(dead_code, reason = "kept next to the key it documents"))]
    pub(super) doc: &'static str,
}

/// One table of the file, or each element of an array of tables.
#[derive(Debug)]
pub(super) struct Section {
    pub(super) name: &'static str,
    pub(super) repeated: bool,
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
    expects: &'static str,
    default: Option<&'static str>,
    doc: &'static str,
) -> Key {
    Key { name, expects, default, doc }
}

const NAME: &str = "1 to 63 characters `a-z`, `0-9`, `-`, `_`, the first a letter or digit";
const DURATION: &str = "a duration as in `500ms`, `1.5s`, `10m`";
const COUNT: &str = "a whole number from 1 to 1000000";
const TRIES: &str = "a whole number from 1 to 100";

pub(super) static LISTEN: Section = Section {
    name: "listen",
    repeated: false,
    keys: &[
        key(
            "data",
            "an address as in `127.0.0.1:8080`",
            Some("\"127.0.0.1:8080\""),
            "Where requests for workers arrive. Port 0 takes a free one and reports it.",
        ),
        key(
            "admin",
            "an address of this machine's loopback as in `127.0.0.1:9090`",
            Some("\"127.0.0.1:9090\""),
            "Where health, metrics and the admin API answer.",
        ),
    ],
};

pub(super) static ROUTES: Section = Section {
    name: "routes",
    repeated: true,
    keys: &[
        key(
            "host",
            "a host name in which `{worker}` may stand once for the worker's name, as in `{worker}.localhost`",
            None,
            "The host names this route takes. The first route that matches counts.",
        ),
        key("worker", NAME, None, "The worker, for a host name without `{worker}`."),
    ],
};

pub(super) static HOSTS: Section = Section {
    name: "hosts",
    repeated: true,
    keys: &[
        key(
            "id",
            NAME,
            None,
            "What the ring places. Keep it when the address changes: no worker moves then.",
        ),
        key("address", "an address as in `10.0.0.7:7070`", None, "Where the isolate host listens."),
        key("weight", "a whole number from 1 to 100", Some("1"), "The host's share relative to the others."),
    ],
};

pub(super) static EMBEDDED: Section = Section {
    name: "embedded",
    repeated: false,
    keys: &[
        key(
            "hosts",
            "how many isolate hosts to start, from 1 to 26, or a list of their IDs",
            Some("2"),
            "Isolate hosts that this router starts itself, as child processes.",
        ),
        key(
            "workers",
            "a list of folders, relative to this file",
            Some("[]"),
            "Workers to deploy before serving; one that is deployed already is left alone.",
        ),
        key(
            "store",
            "a folder, relative to this file",
            None,
            "The deployment store. Left out, it is the user's own.",
        ),
        key("max_isolates", COUNT, None, "The most isolates one host keeps."),
        key("requests_per_isolate", COUNT, None, "The most requests one isolate serves at a time."),
    ],
};

pub(super) static PLACEMENT: Section = Section {
    name: "placement",
    repeated: false,
    keys: &[
        key("policy", "`ring`", Some("\"ring\""), "How workers are spread over hosts."),
        key(
            "vnodes",
            "a whole number from 1 to 4096",
            Some("512"),
            "Points on the ring for a host of weight one.",
        ),
        key("seed", "a whole number from 0", Some("0"), "Routers must share it to agree."),
    ],
};

pub(super) static HEALTH: Section = Section {
    name: "health",
    repeated: false,
    keys: &[
        key("interval", DURATION, Some("\"1s\""), "How often each host is probed."),
        key("timeout", DURATION, Some("\"1s\""), "How long a probe may take."),
        key("down_after", TRIES, Some("3"), "Failed probes in a row that take a host down."),
        key("up_after", TRIES, Some("2"), "Good probes in a row that bring it back."),
        key("errors", TRIES, Some("3"), "Failed connections in a row that take a host down at once."),
        key(
            "settle",
            DURATION,
            Some("\"10s\""),
            "How long a host that died is up again before requests return to it.",
        ),
    ],
};

pub(super) static FLEET: Section = Section {
    name: "fleet",
    repeated: false,
    keys: &[
        key(
            "key_file",
            "a file that holds a key of 16 to 256 printable characters, relative to this file",
            None,
            "The secret that router and hosts share.",
        ),
        key(
            "key_env",
            "the name of an environment variable that holds a key of 16 to 256 printable characters",
            None,
            "The same, from the environment.",
        ),
    ],
};

pub(super) static TIMEOUTS: Section = Section {
    name: "timeouts",
    repeated: false,
    keys: &[
        key(
            "connect",
            DURATION,
            Some("\"1s\""),
            "How long connecting to a host may take before the next one is asked.",
        ),
        key(
            "silence",
            DURATION,
            Some("\"5m\""),
            "How long a host may send nothing before its answer is given up.",
        ),
        key("client_idle", DURATION, Some("\"75s\""), "How long a client's idle connection is kept."),
        key(
            "drain",
            DURATION,
            Some("\"5s\""),
            "How long requests in flight may take to end when the router stops.",
        ),
    ],
};

pub(super) static SECTIONS: [&Section; 8] =
    [&LISTEN, &ROUTES, &HOSTS, &EMBEDDED, &PLACEMENT, &HEALTH, &FLEET, &TIMEOUTS];

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
