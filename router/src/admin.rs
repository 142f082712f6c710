//! The admin listener: small answers for operators and their tools.

use std::convert::Infallible;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use metrics_exporter_prometheus::PrometheusHandle;
use serde::Serialize;
use tokio::sync::watch;
use tokio::task::JoinSet;
use warmshard_config::units::{FleetKey, WorkerName};
use warmshard_config::wire::{ErrorReply, Evicted, HostsReply, control};

use crate::fleet::Fleet;
use crate::host_client::Call;
use crate::metric;
use crate::shutdown::InFlight;

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
    pub(crate) key: FleetKey,
    pub(crate) phase: watch::Receiver<Phase>,
    pub(crate) metrics: PrometheusHandle,
    pub(crate) in_flight: InFlight,
}

/// How long a host may take to drop its isolates.
const EVICT_LIMIT: Duration = Duration::from_secs(10);
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
        async move { Ok::<_, Infallible>(admin.answer(request.method(), request.uri(), request.headers()).await) }
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
    async fn answer(&self, method: &Method, uri: &http::Uri, headers: &HeaderMap) -> Reply {
        if headers.contains_key(header::ORIGIN) {
            // A page in the operator's browser could otherwise reach this listener.
            let error = ErrorReply::new("forbidden", "found a request made by a web page");
            return json(StatusCode::FORBIDDEN, &error.with_hint("use curl or another tool"));
        }
        match (method, uri.path()) {
            (&Method::GET, "/healthz") => text(StatusCode::OK, "ok\n"),
            (&Method::GET, "/readyz") => self.readiness(),
            (&Method::GET, "/metrics") => self.render_metrics(),
            (&Method::GET, "/hosts") => self.hosts(),
            (&Method::POST, "/evict") => self.evict(uri.query().unwrap_or_default()).await,
            (_, "/healthz" | "/readyz" | "/metrics" | "/hosts" | "/evict") => {
                let error = ErrorReply::new("wrong_method", format!("found {method} {}", uri.path()));
                json(StatusCode::METHOD_NOT_ALLOWED, &error.with_hint("`/evict` takes POST, the others GET"))
            }
            (_, path) => {
                let error = ErrorReply::new("not_found", format!("found the path `{path}`"));
                let hint = "there are /healthz, /readyz, /metrics, /hosts and `POST /evict?worker=NAME`";
                json(StatusCode::NOT_FOUND, &error.with_hint(hint))
            }
        }
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
        let mut reply = text(StatusCode::OK, self.metrics.render());
        let kind = header::HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
        reply.headers_mut().insert(header::CONTENT_TYPE, kind);
        reply
    }

    fn hosts(&self) -> Reply {
        let epoch = self.fleet.roster().epoch().to_string();
        json(StatusCode::OK, &HostsReply { epoch, hosts: self.fleet.views() })
    }

    /// Has every host drop a worker's idle isolates.
    async fn evict(&self, query: &str) -> Reply {
        let worker = query.split('&').find_map(|part| part.strip_prefix("worker=")).unwrap_or_default();
        let worker = match WorkerName::parse(worker) {
            Ok(worker) => worker,
            Err(error) => {
                let error = ErrorReply::new("bad_worker_name", error.to_string());
                return json(StatusCode::BAD_REQUEST, &error.with_hint("POST /evict?worker=NAME"));
            }
        };
        let mut calls = JoinSet::new();
        for host in self.fleet.roster().hosts() {
            // A host without a process has no isolates.
            let Some(place) = host.place() else { continue };
            let (id, key) = (host.id().clone(), self.key.clone());
            let path = format!("{}?worker={worker}", control::EVICT);
            calls.spawn(async move {
                let call = Call {
                    address: place.address,
                    method: Method::POST,
                    path: &path,
                    key: Some(&key),
                    timeout: EVICT_LIMIT,
                };
                let answer = call.send().await.map_err(|error| format!("{id}: {error}"))?;
                serde_json::from_slice::<Evicted>(&answer).map_err(|error| format!("{id}: {error}"))
            });
        }
        let mut evicted = 0;
        let mut failed = Vec::new();
        for answer in calls.join_all().await {
            match answer {
                Ok(answer) => evicted += answer.evicted,
                Err(error) => failed.push(error),
            }
        }
        if failed.is_empty() {
            return json(StatusCode::OK, &Evicted { evicted });
        }
        let message =
            format!("{evicted} isolates were dropped, but not all hosts answered: {}", failed.join("; "));
        json(StatusCode::BAD_GATEWAY, &ErrorReply::new("hosts_unreachable", message))
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
    use http_body_util::BodyExt;
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
        let admin = Admin {
            fleet: Arc::new(fleet_of(&["a", "b"])),
            key: FleetKey::parse("0123456789abcdef").unwrap(),
            phase: watched,
            metrics: PrometheusBuilder::new().build_recorder().handle(),
            in_flight: InFlight::new(),
        };
        Asked { admin, phase }
    }

    impl Asked {
        async fn get(&self, method: Method, uri: &str, headers: &HeaderMap) -> (u16, String) {
            let reply = self.admin.answer(&method, &uri.parse().unwrap(), headers).await;
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
}
