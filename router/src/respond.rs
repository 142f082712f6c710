//! Everything that can go wrong with a request, and the JSON a client gets for it.

use std::time::Duration;

use bytes::Bytes;
use http::{StatusCode, header};
use pingora::http::ResponseHeader;
use pingora::proxy::Session;
use pingora::{Error, ErrorSource, ErrorType, Result};
use warmshard_config::placement::{NoHost, NoRoute};
use warmshard_config::wire::{self, ErrorReply};

use crate::proxy::retry::{Situation, Trouble};

/// Why a request got no answer from its worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Failure {
    NoRoute(NoRoute),
    NoHost(NoHost),
    /// A host refused and the request could not move on, with the host's reason.
    Refused(String),
    HostLost,
    HostSilent,
    HostGarbage,
    /// The answer broke off in the middle; it is too late to say anything.
    BrokenOff,
    ClientGone,
    BadRequest,
    /// The head cannot be read: what is wrong with it.
    BadHead(String),
    HeadTooLarge(String),
    /// The head was not there after so long.
    HeadTooLate(Duration),
    Router,
}

impl Failure {
    /// Why an attempt that cannot be repeated ends the request.
    pub(crate) fn of(situation: &Situation, error: &Error) -> Self {
        match situation.trouble {
            Trouble::Client => Self::of_client(error),
            _ if situation.response_began => Self::BrokenOff,
            Trouble::Refused | Trouble::NotWarm(_) | Trouble::Leaving => {
                let why = error.context.as_ref().map(|why| why.as_str().to_owned());
                Self::Refused(why.unwrap_or_default())
            }
            Trouble::Lost => Self::HostLost,
            Trouble::Silent => Self::HostSilent,
            Trouble::Garbage => Self::HostGarbage,
            Trouble::Router => Self::Router,
        }
    }

    /// Why a request ends that was not at a host.
    pub(crate) fn outside_attempts(error: &Error) -> Self {
        match error.esource() {
            ErrorSource::Downstream => Self::of_client(error),
            ErrorSource::Upstream => Self::HostLost,
            ErrorSource::Internal | ErrorSource::Unset => Self::Router,
        }
    }

    fn of_client(error: &Error) -> Self {
        match error.etype() {
            ErrorType::ReadError
            | ErrorType::WriteError
            | ErrorType::ReadTimedout
            | ErrorType::WriteTimedout
            | ErrorType::ConnectionClosed => Self::ClientGone,
            _ => Self::BadRequest,
        }
    }

