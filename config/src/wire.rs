//! What the tiers say to each other over HTTP: header names, control paths and
//! the JSON of status, admin and error replies.
//!
//! Every header of ours starts with [`PREFIX`]. The router removes all of them
//! from what a client sent and sets its own; a host removes all of them from
//! what a worker answered and sets its own. So each side may trust what the
//! other one says.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::units::{HostId, WorkerName};

/// All headers of ours start with this, in lower case.
pub const PREFIX: &str = "x-warmshard-";

/// Router to host: the fleet's key.
pub const KEY: &str = "x-warmshard-key";
/// Router to host: the worker this request is for.
pub const WORKER: &str = "x-warmshard-worker";
/// Router to host: the place this request was promised, see [`Leased`].
pub const LEASE: &str = "x-warmshard-lease";
/// Router to host, and back to the client: names the request in every log.
pub const REQUEST_ID: &str = "x-warmshard-request-id";
/// Router to host: what room for the worker costs at another host that the request may go to,
/// see [`crate::host_policy::Price`]. Without it the host makes room if it can.
pub const ELSEWHERE: &str = "x-warmshard-elsewhere";

/// Host to client: how the request met its isolate, see [`StartKind`].
pub const START: &str = "x-warmshard-start";
/// Host to client: the ID of the host that answered.
pub const HOST: &str = "x-warmshard-host";
/// Host to client: microseconds the restore took; only when there was one.
pub const RESTORE_US: &str = "x-warmshard-restore-us";
/// Host to client: microseconds from the request's head to the answer's, on the host.
pub const HOST_US: &str = "x-warmshard-host-us";
/// Host to client: why the start was cold, see [`crate::cold_start::Cause`]; the
/// host says what happened there, the router what it means for the fleet.
pub const COLD: &str = "x-warmshard-cold";
/// Router to client: why this host was taken, see [`crate::placement::Reason`],
/// and over how many hosts the worker is spread when these are several:
/// `home`, `spread; width=3`.
pub const PLACED: &str = "x-warmshard-placed";
/// Host to client: short ID of the deployment that answered.
pub const DEPLOYMENT: &str = "x-warmshard-deployment";

/// Host to router: whose fault an error made by the host is, see [`Fault`].
pub const FAULT: &str = "x-warmshard-fault";
/// Host to router, with 503: "not processed, go to the next candidate", and why.
pub const REFUSED: &str = "x-warmshard-refused";
/// Host to router, where it refused since the worker is not warm: what room for it costs.
pub const PRICE: &str = "x-warmshard-price";
/// Host to router: the host's load, see [`Load`].
pub const LOAD: &str = "x-warmshard-load";

/// The response headers of ours that a client gets to see.
pub const SHOWN_TO_CLIENTS: [&str; 8] =
    [START, HOST, RESTORE_US, HOST_US, COLD, PLACED, DEPLOYMENT, REQUEST_ID];

/// Whether a header belongs to the conversation between router and host.
pub fn is_ours(header: &str) -> bool {
    header.get(..PREFIX.len()).is_some_and(|start| start.eq_ignore_ascii_case(PREFIX))
}

/// Control endpoints of a host. They need the fleet's key and are only reached
/// when the request names no worker.
pub mod control {
    pub const PREFIX: &str = "/_warmshard/";
    /// Answers 200 without a key once the host serves.
    pub const HEALTHZ: &str = "/_warmshard/healthz";
    pub const STATUS: &str = "/_warmshard/status";
    pub const METRICS: &str = "/_warmshard/metrics";
    /// `POST ?worker=NAME`: drops that worker's idle isolates.
    pub const EVICT: &str = "/_warmshard/evict";
    /// `POST ?worker=NAME`: gets a worker ready to be restored.
    pub const PREPARE: &str = "/_warmshard/prepare";
    /// `POST ?worker=NAME`: sees to it that the worker's next request finds an isolate; answers
    /// [`super::Prewarmed`], or 503 with [`super::REFUSED`] when there is no room for one.
    pub const PREWARM: &str = "/_warmshard/prewarm";
    /// `POST ?worker=NAME`: takes a place for a request to come; answers [`super::Leased`], or 503
    /// with [`super::REFUSED`].
    pub const LEASE: &str = "/_warmshard/lease";
    /// `POST`: refuses new requests, so that routers go elsewhere; those in flight go on.
    pub const DRAIN: &str = "/_warmshard/drain";
    /// `POST`: takes requests again.
    pub const UNDRAIN: &str = "/_warmshard/undrain";
}

