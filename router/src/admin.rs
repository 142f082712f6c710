//! The admin listener: small answers for operators and their tools.

mod change;
mod dashboard;
mod view;

use std::convert::Infallible;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Collected, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use metrics_exporter_prometheus::PrometheusHandle;
use serde::Serialize;
use tokio::sync::watch;
use warmshard_config::units::{FleetKey, WorkerName};
use warmshard_config::wire::{ErrorReply, HostsReply};

use crate::fleet::Fleet;
use crate::metric;
use crate::reload::Reloader;
use crate::shutdown::InFlight;
use change::Drain;

/// Where the router is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Starting,
    Serving,
    Draining,
}

/// What the answers are made of.
pub(crate) struct Admin {
    pub(crate) fleet: Arc<Fleet>,
    pub(crate) reloader: Arc<Reloader>,
    /// Who does not know it only gets health and readiness.
    pub(crate) token: Option<FleetKey>,
    pub(crate) phase: watch::Receiver<Phase>,
    pub(crate) metrics: PrometheusHandle,
    pub(crate) in_flight: InFlight,
    pub(crate) connections: InFlight,
}

/// A shard file for `POST /plan` is not larger.
const LARGEST_BODY: usize = 1 << 20;
const HEADER_LIMIT: Duration = Duration::from_secs(10);
/// How often old samples of histograms are folded into their buckets.
const UPKEEP: Duration = Duration::from_secs(5);

type Reply = Response<Full<Bytes>>;

