//! A request's body that can be given to another isolate as long as nobody has
//! read from it. Nothing is kept in memory for that: an untouched body is whole.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;

use crate::isolate::{BoxError, RequestBody};

/// A body and whether it was read from.
pub(super) struct Replay {
    shared: Arc<Mutex<Shared>>,
}

struct Shared {
    body: RequestBody,
    touched: bool,
}

impl Replay {
    pub(super) fn new(body: RequestBody) -> Self {
        Self { shared: Arc::new(Mutex::new(Shared { body, touched: false })) }
    }

    /// The body, for one attempt.
    pub(super) fn handle(&self) -> RequestBody {
        Handle { shared: Arc::clone(&self.shared) }.boxed_unsync()
    }

    pub(super) fn is_untouched(&self) -> bool {
        !lock(&self.shared).touched
    }
}

struct Handle {
    shared: Arc<Mutex<Shared>>,
}

impl Body for Handle {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let mut shared = lock(&self.shared);
        shared.touched = true;
        Pin::new(&mut shared.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        lock(&self.shared).body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        lock(&self.shared).body.size_hint()
    }
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
