//! Header hygiene: what a host is told, and what a client gets to see.

use std::net::IpAddr;
use std::time::Duration;

use http::{HeaderMap, HeaderName, header};
use pingora::Result;
use pingora::http::{RequestHeader, ResponseHeader};
use warmshard_config::cold_start::Cause;
use warmshard_config::host_policy::Price;
use warmshard_config::placement::Reason;
use warmshard_config::units::{FleetKey, WorkerName};
use warmshard_config::wire::{self, Fault, Load, StartKind};

/// Said by whoever stands before a worker. This router is the first one that is
/// trusted, so what a client says about itself is replaced.
const FORWARDING: [&str; 6] = [
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-proto",
    "x-real-ip",
];

/// What the router adds to a request.
pub(crate) struct ToHost<'r> {
    pub(crate) key: &'r FleetKey,
    pub(crate) worker: &'r WorkerName,
    pub(crate) request_id: &'r str,
    /// The place that the host has promised.
    pub(crate) lease: Option<&'r str>,
    pub(crate) client: Option<IpAddr>,
    /// What room for the worker costs at another host.
    pub(crate) elsewhere: Option<Price>,
    /// The host name as the client gave it.
    pub(crate) host: Option<&'r str>,
    /// `http` or `https`, as the client came.
    pub(crate) scheme: &'static str,
}

/// The host name of a request, with its port: from its target, else from `Host`.
pub(crate) fn host_name(request: &RequestHeader) -> Option<&str> {
    let target = request.uri.authority().map(http::uri::Authority::as_str);
    let target = target.or_else(|| absolute_authority(request.raw_path()));
    target.or_else(|| request.headers.get(header::HOST)?.to_str().ok())
}

/// The authority of an absolute target, which pingora keeps as if it were a path.
fn absolute_authority(target: &[u8]) -> Option<&str> {
    let target = std::str::from_utf8(target).ok()?;
    let rest = target.strip_prefix("http://").or_else(|| target.strip_prefix("https://"))?;
    rest.split(['/', '?', '#']).next()
}

/// Removes what a client must not say and adds what the host must know.
pub(crate) fn prepare_request(request: &mut RequestHeader, told: &ToHost<'_>) -> Result<()> {
    let unwanted = |name: &HeaderName| wire::is_ours(name.as_str()) || FORWARDING.contains(&name.as_str());
    for name in names(&request.headers, unwanted) {
        request.remove_header(&name);
    }
    request.insert_header(wire::KEY, told.key.reveal())?;
    request.insert_header(wire::WORKER, told.worker.as_str())?;
    request.insert_header(wire::REQUEST_ID, told.request_id)?;
    if let Some(lease) = told.lease {
        request.insert_header(wire::LEASE, lease)?;
    }
    if let Some(price) = told.elsewhere {
        request.insert_header(wire::ELSEWHERE, price.to_string())?;
    }
    request.insert_header("x-forwarded-proto", told.scheme)?;
    if let Some(client) = told.client {
        request.insert_header("x-forwarded-for", client.to_string())?;
    }
    if let Some(host) = told.host {
        request.insert_header("x-forwarded-host", host)?;
    }
    Ok(())
}

/// What a host said about itself in an answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) start: Option<StartKind>,
    pub(crate) restore: Option<Duration>,
    pub(crate) load: Option<Load>,
    /// Why the start was cold, as far as the host knows.
    pub(crate) cold: Option<Cause>,
    /// Names the deployment.
    pub(crate) deployment: Option<u64>,
    /// Whose fault an error is.
    pub(crate) fault: Option<Fault>,
    /// What room for the worker costs there.
    pub(crate) price: Option<Price>,
    /// Why the host refused; only believed with status 503.
    pub(crate) refused: Option<String>,
}

pub(crate) fn read_response(response: &ResponseHeader) -> Said {
    let text = |name| response.headers.get(name)?.to_str().ok();
    let refused = text(wire::REFUSED).filter(|_| response.status == http::StatusCode::SERVICE_UNAVAILABLE);
    Said {
        start: text(wire::START).and_then(|kind| kind.parse().ok()),
        restore: text(wire::RESTORE_US).and_then(|us| us.parse().ok()).map(Duration::from_micros),
        load: text(wire::LOAD).and_then(|load| load.parse().ok()),
        cold: text(wire::COLD).and_then(Cause::parse),
        deployment: text(wire::DEPLOYMENT).and_then(|id| u64::from_str_radix(id, 16).ok()),
        fault: text(wire::FAULT).and_then(|fault| fault.parse().ok()),
        price: text(wire::PRICE).and_then(|price| price.parse().ok()),
        refused: refused.map(str::to_owned),
    }
}

/// What the router adds to an answer.
pub(crate) struct ToClient<'r> {
    pub(crate) request_id: &'r str,
    pub(crate) placed: Option<(Reason, u16)>,
    pub(crate) cold: Option<Cause>,
}

/// Removes what is only meant for the router, names the request and says how it was placed.
pub(crate) fn prepare_response(response: &mut ResponseHeader, told: &ToClient<'_>) -> Result<()> {
    let unwanted =
        |name: &HeaderName| wire::is_ours(name.as_str()) && !wire::SHOWN_TO_CLIENTS.contains(&name.as_str());
    for name in names(&response.headers, unwanted) {
        response.remove_header(&name);
    }
    match told.cold {
        Some(cause) => response.insert_header(wire::COLD, cause.as_str())?,
        None => drop(response.remove_header(wire::COLD)),
    }
    match told.placed {
        Some((reason, 1)) => response.insert_header(wire::PLACED, reason.as_str())?,
        Some((reason, width)) => {
            response.insert_header(wire::PLACED, format!("{}; width={width}", reason.as_str()))?;
        }
        None => drop(response.remove_header(wire::PLACED)),
    }
    response.insert_header(wire::REQUEST_ID, told.request_id)
}

