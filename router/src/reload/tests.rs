//! Files that change under a router.

use std::fmt::Write as _;
use std::path::Path;

use tempfile::TempDir;

use super::*;

/// A router's reloader over a real file.
struct Running {
    folder: TempDir,
    reloader: Reloader,
}

const KEY: &str = "0123456789abcdef";

fn text(hosts: &[(&str, &str)], rest: &str) -> String {
    let mut text = format!("[fleet]\nkey_file = \"fleet.key\"\n{rest}\n");
    for (n, (id, rest)) in hosts.iter().enumerate() {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "[[hosts]]\nid = \"{id}\"\naddress = \"10.0.0.1:{}\"\n{rest}", n + 1);
    }
    text
}

const AT_ONCE: &str = "[placement]\nramp_steps = 1\n[handoff]\nwait = \"0s\"";

fn running(hosts: &[(&str, &str)], rest: &str) -> Running {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("fleet.key"), KEY).unwrap();
    let file = folder.path().join("shard.toml");
    std::fs::write(&file, text(hosts, rest)).unwrap();
    let (settings, text) = surroundings::read_shard_file(&file).unwrap();
    let key = FleetKey::parse(KEY).unwrap();
    let (spreading, traffic) = (Spreading::from(&settings.placement), Traffic::of(&settings, &key));
    let fleet = Arc::new(Fleet::new(settings.build_placement(), spreading, traffic));
    let reloader = Reloader::new(file, settings, text, fleet, key);
    Running { folder, reloader }
}

impl Running {
    fn file(&self) -> &Path {
        &self.reloader.file
    }

    fn write(&self, hosts: &[(&str, &str)], rest: &str) {
        std::fs::write(self.file(), text(hosts, rest)).unwrap();
    }

    fn ids(&self) -> Vec<String> {
        self.reloader.fleet.roster().hosts().iter().map(|host| host.id().to_string()).collect()
    }

    fn share(&self, id: &str) -> u32 {
        let roster = self.reloader.fleet.roster();
        let index = roster.index_of(&HostId::parse(id).unwrap()).unwrap();
        roster.placement.membership().member(index).share.thousandths()
    }
}

#[test]
fn a_host_more_is_another_epoch_and_those_that_stay_are_the_same() {
    let running = running(&[("a", ""), ("b", "")], AT_ONCE);
    let (before, a) =
        (running.reloader.fleet.roster().epoch(), running.reloader.fleet.roster().hosts()[0].clone());
    assert!(matches!(running.reloader.reload(Force::No), Outcome::Unchanged));
    running.write(&[("a", ""), ("b", ""), ("c", "")], AT_ONCE);
    let Outcome::Applied { moved_percent } = running.reloader.reload(Force::No) else {
        panic!("a good file")
    };
    assert!((28..=40).contains(&moved_percent), "a third, found {moved_percent}");
    assert_eq!(running.ids(), ["a", "b", "c"]);
    assert_ne!(running.reloader.fleet.roster().epoch(), before);
    assert!(Arc::ptr_eq(&a, &running.reloader.fleet.roster().hosts()[0]), "its health is kept");
    let place = running.reloader.fleet.roster().hosts()[2].place().unwrap();
    assert_eq!(place.address.to_string(), "10.0.0.1:3");
}

#[test]
fn the_last_good_file_stays_on_any_error() {
    let running = running(&[("a", ""), ("b", "")], "");
    let epoch = running.reloader.fleet.roster().epoch();
    let same = [("a", ""), ("a", "")];
    running.write(&same, "");
    assert!(matches!(running.reloader.reload(Force::Yes), Outcome::Invalid(_)), "duplicate hosts");
    running.write(&[], "");
    assert!(matches!(running.reloader.reload(Force::Yes), Outcome::Invalid(_)), "no hosts");
    std::fs::write(running.file(), "[[hosts").unwrap();
    assert!(matches!(running.reloader.reload(Force::Yes), Outcome::Invalid(_)), "no TOML");
    std::fs::remove_file(running.folder.path().join("fleet.key")).unwrap();
    running.write(&[("a", ""), ("c", "")], "");
    assert!(matches!(running.reloader.reload(Force::Yes), Outcome::Invalid(_)), "no key");
    std::fs::remove_file(running.file()).unwrap();
    assert!(matches!(running.reloader.reload(Force::Yes), Outcome::Invalid(_)), "no file");
    assert_eq!(
        (running.reloader.fleet.roster().epoch(), running.ids()),
        (epoch, vec!["a".into(), "b".into()])
    );
    assert!(running.reloader.status().rejected.unwrap().contains("cannot be read"));
}

#[test]
fn a_surprisingly_large_change_is_refused_unless_forced() {
    let running = running(&[("a", ""), ("b", "")], AT_ONCE);
    running.write(&[("c", ""), ("d", "")], AT_ONCE);
    let Outcome::Refused(Refused::TooMuch { moved: 100, most: 50 }) = running.reloader.reload(Force::No)
    else {
        panic!("everything would move");
    };
    assert_eq!(running.ids(), ["a", "b"]);
    assert!(matches!(running.reloader.reload(Force::Yes), Outcome::Applied { .. }));
    assert_eq!(running.ids(), ["c", "d"]);
    running.write(&[("c", ""), ("d", "")], "[listen]\ndata = \"127.0.0.1:1\"");
    let outcome = running.reloader.reload(Force::Yes);
    assert!(matches!(outcome, Outcome::Refused(Refused::NeedsRestart("listen"))), "{outcome:?}");
}

