//! Leasing, restoring and preparing under concurrency, with a runtime that has no Python.

use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::atomic::Ordering;

use warmshard_config::host_policy::Refusal;
use warmshard_config::host_policy::memory::MemoryLimits;
use warmshard_config::host_policy::pool::PoolLimits;
use warmshard_config::wire::StartKind;

use super::fake::{FakeIsolate, FakeRuntime, version, worker};
use super::*;

struct Fixture {
    runtime: Arc<FakeRuntime>,
    isolates: Arc<Isolates<FakeIsolate>>,
    deployments: Arc<Deployments<FakeRuntime>>,
    telemetry: Arc<Telemetry>,
}

fn fixture(isolates: u32, requests: u32) -> Fixture {
    fixture_with(isolates, requests, 100)
}

fn fixture_with(isolates: u32, requests: u32, prepared: usize) -> Fixture {
    let runtime = Arc::new(FakeRuntime::new());
    let telemetry = Arc::new(Telemetry::new());
    let limits = PoolLimits {
        isolates: NonZeroU32::new(isolates).unwrap(),
        requests_per_isolate: NonZeroU32::new(requests).unwrap(),
    };
    let isolates = Isolates::new(limits, Arc::clone(&telemetry));
    let deployments = Deployments::new(
        Arc::clone(&runtime),
        Arc::clone(&isolates),
        Arc::clone(&telemetry),
        Arc::new(Memory::new(MemoryLimits::up_to(u64::MAX))),
        NonZeroUsize::new(prepared).unwrap(),
    );
    Fixture { runtime, isolates, deployments, telemetry }
}

impl Fixture {
    async fn lease(&self, name: &str) -> Result<Lease<FakeIsolate>, LeaseError> {
        lease(self.runtime.clone(), self.isolates.clone(), name.to_owned()).await
    }

    fn spawn_lease(&self, name: &str) -> tokio::task::JoinHandle<Result<Lease<FakeIsolate>, LeaseError>> {
        tokio::spawn(lease(self.runtime.clone(), self.isolates.clone(), name.to_owned()))
    }

    fn count(&self, name: &str) -> u64 {
        self.telemetry.counters()[name]
    }
}

async fn lease(
    runtime: Arc<FakeRuntime>,
    isolates: Arc<Isolates<FakeIsolate>>,
    name: String,
) -> Result<Lease<FakeIsolate>, LeaseError> {
    let restore = || {
        let runtime = Arc::clone(&runtime);
        async move { runtime.restore(&Arc::new(version(1))).await }
    };
    isolates.lease(&worker(&name), &version(name.len() as u8), None, restore).await
}

/// Waits for a condition that other tasks bring about.
async fn until(condition: impl Fn() -> bool) {
    let waiting = async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), waiting).await.expect("the condition never came true");
}

#[tokio::test]
async fn the_first_request_is_cold_and_the_next_one_warm() {
    let fixture = fixture(2, 2);
    let first = fixture.lease("hello").await.unwrap();
    assert_eq!(first.start(), StartKind::Cold);
    assert_eq!(first.restore_time(), Some(Duration::from_micros(1500)));
    drop(first);
    let second = fixture.lease("hello").await.unwrap();
    assert_eq!((second.start(), second.restore_time()), (StartKind::Warm, None));
    assert_eq!((fixture.count("starts_cold"), fixture.count("starts_warm")), (1, 1));
}

#[tokio::test]
async fn requests_that_come_during_a_restore_wait_for_it() {
    let fixture = fixture(4, 8);
    fixture.runtime.restores.forget_permits(1000);
    let tasks: Vec<_> = (0..8).map(|_| fixture.spawn_lease("hello")).collect();
    until(|| fixture.isolates.load().in_flight == 8).await;
    fixture.runtime.restores.add_permits(1);
    let mut starts = Vec::new();
    let mut leases = Vec::new();
    for task in tasks {
        let lease = task.await.unwrap().unwrap();
        starts.push(lease.start());
        leases.push(lease);
    }
    assert_eq!(starts.iter().filter(|start| **start == StartKind::Cold).count(), 1);
    assert_eq!(starts.iter().filter(|start| **start == StartKind::Waited).count(), 7);
    assert!(leases.iter().all(|lease| lease.isolate().number == 0 && lease.restore_time().is_some()));
}

