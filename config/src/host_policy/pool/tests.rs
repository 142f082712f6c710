//! The pool's decisions, one by one and under random use.

use proptest::prelude::*;

use super::*;

fn limits(isolates: u32, requests: u32) -> PoolLimits {
    PoolLimits {
        isolates: NonZeroU32::new(isolates).unwrap(),
        requests_per_isolate: NonZeroU32::new(requests).unwrap(),
    }
}

fn worker(number: u8) -> WorkerName {
    WorkerName::parse(&format!("worker-{number}")).unwrap()
}

/// A version of a worker.
fn version(worker: u8, version: u8) -> DeploymentId {
    DeploymentId::parse(&format!("{:064x}", u32::from(worker) * 256 + u32::from(version))).unwrap()
}

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn lease(pool: &mut Pool, number: u8, seconds: u64) -> Decision {
    pool.lease(&worker(number), &version(number, 0), None, at(seconds))
}

/// Leases an isolate that has to be restored, and has it restored.
fn restore(pool: &mut Pool, number: u8, seconds: u64) -> SlotId {
    let Decision::Restore { slot, .. } = lease(pool, number, seconds) else { panic!("expected a restore") };
    assert_eq!(pool.restored(slot), AfterRelease::Keep);
    slot
}

#[test]
fn requests_share_an_isolate_up_to_its_limit() {
    let mut pool = Pool::new(limits(4, 2));
    let slot = restore(&mut pool, 1, 0);
    assert_eq!(lease(&mut pool, 1, 1), Decision::Use { slot });
    let Decision::Restore { slot: second, evict: None } = lease(&mut pool, 1, 2) else { panic!() };
    pool.restored(second);
    pool.release(slot, at(3));
    pool.release(slot, at(3));
    assert_eq!(lease(&mut pool, 1, 4), Decision::Use { slot }, "the roomiest");
    assert_eq!(pool.in_flight(), 2);
}

#[test]
fn requests_wait_for_a_restore_while_it_has_room() {
    let mut pool = Pool::new(limits(4, 2));
    let Decision::Restore { slot, .. } = lease(&mut pool, 1, 0) else { panic!() };
    assert_eq!(lease(&mut pool, 1, 0), Decision::Wait { slot });
    assert!(matches!(lease(&mut pool, 1, 0), Decision::Restore { .. }));
    assert_eq!(pool.restored(slot), AfterRelease::Keep);
    assert_eq!(pool.release(slot, at(1)), AfterRelease::Keep);
    assert_eq!(lease(&mut pool, 1, 1), Decision::Use { slot });
}

#[test]
fn the_longest_idle_makes_room() {
    let mut pool = Pool::new(limits(2, 1));
    let (one, two) = (restore(&mut pool, 1, 0), restore(&mut pool, 2, 0));
    assert_eq!(lease(&mut pool, 3, 1), Decision::Refuse(Refusal::AtCapacity));
    pool.release(two, at(2));
    pool.release(one, at(3));
    let Decision::Restore { slot: three, evict } = lease(&mut pool, 3, 4) else { panic!() };
    assert_eq!(evict, Some(two));
    assert_eq!(pool.isolates(), 2);
    // A slot that is being restored is nobody's victim, even when its request gave up.
    pool.release(three, at(5));
    let Decision::Restore { evict, .. } = lease(&mut pool, 4, 6) else { panic!() };
    assert_eq!(evict, Some(one));
    assert_eq!(lease(&mut pool, 5, 7), Decision::Refuse(Refusal::AtCapacity));
}

#[test]
fn evicting_a_worker_leaves_others_alone_and_lets_requests_end() {
    let mut pool = Pool::new(limits(9, 1));
    let (idle, busy, other) = (restore(&mut pool, 1, 0), restore(&mut pool, 1, 0), restore(&mut pool, 2, 0));
    pool.release(idle, at(1));
    pool.release(other, at(1));
    assert_eq!(pool.evict(&worker(1)), Retired { close: vec![idle], later: 1 });
    assert_eq!(pool.evict(&worker(1)), Retired::default());
    assert!(matches!(lease(&mut pool, 1, 2), Decision::Restore { .. }), "a retiring isolate takes nobody");
    assert_eq!(pool.release(busy, at(3)), AfterRelease::Close);
    assert_eq!(lease(&mut pool, 2, 4), Decision::Use { slot: other });
}

