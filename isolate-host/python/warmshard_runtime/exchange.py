"""One request and its response.

An exchange is over when its handler has returned, its response body has ended and
everything given to `waitUntil` has settled. Then the host is told, once.
"""

import asyncio
import contextvars
import inspect
from typing import Any

from js.errors import abort_error
from js.request import Request, request_from_host
from js.response import Response
from js.scheduling import spawn_task

from . import logs, tracebacks
from .attribution import current_exchange
from .context import ExecutionContext
from .host import Host
from .request_body import RequestBody
from .response_writer import write_response

__all__ = ["Exchange", "in_flight"]

#: Requests the host has not been told the end of.
in_flight: "dict[int, Exchange]" = {}

#: What somebody gets who still reads the body of a request that is over.
_OVER = abort_error("the request is over")


class Exchange:
    """State of one request in flight."""

    __slots__ = (
        "_background",
        "body",
        "cancelled",
        "ctx",
        "drained",
        "head_sent",
        "host",
        "id",
        "request",
        "response_stream",
        "task",
    )

    def __init__(self, host: Host, event: tuple[Any, ...], number: int) -> None:
        method, url, headers, has_body, cf = event
        self.host = host
        self.id = number
        self.body = RequestBody(host, number) if has_body else None
        self.request: Request = request_from_host(method, url, headers, self.body.stream if self.body else None, cf)
        self.ctx = ExecutionContext(self)
        self.task: asyncio.Task[None] | None = None
        self.cancelled = False
        self.head_sent = False
        #: Where a response that fills the host's buffer waits.
        self.drained: asyncio.Future[None] | None = None
        self.response_stream: Any = None
        self._background: set[asyncio.Future[Any]] | None = None

    def start(self, handler: Any, loop: Any) -> None:
        """Run `handler(exchange)` as a task whose context names this exchange."""
        self.task = loop.create_task(self._run(handler), context=self._context())

    async def _run(self, handler: Any) -> None:
        try:
            result = handler(self)
            if inspect.isawaitable(result):
                result = await result
            if not self.cancelled:
                await write_response(self, response_of(result))
        except BaseException as error:
            # Also SystemExit, which must not take the neighbours along, and the
            # CancelledError of a handler that awaited something it had cancelled.
            self._failed(error)
        # The request is over; its own task must not keep what it was made of alive.
        self.task = None
        self._finish()

    def _failed(self, error: BaseException) -> None:
        if self.cancelled:
            return
        logs.emit_exception(error, f"{self.request.method} {self.request.url} failed")
        self.host.respond_failure(self.id, "worker_exception", tracebacks.summary(error))

    # --- waitUntil --------------------------------------------------------
    def wait_until(self, future: "asyncio.Future[Any]") -> None:
        if self._background is None:
            self._background = set()
        self._background.add(future)
        future.add_done_callback(self._background_done)

    def _background_done(self, future: "asyncio.Future[Any]") -> None:
        assert self._background is not None
        self._background.discard(future)
        if not future.cancelled() and future.exception() is not None:
            logs.emit_exception(future.exception(), "a task given to waitUntil() failed")
        self._finish()

    def _finish(self) -> None:
        if self.task is not None or self._background:
            return
        if self.body is not None:
            self.body.abandon(_OVER)
        if self.cancelled:
            self._cancel_leftovers()
        in_flight.pop(self.id, None)
        self.host.request_done(self.id)

    # --- the client went away ---------------------------------------------
    def cancel(self, reason: str) -> None:
        """Stop the handler, or the response it streams; `waitUntil` work goes on."""
        # Listeners and stream sources are called at once: as part of this request.
        self._context().run(self._cancel, reason)

    def _context(self) -> contextvars.Context:
        context = contextvars.copy_context()
        context.run(current_exchange.set, self)
        return context

    def _cancel(self, reason: str) -> None:
        self.cancelled = True
        error = abort_error(reason or "the client went away")
        logs.expect(error)
        if self.body is not None:
            self.body.abandon(error)
        self.request.signal._abort(error)
        if self.task is not None:
            self.task.cancel()
        if self.response_stream is not None:
            outcome = self.response_stream._cancel(error)
            if outcome._pending:
                # The source's own `cancel` may take its time.
                self.wait_until(spawn_task(outcome))

    def _cancel_leftovers(self) -> None:
        """Tasks a cancelled handler left behind would wait for it for ever."""
        for task in asyncio.all_tasks(asyncio.get_running_loop()):
            get_context = getattr(task, "get_context", None)
            if get_context is not None and get_context().get(current_exchange) is self and not task.done():
                task.cancel()


def response_of(result: Any) -> Response:
    """The `js.Response` in whatever a handler may return."""
    if type(result) is Response:
        return result
    # The SDK's Response and Pyodide's FetchResponse hold one.
    inner = getattr(result, "js_response", None)
    if isinstance(inner, Response):
        return inner
    raise TypeError(
        f"the handler must return a Response, found {type(result).__name__}"
        + (" (is a `return` missing?)" if result is None else ""),
    )