#[test]
fn routes_and_timeouts_change_without_moving_anybody() {
    let running = running(&[("a", ""), ("b", "")], "");
    let epoch = running.reloader.fleet.roster().epoch();
    running.write(&[("a", ""), ("b", "")], "[timeouts]\nsilence = \"7s\"");
    assert!(matches!(running.reloader.reload(Force::No), Outcome::Applied { moved_percent: 0 }));
    let roster = running.reloader.fleet.roster();
    assert_eq!((roster.traffic.timeouts.silence, roster.epoch()), (Duration::from_secs(7), epoch));
}

#[test]
fn hosts_are_filled_and_emptied_step_by_step() {
    let slow = "[placement]\nramp = \"1h\"\nramp_steps = 10\n[handoff]\nwait = \"0s\"";
    let running = running(&[("a", ""), ("b", "")], slow);
    running.write(&[("a", ""), ("b", ""), ("c", "")], slow);
    running.reloader.reload(Force::No);
    assert_eq!([running.share("a"), running.share("c")], [1000, 100]);
    let step = running.reloader.in_force().next_due().unwrap().saturating_sub(wall_clock());
    assert!(step > Duration::from_secs(390) && step <= Duration::from_secs(400), "{step:?}");

    running.write(&[("a", "state = \"draining\""), ("b", ""), ("c", "")], slow);
    running.reloader.reload(Force::No);
    assert_eq!([running.share("a"), running.share("c")], [900, 100], "c goes on where it is");
    running.write(&[("a", "state = \"out\""), ("b", ""), ("c", "")], slow);
    running.reloader.reload(Force::No);
    assert_eq!(running.share("a"), 0, "out is at once");

    // The ramp ends by itself, however late anybody looks.
    running.reloader.follow(wall_clock() + Duration::from_secs(3600));
    assert_eq!(running.share("c"), 1000);
    assert_eq!(running.reloader.in_force().next_due(), None);
    running.reloader.follow(wall_clock());
    assert_eq!(running.share("c"), 1000, "a clock that is set back undoes nothing");
}

const SOON: &str = "[placement]\nramp_steps = 1\n[handoff]\nwait = \"1h\"";

#[tokio::test]
async fn what_moves_workers_takes_effect_at_a_moment_that_follows_from_the_file() {
    let running = running(&[("a", ""), ("b", "")], SOON);
    let before = running.reloader.fleet.roster().epoch();
    running.write(&[("a", ""), ("b", ""), ("c", "")], SOON);
    let Outcome::Coming { epoch, at, .. } = running.reloader.reload(Force::No) else { panic!("it moves") };
    let changed = moment(running.file().metadata().unwrap().modified().unwrap());
    assert_eq!(at, changed + Duration::from_secs(3600));
    assert_eq!((running.ids().len(), running.reloader.fleet.roster().epoch()), (2, before));
    assert_eq!(running.reloader.fleet.to_probe().len(), 3, "it is to be up by then");
    let pending = running.reloader.pending().unwrap();
    assert_eq!((pending.epoch, pending.at), (epoch, at));
    assert!(matches!(running.reloader.reload(Force::No), Outcome::Coming { .. }), "it is the same change");
    running.reloader.follow(at - Duration::from_millis(1));
    assert_eq!(running.ids().len(), 2);
    running.reloader.follow(at);
    assert_eq!(
        (running.ids(), running.reloader.fleet.roster().epoch()),
        (vec!["a".into(), "b".into(), "c".into()], epoch)
    );
    assert!(running.reloader.pending().is_none());
    assert!(matches!(running.reloader.reload(Force::No), Outcome::Unchanged));
}

#[tokio::test]
async fn a_change_that_is_taken_back_never_takes_effect() {
    let running = running(&[("a", ""), ("b", "")], SOON);
    running.write(&[("a", ""), ("b", ""), ("c", "")], SOON);
    assert!(matches!(running.reloader.reload(Force::No), Outcome::Coming { .. }));
    running.write(&[("a", ""), ("b", "")], SOON);
    assert!(matches!(running.reloader.reload(Force::No), Outcome::Unchanged));
    assert!(running.reloader.pending().is_none());
    assert_eq!(running.reloader.fleet.to_probe().len(), 2);
    running.reloader.follow(wall_clock() + Duration::from_secs(7200));
    assert_eq!(running.ids(), ["a", "b"]);
    // A change of something else is not kept waiting.
    running.write(&[("a", ""), ("b", "")], &format!("{SOON}\n[timeouts]\nsilence = \"7s\""));
    assert!(matches!(running.reloader.reload(Force::No), Outcome::Applied { moved_percent: 0 }));
}

#[tokio::test]
async fn heirs_are_asked_for_each_step_of_a_ramp_before_it_is_taken() {
    let ramp = "[placement]\nramp = \"1h\"\nramp_steps = 10\n[handoff]\nwait = \"10s\"";
    let running = running(&[("a", ""), ("b", "")], ramp);
    running.write(&[("a", ""), ("b", ""), ("c", "")], ramp);
    let Outcome::Coming { at, .. } = running.reloader.reload(Force::No) else { panic!("it moves") };
    running.reloader.follow(at);
    assert_eq!(running.share("c"), 100);
    let due = || running.reloader.in_force().next_due().unwrap();
    assert_eq!(due(), at + Duration::from_secs(390), "ten seconds before the step");
    running.reloader.follow(due());
    assert_eq!((running.share("c"), due()), (100, at + Duration::from_secs(400)));
    running.reloader.follow(due());
    assert_eq!((running.share("c"), due()), (200, at + Duration::from_secs(790)));
}
