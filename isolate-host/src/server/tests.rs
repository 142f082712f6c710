//! The server over real connections, with isolates that are not Python.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use warmshard_config::units::WorkerName;
use warmshard_config::wire::{self, ErrorReply, HostStatus, PrewarmState};

use super::*;
use crate::isolate::{BoxError, GuestFault, RequestBody, ResponseBody};
use crate::pool::fake::{BoxFuture, FakeRuntime, body};

const KEY: &str = "0123456789abcdef";

struct Server {
    addr: SocketAddr,
    host: Arc<Host<FakeRuntime>>,
    stop: Option<oneshot::Sender<()>>,
    ended: tokio::task::JoinHandle<()>,
}

async fn start(runtime: FakeRuntime, isolates: u32) -> Server {
    start_with(runtime, isolates, None).await
}

async fn start_with(runtime: FakeRuntime, isolates: u32, hibernate_after: Option<Duration>) -> Server {
    let pool = PoolLimits {
        isolates: NonZeroU32::new(isolates).unwrap(),
        requests_per_isolate: NonZeroU32::new(8).unwrap(),
    };
    let limits = HostLimits {
        pool,
        prepared: NonZeroUsize::new(8).unwrap(),
        memory: MemoryLimits::up_to(800),
        hibernate_after,
    };
    let key = FleetKey::parse(KEY).unwrap();
    let host = Host::new(HostId::parse("host-a").unwrap(), key, limits, Arc::new(runtime));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel();
    let shutdown = Shutdown { notice: Duration::ZERO, drain: Duration::from_secs(20) };
    let listener = Listener { socket: listener, tls: None };
    let ended = tokio::spawn(serve(Arc::clone(&host), listener, async { drop(stopped.await) }, shutdown));
    Server { addr, host, stop: Some(stop), ended }
}

fn handler<F, A>(answer: F) -> FakeRuntime
where
    F: Fn(usize, Request<RequestBody>) -> A + Send + Sync + 'static,
    A: Future<Output = Result<Response<ResponseBody>, GuestFault>> + Send + 'static,
{
    FakeRuntime::with_handler(Box::new(move |number, request| {
        Box::pin(answer(number, request)) as BoxFuture<_>
    }))
}

fn to_worker(worker: &str) -> http::request::Builder {
    Request::builder()
        .uri("/path?x=1")
        .header("host", "hello.localhost:8080")
        .header(wire::KEY, KEY)
        .header(wire::WORKER, worker)
        .header(wire::REQUEST_ID, "00ff00ff00ff00ff")
}

fn empty() -> RequestBody {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

impl Server {
    async fn send(&self, request: Request<RequestBody>) -> Response<Incoming> {
        let stream = TcpStream::connect(self.addr).await.unwrap();
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        sender.send_request(request).await.unwrap()
    }

    async fn get(&self, worker: &str) -> Response<Incoming> {
        self.send(to_worker(worker).body(empty()).unwrap()).await
    }

    async fn control(&self, method: Method, path: &str) -> (StatusCode, String) {
        let request = Request::builder().method(method).uri(path).header("host", "x").header(wire::KEY, KEY);
        let response = self.send(request.body(empty()).unwrap()).await;
        (response.status(), text(response).await)
    }
}

async fn text(response: Response<Incoming>) -> String {
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().into()).unwrap()
}

fn header<'a>(response: &'a Response<Incoming>, name: &str) -> Option<&'a str> {
    response.headers().get(name).map(|value| value.to_str().unwrap())
}

async fn error_code(response: Response<Incoming>) -> String {
    let reply: ErrorReply = serde_json::from_str(&text(response).await).unwrap();
    reply.error.code
}

#[tokio::test]
async fn a_cold_start_says_why_as_far_as_the_host_knows() {
    let runtime = handler(|_, _| async { Ok(Response::new(body("hi"))) });
    runtime.deploy("other", 2);
    let server = start(runtime, 1).await;
    let cold = async |worker| header(&server.get(worker).await, wire::COLD).map(str::to_owned);
    assert_eq!(cold("hello").await.as_deref(), Some("first"));
    assert_eq!(cold("hello").await, None, "warm");
    until(|| server.host.isolates.load().in_flight == 0).await;
    assert_eq!(cold("other").await.as_deref(), Some("first"));
    until(|| server.host.isolates.load().in_flight == 0).await;
    assert_eq!(cold("hello").await.as_deref(), Some("evicted"));
}

