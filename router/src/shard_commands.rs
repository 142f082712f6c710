//! The commands that look at shard files without serving: `check`, `plan`,
//! `explain` and `reference`.

use std::fmt::Write as _;
use std::path::Path;

use warmshard_config::placement::{Candidates, Plan, Weighed, plan};
use warmshard_config::shard_file::{Fleet, Settings};
use warmshard_config::units::{HostId, ShardKey, WorkerName};

/// So many invented workers stand for all when nobody says which there are.
const SAMPLE: u32 = 10_000;

/// What `router check` prints for a file without problems.
pub(crate) fn check(file: &Path, settings: &Settings) -> String {
    if let Some(etcd) = &settings.etcd {
        return format!("{}: no problems; hosts come from etcd, `{}`", file.display(), etcd.key());
    }
    let hosts = settings.members().len();
    let s = if hosts == 1 { "" } else { "s" };
    format!("{}: no problems; {hosts} host{s}, epoch {}", file.display(), epoch(settings))
}

fn epoch(settings: &Settings) -> String {
    settings.placement.zones.epoch(settings.build_placement().epoch()).to_string()
}

/// Workers `sample-0`, `sample-1` and so on, all equally busy.
pub(crate) fn sample() -> impl Iterator<Item = Weighed> {
    (0..SAMPLE).map(|n| {
        let name = WorkerName::parse(&format!("sample-{n}")).expect("a valid name");
        Weighed { key: ShardKey::of_worker(name), load: 1 }
    })
}

/// What changing from one file to another would do.
pub(crate) fn compare(old: &Settings, new: &Settings, workers: impl IntoIterator<Item = Weighed>) -> Plan {
    let (before, after) = (old.build_placement(), new.build_placement());
    plan((&*before, &old.placement.zones), (&*after, &new.placement.zones), workers)
}

/// What `router plan` prints.
pub(crate) fn describe_plan(old: &Settings, new: &Settings) -> String {
    let plan = compare(old, new, sample());
    let percent = |part: u64, whole: u64| 100.0 * part as f64 / whole.max(1) as f64;
    let moved = percent(plan.moved, plan.keys);
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = writeln!(text, "epoch {} -> {}", epoch(old), epoch(new));
    let _ = writeln!(
        text,
        "{moved:.1} % of workers get another home ({} of {SAMPLE} sampled): one cold start each",
        plan.moved
    );
    let _ = writeln!(text, "\n{:<20} {:>8} {:>8} {:>8}", "host", "before", "after", "share");
    for host in &plan.hosts {
        let mark = if host.is_over(OVER_PERCENT) { "  over its share" } else { "" };
        let _ = writeln!(
            text,
            "{:<20} {:>6.1} % {:>6.1} % {:>6.1} %{mark}",
            host.id.as_str(),
            percent(host.keys_before, plan.keys),
            percent(host.keys_after, plan.keys),
            percent(host.fair_load, plan.load),
        );
    }
    if moved > f64::from(new.reload.most_moved_percent) {
        let _ = writeln!(
            text,
            "\na running router refuses this unless forced: `reload.most_moved` is {} %",
            new.reload.most_moved_percent
        );
    }
    text
}

/// A host with more than this many percent of its share is marked.
pub(crate) const OVER_PERCENT: u64 = 120;

/// What `router explain` prints: a worker's hosts, best first.
pub(crate) fn explain(settings: &Settings, worker: &WorkerName) -> String {
    let placement = settings.build_placement();
    let key = ShardKey::of_worker(worker.clone());
    let candidates = Candidates::of(&*placement, &settings.placement.zones, &key);
    let mut text = format!("worker {worker} at epoch {}\n", candidates.epoch);
    let address = |id: &HostId| match &settings.fleet {
        Fleet::External(hosts) => {
            hosts.iter().find(|host| host.member.id == *id).map(|host| host.address.to_string())
        }
        Fleet::Embedded(_) => Some("started by the router".to_owned()),
    };
    for (position, &index) in candidates.hosts.iter().enumerate() {
        let member = placement.membership().member(index);
        let role = if position == 0 { "home" } else { "next" };
        let zone = member.zone.as_ref().map(|zone| format!(", zone {zone}")).unwrap_or_default();
        let _ = writeln!(
            text,
            "{:>3}. {:<20} {role}, {}, weight {}{zone}",
            position + 1,
            member.id.as_str(),
            address(&member.id).unwrap_or_default(),
            member.weight.get(),
        );
    }
    let without = placement.membership().members().iter().filter(|member| member.effective_weight() == 0);
    for member in without {
        let _ = writeln!(text, "  -. {:<20} gets nothing: it is `draining` or `out`", member.id.as_str());
    }
    text
}

#[cfg(test)]
pub(crate) mod tests {
    use warmshard_config::shard_file::{self, Surroundings};

    use super::*;

    struct Nothing;

    impl Surroundings for Nothing {
        fn variable(&self, _: &str) -> Option<String> {
            Some("0123456789abcdef".to_owned())
        }
        fn read(&self, _: &Path) -> Result<String, String> {
            Err("no files here".to_owned())
        }
        fn is_folder(&self, _: &Path) -> bool {
            false
        }
    }

    /// Hosts with these further lines each.
    pub(crate) fn settings(hosts: &[(&str, &str)]) -> Settings {
        let mut text = String::from("[fleet]\nkey_env = \"KEY\"\n");
        for (n, (id, rest)) in hosts.iter().enumerate() {
            let _ = writeln!(text, "[[hosts]]\nid = \"{id}\"\naddress = \"10.0.0.1:{}\"\n{rest}", n + 1);
        }
        shard_file::parse(Path::new("shard.toml"), &text, &Nothing).unwrap()
    }

    #[test]
    fn a_plan_says_what_moves_and_who_gets_too_much() {
        let four = settings(&[("a", ""), ("b", ""), ("c", ""), ("d", "")]);
        let same = describe_plan(&four, &four);
        assert!(same.contains("0.0 % of workers get another home"), "{same}");
        let drained = settings(&[("a", ""), ("b", ""), ("c", ""), ("d", "state = \"draining\"")]);
        let text = describe_plan(&four, &drained);
        let moved = compare(&four, &drained, sample()).moved_percent();
        assert!((22..=28).contains(&moved), "a quarter moves, found {moved} %");
        assert!(text.contains("one cold start each"), "{text}");
        assert!(text.lines().any(|line| line.starts_with('d') && line.contains(" 0.0 %")), "{text}");
        let all_new = settings(&[("e", ""), ("f", "")]);
        assert!(describe_plan(&four, &all_new).contains("refuses this unless forced"));
    }

    #[test]
    fn an_explanation_lists_every_host() {
        let fleet = settings(&[("a", "zone = \"west\""), ("b", "weight = 2"), ("c", "state = \"out\"")]);
        let text = explain(&fleet, &WorkerName::parse("hello").unwrap());
        assert_eq!(text.lines().count(), 4, "{text}");
        assert!(text.contains("home, 10.0.0.1:"), "{text}");
        assert!(text.contains("zone west") && text.contains("weight 2"), "{text}");
        assert!(text.contains("-. c") && text.contains("gets nothing"), "{text}");
    }
}
