//! What becomes of a request, decided from its head alone: its body is not looked at.

use super::Refusal;
use crate::units::{FleetKey, NameError, WorkerName};
use crate::wire::control;

/// What a request's head says, as far as it matters here.
#[derive(Debug, Clone, Copy)]
pub struct Head<'a> {
    pub path: &'a str,
    /// The value of the key's header, if there is one.
    pub key: Option<&'a [u8]>,
    /// The value of the worker's header, if there is one.
    pub worker: Option<&'a [u8]>,
    pub caller: Caller,
}

/// What the connection says about who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caller {
    /// Nothing: the key has to.
    Unknown,
    /// Of the fleet, by a certificate.
    Certified,
}

/// What to do with a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Hand it to this worker.
    Serve(WorkerName),
    /// Answer it as a control endpoint.
    Control,
    /// Answer that the host is there; needs no key.
    Health,
    Refuse(Refusal),
    Deny(Denial),
}

/// Why a request is answered with an error right away.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Denial {
    #[error("found no fleet key, expected the one this host was started with")]
    NoKey,
    #[error("found another fleet key than the one this host was started with")]
    WrongKey,
    #[error("found no worker's name in the request")]
    NoWorker,
    #[error("found a worker's name that cannot be one")]
    BadWorker(#[source] NameError),
}

/// Whether the host takes new requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Intake {
    Open,
    /// As many requests as it may have are in flight.
    Full,
    /// It takes more memory than it may.
    OutOfMemory,
    Draining,
}

impl Intake {
    /// Why everything is refused that would be more work, if it is.
    pub fn refusal(self) -> Option<Refusal> {
        match self {
            Self::Open => None,
            Self::Full => Some(Refusal::TooManyRequests),
            Self::OutOfMemory => Some(Refusal::OutOfMemory),
            Self::Draining => Some(Refusal::Draining),
        }
    }
}

/// Decides from a request's head.
pub fn admit(head: Head<'_>, key: &FleetKey, intake: Intake) -> Verdict {
    if head.worker.is_none() && head.path == control::HEALTHZ {
        return Verdict::Health;
    }
    match head.key {
        _ if head.caller == Caller::Certified => {}
        None => return Verdict::Deny(Denial::NoKey),
        Some(found) if !key.is(found) => return Verdict::Deny(Denial::WrongKey),
        Some(_) => {}
    }
    let Some(worker) = head.worker else {
        let is_control = head.path.starts_with(control::PREFIX);
        return if is_control { Verdict::Control } else { Verdict::Deny(Denial::NoWorker) };
    };
    let worker = match WorkerName::parse(&String::from_utf8_lossy(worker)) {
        Ok(worker) => worker,
        Err(error) => return Verdict::Deny(Denial::BadWorker(error)),
    };
    intake.refusal().map_or(Verdict::Serve(worker), Verdict::Refuse)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &[u8] = b"0123456789abcdef";

    fn verdict(path: &str, key: Option<&[u8]>, worker: Option<&str>, intake: Intake) -> Verdict {
        let head = Head { path, key, worker: worker.map(str::as_bytes), caller: Caller::Unknown };
        admit(head, &FleetKey::parse("0123456789abcdef").unwrap(), intake)
    }

    #[test]
    fn only_the_fleet_gets_in() {
        let of = |key: Option<&[u8]>| verdict("/", key, Some("hello"), Intake::Open);
        assert_eq!(of(None), Verdict::Deny(Denial::NoKey));
        assert_eq!(of(Some(b"wrong")), Verdict::Deny(Denial::WrongKey));
        assert_eq!(of(Some(KEY)), Verdict::Serve(WorkerName::parse("hello").unwrap()));
    }

    #[test]
    fn a_certificate_stands_for_the_key_and_for_nothing_else() {
        let of = |worker: Option<&[u8]>, intake| {
            let head = Head { path: "/", key: None, worker, caller: Caller::Certified };
            admit(head, &FleetKey::parse("0123456789abcdef").unwrap(), intake)
        };
        assert!(matches!(of(Some(b"hello"), Intake::Open), Verdict::Serve(_)));
        assert_eq!(of(Some(b"hello"), Intake::Draining), Verdict::Refuse(Refusal::Draining));
        assert!(matches!(of(Some(b"../x"), Intake::Open), Verdict::Deny(Denial::BadWorker(_))));
        assert_eq!(of(None, Intake::Open), Verdict::Deny(Denial::NoWorker));
    }

    #[test]
    fn control_paths_are_a_workers_own_when_it_is_named() {
        let of = |path: &str, worker: Option<&str>| verdict(path, Some(KEY), worker, Intake::Open);
        assert_eq!(of(control::STATUS, None), Verdict::Control);
        assert!(matches!(of(control::STATUS, Some("hello")), Verdict::Serve(_)));
        assert!(matches!(of(control::HEALTHZ, Some("hello")), Verdict::Serve(_)));
        assert_eq!(of("/other", None), Verdict::Deny(Denial::NoWorker));
        assert_eq!(verdict(control::STATUS, None, None, Intake::Open), Verdict::Deny(Denial::NoKey));
        assert_eq!(verdict(control::HEALTHZ, None, None, Intake::Open), Verdict::Health);
        assert_eq!(
            verdict(control::HEALTHZ, None, Some("hello"), Intake::Open),
            Verdict::Deny(Denial::NoKey)
        );
    }

    #[test]
    fn names_that_cannot_be_are_denied() {
        for worker in ["", "../x", "Hello", "a b"] {
            let found = verdict("/", Some(KEY), Some(worker), Intake::Open);
            assert!(matches!(found, Verdict::Deny(Denial::BadWorker(_))), "{worker}");
        }
    }

    #[test]
    fn a_draining_host_passes_requests_on_but_can_be_asked() {
        let draining = verdict("/", Some(KEY), Some("hello"), Intake::Draining);
        assert_eq!(draining, Verdict::Refuse(Refusal::Draining));
        assert_eq!(verdict(control::STATUS, Some(KEY), None, Intake::Draining), Verdict::Control);
    }

    #[test]
    fn a_host_without_memory_refuses_from_the_head_alone_but_answers_the_fleet() {
        let of = |path, worker| verdict(path, Some(KEY), worker, Intake::OutOfMemory);
        assert_eq!(of("/", Some("hello")), Verdict::Refuse(Refusal::OutOfMemory));
        assert_eq!(of(control::EVICT, None), Verdict::Control);
    }

    #[test]
    fn a_full_host_refuses_from_the_head_alone_but_answers_the_fleet() {
        let of = |path: &str, worker: Option<&str>| verdict(path, Some(KEY), worker, Intake::Full);
        assert_eq!(of("/", Some("hello")), Verdict::Refuse(Refusal::TooManyRequests));
        assert_eq!(of(control::STATUS, None), Verdict::Control);
    }
}