#[tokio::test]
async fn a_full_host_leaves_it_to_a_cheaper_one_unless_the_worker_is_warm() {
    let runtime = handler(|_, _| async { Ok(Response::new(body("hi"))) });
    runtime.deploy("other", 2);
    let server = start(runtime, 1).await;
    let ask = async |worker: &str, elsewhere: &str| {
        let request = to_worker(worker).header(wire::ELSEWHERE, elsewhere);
        server.send(request.body(empty()).unwrap()).await
    };
    assert_eq!(header(&ask("hello", "0").await, wire::START), Some("cold"), "there is room");
    until(|| server.host.isolates.load().in_flight == 0).await;
    assert_eq!(header(&ask("hello", "0").await, wire::START), Some("warm"));
    until(|| server.host.isolates.load().in_flight == 0).await;
    let refused = ask("other", "0").await;
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(header(&refused, wire::REFUSED), Some("not_warm"));
    let price: u32 = header(&refused, wire::PRICE).unwrap().parse().unwrap();
    assert!(price > 0);
    let taken = ask("other", &u32::MAX.to_string()).await;
    assert_eq!((header(&taken, wire::START), header(&taken, wire::PRICE)), (Some("cold"), None));
}

#[tokio::test]
async fn a_drained_host_refuses_until_it_is_to_go_on() {
    let server = start(handler(|_, _| async { Ok(Response::new(body("hi"))) }), 2).await;
    let (status, text) = server.control(Method::POST, wire::control::DRAIN).await;
    assert_eq!((status, text.trim()), (StatusCode::OK, "{\"draining\":true,\"in_flight\":0}"));
    let refused = server.get("hello").await;
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(header(&refused, wire::REFUSED), Some("draining"));
    assert_eq!(server.control(Method::GET, wire::control::DRAIN).await.0, StatusCode::METHOD_NOT_ALLOWED);
    server.control(Method::POST, wire::control::UNDRAIN).await;
    assert_eq!(server.get("hello").await.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_place_that_was_promised_is_kept_for_its_request_alone() {
    let runtime = FakeRuntime::new();
    runtime.deploy("other", 2);
    let server = start(runtime, 4).await;
    server.host.limit_in_flight(NonZeroU32::new(1));
    let path = "/_warmshard/lease?worker=hello";
    let (status, text) = server.control(Method::POST, path).await;
    assert_eq!((status, server.host.isolates.load().in_flight), (StatusCode::OK, 1));
    let leased: wire::Leased = serde_json::from_str(&text).unwrap();
    let refused = server.get("hello").await;
    assert_eq!(header(&refused, wire::REFUSED), Some("too_many_requests"), "the place is taken");
    assert_eq!(server.control(Method::POST, path).await.0, StatusCode::SERVICE_UNAVAILABLE);
    let with_lease = |worker: &str| {
        let request = to_worker(worker).header(wire::LEASE, &leased.lease);
        server.send(request.body(empty()).unwrap())
    };
    let refused = with_lease("other").await;
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE, "it is another worker's");
    // Even while the host is being emptied.
    server.control(Method::POST, "/_warmshard/drain").await;
    let answer = with_lease("hello").await;
    assert_eq!((answer.status(), header(&answer, wire::START)), (StatusCode::OK, Some("cold")));
    until(|| server.host.isolates.load().in_flight == 0).await;
    assert_eq!(with_lease("hello").await.status(), StatusCode::SERVICE_UNAVAILABLE, "it can be had once");
    let (status, _) = server.control(Method::POST, path).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "no new ones");
    assert_eq!(server.control(Method::GET, path).await.0, StatusCode::METHOD_NOT_ALLOWED);

    server.control(Method::POST, "/_warmshard/undrain").await;
    let worker = WorkerName::parse("hello").unwrap();
    leases::answer(&server.host, worker, Duration::from_millis(1)).await.unwrap();
    until(|| server.host.isolates.load().in_flight == 0).await;
    assert_eq!(server.get("hello").await.status(), StatusCode::OK, "nobody came for it");
}

