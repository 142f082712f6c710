"""The body of an incoming request: pulled from the host chunk by chunk.

One pull is on its way at a time, and only when somebody reads, so that the client is
slowed down to the pace of the worker.
"""

from typing import Any

from js.errors import JsException, type_error
from js.readable import ReadableStream, source_stream

from .host import Host

__all__ = ["RequestBody"]


class RequestBody:
    """The source behind `request.body`; `stream` is what the worker sees."""

    __slots__ = ("_ended", "_host", "_pulling", "_request", "stream")

    def __init__(self, host: Host, request: int) -> None:
        self._host = host
        self._request = request
        self._pulling = False
        self._ended = False
        self.stream: ReadableStream = source_stream(self._pull, self._cancel)

    @property
    def waiting(self) -> bool:
        return self._pulling

    def _pull(self) -> None:
        if not self._pulling and not self._ended:
            self._pulling = True
            self._host.pull_body(self._request)

    def _cancel(self, _reason: Any) -> None:
        if not self._ended:
            self._ended = True
            self._pulling = False
            self._host.cancel_body(self._request)

    # --- events -----------------------------------------------------------
    def chunk(self, data: bytes) -> None:
        self._pulling = False
        if not self._ended:
            self.stream._enqueue(data)

    def end(self) -> None:
        self._pulling = False
        self._ended = True
        self.stream._close()

    def error(self, message: str) -> None:
        self._pulling = False
        self._ended = True
        self.stream._fail(type_error(f"the request body broke off: {message}"))

    def abandon(self, error: JsException) -> None:
        """The client or the request is gone: whoever still reads gets `error`."""
        if not self._ended:
            self._pulling = False
            self._ended = True
            self.stream._fail(error)