#[test]
fn a_restore_that_is_no_longer_wanted_serves_who_waits_for_it() {
    let mut pool = Pool::new(limits(9, 2));
    let Decision::Restore { slot, .. } = lease(&mut pool, 1, 0) else { panic!() };
    assert_eq!(pool.evict(&worker(1)), Retired { close: vec![], later: 1 });
    assert!(matches!(lease(&mut pool, 1, 0), Decision::Restore { .. }));
    assert_eq!(pool.restored(slot), AfterRelease::Keep);
    assert_eq!(pool.release(slot, at(1)), AfterRelease::Close);
}

#[test]
fn a_new_version_replaces_the_old_one() {
    let mut pool = Pool::new(limits(9, 1));
    let old = restore(&mut pool, 1, 0);
    pool.release(old, at(0));
    assert_eq!(pool.replace(&worker(1), &version(1, 0)), Retired::default());
    assert_eq!(pool.replace(&worker(1), &version(1, 1)), Retired { close: vec![old], later: 0 });
}

#[test]
fn what_failed_or_died_is_forgotten_with_its_requests() {
    let mut pool = Pool::new(limits(1, 2));
    let Decision::Restore { slot, .. } = lease(&mut pool, 1, 0) else { panic!() };
    lease(&mut pool, 1, 0);
    assert!(pool.remove(slot));
    assert!(!pool.remove(slot));
    assert_eq!(pool.release(slot, at(1)), AfterRelease::Keep);
    assert_eq!(pool.restored(slot), AfterRelease::Close);
    assert_eq!((pool.isolates(), pool.in_flight()), (0, 0));
}

#[test]
fn a_spare_is_one_until_its_first_request() {
    let mut pool = Pool::new(limits(2, 2));
    let prewarm = |pool: &mut Pool| pool.prewarm(&worker(1), &version(1, 0), at(0));
    let Prewarm::Restore { slot, evict: None } = prewarm(&mut pool) else { panic!() };
    assert_eq!((pool.isolates(), pool.in_flight(), pool.cause(slot)), (1, 0, Some(Cause::First)));
    assert_eq!(prewarm(&mut pool), Prewarm::Wait { slot });
    assert_eq!(pool.restored(slot), AfterRelease::Keep);
    assert_eq!(prewarm(&mut pool), Prewarm::Ready { slot });
    assert_eq!(lease(&mut pool, 1, 1), Decision::Spare { slot });
    assert_eq!(prewarm(&mut pool), Prewarm::Ready { slot }, "it has room for another request");
    assert_eq!(lease(&mut pool, 1, 1), Decision::Use { slot });
    assert!(matches!(prewarm(&mut pool), Prewarm::Restore { evict: None, .. }), "it is full");
}

#[test]
fn who_waited_for_a_spare_has_taken_it() {
    let mut pool = Pool::new(limits(2, 2));
    let Prewarm::Restore { slot, .. } = pool.prewarm(&worker(1), &version(1, 0), at(0)) else { panic!() };
    assert_eq!(lease(&mut pool, 1, 0), Decision::Wait { slot });
    pool.restored(slot);
    assert_eq!(lease(&mut pool, 1, 0), Decision::Use { slot });
}

#[test]
fn only_what_was_idle_for_long_makes_room_for_a_spare() {
    let mut pool = Pool::new(limits(1, 1));
    let one = restore(&mut pool, 1, 0);
    let prewarm = |pool: &mut Pool, seconds| pool.prewarm(&worker(2), &version(2, 0), at(seconds));
    assert_eq!(prewarm(&mut pool, 1000), Prewarm::Refuse(Refusal::AtCapacity), "busy");
    pool.release(one, at(1000));
    assert_eq!(prewarm(&mut pool, 1059), Prewarm::Refuse(Refusal::AtCapacity), "used recently");
    let Prewarm::Restore { slot, evict } = prewarm(&mut pool, 1060) else { panic!() };
    assert_eq!(evict, Some(one));
    // A spare that nobody asked for makes room for a request like any other.
    pool.restored(slot);
    assert!(
        matches!(lease(&mut pool, 1, 1061), Decision::Restore { evict: Some(spare), .. } if spare == slot)
    );
}

