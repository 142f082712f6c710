//! The handle of a live isolate.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use tokio::sync::{mpsc, oneshot};

use super::body::feed;
use super::exchange::{Answer, AnswerBody, Event, IncomingRequest, Mailbox, Message, RequestId};
use super::fault::GuestFault;
use super::limits::CpuMeter;
use super::{RequestBody, ResponseBody};

/// Handle of one live isolate; clones share it. The isolate ends when it is closed
/// and idle, when its guest fails, or when the last handle is gone.
#[derive(Clone)]
pub struct Isolate(Arc<Shared>);

struct Shared {
    id: u64,
    mailbox: Mailbox,
    next_request: AtomicU32,
    meter: Arc<CpuMeter>,
    restore_time: Duration,
}

static NEXT_ID: AtomicU64 = AtomicU64::new(1);

impl Isolate {
    pub(super) fn new(mailbox: Mailbox, meter: Arc<CpuMeter>, restore_time: Duration) -> Self {
        let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
        Self(Arc::new(Shared { id, mailbox, next_request: AtomicU32::new(1), meter, restore_time }))
    }

    /// Unique within this process.
    pub fn id(&self) -> u64 {
        self.0.id
    }

    pub fn is_alive(&self) -> bool {
        !self.0.mailbox.is_closed()
    }

    pub fn restore_time(&self) -> Duration {
        self.0.restore_time
    }

    /// CPU time spent in the guest so far.
    pub fn cpu_time(&self) -> Duration {
        self.0.meter.total()
    }

    /// Ends the isolate once no request is in flight.
    pub fn close(&self) {
        // One that has ended already needs no closing.
        let _ = self.0.mailbox.send(Message::Close);
    }

    /// Calls into the guest without a request: whether its interpreter runs at all.
    pub async fn ping(&self) -> Result<(), GuestFault> {
        let (answer, answered) = oneshot::channel();
        self.0.mailbox.send(Message::Ping(answer)).map_err(|_| GuestFault::Gone)?;
        answered.await.map_err(|_| GuestFault::Gone)
    }

    /// Has the worker answer a request. Dropping the future, or the response's body
    /// before its end, cancels the request in Python.
    pub async fn fetch(&self, request: Request<RequestBody>) -> Result<Response<ResponseBody>, GuestFault> {
        // Positive in 31 bits, as Python sees it; never 0.
        let id = self.0.next_request.fetch_add(1, Ordering::Relaxed) & 0x7fff_ffff;
        let mailbox = &self.0.mailbox;
        let (respond, response) = oneshot::channel();
        let incoming = incoming(id, request, respond, mailbox);
        mailbox.send(Message::Request { id, request: Box::new(incoming) }).map_err(|_| GuestFault::Gone)?;
        let cancel = CancelOnDrop { id, mailbox: Some(mailbox) };
        let answer = response.await.unwrap_or(Err(GuestFault::Gone));
        cancel.disarm();
        answer.and_then(into_response)
    }
}

struct CancelOnDrop<'a> {
    id: RequestId,
    mailbox: Option<&'a Mailbox>,
}

impl CancelOnDrop<'_> {
    fn disarm(mut self) {
        self.mailbox = None;
    }
}

impl Drop for CancelOnDrop<'_> {
    fn drop(&mut self) {
        if let Some(mailbox) = self.mailbox {
            let _ = mailbox.send(Message::Event(Event::Cancel(self.id, "the client went away".to_owned())));
        }
    }
}

fn incoming(
    id: RequestId,
    request: Request<RequestBody>,
    respond: oneshot::Sender<Result<Answer, GuestFault>>,
    mailbox: &Mailbox,
) -> IncomingRequest {
    let (head, body) = request.into_parts();
    let headers = head
        .headers
        .iter()
        .map(|(name, value)| {
            (Bytes::copy_from_slice(name.as_str().as_bytes()), Bytes::copy_from_slice(value.as_bytes()))
        })
        .collect();
    let body = (!body.is_end_stream()).then(|| {
        let (pulls, pulled) = mpsc::unbounded_channel();
        tokio::spawn(feed(id, body, pulled, mailbox.clone()));
        pulls
    });
    IncomingRequest {
        method: head.method.as_str().to_owned(),
        url: head.uri.to_string(),
        headers,
        body,
        respond,
    }
}

/// A worker may answer with what HTTP does not allow: that is its fault, by name.
fn into_response(answer: Answer) -> Result<Response<ResponseBody>, GuestFault> {
    let bad = |what: String| GuestFault::Exception { message: what };
    let mut response = Response::new(match answer.body {
        AnswerBody::Whole(bytes) => Full::new(bytes).map_err(|never| match never {}).boxed_unsync(),
        AnswerBody::Streamed(chunks) => chunks.boxed_unsync(),
    });
    *response.status_mut() = StatusCode::from_u16(answer.status)
        .map_err(|_| bad(format!("found the status {}, expected 100 to 999", answer.status)))?;
    for (name, value) in answer.headers {
        let show = |bytes: &Bytes| String::from_utf8_lossy(bytes).chars().take(80).collect::<String>();
        let header = HeaderName::from_bytes(&name).map_err(|_| {
            bad(format!("found the response header name `{}`, which HTTP does not allow", show(&name)))
        })?;
        let value = HeaderValue::from_maybe_shared(value.clone()).map_err(|_| {
            bad(format!("found a value of `{header}` that HTTP does not allow: `{}`", show(&value)))
        })?;
        response.headers_mut().append(header, value);
    }
    Ok(response)
}