#[tokio::test]
async fn memory_is_given_back_before_it_is_over_and_then_requests_are_refused() {
    let runtime = FakeRuntime::new();
    runtime.deploy("other", 2);
    let server = start(runtime, 4).await;
    let host = &server.host;
    let uses = |bytes: u64| {
        host.runtime.memory.store(bytes, Ordering::SeqCst);
        upkeep::look(host);
    };
    host.deployments.prepare(&WorkerName::parse("other").unwrap()).await.unwrap();
    server.get("hello").await;
    until(|| host.isolates.load().in_flight == 0).await;
    uses(701);
    assert_eq!((host.deployments.prepared(), host.isolates.load().isolates), (1, 1), "first what is unused");
    uses(701);
    assert_eq!(host.isolates.load().isolates, 0);
    let (status, _) = server.control(Method::POST, "/_warmshard/prewarm?worker=hello").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "no spares");
    assert_eq!(server.get("hello").await.status(), StatusCode::OK, "who asks is served");

    uses(801);
    let refused = server.get("hello").await;
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(header(&refused, wire::REFUSED), Some("out_of_memory"));
    let (status, _) = server.control(Method::POST, "/_warmshard/lease?worker=hello").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    let (_, text) = server.control(Method::GET, "/_warmshard/status").await;
    let status: HostStatus = serde_json::from_str(&text).unwrap();
    assert_eq!((status.memory.used, status.memory.soft_limit, status.memory.hard_limit), (801, 700, 800));
    uses(10);
    assert_eq!(server.get("hello").await.status(), StatusCode::OK);
    let counters = host.telemetry.counters();
    assert_eq!((counters["evictions_memory"] >= 1, counters["refusals_out_of_memory"]), (true, 2));
}

#[tokio::test]
async fn isolates_that_nobody_calls_are_dropped() {
    let server = start_with(FakeRuntime::new(), 4, Some(Duration::from_millis(50))).await;
    server.get("hello").await;
    until(|| {
        upkeep::look(&server.host);
        server.host.isolates.load().isolates == 0
    })
    .await;
    assert_eq!(server.host.telemetry.counters()["evictions_idle"], 1);
    assert_eq!(header(&server.get("hello").await, wire::COLD), Some("evicted"));
}

#[tokio::test]
async fn the_limit_of_requests_in_flight_is_kept_before_any_work() {
    let (release, released) = tokio::sync::watch::channel(false);
    let slow = handler(move |_, _| {
        let mut released = released.clone();
        async move {
            let _ = released.wait_for(|released| *released).await;
            Ok(Response::new(body("hi")))
        }
    });
    let server = start(slow, 4).await;
    server.host.limit_in_flight(NonZeroU32::new(1));
    let one = server.get("hello");
    let checks = async {
        until(|| server.host.isolates.load().in_flight == 1).await;
        let refused = server.get("hello").await;
        assert_eq!(header(&refused, wire::REFUSED), Some("too_many_requests"));
        release.send_replace(true);
    };
    let (first, ()) = tokio::join!(one, checks);
    assert_eq!(first.status(), StatusCode::OK);
}

