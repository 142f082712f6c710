//! Eight hours of a changing membership in model time: four routers that find out about
//! changes at different times, miss some, and see hosts come and go. Nothing sleeps; the
//! routers' own reloaders, fleets and rosters are driven by a clock of the test's.

use std::collections::HashMap;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};
use warmshard_config::health::{Observation, State};
use warmshard_config::placement::Candidates;
use warmshard_config::shard_file::PlacementPolicy;
use warmshard_config::units::WorkerName;

use super::*;
use crate::fleet::Roster;

const HOURS_8: u64 = 8 * 3600;
const HOSTS: usize = 12;
const WAIT: Duration = Duration::from_secs(5);

/// A version of the shard file and when it was written.
struct Version {
    written: Moment,
    settings: Settings,
}

struct Router {
    reloader: Reloader,
    /// When it finds out about which version.
    news: Vec<(Moment, usize)>,
    roster: Arc<Roster>,
    /// Rosters it had.
    built: usize,
    epochs: usize,
    flaps: usize,
}

/// A membership drawn at random, never an empty one.
fn version(random: &mut StdRng) -> Settings {
    let mut hosts: Vec<(String, String)> = Vec::new();
    for n in 0..HOSTS {
        let state = ["active", "active", "active", "draining", "out"].choose(random).unwrap();
        if n == 0 || random.random_bool(0.8) {
            let state = if n == 0 { "active" } else { state };
            let (weight, zone) = (random.random_range(1..4), if n % 2 == 0 { "west" } else { "east" });
            let more = format!("weight = {weight}\nzone = \"{zone}\"\nstate = \"{state}\"");
            hosts.push((format!("host-{n}"), more));
        }
    }
    let lines: Vec<(&str, &str)> = hosts.iter().map(|(id, more)| (id.as_str(), more.as_str())).collect();
    let mut settings = shard_commands::tests::settings(&lines);
    settings.handoff.wait = WAIT;
    // Few points: thousands of rings are built here.
    settings.placement.policy = PlacementPolicy::Ring { vnodes: 64, seed: 0 };
    settings
}

fn router(first: &Settings, versions: &[Version], random: &mut StdRng) -> Router {
    let key = FleetKey::parse("0123456789abcdef").unwrap();
    let (spreading, traffic) = (Spreading::from(&first.placement), Traffic::of(first, &key));
    let fleet = Arc::new(Fleet::new(first.build_placement(), spreading, traffic));
    // So many that the size of a change is measured by them.
    for n in 0..100 {
        fleet.workers().visit(&WorkerName::parse(&format!("worker-{n}")).unwrap(), &fleet.roster());
    }
    let mut news = Vec::new();
    let mut cut_off = None;
    for (n, version) in versions.iter().enumerate() {
        // Mostly it polls within a second; now and then it is cut off and misses what lies between.
        if random.random_bool(0.1) {
            cut_off = Some(version.written + Duration::from_secs(random.random_range(30..1800)));
        }
        let found = version.written + Duration::from_millis(random.random_range(0..1000));
        match cut_off {
            Some(until) if until > found && n + 1 < versions.len() => {}
            _ => news.push((found.max(cut_off.take().unwrap_or_default()), n)),
        }
    }
    let roster = fleet.roster();
    let reloader = Reloader::new("none.toml".into(), first.clone(), String::new(), fleet, key);
    reloader.place_hosts(first);
    Router { reloader, news, roster, built: 1, epochs: 1, flaps: 0 }
}

impl Router {
    /// What happens in one second.
    fn tick(&mut self, clock: Moment, versions: &[Version], random: &mut StdRng) {
        while self.news.first().is_some_and(|(found, _)| *found <= clock) {
            let (found, n) = self.news.remove(0);
            let at = takes_effect(versions[n].written, WAIT, found);
            let settings = versions[n].settings.clone();
            let outcome = self.reloader.consider(settings, String::new(), at, Force::Yes, found);
            assert!(!matches!(outcome, Outcome::Refused(_) | Outcome::Invalid(_)), "{outcome:?}");
        }
        self.reloader.follow(clock);
        let roster = self.reloader.fleet.roster();
        if !Arc::ptr_eq(&roster, &self.roster) {
            self.built += 1;
            self.epochs += usize::from(roster.epoch() != self.roster.epoch());
            self.roster = roster;
        }
        self.flap(random);
    }

