//! Bodies on their way through: chunks with back-pressure, both ways.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http_body::Frame;
use http_body_util::BodyExt;
use tokio::sync::mpsc;

use super::exchange::{Event, Mailbox, Message, RequestId};
use super::{BoxError, RequestBody};

/// Largest chunk handed to Python at once.
const CHUNK: usize = 64 << 10;
/// Bytes a response may have waiting for the client before the guest is asked to pause.
const PAUSE_ABOVE: usize = 256 << 10;
/// Bytes at which a paused guest is told to go on.
const RESUME_BELOW: usize = 64 << 10;

/// What the guest asks of a request's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyPull {
    Next,
    Cancel,
}

/// Feeds a request's body to its isolate, a chunk for each pull.
pub(super) async fn feed(
    id: RequestId,
    mut body: RequestBody,
    mut pulls: mpsc::UnboundedReceiver<BodyPull>,
    mailbox: Mailbox,
) {
    let mut held = Bytes::new();
    while let Some(BodyPull::Next) = pulls.recv().await {
        let event = match next_chunk(&mut body, &mut held).await {
            Some(Ok(chunk)) => Event::BodyChunk(id, chunk),
            Some(Err(error)) => Event::BodyError(id, error.to_string()),
            None => Event::BodyEnd(id),
        };
        let ended = !matches!(event, Event::BodyChunk(..));
        if mailbox.send(Message::Event(event)).is_err() || ended {
            return;
        }
    }
}

async fn next_chunk(body: &mut RequestBody, held: &mut Bytes) -> Option<Result<Bytes, BoxError>> {
    while held.is_empty() {
        match body.frame().await? {
            // Trailers have no place in what a worker sees.
            Ok(frame) => *held = frame.into_data().unwrap_or_default(),
            Err(error) => return Some(Err(error)),
        }
    }
    let length = held.len().min(CHUNK);
    Some(Ok(held.split_to(length)))
}

/// A response's chunks between the guest and the client.
#[derive(Debug, Default)]
struct Pipe {
    chunks: VecDeque<Bytes>,
    waiting: usize,
    paused: bool,
    ended: bool,
    failed: Option<Arc<str>>,
    reader_gone: bool,
    waker: Option<Waker>,
}

/// The guest's end.
pub struct ChunkSender(Arc<Mutex<Pipe>>);

/// The client's end: the response's body.
pub struct Chunks {
    pipe: Arc<Mutex<Pipe>>,
    id: RequestId,
    mailbox: Mailbox,
}

impl std::fmt::Debug for Chunks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Chunks").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Whether the guest may go on writing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    GoOn,
    /// Accepted, but wait for `Drained` before the next chunk.
    Pause,
}

/// Makes both ends.
pub(super) fn pipe(id: RequestId, mailbox: Mailbox) -> (ChunkSender, Chunks) {
    let pipe = Arc::new(Mutex::new(Pipe::default()));
    (ChunkSender(pipe.clone()), Chunks { pipe, id, mailbox })
}

impl ChunkSender {
    pub fn send(&self, chunk: Bytes) -> Room {
        let mut pipe = self.0.lock().expect("no panic while held");
        if pipe.reader_gone || chunk.is_empty() {
            // The request is being cancelled: what is still written goes nowhere.
            return Room::GoOn;
        }
        pipe.waiting += chunk.len();
        pipe.chunks.push_back(chunk);
        pipe.paused = pipe.waiting > PAUSE_ABOVE;
        pipe.wake();
        if pipe.paused { Room::Pause } else { Room::GoOn }
    }

    pub fn end(self) {
        let mut pipe = self.0.lock().expect("no panic while held");
        pipe.ended = true;
        pipe.wake();
    }

    /// Breaks the stream off, so that the client sees it did not end well.
    pub fn fail(self, reason: Arc<str>) {
        let mut pipe = self.0.lock().expect("no panic while held");
        pipe.failed = Some(reason);
        pipe.wake();
    }
}

impl Drop for ChunkSender {
    fn drop(&mut self) {
        let mut pipe = self.0.lock().expect("no panic while held");
        if !pipe.ended && pipe.failed.is_none() {
            pipe.failed = Some(Arc::from("the isolate ended before its response did"));
            pipe.wake();
        }
    }
}

impl Pipe {
    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

impl http_body::Body for Chunks {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        let mut pipe = this.pipe.lock().expect("no panic while held");
        if let Some(chunk) = pipe.chunks.pop_front() {
            pipe.waiting -= chunk.len();
            if pipe.paused && pipe.waiting < RESUME_BELOW {
                pipe.paused = false;
                // An isolate that ended needs no telling.
                let _ = this.mailbox.send(Message::Event(Event::Drained(this.id)));
            }
            return Poll::Ready(Some(Ok(Frame::data(chunk))));
        }
        if let Some(reason) = &pipe.failed {
            return Poll::Ready(Some(Err(reason.to_string().into())));
        }
        if pipe.ended {
            return Poll::Ready(None);
        }
        pipe.waker = Some(context.waker().clone());
        Poll::Pending
    }
}

impl Drop for Chunks {
    fn drop(&mut self) {
        let mut pipe = self.pipe.lock().expect("no panic while held");
        pipe.reader_gone = true;
        pipe.chunks.clear();
        if !pipe.ended {
            let _ =
                self.mailbox.send(Message::Event(Event::Cancel(self.id, "the client went away".to_owned())));
        }
    }
}