#[tokio::test]
async fn the_fleets_key_is_changed_without_a_restart() {
    let server = start(handler(|_, _| async { Ok(Response::new(body("hi"))) }), 2).await;
    let newer = "fedcba9876543210";
    server.host.set_key(FleetKey::parse(&format!("{newer}\n{KEY}")).unwrap());
    assert_eq!(server.get("hello").await.status(), StatusCode::OK, "both are accepted");
    server.host.set_key(FleetKey::parse(newer).unwrap());
    assert_eq!(server.get("hello").await.status(), StatusCode::UNAUTHORIZED);
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
async fn answers_say_how_they_came_about() {
    let server = start(FakeRuntime::new(), 4).await;
    let first = server.get("hello").await;
    assert_eq!(first.status(), StatusCode::OK);
    assert_eq!(header(&first, wire::START), Some("cold"));
    assert_eq!(header(&first, wire::RESTORE_US), Some("1500"));
    assert_eq!(header(&first, wire::HOST), Some("host-a"));
    assert_eq!(header(&first, wire::DEPLOYMENT), Some("000000000000"));
    assert_eq!(header(&first, wire::LOAD), Some("inflight=1;isolates=1"));
    assert_eq!(text(first).await, "ok");
    let second = server.get("hello").await;
    assert_eq!((header(&second, wire::START), header(&second, wire::RESTORE_US)), (Some("warm"), None));
}

#[tokio::test]
async fn a_worker_sees_the_clients_address_and_nothing_of_ours() {
    let seen = Arc::new(Mutex::new(None));
    let sink = Arc::clone(&seen);
    let runtime = handler(move |_, request: Request<RequestBody>| {
        *sink.lock().unwrap() = Some(request.into_parts().0);
        async { Ok(Response::new(body("ok"))) }
    });
    let server = start(runtime, 4).await;
    let request =
        to_worker("hello").header("x-forwarded-proto", "https").header("x-own", "1").header("te", "trailers");
    server.send(request.body(empty()).unwrap()).await;
    let head = seen.lock().unwrap().take().unwrap();
    assert_eq!(head.uri.to_string(), "https://hello.localhost:8080/path?x=1");
    assert_eq!(head.headers["x-own"], "1");
    assert!(!head.headers.contains_key("te"));
    assert!(!head.headers.keys().any(|name| wire::is_ours(name.as_str())), "{:?}", head.headers);
}

#[tokio::test]
async fn only_the_fleet_is_served() {
    let server = start(FakeRuntime::new(), 4).await;
    let without = Request::builder().uri("/").header("host", "x").header(wire::WORKER, "hello");
    let refused = server.send(without.body(empty()).unwrap()).await;
    assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(header(&refused, wire::FAULT), Some("client"));
    assert_eq!(error_code(refused).await, "bad_fleet_key");
    let health = Request::builder().uri(wire::control::HEALTHZ).header("host", "x");
    assert_eq!(server.send(health.body(empty()).unwrap()).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn an_unknown_worker_is_named() {
    let server = start(FakeRuntime::new(), 4).await;
    let refused = server.get("nobody").await;
    assert_eq!(refused.status(), StatusCode::NOT_FOUND);
    let reply: ErrorReply = serde_json::from_str(&text(refused).await).unwrap();
    assert_eq!(reply.error.code, "unknown_worker");
    assert_eq!(reply.error.message, "no worker `nobody` is deployed");
    assert_eq!(reply.error.request_id.as_deref(), Some("00ff00ff00ff00ff"));
}

#[tokio::test]
async fn a_workers_faults_are_told_without_its_words() {
    for (fault, code) in [
        (GuestFault::Exception { message: "secret".into() }, "worker_exception"),
        (GuestFault::Trap { message: "secret".into() }, "worker_crashed"),
        (GuestFault::Exited { code: 3 }, "worker_exited"),
        (GuestFault::CpuLimit { limit: Duration::from_secs(1) }, "cpu_limit_exceeded"),
        (GuestFault::MemoryLimit { limit_bytes: 9 }, "memory_limit_exceeded"),
        (GuestFault::Gone, "worker_crashed"),
    ] {
        let server = start(handler(move |_, _| std::future::ready(Err(fault.clone()))), 4).await;
        let failed = server.get("hello").await;
        assert_eq!(failed.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(header(&failed, wire::FAULT), Some("guest"));
        let reply = text(failed).await;
        assert!(reply.contains(code) && !reply.contains("secret"), "{reply}");
        assert_eq!(server.host.isolates.load().in_flight, 0);
    }
}

#[tokio::test]
async fn a_request_goes_to_another_isolate_when_the_first_had_ended() {
    let runtime = handler(|number, request: Request<RequestBody>| async move {
        if number == 0 {
            return Err(GuestFault::Gone);
        }
        let sent = request.into_body().collect().await.unwrap().to_bytes();
        Ok(Response::new(Full::new(sent).map_err(|never| match never {}).boxed_unsync()))
    });
    let server = start(runtime, 4).await;
    let sent = Full::new(Bytes::from_static(b"the body")).map_err(|never| match never {}).boxed_unsync();
    let response = server.send(to_worker("hello").method(Method::POST).body(sent).unwrap()).await;
    assert_eq!(text(response).await, "the body");
    assert_eq!(server.host.isolates.load().isolates, 1);
}

#[tokio::test]
async fn a_request_whose_body_was_read_is_not_repeated() {
    let runtime = handler(|_, request: Request<RequestBody>| async move {
        request.into_body().frame().await.unwrap().unwrap();
        Err(GuestFault::Gone)
    });
    let server = start(runtime, 4).await;
    let sent = Full::new(Bytes::from_static(b"the body")).map_err(|never| match never {}).boxed_unsync();
    let response = server.send(to_worker("hello").method(Method::POST).body(sent).unwrap()).await;
    assert_eq!(error_code(response).await, "worker_crashed");
    assert_eq!(server.host.telemetry.counters()["starts_cold"], 1);
}

#[tokio::test]
async fn a_host_without_room_passes_requests_on() {
    let (release, released) = tokio::sync::watch::channel(false);
    let runtime = handler(move |_, _| {
        let mut released = released.clone();
        async move {
            released.wait_for(|released| *released).await.unwrap();
            Ok(Response::new(body("done")))
        }
    });
    runtime.deploy("other", 2);
    let server = Arc::new(start(runtime, 1).await);
    let busy = tokio::spawn({
        let server = Arc::clone(&server);
        async move { text(server.get("hello").await).await }
    });
    until(|| server.host.telemetry.counters()["starts_cold"] == 1).await;
    let refused = server.get("other").await;
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(header(&refused, wire::REFUSED), Some("at_capacity"));
    release.send_replace(true);
    assert_eq!(busy.await.unwrap(), "done");
    assert_eq!(header(&server.get("other").await, wire::START), Some("cold"));
}

#[tokio::test]
async fn bodies_stream_both_ways() {
    // Each chunk is answered before the next one is sent: nothing can be gathered.
    let runtime =
        handler(|_, request: Request<RequestBody>| async move { Ok(Response::new(request.into_body())) });
    let server = start(runtime, 4).await;
    let (sender, sent) = mpsc::unbounded_channel();
    let request = to_worker("hello").method(Method::POST).body(from_channel(sent)).unwrap();
    let mut received = server.send(request).await.into_body();
    for number in 0..50_u8 {
        sender.send(Ok(http_body::Frame::data(Bytes::from(vec![number; 1000])))).unwrap();
        let mut count = 0;
        while count < 1000 {
            let data = received.frame().await.unwrap().unwrap().into_data().unwrap();
            assert!(data.iter().all(|byte| *byte == number));
            count += data.len();
        }
    }
    drop(sender);
    assert!(received.frame().await.is_none());
    until(|| server.host.isolates.load().in_flight == 0).await;
}

/// A body of the frames that come through a channel.
fn from_channel(
    mut frames: mpsc::UnboundedReceiver<Result<http_body::Frame<Bytes>, BoxError>>,
) -> RequestBody {
    StreamBody::new(futures_util::stream::poll_fn(move |context| frames.poll_recv(context))).boxed_unsync()
}

/// Tells when it is dropped.
struct Dropped(mpsc::UnboundedSender<()>);

impl Drop for Dropped {
    fn drop(&mut self) {
        let _ = self.0.send(());
    }
}

#[tokio::test]
async fn a_client_that_goes_away_cancels_its_request() {
    let (sender, mut dropped) = mpsc::unbounded_channel();
    let runtime = handler(move |_, _| {
        let guard = Dropped(sender.clone());
        async move {
            let _guard = guard;
            std::future::pending().await
        }
    });
    let server = start(runtime, 4).await;
    let stream = TcpStream::connect(server.addr).await.unwrap();
    let (mut client, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    let connection = tokio::spawn(connection);
    let request =
        tokio::spawn(async move { client.send_request(to_worker("hello").body(empty()).unwrap()).await });
    until(|| server.host.telemetry.counters()["starts_cold"] == 1).await;
    request.abort();
    connection.abort();
    tokio::time::timeout(Duration::from_secs(20), dropped.recv()).await.unwrap().unwrap();
    until(|| server.host.isolates.load().in_flight == 0).await;
}

#[tokio::test]
async fn an_isolate_is_held_until_the_last_byte_has_left() {
    let (sender, chunks) = mpsc::unbounded_channel();
    let chunks = Arc::new(Mutex::new(Some(chunks)));
    let runtime = handler(move |_, _| {
        let chunks = chunks.lock().unwrap().take().unwrap();
        async move { Ok(Response::new(from_channel(chunks))) }
    });
    let server = start(runtime, 4).await;
    let mut received = server.get("hello").await.into_body();
    sender.send(Ok(http_body::Frame::data(Bytes::from_static(b"one")))).unwrap();
    received.frame().await.unwrap().unwrap();
    assert_eq!(server.host.isolates.load().in_flight, 1);
    drop(sender);
    assert!(received.frame().await.is_none());
    until(|| server.host.isolates.load().in_flight == 0).await;
}

#[tokio::test]
async fn what_a_worker_may_not_decide_it_does_not() {
    let runtime = handler(|_, request: Request<RequestBody>| async move {
        let answer = Response::builder()
            .header("content-length", "3")
            .header("transfer-encoding", "chunked")
            .header("connection", "close")
            .header(wire::HOST, "forged")
            .header(wire::REFUSED, "forged");
        let status = request.uri().path().trim_start_matches('/').parse::<u16>().unwrap();
        Ok(answer.status(status).body(body("five!")).unwrap())
    });
    let server = start(runtime, 4).await;
    let ask = |method: Method, path: &'static str| {
        server.send(to_worker("hello").uri(path).method(method).body(empty()).unwrap())
    };
    let response = ask(Method::GET, "/200").await;
    assert_eq!(header(&response, "content-length"), Some("5"));
    assert_eq!(header(&response, wire::HOST), Some("host-a"));
    assert_eq!((header(&response, wire::REFUSED), header(&response, "connection")), (None, None));
    assert_eq!(text(response).await, "five!");
    let head = ask(Method::HEAD, "/200").await;
    assert_eq!((header(&head, "content-length"), head.status()), (Some("3"), StatusCode::OK));
    let none = ask(Method::GET, "/204").await;
    assert_eq!(header(&none, "content-length"), None);
    assert_eq!(text(none).await, "");
    let informational = ask(Method::GET, "/101").await;
    assert_eq!(informational.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(error_code(informational).await, "worker_exception");
}

#[tokio::test]
async fn the_control_endpoints_answer() {
    let server = start(FakeRuntime::new(), 4).await;
    assert_eq!(server.control(Method::POST, "/_warmshard/prepare?worker=hello").await.0, StatusCode::OK);
    server.get("hello").await;
    let (_, status) = server.control(Method::GET, wire::control::STATUS).await;
    let status: HostStatus = serde_json::from_str(&status).unwrap();
    assert_eq!((status.host_id.as_str(), status.isolates[0].count), ("host-a", 1));
    assert_eq!(status.counters["starts_cold"], 1);
    let (_, metrics) = server.control(Method::GET, wire::control::METRICS).await;
    assert!(metrics.contains("warmshard_starts_total{kind=\"cold\"} 1"), "{metrics}");
    let evict = server.control(Method::POST, "/_warmshard/evict?worker=hello").await;
    assert_eq!(evict, (StatusCode::OK, "{\"evicted\":1}\n".to_owned()));
    assert_eq!(header(&server.get("hello").await, wire::START), Some("cold"));
    for (method, path, status) in [
        (Method::GET, "/_warmshard/evict?worker=hello", StatusCode::METHOD_NOT_ALLOWED),
        (Method::POST, "/_warmshard/evict", StatusCode::BAD_REQUEST),
        (Method::POST, "/_warmshard/evict?worker=../x", StatusCode::BAD_REQUEST),
        (Method::GET, "/_warmshard/other", StatusCode::NOT_FOUND),
        (Method::GET, "/other", StatusCode::BAD_REQUEST),
        (Method::POST, "/_warmshard/prepare?worker=nobody", StatusCode::NOT_FOUND),
    ] {
        assert_eq!(server.control(method, path).await.0, status, "{path}");
    }
}

#[tokio::test]
async fn a_worker_is_warm_ahead_of_need() {
    let server = start(FakeRuntime::new(), 4).await;
    let prewarm = "/_warmshard/prewarm?worker=hello";
    let restored = "{\"worker\":\"hello\",\"state\":\"restored\"}\n".to_owned();
    assert_eq!(server.control(Method::POST, prewarm).await, (StatusCode::OK, restored));
    let again = server.control(Method::POST, prewarm).await.1;
    assert!(again.contains("\"state\":\"warm\""), "{again}");
    let first = server.get("hello").await;
    assert_eq!((header(&first, wire::START), header(&first, wire::COLD)), (Some("spare"), None));
    assert_eq!(header(&server.get("hello").await, wire::START), Some("warm"));
    let unknown = server.control(Method::POST, "/_warmshard/prewarm?worker=nobody").await;
    assert_eq!(unknown.0, StatusCode::NOT_FOUND);
    assert_eq!(server.control(Method::POST, "/_warmshard/prewarm").await.0, StatusCode::BAD_REQUEST);
    assert_eq!(server.control(Method::GET, prewarm).await.0, StatusCode::METHOD_NOT_ALLOWED);
    let counters = server.host.telemetry.counters();
    let counted = ["prewarms_restored", "prewarms_warm", "prewarms_failed", "starts_spare", "starts_cold"];
    assert_eq!(counted.map(|name| counters[name]), [1, 1, 1, 1, 0]);
}

#[tokio::test]
async fn nobody_makes_room_for_a_spare_who_was_just_called() {
    let runtime = FakeRuntime::new();
    runtime.deploy("other", 2);
    let server = start(runtime, 1).await;
    server.get("hello").await;
    until(|| server.host.isolates.load().in_flight == 0).await;
    let request = Request::builder().method(Method::POST).uri("/_warmshard/prewarm?worker=other");
    let request = request.header("host", "x").header(wire::KEY, KEY);
    let refused = server.send(request.body(empty()).unwrap()).await;
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(header(&refused, wire::REFUSED), Some("at_capacity"));
    assert_eq!(header(&server.get("hello").await, wire::START), Some("warm"), "it was left alone");
    server.control(Method::POST, "/_warmshard/drain").await;
    let (status, _) = server.control(Method::POST, "/_warmshard/prewarm?worker=hello").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "a host that is being emptied gets no spares");
    let counters = server.host.telemetry.counters();
    assert_eq!((counters["prewarms_refused"], counters["prewarms_failed"]), (2, 0));
}

#[tokio::test]
async fn who_asks_for_a_spare_is_not_kept_waiting_for_long() {
    let runtime = FakeRuntime::new();
    runtime.prepares.forget_permits(1000);
    let server = start(runtime, 4).await;
    let worker = WorkerName::parse("hello").unwrap();
    let answer = prewarm::answer(&server.host, worker, Duration::from_millis(1)).await.unwrap();
    assert_eq!(answer.state, PrewarmState::Preparing);
    server.host.deployments().runtime().prepares.add_permits(1);
    until(|| server.host.isolates.load().isolates == 1).await;
    assert_eq!(header(&server.get("hello").await, wire::START), Some("spare"));
}

#[tokio::test]
async fn stopping_lets_requests_end_and_takes_no_more() {
    let (release, released) = tokio::sync::watch::channel(false);
    let runtime = handler(move |_, _| {
        let mut released = released.clone();
        async move {
            released.wait_for(|released| *released).await.unwrap();
            Ok(Response::new(body("done")))
        }
    });
    let mut server = start(runtime, 4).await;
    let (addr, stop) = (server.addr, server.stop.take().unwrap());
    let server = Arc::new(server);
    let busy = tokio::spawn({
        let server = Arc::clone(&server);
        async move { text(server.get("hello").await).await }
    });
    until(|| server.host.telemetry.counters()["starts_cold"] == 1).await;
    stop.send(()).unwrap();
    until(|| server.host.intake() == Intake::Draining).await;
    // Requests are refused first, connections after the notice.
    let closed = async {
        while TcpStream::connect(addr).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), closed).await.expect("the listener closes");
    release.send_replace(true);
    assert_eq!(busy.await.unwrap(), "done");
    let server = Arc::into_inner(server).unwrap();
    server.ended.await.unwrap();
    assert_eq!(server.host.isolates.load().isolates, 0);
}
