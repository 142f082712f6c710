//! A request's body: some bytes, once or several times in a row.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};

/// Cheap to clone: the bytes are shared.
#[derive(Debug, Clone, Default)]
pub struct Body {
    chunk: Bytes,
    left: u32,
    streamed: bool,
}

impl Body {
    /// `chunk`, `times` in a row; more than one makes it a stream whose length is not told first.
    pub fn repeated(chunk: Bytes, times: u32) -> Self {
        let left = if chunk.is_empty() { 0 } else { times };
        Self { chunk, left, streamed: left > 1 }
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        self.left -= 1;
        Poll::Ready(Some(Ok(Frame::data(self.chunk.clone()))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        if self.streamed {
            return SizeHint::default();
        }
        SizeHint::with_exact(u64::from(self.left) * self.chunk.len() as u64)
    }
}
