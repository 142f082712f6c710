"""The reading ends of a `ReadableStream`: the reader and the asynchronous iterator.

A read asks its stream for the next chunk and says in which form it wants it: as it is
(the platform itself), as an object users know, or as `{value, done}`.
"""

from collections import deque
from typing import TYPE_CHECKING, Any

from .base import JS_FLAGS, JsObject, js_class
from .buffers import Uint8Array
from .errors import type_error
from .promise import Promise, rejected

if TYPE_CHECKING:
    from .readable import ReadableStream

__all__ = ["END", "ReadResult", "ReadableStreamDefaultReader", "StreamIterator", "as_item", "as_result"]

#: What a platform read gives at the end of a stream.
END = object()


class ReadResult(JsObject):
    """`{value, done}`, as `reader.read()` resolves to."""

    __slots__ = ("done", "value")

    def __init__(self, value: Any, done: bool) -> None:
        self.value = value
        self.done = done

    def _own_properties(self) -> dict[str, Any]:
        return {"value": self.value, "done": self.done}


def as_chunk(chunk: Any) -> Any:
    return Uint8Array._over(chunk) if type(chunk) is bytes else chunk


def as_result(chunk: Any) -> ReadResult:
    return ReadResult(None, True) if chunk is END else ReadResult(as_chunk(chunk), False)


def as_item(chunk: Any) -> Any:
    return END if chunk is END else as_chunk(chunk)


class ReadableStreamDefaultReader(JsObject):
    """Exclusive use of a stream, from `getReader()` to `releaseLock()`."""

    __slots__ = ("_closed_promise", "_stream")

    def __init__(self, stream: "ReadableStream") -> None:
        if stream._reader is not None:
            raise type_error("this ReadableStream is already locked to a reader")
        self._stream: ReadableStream | None = stream
        self._closed_promise: Promise | None = None
        stream._reader = self

    def _closed(self, error: Any) -> None:
        if self._closed_promise is not None:
            self._closed_promise._reject(error) if error is not None else self._closed_promise._fulfil()

    @property
    def closed(self) -> Promise:
        if self._closed_promise is None:
            self._closed_promise = Promise()
            if self._stream is not None and self._stream._ended:
                self._closed(self._stream._error)
        return self._closed_promise

    def read(self) -> Promise:
        if self._stream is None:
            return rejected(type_error("this reader has released its lock"))
        return self._stream._read(as_result)

    def cancel(self, reason: Any = None) -> Promise:
        if self._stream is None:
            return rejected(type_error("this reader has released its lock"))
        return self._stream._cancel(reason)

    def releaseLock(self) -> None:
        stream, self._stream = self._stream, None
        if stream is None:
            return
        reads, stream._reads = stream._reads, deque()
        for read in reads:
            read.promise._reject(type_error("the reader released its lock"))
        stream._reader = None


class StreamIterator(JsObject):
    """`async for chunk in stream`. Holds the lock until the stream ends."""

    __slots__ = ("_prevent_cancel", "_stream")

    _js_type_flags = JS_FLAGS["IS_ASYNC_ITERATOR"] | JS_FLAGS["IS_ASYNC_ITERABLE"]

    def __init__(self, stream: "ReadableStream", prevent_cancel: bool) -> None:
        if stream._reader is not None:
            raise type_error("this ReadableStream is already locked to a reader")
        self._stream = stream
        self._prevent_cancel = prevent_cancel
        stream._reader = self

    def _closed(self, _error: Any) -> None:
        pass

    def __aiter__(self) -> "StreamIterator":
        return self

    async def __anext__(self) -> Any:
        stream = self._stream
        chunk = await stream._read(as_item)
        if chunk is END:
            stream._reader = None
            raise StopAsyncIteration
        return chunk

    def next(self) -> Promise:
        return self._stream._read(as_result)

    async def aclose(self) -> None:
        """`return()`: stop early, and tell the source unless asked not to."""
        self._stream._reader = None
        if not self._prevent_cancel:
            await self._stream._cancel(None)


js_class(ReadableStreamDefaultReader, "ReadableStreamDefaultReader")