/// How a request met its isolate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StartKind {
    /// An idle or running isolate was there.
    Warm,
    /// The request caused a restore.
    Cold,
    /// The request queued behind somebody else's restore.
    Waited,
    /// An isolate restored ahead of need was there.
    Spare,
}

impl StartKind {
    pub const ALL: [StartKind; 4] = [Self::Warm, Self::Cold, Self::Waited, Self::Spare];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Warm => "warm",
            Self::Cold => "cold",
            Self::Waited => "waited",
            Self::Spare => "spare",
        }
    }
}

impl fmt::Display for StartKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for StartKind {
    type Err = UnknownWord;
    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        let known = Self::ALL.into_iter().find(|kind| kind.as_str() == word);
        known.ok_or_else(|| UnknownWord { found: word.to_owned(), expected: "warm, cold, waited or spare" })
    }
}

/// Whose fault an error is. Only faults of a host may count against its health.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fault {
    Client,
    Guest,
    Host,
}

impl Fault {
    pub const ALL: [Fault; 3] = [Self::Client, Self::Guest, Self::Host];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Guest => "guest",
            Self::Host => "host",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Fault {
    type Err = UnknownWord;
    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        let known = Self::ALL.into_iter().find(|fault| fault.as_str() == word);
        known.ok_or_else(|| UnknownWord { found: word.to_owned(), expected: "client, guest or host" })
    }
}

/// A word on the wire that this version does not know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("found `{found}`, expected {expected}")]
pub struct UnknownWord {
    pub found: String,
    pub expected: &'static str,
}

/// A host's load, carried on every response: `inflight=3;isolates=12`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Load {
    pub in_flight: u32,
    pub isolates: u32,
}

impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "inflight={};isolates={}", self.in_flight, self.isolates)
    }
}

impl FromStr for Load {
    type Err = UnknownWord;
    /// Fields this version does not know are skipped, so that a newer host may say more.
    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        let wrong = || UnknownWord { found: text.to_owned(), expected: "`inflight=N;isolates=N`" };
        let mut load = Load::default();
        for field in text.split(';') {
            let (name, value) = field.split_once('=').ok_or_else(wrong)?;
            match name.trim() {
                "inflight" => load.in_flight = value.trim().parse().map_err(|_| wrong())?,
                "isolates" => load.isolates = value.trim().parse().map_err(|_| wrong())?,
                _ => {}
            }
        }
        Ok(load)
    }
}

/// The body of every error made by a router or a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorReply {
    pub error: ErrorDetail,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorDetail {
    /// Stable and machine-readable, for instance `unknown_worker`.
    pub code: String,
    /// What was found and what was expected.
    pub message: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Finds the request in the logs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
}

impl ErrorReply {
    pub fn new(code: &str, message: impl Into<String>) -> Self {
        let error =
            ErrorDetail { code: code.to_owned(), message: message.into(), hint: None, request_id: None };
        Self { error }
    }

    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.error.hint = Some(hint.into());
        self
    }

    #[must_use]
    pub fn with_request_id(mut self, id: impl Into<String>) -> Self {
        self.error.request_id = Some(id.into());
        self
    }

    /// The reply as one line of JSON, ending with a line break for terminals.
    pub fn to_json(&self) -> String {
        let mut text = serde_json::to_string(self).expect("strings always serialise");
        text.push('\n');
        text
    }
}

/// What `GET /_warmshard/status` answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostStatus {
    pub host_id: HostId,
    pub in_flight: u32,
    pub isolates: Vec<IsolateGroup>,
    #[serde(default)]
    pub memory: MemoryStatus,
    /// Totals since the host started, by name.
    #[serde(default)]
    pub counters: BTreeMap<String, u64>,
}

/// What a host takes of the machine's memory, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryStatus {
    pub used: u64,
    /// From here on idle isolates are dropped.
    pub soft_limit: u64,
    /// From here on requests are refused.
    pub hard_limit: u64,
}