fn names(headers: &HeaderMap, wanted: impl Fn(&HeaderName) -> bool) -> Vec<HeaderName> {
    headers.keys().filter(|name| wanted(name)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(headers: &[(&'static str, &'static str)]) -> RequestHeader {
        let mut request = RequestHeader::build("GET", b"/x", None).unwrap();
        for &(name, value) in headers {
            request.append_header(name, value).unwrap();
        }
        request
    }

    fn text<'m>(headers: &'m HeaderMap, name: &str) -> Vec<&'m str> {
        headers.get_all(name).iter().map(|value| value.to_str().unwrap()).collect()
    }

    #[test]
    fn a_client_cannot_speak_for_the_router() {
        let mut request = request(&[
            ("host", "fastapi.localhost:8080"),
            ("X-Warmshard-Key", "guess"),
            ("x-warmshard-worker", "other"),
            ("x-warmshard-worker", "another"),
            ("x-warmshard-anything", "1"),
            ("x-warmshard-lease", "stolen"),
            ("x-forwarded-for", "1.2.3.4"),
            ("forwarded", "for=1.2.3.4"),
            ("accept", "*/*"),
        ]);
        let told = ToHost {
            key: &FleetKey::parse("0123456789abcdef").unwrap(),
            worker: &WorkerName::parse("fastapi").unwrap(),
            request_id: "00000000deadbeef",
            lease: Some("a-place"),
            client: Some([127, 0, 0, 1].into()),
            elsewhere: None,
            host: Some("fastapi.localhost:8080"),
            scheme: "https",
        };
        prepare_request(&mut request, &told).unwrap();
        let found = |name| text(&request.headers, name);
        assert_eq!(found(wire::KEY), ["0123456789abcdef"]);
        assert_eq!(found(wire::WORKER), ["fastapi"]);
        assert_eq!(found(wire::REQUEST_ID), ["00000000deadbeef"]);
        assert_eq!(found(wire::LEASE), ["a-place"]);
        assert_eq!(found("x-forwarded-proto"), ["https"]);
        assert_eq!(found("x-forwarded-for"), ["127.0.0.1"]);
        assert_eq!(found("x-forwarded-host"), ["fastapi.localhost:8080"]);
        assert_eq!(found("host"), ["fastapi.localhost:8080"]);
        assert_eq!(found("accept"), ["*/*"]);
        assert!(found("forwarded").is_empty() && found("x-warmshard-anything").is_empty());
    }

    #[test]
    fn a_client_sees_how_its_request_went_and_nothing_else() {
        let mut response = ResponseHeader::build(200, None).unwrap();
        for (name, value) in [
            (wire::START, "cold"),
            (wire::HOST, "host-a"),
            (wire::RESTORE_US, "1234"),
            (wire::HOST_US, "2345"),
            (wire::DEPLOYMENT, "abc"),
            (wire::COLD, "first"),
            (wire::LOAD, "inflight=3;isolates=12"),
            (wire::FAULT, "host"),
            ("x-warmshard-future", "?"),
        ] {
            response.insert_header(name, value).unwrap();
        }
        let said = read_response(&response);
        assert_eq!(said.start, Some(StartKind::Cold));
        assert_eq!(said.restore, Some(Duration::from_micros(1234)));
        assert_eq!(said.load, Some(Load { in_flight: 3, isolates: 12 }));
        assert_eq!((said.cold, said.deployment), (Some(Cause::First), Some(0xabc)));
        let told = ToClient {
            request_id: "00000000deadbeef",
            placed: Some((Reason::Spread, 3)),
            cold: Some(Cause::HostLost),
        };
        prepare_response(&mut response, &told).unwrap();
        assert_eq!(text(&response.headers, wire::COLD), ["host_lost"]);
        assert_eq!(text(&response.headers, wire::PLACED), ["spread; width=3"]);
        let mut ours: Vec<&str> =
            response.headers.keys().map(HeaderName::as_str).filter(|name| wire::is_ours(name)).collect();
        ours.sort_unstable();
        let mut expected = wire::SHOWN_TO_CLIENTS;
        expected.sort_unstable();
        assert_eq!(ours, expected);
    }

    #[test]
    fn a_refusal_is_only_believed_with_its_status() {
        let said = |status| {
            let mut response = ResponseHeader::build(status, None).unwrap();
            response.insert_header(wire::REFUSED, "full").unwrap();
            read_response(&response).refused
        };
        assert_eq!(said(503), Some("full".to_owned()));
        assert_eq!(said(200), None);
    }

    #[test]
    fn the_host_name_comes_from_the_target_or_the_header() {
        assert_eq!(host_name(&request(&[("host", "a.localhost:1")])), Some("a.localhost:1"));
        assert_eq!(host_name(&request(&[])), None);
        let absolute = RequestHeader::build("GET", b"http://b.localhost/x", None).unwrap();
        assert_eq!(host_name(&absolute), Some("b.localhost"));
        let path = RequestHeader::build("GET", b"/http://b.localhost/x", None).unwrap();
        assert_eq!(host_name(&path), None);
    }
}
