//! Requests in flight in one isolate, between the host's tasks and the guest's calls.
//!
//! ```text
//! Isolate::fetch ──Message──▶ actor ──Event──▶ inbox ──POLL──▶ Python
//!        ▲                                                        │
//!        └── oneshot (head), Chunks (body) ◀──RESPONSE_*──────────┘
//! ```
//!
//! The guest's side never waits: it is told to pause when a client reads slowly,
//! and the host's side tells it when to go on.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use super::body::{BodyPull, ChunkSender};
use super::fault::GuestFault;
use super::marshal::{self, Value};

/// The number a request has in its isolate.
pub type RequestId = u32;

/// Something for Python to know about.
#[derive(Debug)]
pub enum Event {
    Resume(Value),
    Request { id: RequestId, method: String, url: String, headers: Vec<(Bytes, Bytes)>, has_body: bool },
    BodyChunk(RequestId, Bytes),
    BodyEnd(RequestId),
    BodyError(RequestId, String),
    Drained(RequestId),
    Cancel(RequestId, String),
    Timer,
}

/// A request as the guest's side of the exchange keeps it.
pub struct Pending {
    /// Gone once the head was answered.
    pub respond: Option<oneshot::Sender<Result<Answer, GuestFault>>>,
    pub body: Option<mpsc::UnboundedSender<BodyPull>>,
    pub chunks: Option<ChunkSender>,
    pub seen_by_guest: bool,
}

/// A response's head, and its body as far as it is known.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(Bytes, Bytes)>,
    pub body: AnswerBody,
}

#[derive(Debug)]
pub enum AnswerBody {
    Whole(Bytes),
    Streamed(super::body::Chunks),
}

/// What the guest's top level reported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    pub error: Option<String>,
    pub traceback: String,
    pub entrypoints: Vec<String>,
}

/// Everything the guest and the host's tasks exchange.
#[derive(Default)]
pub struct Exchange {
    pub inbox: VecDeque<Event>,
    pub pending: HashMap<RequestId, Pending>,
    /// What operation CONFIG answers, marshalled.
    pub config: Vec<u8>,
    /// When the guest wants to be called at the latest, on its monotonic clock.
    pub deadline: Option<f64>,
    pub report: Option<Report>,
    /// The reply the guest takes next.
    pub reply: Vec<u8>,
    /// Where Drained and Cancel messages come from: cloned into each body.
    pub mailbox: Option<Mailbox>,
}

/// A message to an isolate's actor.
pub enum Message {
    Request {
        id: RequestId,
        request: Box<IncomingRequest>,
    },
    Event(Event),
    /// Answered after the guest has been called once more.
    Ping(oneshot::Sender<()>),
    Close,
}

pub type Mailbox = mpsc::UnboundedSender<Message>;

pub struct IncomingRequest {
    pub method: String,
    pub url: String,
    pub headers: Vec<(Bytes, Bytes)>,
    pub body: Option<mpsc::UnboundedSender<BodyPull>>,
    pub respond: oneshot::Sender<Result<Answer, GuestFault>>,
}

impl Exchange {
    pub fn new(config: &Value) -> Self {
        Self { config: config.to_bytes(), ..Self::default() }
    }

    /// Takes a request in; Python sees it at the next POLL.
    pub fn accept(&mut self, id: RequestId, request: IncomingRequest) {
        let IncomingRequest { method, url, headers, body, respond } = request;
        let has_body = body.is_some();
        self.pending.insert(id, Pending { respond: Some(respond), body, chunks: None, seen_by_guest: false });
        self.inbox.push_back(Event::Request { id, method, url, headers, has_body });
    }

    /// Takes an event in, unless it is about a request that is over.
    pub fn notify(&mut self, event: Event) {
        let about = match &event {
            Event::BodyChunk(id, _)
            | Event::BodyEnd(id)
            | Event::BodyError(id, _)
            | Event::Drained(id)
            | Event::Cancel(id, _) => Some(*id),
            Event::Resume(_) | Event::Request { .. } | Event::Timer => None,
        };
        if about.is_none_or(|id| self.pending.contains_key(&id)) {
            self.inbox.push_back(event);
        }
    }

    /// Writes the inbox for POLL, and empties it.
    pub fn poll(&mut self) {
        let mut out = std::mem::take(&mut self.reply);
        out.clear();
        marshal::begin_list(self.inbox.len(), &mut out);
        for event in self.inbox.drain(..) {
            if let Event::Request { id, .. } = &event
                && let Some(pending) = self.pending.get_mut(id)
            {
                pending.seen_by_guest = true;
            }
            event.write(&mut out);
        }
        self.reply = out;
    }

    /// Ends every request the same way, because the isolate ended.
    pub fn fail_all(&mut self, fault: &GuestFault) {
        for (_, pending) in self.pending.drain() {
            let fault = if pending.seen_by_guest { fault.clone() } else { GuestFault::Gone };
            match (pending.respond, pending.chunks) {
                (Some(respond), _) => {
                    // The client may have gone away: nobody is there to be told.
                    let _ = respond.send(Err(fault));
                }
                (None, Some(chunks)) => chunks.fail(Arc::from(fault.to_string())),
                (None, None) => {}
            }
        }
    }
}

impl Event {
    /// As Python sees it: `(kind, id, payload)`.
    fn write(self, out: &mut Vec<u8>) {
        marshal::begin_tuple(3, out);
        let head = |kind: i64, id: RequestId, out: &mut Vec<u8>| {
            marshal::write_int(kind, out);
            marshal::write_int(i64::from(id), out);
        };
        match self {
            Self::Resume(payload) => {
                head(1, 0, out);
                payload.write(out);
            }
            Self::Request { id, method, url, headers, has_body } => {
                head(2, id, out);
                marshal::begin_tuple(5, out);
                marshal::write_str(&method, out);
                marshal::write_str(&url, out);
                marshal::begin_list(headers.len(), out);
                for (name, value) in &headers {
                    marshal::begin_tuple(2, out);
                    marshal::write_bytes(name, out);
                    marshal::write_bytes(value, out);
                }
                Value::Bool(has_body).write(out);
                Value::Dict(Vec::new()).write(out);
            }
            Self::BodyChunk(id, bytes) => {
                head(3, id, out);
                marshal::write_bytes(&bytes, out);
            }
            Self::BodyEnd(id) => {
                head(4, id, out);
                Value::None.write(out);
            }
            Self::BodyError(id, message) => {
                head(5, id, out);
                marshal::write_str(&message, out);
            }
            Self::Drained(id) => {
                head(6, id, out);
                Value::None.write(out);
            }
            Self::Cancel(id, reason) => {
                head(7, id, out);
                marshal::write_str(&reason, out);
            }
            Self::Timer => {
                head(8, 0, out);
                Value::None.write(out);
            }
        }
    }
}
