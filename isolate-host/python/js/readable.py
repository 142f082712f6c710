"""`ReadableStream` and its controller; `readers.py` has the reading ends.

Chunks wait in a queue; who reads when it is empty waits in `_reads`. A stream asks
its source for more only while somebody waits or the queue is below its high-water
mark, so that back-pressure reaches the source: for a request body, the client.

The platform's own streams carry plain `bytes`, which become a `Uint8Array` only at
the moment a user's code reads them: a body that is piped or collected never does.
"""

import inspect
from collections import deque
from typing import Any

from .base import JS_FLAGS, JsObject, js_class, jsnull, option
from .buffers import bytes_of
from .errors import JsException, type_error, unavailable
from .promise import Promise, promise_of, rejected, resolved
from .readers import END, ReadableStreamDefaultReader, StreamIterator

__all__ = ["READABLE_STREAM", "ReadableStream", "bytes_stream", "source_stream"]

_READABLE, _CLOSED, _ERRORED = 0, 1, 2


class _Read:
    """One waiting read: a promise and the form it wants its chunk in."""

    __slots__ = ("promise", "shape")

    def __init__(self, promise: Promise, shape: Any) -> None:
        self.promise = promise
        self.shape = shape


class ReadableStream(JsObject):
    """A stream of chunks, read by one reader at a time."""

    __slots__ = (
        "_cancel_source",
        "_close_requested",
        "_disturbed",
        "_error",
        "_high_water",
        "_pull_again",
        "_pull_source",
        "_pulling",
        "_queue",
        "_reader",
        "_reads",
        "_state",
    )

    _js_type_flags = JS_FLAGS["IS_ASYNC_ITERABLE"]

    def __init__(self, source: Any = None, strategy: Any = None) -> None:
        self._prepare(int(option(strategy, "highWaterMark", 1)))
        controller = ReadableStreamDefaultController(self)
        pull, cancel = option(source, "pull"), option(source, "cancel")
        self._pull_source = None if pull is None else lambda: pull(controller)
        self._cancel_source = cancel
        start = option(source, "start")
        begun = None if start is None else start(controller)
        if inspect.isawaitable(begun):
            # Nothing may be pulled before `start` is through.
            self._pulling = True
            promise_of(begun)._when_settled(self._started)
        else:
            self._pull_if_needed()

    def _prepare(self, high_water: int) -> None:
        self._queue: deque[Any] = deque()
        self._reads: deque[_Read] = deque()
        self._state = _READABLE
        self._error: Any = None
        self._reader: Any = None
        self._disturbed = False
        self._close_requested = False
        self._pulling = False
        self._pull_again = False
        self._high_water = high_water
        self._pull_source: Any = None
        self._cancel_source: Any = None

    # --- the source's side ------------------------------------------------
    def _enqueue(self, chunk: Any) -> None:
        if self._state != _READABLE or self._close_requested:
            raise type_error("cannot enqueue: the stream is closed or errored")
        if self._reads:
            read = self._reads.popleft()
            read.promise._fulfil(chunk if read.shape is None else read.shape(chunk))
        else:
            self._queue.append(chunk)
        self._pull_if_needed()

    def _close(self) -> None:
        if self._state != _READABLE:
            return
        if self._queue:
            self._close_requested = True
            return
        self._state = _CLOSED
        reads, self._reads = self._reads, deque()
        for read in reads:
            read.promise._fulfil(END if read.shape is None else read.shape(END))
        if self._reader is not None:
            self._reader._closed(None)

    def _fail(self, error: Any) -> None:
        if self._state != _READABLE:
            return
        self._state = _ERRORED
        self._error = error if isinstance(error, BaseException) else JsException("Error", error)
        self._queue.clear()
        reads, self._reads = self._reads, deque()
        for read in reads:
            read.promise._reject(self._error)
        if self._reader is not None:
            self._reader._closed(self._error)

    def _pull_if_needed(self) -> None:
        """Ask the source for more if somebody wants it; a loop, for eager sources."""
        while self._wants_more():
            if self._pulling:
                self._pull_again = True
                return
            self._pulling = True
            self._pull_again = False
            try:
                outcome = self._pull_source()
            except Exception as error:
                self._pulling = False
                self._fail(error)
                return
            if inspect.isawaitable(outcome):
                promise_of(outcome)._when_settled(self._pulled)
                return
            self._pulling = False
            if not self._pull_again:
                return

    def _wants_more(self) -> bool:
        return (
            self._pull_source is not None
            and self._state == _READABLE
            and not self._close_requested
            and (bool(self._reads) or len(self._queue) < self._high_water)
        )

    def _pulled(self, outcome: Promise) -> None:
        self._pulling = False
        if outcome._failed:
            self._fail(outcome._value)
        elif self._pull_again:
            self._pull_if_needed()

    def _started(self, outcome: Promise) -> None:
        self._pulling = False
        if outcome._failed:
            self._fail(outcome._value)
        else:
            self._pull_if_needed()

    @property
    def _ended(self) -> bool:
        return self._state != _READABLE

    @property
    def _desired_size(self) -> int:
        return self._high_water - len(self._queue)

    def _taken(self) -> None:
        """A queued chunk went out."""
        if self._close_requested and not self._queue:
            self._close_requested = False
            self._close()
        else:
            self._pull_if_needed()

    # --- the reading side -------------------------------------------------
    def _read(self, shape: Any = None) -> Promise:
        """The next chunk, or `END`; `shape` gives it the form the caller wants."""
        self._disturbed = True
        if self._queue:
            chunk = self._queue.popleft()
            self._taken()
            return resolved(chunk if shape is None else shape(chunk))
        if self._state == _CLOSED:
            return resolved(END if shape is None else shape(END))
        if self._state == _ERRORED:
            return rejected(self._error)
        promise = Promise()
        self._reads.append(_Read(promise, shape))
        self._pull_if_needed()
        return promise

    async def _read_all(self) -> bytes:
        """Every byte that is left, for `text()`, `arrayBuffer()` and the like."""
        chunks = []
        while (chunk := await self._read()) is not END:
            chunks.append(chunk if type(chunk) is bytes else bytes_of(chunk))
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    def _cancel(self, reason: Any) -> Promise:
        self._disturbed = True
        if self._state == _CLOSED:
            return resolved()
        if self._state == _ERRORED:
            return rejected(self._error)
        self._queue.clear()
        self._close_requested = False
        self._close()
        if self._cancel_source is None:
            return resolved()
        try:
            return promise_of(self._cancel_source(reason))
        except Exception as error:
            return rejected(error)

    # --- JavaScript -------------------------------------------------------
    @property
    def locked(self) -> bool:
        return self._reader is not None

    def getReader(self, options: Any = None, **more: Any) -> ReadableStreamDefaultReader:
        if option(more or options, "mode") is not None:
            raise unavailable("ReadableStreamBYOBReader", "read with getReader() without a mode")
        return ReadableStreamDefaultReader(self)

    def cancel(self, reason: Any = None) -> Promise:
        if self._reader is not None:
            return rejected(type_error("cannot cancel a stream that is locked to a reader"))
        return self._cancel(reason)

    def values(self, options: Any = None, **more: Any) -> StreamIterator:
        return StreamIterator(self, bool(option(more or options, "preventCancel", False)))

    def __aiter__(self) -> StreamIterator:
        return StreamIterator(self, False)

    def tee(self) -> Any:
        from .tee import tee

        return tee(self)

    def pipeTo(self, destination: Any, options: Any = None, **more: Any) -> Promise:
        from .pipe import pipe_to

        return promise_of(pipe_to(self, destination, more or options))

    def pipeThrough(self, transform: Any, options: Any = None, **more: Any) -> "ReadableStream":
        self.pipeTo(option(transform, "writable"), more or options)
        readable: ReadableStream = option(transform, "readable")
        return readable