    /// A host goes down or comes up, as far as this router can tell.
    fn flap(&mut self, random: &mut StdRng) {
        if !random.random_bool(0.02) {
            return;
        }
        let fleet = &self.reloader.fleet;
        let Some(host) = self.roster.hosts().choose(random) else { return };
        let observation =
            if host.state() == State::Up { Observation::ProbeFailed } else { Observation::ProbeSucceeded };
        let before = host.state();
        for _ in 0..3 {
            fleet.observe(host, observation);
        }
        self.flaps += usize::from(host.state() != before);
        assert!(Arc::ptr_eq(&fleet.roster(), &self.roster), "health is no business of the ring");
    }
}

/// The first hosts of each worker of a sample, by ID.
fn sample(roster: &Roster) -> Vec<Vec<HostId>> {
    let hosts = |n: usize| {
        let key = ShardKey::of_worker(WorkerName::parse(&format!("sample-{n}")).unwrap());
        let candidates = Candidates::of(&*roster.placement, &roster.spreading.zones, &key).hosts;
        candidates.iter().map(|&host| roster.host(host).id().clone()).collect()
    };
    (0..40).map(hosts).collect()
}

#[tokio::test]
async fn four_routers_agree_at_equal_epochs_through_eight_hours_of_change() {
    let mut random = StdRng::seed_from_u64(4);
    let began = wall_clock() + Duration::from_secs(1);
    let mut versions = Vec::new();
    let mut written = began;
    while written < began + Duration::from_secs(HOURS_8 - 3600) {
        written += Duration::from_millis(random.random_range(60_000..900_000));
        versions.push(Version { written, settings: version(&mut random) });
    }
    let first = version(&mut random);
    let mut routers: Vec<Router> = (0..4).map(|_| router(&first, &versions, &mut random)).collect();

    let mut agreed: HashMap<Epoch, Vec<Vec<HostId>>> = HashMap::new();
    let mut apart = 0_u64;
    for second in 0..HOURS_8 {
        let clock = began + Duration::from_secs(second);
        for router in &mut routers {
            let before = Arc::clone(&router.roster);
            router.tick(clock, &versions, &mut random);
            if second == 0 || !Arc::ptr_eq(&before, &router.roster) {
                let found = sample(&router.roster);
                let known = agreed.entry(router.roster.epoch()).or_insert_with(|| found.clone());
                assert_eq!(*known, found, "epoch {} places differently", router.roster.epoch());
            }
        }
        let epoch = routers[0].roster.epoch();
        apart += u64::from(routers.iter().any(|router| router.roster.epoch() != epoch));
    }

    let last = routers[0].roster.epoch();
    assert!(routers.iter().all(|router| router.roster.epoch() == last), "all agree in the end");
    for router in &routers {
        assert!(router.flaps > 100, "{} flaps", router.flaps);
        assert!(router.epochs > 200, "{} epochs", router.epochs);
        assert!(router.built <= router.epochs + versions.len(), "{} of {}", router.built, router.epochs);
    }
    // They are apart while one was cut off and its ramps lag behind, and otherwise never.
    assert!(apart < HOURS_8 / 2, "apart for {apart} s");
    assert!(agreed.len() > 200, "{} epochs", agreed.len());
}

#[tokio::test]
async fn routers_that_poll_at_different_times_are_never_apart() {
    let mut random = StdRng::seed_from_u64(5);
    let began = wall_clock() + Duration::from_secs(1);
    let written = |n: u64| began + Duration::from_secs(300 * (n + 1));
    let versions: Vec<Version> =
        (0..12).map(|n| Version { written: written(n), settings: version(&mut random) }).collect();
    let first = version(&mut random);
    let mut routers: Vec<Router> = (0..4).map(|_| router(&first, &[], &mut random)).collect();
    for router in &mut routers {
        let mut found = |n: usize| versions[n].written + Duration::from_millis(random.random_range(0..4999));
        router.news = (0..versions.len()).map(|n| (found(n), n)).collect();
    }
    for second in 0..4500 {
        for router in &mut routers {
            router.tick(began + Duration::from_secs(second), &versions, &mut random);
        }
        let epoch = routers[0].roster.epoch();
        let apart = routers.iter().find(|router| router.roster.epoch() != epoch);
        assert!(apart.is_none(), "after {second} s");
    }
    assert!(routers[0].epochs > 50, "{} epochs", routers[0].epochs);
}