#[test]
fn a_spare_of_an_old_version_is_let_go() {
    let mut pool = Pool::new(limits(2, 1));
    let Prewarm::Restore { slot, .. } = pool.prewarm(&worker(1), &version(1, 0), at(0)) else { panic!() };
    assert_eq!(pool.replace(&worker(1), &version(1, 1)), Retired { close: vec![], later: 1 });
    assert_eq!(pool.restored(slot), AfterRelease::Close, "nobody waits for it");
    assert_eq!(pool.isolates(), 0);
}

#[derive(Debug, Clone)]
enum Op {
    Lease { worker: u8, version: u8 },
    Prewarm { worker: u8, version: u8 },
    Restored(usize),
    Release(usize),
    Remove(usize),
    Evict(u8),
    Replace { worker: u8, version: u8 },
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => (0..4_u8, 0..2_u8).prop_map(|(worker, version)| Op::Lease { worker, version }),
        3 => (0..4_u8, 0..2_u8).prop_map(|(worker, version)| Op::Prewarm { worker, version }),
        6 => (0..9_usize).prop_map(Op::Restored),
        6 => (0..9_usize).prop_map(Op::Release),
        1 => (0..9_usize).prop_map(Op::Remove),
        1 => (0..4_u8).prop_map(Op::Evict),
        1 => (0..4_u8, 0..2_u8).prop_map(|(worker, version)| Op::Replace { worker, version }),
    ]
}

proptest! {
    #[test]
    fn the_limits_hold_and_nobody_is_turned_away_for_nothing(
        isolates in 1..5_u32,
        requests in 1..4_u32,
        ops in prop::collection::vec(op(), 1..120),
    ) {
        let mut pool = Pool::new(limits(isolates, requests));
        // Every lease that was given and not yet given back, with its slot.
        let mut held: Vec<SlotId> = Vec::new();
        for (second, op) in ops.into_iter().enumerate() {
            let now = at(second as u64);
            match op {
                Op::Lease { worker: number, version: which } => {
                    let wanted = version(number, which);
                    let had_room = |slot: &Slot| slot.deployment == wanted
                        && slot.phase != Phase::Retiring
                        && slot.in_flight < requests;
                    let could = pool.slots.values().any(had_room)
                        || pool.slots.len() < isolates as usize
                        || pool.slots.values().any(|slot| slot.in_flight == 0 && slot.phase == Phase::Ready);
                    match pool.lease(&worker(number), &wanted, None, now) {
                        Decision::Refuse(_) => prop_assert!(!could),
                        Decision::Use { slot } | Decision::Spare { slot } => {
                            prop_assert_eq!(pool.slots[&slot].phase, Phase::Ready);
                            held.push(slot);
                        }
                        Decision::Wait { slot } => {
                            prop_assert_eq!(pool.slots[&slot].phase, Phase::Restoring);
                            held.push(slot);
                        }
                        Decision::Restore { slot, evict } => {
                            if let Some(evicted) = evict {
                                prop_assert!(!held.contains(&evicted));
                                prop_assert!(!pool.slots.contains_key(&evicted));
                            }
                            held.push(slot);
                        }
                    }
                    if let Some(slot) = held.last().and_then(|slot| pool.slots.get(slot)) {
                        prop_assert!(slot.in_flight <= requests);
                    }
                }
                Op::Prewarm { worker: number, version: which } => {
                    let in_flight = pool.in_flight();
                    if let Prewarm::Restore { evict: Some(evicted), .. } =
                        pool.prewarm(&worker(number), &version(number, which), now)
                    {
                        prop_assert!(!held.contains(&evicted));
                    }
                    prop_assert_eq!(pool.in_flight(), in_flight);
                }
                Op::Restored(which) => {
                    let Some(slot) = pool.slots.keys().nth(which).copied() else { continue };
                    pool.restored(slot);
                }
                Op::Release(which) if which < held.len() => {
                    let slot = held.swap_remove(which);
                    pool.release(slot, now);
                }
                Op::Release(_) => {}
                Op::Remove(which) => {
                    let Some(slot) = pool.slots.keys().nth(which).copied() else { continue };
                    pool.remove(slot);
                }
                Op::Evict(number) => {
                    for closed in pool.evict(&worker(number)).close {
                        prop_assert!(!held.contains(&closed));
                    }
                }
                Op::Replace { worker: number, version: which } => {
                    pool.replace(&worker(number), &version(number, which));
                }
            }
            prop_assert!(pool.slots.len() <= isolates as usize);
            let alive = held.iter().filter(|slot| pool.slots.contains_key(slot)).count();
            prop_assert_eq!(pool.in_flight() as usize, alive);
        }
        let slots: Vec<SlotId> = pool.slots.keys().copied().collect();
        for slot in slots {
            pool.restored(slot);
        }
        for slot in held {
            pool.release(slot, at(1000));
        }
        pool.drain();
        prop_assert_eq!(pool.isolates(), 0);
    }
}

