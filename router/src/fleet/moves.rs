//! Which workers get another host, and which one, when the membership changes or a
//! host is to be emptied.

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Instant;

use warmshard_config::placement::{Candidates, Placement, Standing, ZoneOrder, heirs};
use warmshard_config::shard_file::Handoff;
use warmshard_config::units::{HostId, ShardKey, WorkerName};

use super::{Fleet, Host, Worker};

/// A worker and a host that will get it.
#[derive(Debug, Clone)]
pub(crate) struct Move {
    pub(crate) worker: WorkerName,
    pub(crate) heir: Arc<Host>,
}

impl Fleet {
    /// What moves when this placement takes effect: workers that were called recently, those
    /// called most first. Hosts that it has and this epoch has not must be [expected](Self::expect).
    pub(crate) fn moves_to(
        &self,
        placement: &dyn Placement,
        zones: &ZoneOrder,
        policy: &Handoff,
    ) -> Vec<Move> {
        let roster = self.roster();
        self.moves(policy, |worker| {
            let after = Candidates::of(placement, zones, &ShardKey::of_worker(worker.name().clone())).hosts;
            let plan = worker.plan(&roster);
            let before: Vec<&HostId> =
                plan.window(worker.width()).iter().map(|&host| roster.host(host).id()).collect();
            let heirs = heirs(&before, &after, worker.width(), placement.membership());
            heirs.into_iter().filter_map(|id| self.known(id)).collect()
        })
    }

    /// What moves when a host is passed over: each of its workers goes to the next host that can take it.
    pub(crate) fn moves_from(&self, leaving: &Host, policy: &Handoff) -> Vec<Move> {
        let roster = self.roster();
        let Some(leaving) = roster.index_of(leaving.id()) else { return Vec::new() };
        let now = Instant::now();
        self.moves(policy, |worker| {
            let plan = worker.plan(&roster);
            let window = plan.window(worker.width());
            if !window.contains(&leaving) {
                return Vec::new();
            }
            let beyond = &plan.candidates[window.len()..];
            let takes = |host: &&Arc<Host>| host.standing(now) == Standing::Eligible;
            beyond.iter().map(|&host| roster.host(host)).find(takes).cloned().into_iter().collect()
        })
    }

    fn moves(&self, policy: &Handoff, heirs: impl Fn(&Worker) -> Vec<Arc<Host>>) -> Vec<Move> {
        let now = self.age();
        let mut workers = self.workers.all();
        workers.retain(|worker| worker.is_recent(now, policy.recent));
        workers.sort_by_cached_key(|worker| (Reverse(worker.requests()), worker.name().clone()));
        let to = |worker: &Worker| {
            let name = worker.name().clone();
            heirs(worker).into_iter().map(move |heir| Move { worker: name.clone(), heir }).collect::<Vec<_>>()
        };
        workers
            .iter()
            .map(|worker| to(worker))
            .filter(|moves| !moves.is_empty())
            .take(policy.workers as usize)
            .flatten()
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use warmshard_config::cold_start::Answer;
    use warmshard_config::health::Observation;
    use warmshard_config::placement::{Member, Membership, Reason, Ring};
    use warmshard_config::units::Weight;
    use warmshard_config::wire::StartKind;

    use super::super::tests::fleet_of;
    use super::super::{Place, Spreading, Traffic};
    use super::*;

    const POLICY: Handoff = Handoff {
        wait: Duration::from_secs(5),
        workers: 1000,
        concurrency: 4,
        recent: Duration::from_secs(60),
    };

    fn place(port: u16) -> Place {
        Place { address: ([127, 0, 0, 1], port).into(), pid: None }
    }

    fn ring(ids: &[&str]) -> Ring {
        let member = |id: &&str| Member::new(HostId::parse(id).unwrap(), Weight::ONE);
        Ring::new(Membership::new(ids.iter().map(member)), Ring::DEFAULT_VNODES, Ring::DEFAULT_SEED)
    }

    /// Calls a worker so many times; it answers from its home.
    fn call(fleet: &Fleet, name: &str, times: u64) {
        for _ in 0..times {
            let visit = fleet.workers().visit(&WorkerName::parse(name).unwrap(), &fleet.roster());
            let host = visit.plan.candidates[0];
            let answer = Answer {
                host,
                start: StartKind::Warm,
                deployment: None,
                host_says: None,
                reason: Reason::Home,
                busy: false,
                placed: Duration::ZERO,
                now: Duration::ZERO,
            };
            visit.worker.answered(&visit.plan, answer);
        }
    }

    fn names(moves: &[Move]) -> Vec<&str> {
        moves.iter().map(|found| found.worker.as_str()).collect()
    }

    #[test]
    fn who_moves_to_a_new_host_is_told_the_busiest_first() {
        let fleet = fleet_of(&["a", "b"]);
        let workers: Vec<String> = (0..60).map(|n| format!("w{n}")).collect();
        for (n, name) in workers.iter().enumerate() {
            call(&fleet, name, 1 + n as u64);
        }
        fleet.workers().visit(&WorkerName::parse("never-answered").unwrap(), &fleet.roster());
        let after = ring(&["a", "b", "c"]);
        let expected: Vec<&str> = workers
            .iter()
            .rev()
            .map(String::as_str)
            .filter(|name| {
                let key = ShardKey::of_worker(WorkerName::parse(name).unwrap());
                after.membership().member(after.candidates(&key)[0]).id.as_str() == "c"
            })
            .collect();
        assert!(expected.len() > 5);
        assert!(fleet.moves_to(&after, &ZoneOrder::Ignore, &POLICY).is_empty(), "nobody expects the host");
        fleet.expect(&[(HostId::parse("a").unwrap(), place(1)), (HostId::parse("c").unwrap(), place(3))]);
        let moves = fleet.moves_to(&after, &ZoneOrder::Ignore, &POLICY);
        assert_eq!(names(&moves), expected);
        assert!(moves.iter().all(|found| found.heir.id().as_str() == "c"));
        let few = Handoff { workers: 2, ..POLICY };
        assert_eq!(names(&fleet.moves_to(&after, &ZoneOrder::Ignore, &few)), expected[..2]);
        // The host that was expected is the one that the epoch has.
        let heir = Arc::clone(&moves[0].heir);
        fleet.change(Box::new(after), Spreading::default(), Traffic::default());
        let known = fleet.host(heir.id()).unwrap();
        assert!(Arc::ptr_eq(&known, &heir));
        assert_eq!(fleet.to_probe().len(), 3, "nobody is probed twice");
    }

    #[test]
    fn a_host_that_is_emptied_hands_over_to_the_next_one_that_is_up() {
        let fleet = fleet_of(&["a", "b", "c"]);
        call(&fleet, "hello", 1);
        let worker = WorkerName::parse("hello").unwrap();
        let visit = fleet.workers().visit(&worker, &fleet.roster());
        let [home, second, third] = [0, 1, 2].map(|n| visit.plan.roster.host(visit.plan.candidates[n]));
        for (host, port) in [(home, 1), (third, 3)] {
            fleet.arrived(host, place(port));
            fleet.observe(host, Observation::ProbeSucceeded);
        }
        let moves = fleet.moves_from(home, &POLICY);
        assert_eq!((names(&moves), moves[0].heir.id()), (vec!["hello"], third.id()));
        assert!(fleet.moves_from(second, &POLICY).is_empty(), "it has no worker");
    }
}
