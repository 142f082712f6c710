"""`TransformStream`: what is written on one side is read on the other.

Without a transformer it is a meeting point: a write is done when a reader has taken
the chunk, so a writer never gets ahead of its client by more than one chunk. That is
the form every streamed response of the ASGI adapter goes through. With a transformer
the chunks pass through the user's `transform(chunk, controller)`.
"""

from collections import deque
from typing import Any

from .base import JsObject, js_class, option
from .errors import JsException, type_error
from .promise import Promise, promise_of, rejected, resolved
from .readable import ReadableStream, ReadableStreamDefaultController
from .writable import WritableStream

__all__ = ["TRANSFORM_STREAM", "TransformStream"]


class _MeetingReadable(ReadableStream):
    """Takes its chunks straight from the writer it is joined to."""

    __slots__ = ("_unread",)

    def __init__(self) -> None:
        self._prepare(0)
        #: The write each queued chunk belongs to, in the queue's order.
        self._unread: deque[Promise] = deque()

    def _taken(self) -> None:
        if self._unread:
            self._unread.popleft()._fulfil()
        super()._taken()

    def _fail(self, error: Any) -> None:
        super()._fail(error)
        self._reject_unread(self._error)

    def _reject_unread(self, error: Any) -> None:
        unread, self._unread = self._unread, deque()
        for promise in unread:
            promise._reject(error)


class _MeetingWritable(WritableStream):
    """Hands its chunks straight to the reader it is joined to."""

    __slots__ = ("_readable", "_shut")

    def __init__(self, readable: _MeetingReadable) -> None:
        self._prepare(1)
        self._readable = readable
        self._shut = False
        readable._cancel_source = self._reader_left

    def _reader_left(self, reason: Any) -> None:
        error = (
            reason
            if isinstance(reason, BaseException)
            else JsException("AbortError", reason or "the reader cancelled the stream")
        )
        self._readable._reject_unread(error)
        self._fail(error)

    def _refusal(self) -> Promise | None:
        if self._error is not None:
            return rejected(self._error)
        return rejected(type_error("this WritableStream is closed")) if self._shut else None

    def _write(self, chunk: Any) -> Promise:
        readable = self._readable
        refusal = self._refusal()
        if refusal is not None:
            return refusal
        if readable._reads:
            readable._enqueue(chunk)
            return resolved()
        promise = Promise()
        readable._unread.append(promise)
        readable._queue.append(chunk)
        return promise

    def _close(self) -> Promise:
        refusal = self._refusal()
        if refusal is not None:
            return refusal
        self._shut = True
        done = self._readable._unread[-1] if self._readable._unread else resolved()
        self._readable._close()
        if self._writer is not None:
            done._when_settled(lambda _done, writer=self._writer: writer._closed_promise._fulfil())
        return done

    def _abort(self, reason: Any) -> Promise:
        error = (
            reason
            if isinstance(reason, BaseException)
            else JsException("AbortError", reason or "the writer aborted the stream")
        )
        self._fail(error)
        self._readable._fail(error)
        return resolved()

    @property
    def _desired_size(self) -> int:
        return self._high_water - len(self._readable._queue)

    def _ready_promise(self) -> Promise:
        if self._error is not None:
            return rejected(self._error)
        unread = self._readable._unread
        return unread[-1] if unread else resolved()


class TransformStreamDefaultController(ReadableStreamDefaultController):
    """`enqueue`, `error` and `terminate` for a transformer."""

    __slots__ = ("_writable",)

    def terminate(self) -> None:
        self._stream._close()
        self._writable._fail(type_error("the transform was terminated"))

    def error(self, reason: Any = None) -> None:
        self._stream._fail(reason)
        self._writable._fail(self._stream._error)


class TransformStream(JsObject):
    """A pair of streams: `writable` in, `readable` out."""

    __slots__ = ("readable", "writable")

    def __init__(self, transformer: Any = None, writable_strategy: Any = None, readable_strategy: Any = None) -> None:
        if not any(option(transformer, name) for name in ("transform", "flush", "start")):
            meeting = _MeetingReadable()
            self.readable: ReadableStream = meeting
            self.writable: WritableStream = _MeetingWritable(meeting)
            return
        self._join(transformer, writable_strategy, readable_strategy)

    def _join(self, transformer: Any, writable_strategy: Any, readable_strategy: Any) -> None:
        transform, flush = option(transformer, "transform"), option(transformer, "flush")
        demand: deque[Promise] = deque()

        def pull(_controller: Any) -> None:
            while demand:
                demand.popleft()._fulfil()

        def left(reason: Any) -> None:
            pull(None)
            self.writable._fail(JsException("AbortError", reason or "the reader cancelled the stream"))

        async def write(chunk: Any, _controller: Any) -> None:
            # Room on the readable side is what lets a chunk in.
            if not self.readable._reads and self.readable._desired_size <= 0:
                wanted = Promise()
                demand.append(wanted)
                await wanted
            if transform is None:
                controller.enqueue(chunk)
            else:
                await guarded(transform, chunk, controller)

        async def close() -> None:
            if flush is not None:
                await guarded(flush, controller)
            self.readable._close()

        async def guarded(function: Any, *args: Any) -> None:
            # What breaks the transformer must reach the reader too.
            try:
                await promise_of(function(*args))
            except Exception as error:
                self.readable._fail(error)
                raise

        self.readable = ReadableStream({"pull": pull, "cancel": left}, readable_strategy or {"highWaterMark": 0})
        self.writable = WritableStream(
            {"write": write, "close": close, "abort": lambda reason: self.readable._fail(reason)}, writable_strategy
        )
        controller = TransformStreamDefaultController(self.readable)
        controller._writable = self.writable
        start = option(transformer, "start")
        if start is not None:
            start(controller)


TRANSFORM_STREAM = js_class(TransformStream, "TransformStream")
js_class(TransformStreamDefaultController, "TransformStreamDefaultController")
_MeetingReadable.constructor = ReadableStream.constructor
