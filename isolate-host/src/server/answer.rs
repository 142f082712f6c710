//! A worker's answer on its way out: cleaned, marked, and holding its isolate
//! until the last byte has left.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Empty};
use warmshard_config::units::DeploymentId;
use warmshard_config::wire;

use super::dispatch::strip;
use super::respond::Failure;
use crate::isolate::{BoxError, GuestFault, ResponseBody};
use crate::pool::{Instance, Lease};

/// What an answer is marked with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Answered<'a> {
    pub(super) deployment: &'a DeploymentId,
    /// The request was a HEAD: its answer has headers only.
    pub(super) is_head: bool,
}

/// Turns a worker's answer into the host's, or finds that it cannot be one.
pub(super) fn from_guest<I: Instance>(
    response: Response<ResponseBody>,
    lease: Lease<I>,
    answered: Answered<'_>,
) -> Result<Response<ResponseBody>, Failure> {
    let (mut head, body) = response.into_parts();
    if head.status.is_informational() {
        let message = format!("found the status {}, expected a final one, 200 or more", head.status.as_u16());
        return Err(Failure::Guest(GuestFault::Exception { message }));
    }
    strip(&mut head.headers);
    let has_no_body =
        answered.is_head || matches!(head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    let exact = body.size_hint().exact();
    if has_no_body && head.status == StatusCode::NO_CONTENT {
        head.headers.remove(header::CONTENT_LENGTH);
    } else if !has_no_body && (exact.is_some() || !has_one_length(&head.headers)) {
        // The server writes the length it knows; a wrong one would break the connection's framing.
        head.headers.remove(header::CONTENT_LENGTH);
    }
    head.headers.insert(wire::START, HeaderValue::from_static(lease.start().as_str()));
    if let Some(cause) = lease.cold_cause() {
        head.headers.insert(wire::COLD, HeaderValue::from_static(cause.as_str()));
    }
    if let Some(took) = lease.restore_time() {
        head.headers.insert(wire::RESTORE_US, HeaderValue::from(took.as_micros() as u64));
    }
    if let Ok(id) = HeaderValue::from_str(answered.deployment.short()) {
        head.headers.insert(wire::DEPLOYMENT, id);
    }
    let body = if has_no_body {
        Empty::new().map_err(|never| match never {}).boxed_unsync()
    } else {
        Leased { body, lease: Some(lease) }.boxed_unsync()
    };
    Ok(Response::from_parts(head, body))
}

fn has_one_length(headers: &http::HeaderMap) -> bool {
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    let is_number = |value: &HeaderValue| {
        value.to_str().is_ok_and(|text| text.parse::<u64>().is_ok() && !text.starts_with('+'))
    };
    lengths.next().is_some_and(is_number) && lengths.next().is_none()
}

/// A body that keeps its request's place in the isolate until it has ended.
struct Leased<I: Instance> {
    body: ResponseBody,
    lease: Option<Lease<I>>,
}

impl<I: Instance> Unpin for Leased<I> {}

impl<I: Instance> Body for Leased<I> {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        match &polled {
            Poll::Ready(Some(Ok(_))) if self.body.is_end_stream() => drop(self.lease.take()),
            Poll::Ready(Some(Ok(_))) | Poll::Pending => {}
            Poll::Ready(Some(Err(_)) | None) => drop(self.lease.take()),
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