#[tokio::test]
async fn a_restore_goes_on_when_its_request_is_given_up() {
    let fixture = fixture(4, 8);
    fixture.runtime.restores.forget_permits(1000);
    let cold = fixture.spawn_lease("hello");
    until(|| fixture.isolates.load().in_flight == 1).await;
    let waiting = fixture.spawn_lease("hello");
    until(|| fixture.isolates.load().in_flight == 2).await;
    cold.abort();
    until(|| fixture.isolates.load().in_flight == 1).await;
    fixture.runtime.restores.add_permits(1);
    assert_eq!(waiting.await.unwrap().unwrap().start(), StartKind::Waited);
}

#[tokio::test]
async fn a_failed_restore_is_told_to_everybody_and_leaves_nothing_behind() {
    let fixture = fixture(4, 8);
    fixture.runtime.restores.forget_permits(1000);
    let tasks = [fixture.spawn_lease("hello"), fixture.spawn_lease("hello")];
    until(|| fixture.isolates.load().in_flight == 2).await;
    fixture.runtime.broken.store(true, Ordering::SeqCst);
    fixture.runtime.restores.add_permits(1);
    for task in tasks {
        assert!(matches!(task.await.unwrap(), Err(LeaseError::Restore(_))));
    }
    assert_eq!(fixture.isolates.load(), warmshard_config::wire::Load::default());
    assert_eq!(fixture.count("restores_failed"), 1);
}

#[tokio::test]
async fn a_dead_isolate_is_replaced_unnoticed() {
    let fixture = fixture(4, 8);
    let lease = fixture.lease("hello").await.unwrap();
    lease.isolate().alive.store(false, Ordering::SeqCst);
    drop(lease);
    let next = fixture.lease("hello").await.unwrap();
    assert_eq!((next.start(), next.isolate().number), (StartKind::Cold, 1));
    next.died();
    assert_eq!(fixture.isolates.load().isolates, 0);
}

#[tokio::test]
async fn the_limit_evicts_the_idle_and_refuses_when_all_are_busy() {
    let fixture = fixture(1, 1);
    let busy = fixture.lease("hello").await.unwrap();
    assert!(matches!(fixture.lease("other-worker").await, Err(LeaseError::Refused(Refusal::AtCapacity))));
    drop(busy);
    let other = fixture.lease("other-worker").await.unwrap();
    assert_eq!(other.start(), StartKind::Cold);
    assert_eq!(fixture.runtime.closed.load(Ordering::SeqCst), 1);
    assert_eq!((fixture.count("evictions_limit"), fixture.count("refusals_at_capacity")), (1, 1));
}

#[tokio::test]
async fn evicting_takes_busy_isolates_out_of_use() {
    let fixture = fixture(4, 8);
    let busy = fixture.lease("hello").await.unwrap();
    assert_eq!(fixture.isolates.evict(&worker("hello")), 1);
    assert_eq!(fixture.runtime.closed.load(Ordering::SeqCst), 0);
    let next = fixture.lease("hello").await.unwrap();
    assert_eq!(next.start(), StartKind::Cold);
    drop(busy);
    assert_eq!(fixture.runtime.closed.load(Ordering::SeqCst), 1);
    assert_eq!(fixture.isolates.load().isolates, 1);
}