/// The isolates of one deployment on a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IsolateGroup {
    pub worker: WorkerName,
    pub deployment: String,
    pub count: u32,
}

/// What `POST …/evict?worker=NAME` answers, from a host and from a router.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evicted {
    pub evicted: u64,
}

/// What a host's `POST …/prewarm?worker=NAME` answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prewarmed {
    pub worker: WorkerName,
    pub state: PrewarmState,
}

/// How a host met the wish that a worker be warm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PrewarmState {
    /// An isolate with room for a request was there.
    Warm,
    /// One was restored.
    Restored,
    /// It takes longer than the caller was kept waiting, and goes on.
    Preparing,
}

impl PrewarmState {
    pub const ALL: [PrewarmState; 3] = [Self::Warm, Self::Restored, Self::Preparing];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Warm => "warm",
            Self::Restored => "restored",
            Self::Preparing => "preparing",
        }
    }
}

/// What a host's `POST …/lease?worker=NAME` answers: a place in an isolate, kept for a few seconds
/// for the request that names it in [`LEASE`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leased {
    pub lease: String,
}

/// What `POST …/drain` and `POST …/undrain` answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drained {
    pub draining: bool,
    /// Requests that still run.
    pub in_flight: u32,
}

/// What the router's `GET /hosts` answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HostsReply {
    /// The version of the membership, the same on every router that agrees.
    pub epoch: String,
    pub hosts: Vec<HostView>,
}

/// One host as a router sees it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HostView {
    pub id: HostId,
    /// Missing while an embedded host is being started.
    pub addr: Option<SocketAddr>,
    /// Only for embedded hosts, while they run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    pub weight: u32,
    /// The part of its weight it has right now, from 0 to 1.
    #[serde(default)]
    pub share: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// What that means for requests: `eligible`, `settling`, `draining`, `ejected`, `down` or `absent`.
    #[serde(default)]
    pub standing: String,
    /// `up`, `down` or `unknown`.
    pub health: String,
    /// For how long requests still pass it over since it failed others or an operator said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ejected_for_seconds: Option<f64>,
    /// How often it was ejected lately for what it failed.
    #[serde(default)]
    pub ejections: u32,
    /// Requests this router has in flight there.
    pub in_flight: u32,
    /// What the host last said about itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load: Option<Load>,
}

/// The file `router --ready-file` writes once everything answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadyFile {
    pub data: SocketAddr,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<SocketAddr>,
    pub admin: SocketAddr,
    pub hosts: Vec<ReadyHost>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadyHost {
    pub id: HostId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    pub addr: SocketAddr,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_round_trip() {
        for kind in StartKind::ALL {
            assert_eq!(kind.as_str().parse(), Ok(kind));
        }
        for fault in Fault::ALL {
            assert_eq!(fault.as_str().parse(), Ok(fault));
        }
        let error = "hot".parse::<StartKind>().unwrap_err();
        assert_eq!(error.to_string(), "found `hot`, expected warm, cold, waited or spare");
    }

    #[test]
    fn load_round_trips_and_skips_what_it_does_not_know() {
        let load = Load { in_flight: 3, isolates: 12 };
        assert_eq!(load.to_string(), "inflight=3;isolates=12");
        assert_eq!(load.to_string().parse(), Ok(load));
        assert_eq!("isolates=12;memory=77;inflight=3".parse(), Ok(load));
        assert!("inflight=many".parse::<Load>().is_err());
        assert!("busy".parse::<Load>().is_err());
    }

    #[test]
    fn our_headers_are_told_from_others_in_any_case() {
        assert!(is_ours("X-Warmshard-Key"));
        assert!(SHOWN_TO_CLIENTS.into_iter().all(is_ours));
        assert!(!is_ours("x-warm"));
        assert!(!is_ours("x-forwarded-for"));
    }

    #[test]
    fn error_reply_has_the_promised_shape() {
        let reply = ErrorReply::new("unknown_worker", "no worker `x`").with_hint("deploy it");
        assert_eq!(
            reply.to_json(),
            "{\"error\":{\"code\":\"unknown_worker\",\"message\":\"no worker `x`\",\"hint\":\"deploy it\"}}\n"
        );
    }
}
