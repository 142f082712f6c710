"""`WritableStream`: chunks go to a sink one after another, each write a promise."""

import inspect
from collections import deque
from typing import Any

from .base import JsObject, js_class, jsnull, option
from .errors import JsException, type_error
from .promise import Promise, promise_of, rejected, resolved

__all__ = ["WRITABLE_STREAM", "WritableStream", "WritableStreamDefaultWriter"]

_WRITABLE, _CLOSED, _ERRORED = 0, 1, 2
_CLOSE = object()


class WritableStream(JsObject):
    """A destination for chunks, written by one writer at a time."""

    __slots__ = (
        "_abort_sink",
        "_busy",
        "_close_sink",
        "_error",
        "_high_water",
        "_queue",
        "_ready",
        "_state",
        "_write_sink",
        "_writer",
    )

    def __init__(self, sink: Any = None, strategy: Any = None) -> None:
        self._prepare(int(option(strategy, "highWaterMark", 1)))
        controller = WritableStreamDefaultController(self)
        write = option(sink, "write")
        self._write_sink = (lambda chunk: None) if write is None else (lambda chunk: write(chunk, controller))
        self._close_sink = option(sink, "close")
        self._abort_sink = option(sink, "abort")
        start = option(sink, "start")
        begun = None if start is None else start(controller)
        if inspect.isawaitable(begun):
            self._busy = True
            promise_of(begun)._when_settled(self._started)

    def _prepare(self, high_water: int) -> None:
        self._queue: deque[tuple[Any, Promise]] = deque()
        self._state = _WRITABLE
        self._error: Any = None
        self._busy = False
        self._writer: Any = None
        self._high_water = high_water
        self._ready: Promise | None = None
        self._write_sink: Any = None
        self._close_sink: Any = None
        self._abort_sink: Any = None

    def _started(self, outcome: Promise) -> None:
        self._busy = False
        if outcome._failed:
            self._fail(outcome._value)
        else:
            self._work()

    # --- what writers and pipes use ---------------------------------------
    def _write(self, chunk: Any) -> Promise:
        if self._state != _WRITABLE:
            return rejected(self._error or type_error("this WritableStream is closed"))
        promise = Promise()
        self._queue.append((chunk, promise))
        self._work()
        return promise

    def _close(self) -> Promise:
        if self._state != _WRITABLE:
            return rejected(self._error or type_error("this WritableStream is closed"))
        self._state = _CLOSED
        promise = Promise()
        self._queue.append((_CLOSE, promise))
        self._work()
        return promise

    def _abort(self, reason: Any) -> Promise:
        if self._state == _ERRORED:
            return resolved()
        self._fail(reason if isinstance(reason, BaseException) else JsException("AbortError", reason))
        return resolved() if self._abort_sink is None else promise_of(self._abort_sink(reason))

    def _fail(self, error: BaseException) -> None:
        if self._state == _ERRORED:
            return
        self._state = _ERRORED
        self._error = error
        queue, self._queue = self._queue, deque()
        for _chunk, promise in queue:
            promise._reject(error)
        if self._ready is not None:
            self._ready._reject(error)
        if self._writer is not None:
            self._writer._closed_promise._reject(error)

    def _work(self) -> None:
        """Hand the next chunk to the sink unless it is still at the last one."""
        while self._queue and not self._busy:
            chunk, promise = self._queue.popleft()
            try:
                if chunk is _CLOSE:
                    outcome = None if self._close_sink is None else self._close_sink()
                else:
                    outcome = self._write_sink(chunk)
            except Exception as error:
                promise._reject(error)
                self._fail(error)
                return
            if not inspect.isawaitable(outcome):
                self._written(chunk, promise, None)
                continue
            self._busy = True
            promise_of(outcome)._when_settled(lambda done, c=chunk, p=promise: self._written_later(c, p, done))

    def _written_later(self, chunk: Any, promise: Promise, outcome: Promise) -> None:
        self._busy = False
        self._written(chunk, promise, outcome)
        self._work()

    def _written(self, chunk: Any, promise: Promise, outcome: Promise | None) -> None:
        if outcome is not None and outcome._failed:
            promise._reject(outcome._value)
            self._fail(outcome._value)
            return
        promise._fulfil()
        if chunk is _CLOSE and self._writer is not None:
            self._writer._closed_promise._fulfil()
        if self._ready is not None and self._desired_size > 0:
            self._ready._fulfil()
            self._ready = None

    @property
    def _desired_size(self) -> int:
        return self._high_water - len(self._queue) - self._busy

    def _ready_promise(self) -> Promise:
        if self._state == _ERRORED:
            return rejected(self._error)
        if self._desired_size > 0:
            return resolved()
        if self._ready is None:
            self._ready = Promise()
        return self._ready

    # --- JavaScript -------------------------------------------------------
    @property
    def locked(self) -> bool:
        return self._writer is not None

    def getWriter(self) -> "WritableStreamDefaultWriter":
        return WritableStreamDefaultWriter(self)

    def _refuse_locked(self) -> Promise | None:
        return rejected(type_error("this WritableStream is locked to a writer")) if self.locked else None

    def close(self) -> Promise:
        return self._refuse_locked() or self._close()

    def abort(self, reason: Any = None) -> Promise:
        return self._refuse_locked() or self._abort(reason)


class WritableStreamDefaultController(JsObject):
    """The handle a sink can break its stream with."""

    __slots__ = ("_stream",)

    def __init__(self, stream: WritableStream) -> None:
        self._stream = stream

    def error(self, reason: Any = None) -> None:
        self._stream._fail(reason if isinstance(reason, BaseException) else JsException("Error", reason))


class WritableStreamDefaultWriter(JsObject):
    """Exclusive use of a stream, from `getWriter()` to `releaseLock()`."""

    __slots__ = ("_closed_promise", "_stream")

    def __init__(self, stream: WritableStream) -> None:
        if stream._writer is not None:
            raise type_error("this WritableStream is already locked to a writer")
        self._stream: Any = stream
        self._closed_promise = Promise()
        stream._writer = self

    def _released(self) -> Promise | None:
        return rejected(type_error("this writer has released its lock")) if self._stream is None else None

    @property
    def closed(self) -> Promise:
        return self._closed_promise

    @property
    def ready(self) -> Promise:
        return self._released() or self._stream._ready_promise()

    @property
    def desiredSize(self) -> Any:
        if self._stream is None or self._stream._state == _ERRORED:
            return jsnull
        return self._stream._desired_size

    def write(self, chunk: Any = None) -> Promise:
        return self._released() or self._stream._write(chunk)

    def close(self) -> Promise:
        return self._released() or self._stream._close()

    def abort(self, reason: Any = None) -> Promise:
        return self._released() or self._stream._abort(reason)

    def releaseLock(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            stream._writer = None


WRITABLE_STREAM = js_class(WritableStream, "WritableStream")
js_class(WritableStreamDefaultWriter, "WritableStreamDefaultWriter")
js_class(WritableStreamDefaultController, "WritableStreamDefaultController")