#[test]
fn every_restore_has_a_cause() {
    let mut pool = Pool::new(limits(2, 1));
    let one = restore(&mut pool, 1, 0);
    assert_eq!(pool.cause(one), Some(Cause::First));
    let another = restore(&mut pool, 1, 1);
    assert_eq!(pool.cause(another), Some(Cause::ScaleOut));
    pool.release(one, at(2));
    pool.release(another, at(3));
    let (two, three) = (restore(&mut pool, 2, 4), restore(&mut pool, 3, 5));
    assert_eq!([pool.cause(two), pool.cause(three)], [Some(Cause::First); 2]);
    pool.release(two, at(6));
    let again = restore(&mut pool, 1, 7);
    assert_eq!(pool.cause(again), Some(Cause::Evicted));
    pool.release(again, at(8));
    let Decision::Restore { slot, .. } = pool.lease(&worker(1), &version(1, 1), None, at(9)) else {
        panic!()
    };
    assert_eq!(pool.cause(slot), Some(Cause::NewVersion));
}

#[test]
fn under_pressure_idle_isolates_go_and_busy_ones_stay() {
    let mut pool = Pool::new(limits(4, 4));
    let [first, second, busy] = [1, 2, 3].map(|number| restore(&mut pool, number, u64::from(number)));
    let Decision::Restore { slot: restoring, .. } = lease(&mut pool, 4, 4) else { panic!() };
    pool.release(first, at(20));
    pool.release(second, at(10));
    assert_eq!(pool.relieve(1, at(30)), [second], "the longest unused");
    assert_eq!(pool.relieve(9, at(30)), [first]);
    assert_eq!(pool.relieve(9, at(30)), []);
    assert_eq!(pool.restored(restoring), AfterRelease::Keep);
    pool.release(busy, at(30));
    assert_eq!((pool.relieve(0, at(30)), pool.isolates()), (vec![], 2));
    let Decision::Restore { slot, .. } = lease(&mut pool, 1, 40) else { panic!() };
    assert_eq!(pool.cause(slot), Some(Cause::Evicted));
}

#[test]
fn isolates_that_nobody_calls_go_to_sleep() {
    let mut pool = Pool::new(limits(4, 4));
    let [slept, awake, busy] = [1, 2, 3].map(|number| restore(&mut pool, number, 0));
    pool.release(slept, at(10));
    pool.release(awake, at(11));
    let hour = Duration::from_secs(3600);
    assert_eq!(pool.hibernate(hour, at(3609)), []);
    assert_eq!(pool.hibernate(hour, at(3610)), [slept]);
    assert_eq!(pool.hibernate(hour, at(3611)), [awake]);
    pool.release(busy, at(9999));
    assert_eq!(pool.hibernate(hour, at(10_000)), [], "it was in use until now");
}