    /// The stable word for it, in replies and in the log.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::NoRoute(NoRoute::BadWorker { .. }) => "bad_worker_name",
            Self::NoRoute(NoRoute::UnknownPath { .. }) => "unknown_path",
            Self::NoRoute(_) => "unknown_host_name",
            Self::NoHost(NoHost::Refused { .. }) => "fleet_full",
            Self::NoHost(NoHost::AllFailed(_)) => "no_host_reached",
            Self::NoHost(NoHost::Empty | NoHost::NoneRunning(_)) => "no_host_running",
            Self::Refused(_) => "host_full",
            Self::HostLost => "host_lost",
            Self::HostSilent => "host_silent",
            Self::HostGarbage => "host_answer_invalid",
            Self::BrokenOff => "answer_broken_off",
            Self::ClientGone => "client_gone",
            Self::BadRequest => "bad_request",
            Self::BadHead(_) => "bad_request_head",
            Self::HeadTooLarge(_) => "head_too_large",
            Self::HeadTooLate(_) => "head_too_late",
            Self::Router => "router_error",
        }
    }

    /// `None` when there is nobody to tell.
    pub(crate) fn status(&self) -> Option<StatusCode> {
        let status = match self {
            Self::BrokenOff | Self::ClientGone => return None,
            Self::BadRequest | Self::BadHead(_) => StatusCode::BAD_REQUEST,
            Self::HeadTooLarge(_) => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::HeadTooLate(_) => StatusCode::REQUEST_TIMEOUT,
            Self::NoRoute(_) => StatusCode::NOT_FOUND,
            Self::Router => StatusCode::INTERNAL_SERVER_ERROR,
            Self::NoHost(NoHost::AllFailed(_)) | Self::HostLost | Self::HostGarbage => {
                StatusCode::BAD_GATEWAY
            }
            Self::NoHost(_) | Self::Refused(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::HostSilent => StatusCode::GATEWAY_TIMEOUT,
        };
        Some(status)
    }

    pub(crate) fn message(&self) -> String {
        match self {
            Self::NoRoute(error) => error.to_string(),
            Self::NoHost(error) => error.to_string(),
            Self::Refused(why) => format!("the worker's host refused the request ({why})"),
            Self::HostLost => "the connection to the worker's host was lost before it answered".to_owned(),
            Self::HostSilent => "the worker's host sent nothing for too long".to_owned(),
            Self::HostGarbage => "the worker's host sent something that is not HTTP".to_owned(),
            Self::BrokenOff => "the answer broke off".to_owned(),
            Self::ClientGone => "the client went away".to_owned(),
            Self::BadRequest => "the request is not valid HTTP".to_owned(),
            Self::BadHead(what) | Self::HeadTooLarge(what) => what.clone(),
            Self::HeadTooLate(limit) => format!("found no whole head of a request within {limit:?}"),
            Self::Router => "the router failed; its log has the reason".to_owned(),
        }
    }

    fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NoRoute(_) => {
                Some("the worker's name is part of the host name, as in `curl http://WORKER.localhost:8080/`")
            }
            Self::NoHost(NoHost::Empty | NoHost::NoneRunning(_)) => {
                Some("hosts may still be starting; /readyz on the admin listener says when they are ready")
            }
            Self::NoHost(_) => Some("try again in a moment; /hosts on the admin listener shows each host"),
            Self::Refused(_) => {
                Some("try again in a moment; only a body of up to 64 KiB can move to another host")
            }
            Self::HostLost => {
                Some("it may have been processed, so it was not sent again; repeat it if that is safe")
            }
            Self::HeadTooLarge(_) => Some("send fewer or shorter headers, or raise `limits.head`"),
            Self::HeadTooLate(_) => Some("send it faster, or raise `limits.head_time`"),
            _ => None,
        }
    }

    /// The whole reply, or `None` when there is nobody to tell.
    fn reply(&self, request_id: &str) -> Option<Result<(ResponseHeader, Bytes)>> {
        let status = self.status()?;
        let mut reply = ErrorReply::new(self.code(), self.message()).with_request_id(request_id);
        if let Some(hint) = self.hint() {
            reply = reply.with_hint(hint);
        }
        let body = Bytes::from(reply.to_json());
        Some(head(status, body.len(), request_id).map(|head| (head, body)))
    }
}

fn head(status: StatusCode, length: usize, request_id: &str) -> Result<ResponseHeader> {
    let mut head = ResponseHeader::build(status, Some(5))?;
    head.insert_header(header::CONTENT_TYPE, "application/json")?;
    head.insert_header(header::CONTENT_LENGTH, length)?;
    head.insert_header(header::CACHE_CONTROL, "no-store")?;
    head.insert_header(wire::REQUEST_ID, request_id)?;
    if status == StatusCode::SERVICE_UNAVAILABLE {
        head.insert_header(header::RETRY_AFTER, 1)?;
    }
    Ok(head)
}

/// Answers before anything was sent anywhere; the client's connection stays.
pub(crate) async fn answer(session: &mut Session, failure: &Failure, request_id: &str) -> Result<()> {
    let Some(reply) = failure.reply(request_id) else {
        return Ok(());
    };
    let (head, body) = reply?;
    session.write_response_header(Box::new(head), false).await?;
    session.write_response_body(Some(body), true).await
}

/// How long a client that was answered early may go on sending its body.
const STOPS_SENDING_WITHIN: Duration = Duration::from_secs(2);