#[tokio::test]
async fn a_version_is_prepared_once_however_many_ask() {
    let fixture = fixture(4, 8);
    fixture.runtime.prepares.forget_permits(1000);
    let tasks: Vec<_> = (0..5)
        .map(|_| {
            let deployments = Arc::clone(&fixture.deployments);
            tokio::spawn(async move { deployments.resolve(&worker("hello")).await.map(|ready| ready.id) })
        })
        .collect();
    fixture.runtime.prepares.add_permits(1);
    for task in tasks {
        assert_eq!(task.await.unwrap().unwrap(), version(1));
    }
    assert_eq!(fixture.runtime.prepared.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn the_old_version_serves_while_the_new_one_is_prepared() {
    let fixture = fixture(4, 8);
    assert_eq!(fixture.deployments.resolve(&worker("hello")).await.unwrap().id, version(1));
    fixture.runtime.prepares.forget_permits(1000);
    fixture.runtime.deploy("hello", 2);
    assert_eq!(fixture.deployments.resolve(&worker("hello")).await.unwrap().id, version(1));
    fixture.runtime.prepares.add_permits(1);
    assert_eq!(fixture.deployments.prepare(&worker("hello")).await.unwrap().id, version(2));
    assert_eq!(fixture.deployments.resolve(&worker("hello")).await.unwrap().id, version(2));
}

#[tokio::test]
async fn a_version_that_cannot_be_prepared_is_not_tried_for_every_request() {
    let fixture = fixture(4, 8);
    fixture.runtime.broken.store(true, Ordering::SeqCst);
    for _ in 0..3 {
        let refused = fixture.deployments.resolve(&worker("hello")).await;
        assert!(matches!(refused, Err(ResolveError::Prepare { .. })));
    }
    assert_eq!(fixture.runtime.prepared.load(Ordering::SeqCst), 1);
    let unknown = fixture.deployments.resolve(&worker("nobody")).await;
    assert!(matches!(unknown, Err(ResolveError::Unknown(_))));
}

#[tokio::test]
async fn a_broken_new_version_leaves_the_old_one_in_service() {
    let fixture = fixture(4, 8);
    fixture.deployments.resolve(&worker("hello")).await.unwrap();
    fixture.runtime.deploy("hello", 2);
    fixture.runtime.broken.store(true, Ordering::SeqCst);
    assert!(fixture.deployments.prepare(&worker("hello")).await.is_err());
    assert_eq!(fixture.deployments.resolve(&worker("hello")).await.unwrap().id, version(1));
    assert_eq!(fixture.count("prepares_failed"), 1);
}

#[tokio::test]
async fn every_worker_is_prepared_ahead_of_need() {
    let fixture = fixture(4, 8);
    fixture.runtime.deploy("other", 3);
    fixture.deployments.prepare_all().await;
    fixture.deployments.prepare_all().await;
    assert_eq!(fixture.runtime.prepared.load(Ordering::SeqCst), 2);
    let text = fixture.telemetry.render(fixture.isolates.load());
    assert!(text.contains("warmshard_prepare_seconds_count 2"), "{text}");
    assert!(text.contains("warmshard_starts_total{kind=\"cold\"} 0"), "{text}");
}

#[tokio::test]
async fn versions_nobody_used_are_dropped_and_prepared_again_when_asked_for() {
    let fixture = fixture_with(4, 8, 2);
    let resolve = async |name: &str| fixture.deployments.resolve(&worker(name)).await.unwrap().id;
    for (name, number) in [("other", 3), ("third", 4)] {
        fixture.runtime.deploy(name, number);
    }
    let prepared = || fixture.runtime.prepared.load(Ordering::SeqCst);
    resolve("hello").await;
    resolve("other").await;
    resolve("hello").await;
    assert_eq!((prepared(), fixture.count("prepared_dropped")), (2, 0));
    resolve("third").await;
    until(|| fixture.count("prepared_dropped") == 1).await;
    assert_eq!(fixture.deployments.prepared(), 2);
    // Nothing is prepared ahead of need where there is no room, and what was dropped is not at all.
    fixture.deployments.prepare_all().await;
    assert_eq!(prepared(), 3);
    resolve("hello").await;
    assert_eq!(prepared(), 3, "the one used last is still there");
    assert_eq!(resolve("other").await, version(3));
    assert_eq!(prepared(), 4);
}

#[tokio::test]
async fn versions_with_live_isolates_are_not_dropped() {
    let fixture = fixture_with(4, 8, 1);
    for (name, number) in [("other", 3), ("third", 4)] {
        fixture.runtime.deploy(name, number);
    }
    let resolve = async |name: &str| drop(fixture.deployments.resolve(&worker(name)).await.unwrap());
    resolve("hello").await;
    let lease = fixture.lease("hello").await.unwrap();
    resolve("other").await;
    resolve("third").await;
    until(|| fixture.count("prepared_dropped") == 1).await;
    let prepared = || fixture.runtime.prepared.load(Ordering::SeqCst);
    resolve("hello").await;
    assert_eq!(prepared(), 3, "the one used longest ago has an isolate");
    drop(lease);
    fixture.isolates.evict(&worker("hello"));
    fixture.deployments.prepare_all().await;
    assert_eq!((fixture.count("prepared_dropped"), fixture.deployments.prepared()), (2, 1));
}

#[tokio::test]
async fn as_many_are_prepared_ahead_of_need_as_there_is_room_for() {
    let fixture = fixture_with(4, 8, 2);
    for (name, number) in [("other", 3), ("third", 4), ("fourth", 5)] {
        fixture.runtime.deploy(name, number);
    }
    fixture.deployments.prepare_all().await;
    fixture.deployments.prepare_all().await;
    assert_eq!((fixture.deployments.prepared(), fixture.count("prepared_dropped")), (2, 0));
}