class ReadableStreamDefaultController(JsObject):
    """The handle a source feeds its stream with."""

    __slots__ = ("_stream",)

    def __init__(self, stream: ReadableStream) -> None:
        self._stream = stream

    @property
    def desiredSize(self) -> Any:
        if self._stream._state == _ERRORED:
            return jsnull
        return 0 if self._stream._state == _CLOSED else self._stream._desired_size

    def enqueue(self, chunk: Any = None) -> None:
        self._stream._enqueue(chunk)

    def close(self) -> None:
        if self._stream._state != _READABLE or self._stream._close_requested:
            raise type_error("cannot close a stream that is closed or errored")
        self._stream._close()

    def error(self, reason: Any = None) -> None:
        self._stream._fail(reason)


def bytes_stream(data: bytes) -> ReadableStream:
    """A stream that gives `data` as its only chunk."""
    stream = ReadableStream.__new__(ReadableStream)
    stream._prepare(0)
    if data:
        stream._queue.append(data)
        stream._close_requested = True
    else:
        stream._state = _CLOSED
    return stream


def source_stream(pull: Any, cancel: Any) -> ReadableStream:
    """A platform stream: `pull()` is called on demand only, `cancel(reason)` once."""
    stream = ReadableStream.__new__(ReadableStream)
    stream._prepare(0)
    stream._pull_source = pull
    stream._cancel_source = cancel
    return stream


def _stream_from(values: Any) -> ReadableStream:
    """`ReadableStream.from`: of any (asynchronous) iterable."""
    if hasattr(values, "__aiter__"):
        iterator = aiter(values)

        async def pull(controller: ReadableStreamDefaultController) -> None:
            try:
                controller.enqueue(await anext(iterator))
            except StopAsyncIteration:
                controller.close()

        return ReadableStream({"pull": pull}, {"highWaterMark": 0})
    items = iter(values)

    def pull_now(controller: ReadableStreamDefaultController) -> None:
        try:
            controller.enqueue(next(items))
        except StopIteration:
            controller.close()

    return ReadableStream({"pull": pull_now}, {"highWaterMark": 0})


READABLE_STREAM = js_class(ReadableStream, "ReadableStream", **{"from": _stream_from})
js_class(ReadableStreamDefaultController, "ReadableStreamDefaultController")