/// Answers unless an answer began already, and gives up the client's connection,
/// whose state nobody knows. Returns the status, 0 for none.
pub(crate) async fn answer_and_close(session: &mut Session, failure: &Failure, request_id: &str) -> u16 {
    let Some(Ok((head, body))) = failure.reply(request_id) else {
        return 0;
    };
    let status = head.status.as_u16();
    if let Err(error) = session.as_mut().write_error_response(head, body).await {
        tracing::debug!(request_id, %error, "the client did not take the error reply");
        return 0;
    }
    // Closing with a body unread would take the reply with it; who reads it stops sending.
    let _ = tokio::time::timeout(STOPS_SENDING_WITHIN, session.as_mut().drain_request_body()).await;
    status
}

/// The bytes of an HTTP/1.1 answer to what could not be read as a request; the connection ends with it.
pub(crate) fn raw(failure: &Failure, request_id: &str) -> Option<Vec<u8>> {
    let (head, body) = failure.reply(request_id)?.ok()?;
    let reason = head.status.canonical_reason().unwrap_or_default();
    let mut bytes = format!("HTTP/1.1 {} {reason}\r\n", head.status.as_u16()).into_bytes();
    for (name, value) in &head.headers {
        bytes.extend_from_slice(name.as_str().as_bytes());
        bytes.extend_from_slice(b": ");
        bytes.extend_from_slice(value.as_bytes());
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"connection: close\r\n\r\n");
    bytes.extend_from_slice(&body);
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(failure: &Failure) -> (u16, ErrorReply) {
        let (head, body) = failure.reply("00000000deadbeef").unwrap().unwrap();
        let found = head.headers[header::CONTENT_LENGTH.as_str()].to_str().unwrap().to_owned();
        assert_eq!(found, body.len().to_string());
        (head.status.as_u16(), serde_json::from_slice(&body).unwrap())
    }

    #[test]
    fn an_unknown_host_name_says_what_was_found_and_expected() {
        let failure = Failure::NoRoute(NoRoute::UnknownHost {
            found: "example.com".into(),
            expected: "`{worker}.localhost`".into(),
        });
        let (status, reply) = reply(&failure);
        assert_eq!((status, reply.error.code.as_str()), (404, "unknown_host_name"));
        assert_eq!(reply.error.message, "found the host name `example.com`, expected `{worker}.localhost`");
        assert_eq!(reply.error.request_id.as_deref(), Some("00000000deadbeef"));
        assert!(reply.error.hint.is_some());
    }

    #[test]
    fn each_failure_has_its_status() {
        for (failure, expected) in [
            (Failure::NoHost(NoHost::NoneRunning(2)), (503, "no_host_running")),
            (Failure::NoHost(NoHost::Refused { tried: 2, refused: 1 }), (503, "fleet_full")),
            (Failure::NoHost(NoHost::AllFailed(2)), (502, "no_host_reached")),
            (Failure::Refused("draining".into()), (503, "host_full")),
            (Failure::HostLost, (502, "host_lost")),
            (Failure::HostSilent, (504, "host_silent")),
            (Failure::HostGarbage, (502, "host_answer_invalid")),
            (Failure::BadRequest, (400, "bad_request")),
            (Failure::BadHead("found it".into()), (400, "bad_request_head")),
            (Failure::HeadTooLarge("found it".into()), (431, "head_too_large")),
            (Failure::HeadTooLate(Duration::from_secs(1)), (408, "head_too_late")),
            (Failure::Router, (500, "router_error")),
        ] {
            let (status, reply) = reply(&failure);
            assert_eq!((status, reply.error.code.as_str()), expected);
        }
        let raw = raw(&Failure::BadHead("found it".into()), "00000000deadbeef").unwrap();
        let raw = String::from_utf8(raw).unwrap();
        let (head, body) = raw.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\n"), "{head}");
        assert!(head.contains(&format!("content-length: {}\r\n", body.len())) && head.ends_with("close"));
        assert!(Failure::ClientGone.reply("").is_none());
        assert!(Failure::BrokenOff.reply("").is_none());
    }
}