#[test]
fn room_is_made_by_whoever_is_worth_least() {
    let mut pool = Pool::new(limits(2, 4));
    let often = restore(&mut pool, 1, 0);
    for second in 1..50 {
        pool.release(often, at(10 * second));
        lease(&mut pool, 1, 10 * second);
    }
    pool.release(often, at(490));
    // Called once, and later than the other.
    let once = restore(&mut pool, 2, 491);
    pool.release(once, at(492));
    let Decision::Restore { evict, .. } = lease(&mut pool, 3, 500) else { panic!() };
    assert_eq!(evict, Some(once), "the longest unused would be the other one");
}

#[test]
fn workers_on_a_clock_make_room_and_are_back_in_time() {
    let mut pool = Pool::new(limits(2, 1));
    let slot = restore(&mut pool, 1, 0);
    pool.release(slot, at(0));
    for hour in 1..5 {
        assert_eq!(lease(&mut pool, 1, hour * 3600), Decision::Use { slot });
        pool.release(slot, at(hour * 3600));
    }
    let seldom = restore(&mut pool, 2, 4 * 3600 + 1);
    pool.release(seldom, at(4 * 3600 + 2));
    // Called a moment ago, but not to be called for an hour.
    let Decision::Restore { slot: third, evict } = lease(&mut pool, 3, 4 * 3600 + 10) else { panic!() };
    assert_eq!(evict, Some(slot));
    pool.restored(third);
    pool.release(third, at(4 * 3600 + 11));
    assert!(pool.due(at(4 * 3600 + 3000)).is_empty());
    let due = pool.next_due().unwrap();
    assert!(due > at(5 * 3600 - 60) && due < at(5 * 3600), "{due:?}");
    assert_eq!(pool.due(due), [worker(1)]);
    let Prewarm::Restore { slot: spare, evict } = pool.prewarm(&worker(1), &version(1, 0), due) else {
        panic!()
    };
    assert_eq!(evict, Some(seldom), "the longer unused of two called once");
    pool.restored(spare);
    // Whoever is expected within moments is not dropped again.
    let Decision::Restore { evict, .. } = lease(&mut pool, 4, 5 * 3600 - 1) else { panic!() };
    assert_eq!(evict, Some(third));
    assert_eq!(lease(&mut pool, 1, 5 * 3600), Decision::Spare { slot: spare });
    pool.release(spare, at(5 * 3600));
    assert!(pool.due(at(5 * 3600 + 1)).is_empty(), "it is there");
}

#[test]
fn who_may_go_elsewhere_is_refused_where_that_is_cheaper() {
    let mut pool = Pool::new(limits(1, 4));
    let ask = |pool: &mut Pool, number: u8, elsewhere: Option<Price>, seconds: u64| {
        pool.lease(&worker(number), &version(number, 0), elsewhere, at(seconds))
    };
    let refused = |decision: Decision| match decision {
        Decision::Refuse(Refusal::NotWarm(price)) => price,
        other => panic!("{other:?}"),
    };
    let free = Some(Price::NOTHING);
    let Decision::Restore { slot, .. } = ask(&mut pool, 1, free, 0) else { panic!("there is room") };
    assert_eq!(refused(ask(&mut pool, 2, free, 1)), Price::MOST, "the only one is busy");
    assert_eq!(ask(&mut pool, 2, None, 1), Decision::Refuse(Refusal::AtCapacity));
    assert_eq!(ask(&mut pool, 1, free, 2), Decision::Wait { slot }, "it is warm here");
    pool.restored(slot);
    pool.release(slot, at(3));
    pool.release(slot, at(3));
    let price = refused(ask(&mut pool, 3, free, 4));
    assert!(price > Price::NOTHING && price < Price::MOST);
    assert_eq!(refused(ask(&mut pool, 3, Some(Price(price.0 - 1)), 4)), price);
    assert!(matches!(ask(&mut pool, 3, Some(price), 4), Decision::Restore { .. }), "no dearer than there");
}