/// Serves until its task is dropped.
pub(crate) async fn serve(listener: TcpListener, admin: Arc<Admin>) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(%error, "the admin listener cannot be used");
            return;
        }
    };
    let mut upkeep = tokio::time::interval(UPKEEP);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = upkeep.tick() => {
                admin.metrics.run_upkeep();
                continue;
            }
        };
        match accepted {
            Ok((stream, _)) => {
                tokio::spawn(serve_connection(stream, Arc::clone(&admin)));
            }
            Err(error) => {
                // Most likely no file descriptor is left; trying at once would only spin.
                tracing::warn!(%error, "the admin listener cannot accept");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn serve_connection(stream: tokio::net::TcpStream, admin: Arc<Admin>) {
    let service = service_fn(|request: Request<Incoming>| {
        let admin = Arc::clone(&admin);
        async move {
            let (head, body) = request.into_parts();
            let body = Limited::new(body, LARGEST_BODY).collect().await;
            let Ok(body) = body.map(Collected::to_bytes) else {
                let error = ErrorReply::new("too_large", format!("found more than {LARGEST_BODY} bytes"));
                return Ok::<_, Infallible>(json(StatusCode::PAYLOAD_TOO_LARGE, &error));
            };
            Ok(admin.answer(&head.method, &head.uri, &head.headers, &body).await)
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_LIMIT)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = connection.await {
        tracing::debug!(%error, "an admin connection ended early");
    }
}

impl Admin {
    async fn answer(&self, method: &Method, uri: &http::Uri, headers: &HeaderMap, body: &Bytes) -> Reply {
        if headers.contains_key(header::ORIGIN) {
            // A page in the operator's browser could otherwise reach this listener.
            let error = ErrorReply::new("forbidden", "found a request made by a web page");
            return json(StatusCode::FORBIDDEN, &error.with_hint("use curl or another tool"));
        }
        let Some((endpoint, wanted, _)) = ENDPOINTS.iter().find(|(_, _, path)| *path == uri.path()) else {
            let error = ErrorReply::new("not_found", format!("found the path `{}`", uri.path()));
            return json(StatusCode::NOT_FOUND, &error.with_hint(list_of_endpoints()));
        };
        // The dashboard says nothing of its own: it asks the other endpoints, with a token if there is one.
        let is_open = matches!(endpoint, Endpoint::Dashboard | Endpoint::Health | Endpoint::Readiness);
        if !is_open && !self.is_allowed(headers) {
            let error = ErrorReply::new("unauthorized", "found no admin token, or another one");
            let hint = "send `Authorization: Bearer TOKEN` with the token of `[admin]` in the shard file";
            return json(StatusCode::UNAUTHORIZED, &error.with_hint(hint));
        }
        if wanted != method {
            let error = ErrorReply::new("wrong_method", format!("found {method} {}", uri.path()));
            return json(StatusCode::METHOD_NOT_ALLOWED, &error.with_hint(format!("it takes {wanted}")));
        }
        let query = Query::of(uri);
        match endpoint {
            Endpoint::Dashboard => dashboard::page(),
            Endpoint::Health => text(StatusCode::OK, "ok\n"),
            Endpoint::Readiness => self.readiness(),
            Endpoint::Metrics => self.render_metrics(),
            Endpoint::Hosts => self.hosts(),
            Endpoint::Ring => self.ring(),
            Endpoint::Config => self.config(),
            Endpoint::Workers => self.top_workers(query),
            Endpoint::Explain => self.explain(query),
            Endpoint::Plan => self.plan(body),
            Endpoint::Reload => self.reload(query),
            Endpoint::Drain => self.drain(query, Drain::Yes).await,
            Endpoint::Undrain => self.drain(query, Drain::No).await,
            Endpoint::Eject => self.eject(query),
            Endpoint::Evict => self.evict(query).await,
            Endpoint::Prewarm => self.prewarm(query).await,
        }
    }

    fn is_allowed(&self, headers: &HeaderMap) -> bool {
        let Some(token) = &self.token else { return true };
        let offered = headers.get(header::AUTHORIZATION).map(header::HeaderValue::as_bytes);
        offered.and_then(|value| value.strip_prefix(b"Bearer ")).is_some_and(|offered| token.is(offered))
    }

    /// Ready while it serves and some host is up.
    fn readiness(&self) -> Reply {
        match *self.phase.borrow() {
            Phase::Starting => text(StatusCode::SERVICE_UNAVAILABLE, "starting\n"),
            Phase::Draining => text(StatusCode::SERVICE_UNAVAILABLE, "draining\n"),
            Phase::Serving if !self.fleet.any_up() => {
                text(StatusCode::SERVICE_UNAVAILABLE, "no host is up\n")
            }
            Phase::Serving => text(StatusCode::OK, "ready\n"),
        }
    }

    fn render_metrics(&self) -> Reply {
        metric::in_flight(self.in_flight.count());
        metric::connections(self.connections.count());
        let mut reply = text(StatusCode::OK, self.metrics.render());
        let kind = header::HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
        reply.headers_mut().insert(header::CONTENT_TYPE, kind);
        reply
    }

    fn hosts(&self) -> Reply {
        let epoch = self.fleet.roster().epoch().to_string();
        json(StatusCode::OK, &HostsReply { epoch, hosts: self.fleet.views() })
    }
}

/// What there is, with its method and path.
#[derive(Debug, Clone, Copy)]
enum Endpoint {
    Dashboard,
    Health,
    Readiness,
    Metrics,
    Hosts,
    Ring,
    Config,
    Workers,
    Explain,
    Plan,
    Reload,
    Drain,
    Undrain,
    Eject,
    Evict,
    Prewarm,
}

static ENDPOINTS: [(Endpoint, Method, &str); 16] = [
    (Endpoint::Dashboard, Method::GET, "/"),
    (Endpoint::Health, Method::GET, "/healthz"),
    (Endpoint::Readiness, Method::GET, "/readyz"),
    (Endpoint::Metrics, Method::GET, "/metrics"),
    (Endpoint::Hosts, Method::GET, "/hosts"),
    (Endpoint::Ring, Method::GET, "/ring"),
    (Endpoint::Config, Method::GET, "/config"),
    (Endpoint::Workers, Method::GET, "/workers"),
    (Endpoint::Explain, Method::GET, "/explain"),
    (Endpoint::Plan, Method::POST, "/plan"),
    (Endpoint::Reload, Method::POST, "/reload"),
    (Endpoint::Drain, Method::POST, "/drain"),
    (Endpoint::Undrain, Method::POST, "/undrain"),
    (Endpoint::Eject, Method::POST, "/eject"),
    (Endpoint::Evict, Method::POST, "/evict"),
    (Endpoint::Prewarm, Method::POST, "/prewarm"),
];

fn list_of_endpoints() -> String {
    let list: Vec<String> = ENDPOINTS.iter().map(|(_, method, path)| format!("{method} {path}")).collect();
    format!("there are {}", list.join(", "))
}

/// What stands after the `?`. Names and numbers need no escapes, so there is nothing to decode.
#[derive(Debug, Clone, Copy)]
struct Query<'u>(&'u str);

impl<'u> Query<'u> {
    fn of(uri: &'u http::Uri) -> Self {
        Self(uri.query().unwrap_or_default())
    }

    fn get(self, name: &str) -> Option<&'u str> {
        self.0
            .split('&')
            .find_map(|pair| pair.split_once('=').filter(|(key, _)| *key == name).map(|(_, v)| v))
    }

    /// A value of a type that parses itself, or the reply that says what is wrong.
    fn parse<T, E: std::fmt::Display>(
        self,
        name: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<T, Box<Reply>> {
        parse(self.get(name).unwrap_or_default()).map_err(|error| {
            let error = ErrorReply::new("bad_query", format!("`{name}`: {error}"));
            Box::new(json(StatusCode::BAD_REQUEST, &error.with_hint(format!("add `?{name}=…`"))))
        })
    }

    fn worker(self) -> Result<WorkerName, Box<Reply>> {
        self.parse("worker", WorkerName::parse)
    }
}

fn text(status: StatusCode, text: impl Into<Bytes>) -> Reply {
    reply(status, "text/plain; charset=utf-8", text.into())
}

fn json(status: StatusCode, value: &impl Serialize) -> Reply {
    let mut body = serde_json::to_vec(value).expect("plain structures always serialise");
    body.push(b'\n');
    reply(status, "application/json", body.into())
}

fn reply(status: StatusCode, kind: &'static str, body: Bytes) -> Reply {
    let mut reply = Response::new(Full::new(body));
    *reply.status_mut() = status;
    reply.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    reply
}

#[cfg(test)]
mod tests {
    use metrics_exporter_prometheus::PrometheusBuilder;
    use warmshard_config::health::Observation;

    use super::*;
    use crate::fleet::{Place, tests::fleet_of};

    struct Asked {
        admin: Admin,
        phase: watch::Sender<Phase>,
    }

    fn asked() -> Asked {
        let (phase, watched) = watch::channel(Phase::Starting);
        let settings = crate::shard_commands::tests::settings(&[("a", ""), ("b", "")]);
        let fleet = Arc::new(fleet_of(&["a", "b"]));
        let key = FleetKey::parse("0123456789abcdef").unwrap();
        let reloader = Reloader::new("none.toml".into(), settings, "# text".into(), Arc::clone(&fleet), key);
        let admin = Admin {
            fleet,
            reloader: Arc::new(reloader),
            token: None,
            phase: watched,
            metrics: PrometheusBuilder::new().build_recorder().handle(),
            in_flight: InFlight::new(),
            connections: InFlight::new(),
        };
        Asked { admin, phase }
    }

    impl Asked {
        async fn get(&self, method: Method, uri: &str, headers: &HeaderMap) -> (u16, String) {
            let reply = self.admin.answer(&method, &uri.parse().unwrap(), headers, &Bytes::new()).await;
            let status = reply.status().as_u16();
            let body = reply.into_body().collect().await.unwrap().to_bytes();
            (status, String::from_utf8(body.to_vec()).unwrap())
        }
    }

    #[tokio::test]
    async fn ready_only_while_serving_with_a_host_up() {
        let asked = asked();
        let none = HeaderMap::new();
        let ready = || asked.get(Method::GET, "/readyz", &none);
        assert_eq!(asked.get(Method::GET, "/healthz", &none).await, (200, "ok\n".into()));
        assert_eq!(ready().await, (503, "starting\n".into()));
        asked.phase.send_replace(Phase::Serving);
        assert_eq!(ready().await, (503, "no host is up\n".into()));
        let roster = asked.admin.fleet.roster();
        let host = &roster.hosts()[0];
        asked.admin.fleet.arrived(host, Place { address: ([127, 0, 0, 1], 1).into(), pid: Some(7) });
        asked.admin.fleet.observe(host, Observation::ProbeSucceeded);
        assert_eq!(ready().await, (200, "ready\n".into()));
        asked.phase.send_replace(Phase::Draining);
        assert_eq!(ready().await, (503, "draining\n".into()));
    }

    #[tokio::test]
    async fn hosts_are_listed() {
        let asked = asked();
        let (status, body) = asked.get(Method::GET, "/hosts", &HeaderMap::new()).await;
        let hosts: HostsReply = serde_json::from_str(&body).unwrap();
        assert_eq!((status, hosts.hosts.len()), (200, 2));
        assert_eq!((hosts.hosts[0].health.as_str(), hosts.hosts[0].addr), ("unknown", None));
        assert_eq!(hosts.epoch, asked.admin.fleet.roster().epoch().to_string());
    }

    #[tokio::test]
    async fn wrong_requests_are_told_what_there_is() {
        let asked = asked();
        let none = HeaderMap::new();
        for (method, uri, expected) in [
            (Method::GET, "/evict?worker=x", 405),
            (Method::POST, "/evict", 400),
            (Method::POST, "/evict?worker=../x", 400),
            (Method::GET, "/nope", 404),
            (Method::GET, "/explain", 400),
            (Method::POST, "/drain?host=nobody", 404),
            (Method::POST, "/eject?host=a&for=soon", 400),
            (Method::POST, "/plan", 400),
        ] {
            let (status, body) = asked.get(method, uri, &none).await;
            assert_eq!(status, expected, "{uri}");
            assert!(serde_json::from_str::<ErrorReply>(&body).unwrap().error.hint.is_some());
        }
        let mut page = HeaderMap::new();
        page.insert(header::ORIGIN, "https://example.com".parse().unwrap());
        assert_eq!(asked.get(Method::POST, "/evict?worker=x", &page).await.0, 403);
    }

    #[tokio::test]
    async fn nothing_to_evict_where_nothing_runs() {
        let asked = asked();
        let found = asked.get(Method::POST, "/evict?worker=x", &HeaderMap::new()).await;
        assert_eq!(found, (200, "{\"evicted\":0}\n".into()));
    }

    #[tokio::test]
    async fn a_token_keeps_others_out() {
        let mut asked = asked();
        asked.admin.token = Some(FleetKey::parse("a-token-of-the-admin").unwrap());
        let mut headers = HeaderMap::new();
        assert_eq!(asked.get(Method::GET, "/healthz", &headers).await.0, 200);
        assert_eq!(asked.get(Method::GET, "/hosts", &headers).await.0, 401);
        assert_eq!(asked.get(Method::GET, "/", &headers).await.0, 200, "the page that asks for the token");
        headers.insert(header::AUTHORIZATION, "Bearer another-token-of-it".parse().unwrap());
        assert_eq!(asked.get(Method::GET, "/hosts", &headers).await.0, 401);
        headers.insert(header::AUTHORIZATION, "Bearer a-token-of-the-admin".parse().unwrap());
        assert_eq!(asked.get(Method::GET, "/hosts", &headers).await.0, 200);
    }

    #[tokio::test]
    async fn a_drained_host_is_passed_over_until_it_is_undrained() {
        let asked = asked();
        let none = HeaderMap::new();
        for host in asked.admin.fleet.roster().hosts() {
            asked.admin.fleet.arrived(host, Place { address: ([127, 0, 0, 1], 1).into(), pid: None });
            asked.admin.fleet.observe(host, Observation::ProbeSucceeded);
        }
        let chosen = async || {
            let (_, body) = asked.get(Method::GET, "/explain?worker=hello", &none).await;
            let answer: serde_json::Value = serde_json::from_str(&body).unwrap();
            (answer["chosen"].as_str().unwrap().to_owned(), answer["reason"].as_str().unwrap().to_owned())
        };
        let (home, reason) = chosen().await;
        assert_eq!(reason, "home");
        let call = async |path: &str| asked.get(Method::POST, &format!("{path}host={home}"), &none).await.0;
        assert_eq!(call("/drain?").await, 200);
        let (other, reason) = chosen().await;
        assert_eq!((other != home, reason.as_str()), (true, "home_draining"));
        assert_eq!(call("/undrain?").await, 200);
        assert_eq!(call("/eject?for=10s&").await, 200);
        assert_eq!(chosen().await.1, "home_ejected");
        assert_eq!(call("/undrain?").await, 200);
        assert_eq!(chosen().await, (home.clone(), "home".to_owned()));
    }

    #[tokio::test]
    async fn a_plan_is_made_of_the_file_that_is_sent() {
        let asked = asked();
        let file = "[fleet]\nkey_file = \"none\"\n[[hosts]]\nid = \"A\"\n";
        let uri = "/plan".parse().unwrap();
        let reply = asked.admin.answer(&Method::POST, &uri, &HeaderMap::new(), &Bytes::from(file)).await;
        assert_eq!(reply.status(), 400);
        let body = reply.into_body().collect().await.unwrap().to_bytes();
        let text = String::from_utf8(body.to_vec()).unwrap();
        assert!(text.contains("bad_shard_file") && text.contains("hosts[0].address"), "{text}");
    }
}
