use std::future::pending;
use std::sync::atomic::AtomicUsize;

use super::*;
use crate::client::Failure;
use crate::schedule::{Arrivals, Load, Popularity, Shape};
use crate::test_server::{Answer, TestServer};

pub(super) fn plan(server: &TestServer, rate: f64, connections: usize) -> Plan {
    plan_for(Duration::from_secs(1), server, rate, connections)
}

fn plan_for(duration: Duration, server: &TestServer, rate: f64, connections: usize) -> Plan {
    let rates = Popularity::Uniform.rates(1, Some(rate));
    let load = Load::new(&Shape::Constant {}, duration, Arrivals::Constant, rates, 1).unwrap();
    Plan {
        dial: server.address().into(),
        requests: Requests {
            method: Method::GET,
            path: Uri::from_static("/"),
            headers: HeaderMap::new(),
            body: Body::default(),
            connection: Connection::KeepAlive,
            hosts: vec![HeaderValue::from_static("hello.localhost")],
        },
        schedule: Schedule::plan(&load).unwrap(),
        connections: connections.try_into().unwrap(),
        timeout: Duration::from_secs(60),
        warmup: Duration::ZERO,
        duration,
    }
}

/// Answers at once, but for half a second in which nothing is answered at all.
async fn stalling_server() -> TestServer {
    const STALL: Duration = Duration::from_millis(500);
    let requests = AtomicUsize::new(0);
    let stalled_until = Mutex::new(None::<Instant>);
    TestServer::answering(move |_| {
        let mut until = stalled_until.lock().unwrap();
        if requests.fetch_add(1, Ordering::Relaxed) == 20 {
            *until = Some(Instant::now() + STALL);
        }
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        Answer::ok("hello").after(left.unwrap_or_default())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stalled_server_shows_in_the_high_percentiles() {
    let server = stalling_server().await;
    let run = Run::new(plan(&server, 200.0, 1024));
    assert_eq!(run.drive(pending()).await.unwrap(), Ending::Finished);
    let latency = run.measure().latency().unwrap();
    assert_eq!(latency.n, 200);
    assert!(latency.p99 > 400.0, "{latency:?}");
    assert_eq!((run.queued(), run.in_flight()), (0, 0));
}

/// A generator that waits for each answer would have sent one slow request and 199 fast
/// ones, and reported a fast 99th percentile.
#[tokio::test(flavor = "multi_thread")]
async fn a_stall_shows_even_when_a_single_connection_hides_it_from_the_server() {
    let server = stalling_server().await;
    let run = Run::new(plan(&server, 200.0, 1));
    run.drive(pending()).await.unwrap();
    let latency = run.measure().latency().unwrap();
    assert_eq!((latency.n, server.connections()), (200, 1));
    assert!(latency.p99 > 400.0, "{latency:?}");
    assert!(run.queued() >= 90, "{} requests waited, about 100 expected", run.queued());
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_kept_and_few() {
    let server = TestServer::answering(|_| Answer::ok("hello")).await;
    let run = Run::new(plan(&server, 1000.0, 1024));
    run.drive(pending()).await.unwrap();
    assert_eq!(run.measure().succeeded(), 1000);
    assert_eq!(run.connections_opened() as usize, server.connections());
    assert!(server.connections() < 1000, "{} connections for 1000 quick requests", server.connections());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_closes_every_connection_causes_no_errors() {
    let server = TestServer::answering(|_| Answer::ok("hello").header("connection", "close")).await;
    let run = Run::new(plan(&server, 200.0, 64));
    run.drive(pending()).await.unwrap();
    assert_eq!(run.measure().errors().len(), 0, "{:?}", run.measure().errors());
    assert_eq!(server.connections(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_request_may_have_a_connection_of_its_own() {
    let server = TestServer::answering(|request| {
        assert_eq!(request.headers()["connection"], "close");
        Answer::ok("hello")
    })
    .await;
    let mut plan = plan(&server, 200.0, 64);
    plan.requests.connection = Connection::New;
    let run = Run::new(plan);
    run.drive(pending()).await.unwrap();
    assert_eq!((run.measure().succeeded(), server.connections()), (200, 200));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_warm_up_is_sent_and_not_counted() {
    let server = TestServer::answering(|_| Answer::ok("hello")).await;
    let mut plan = plan(&server, 200.0, 64);
    plan.warmup = Duration::from_millis(400);
    let run = Run::new(plan);
    run.drive(pending()).await.unwrap();
    assert_eq!(run.dispatched(), 200);
    let measure = run.measure();
    assert_eq!((measure.completed(), measure.warmup()), (120, 80));
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_without_an_answer_end_as_timeouts() {
    let server = TestServer::answering(|_| Answer::ok("late").after(Duration::from_secs(600))).await;
    let mut plan = plan(&server, 50.0, 1024);
    plan.timeout = Duration::from_millis(300);
    let run = Run::new(plan);
    assert_eq!(run.drive(pending()).await.unwrap(), Ending::Finished);
    assert_eq!(run.measure().errors()[&Failure::Timeout], 50);
    assert!(run.measure().latency().unwrap().min >= 300.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupt_leaves_what_is_in_flight() {
    let server = TestServer::answering(|_| Answer::ok("late").after(Duration::from_secs(600))).await;
    let run = Run::new(plan_for(Duration::from_secs(600), &server, 50.0, 1024));
    let some_sent = async {
        while run.dispatched() < 10 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    assert_eq!(run.drive(some_sent).await.unwrap(), Ending::Interrupted);
    assert!((10..30_000).contains(&run.dispatched()), "{} sent", run.dispatched());
    assert_eq!(run.in_flight(), run.dispatched());
    assert_eq!(run.measure().completed(), 0);
}
