"""The `ctx` a handler gets."""

import inspect
from typing import TYPE_CHECKING, Any

from js.base import JsObject, PlainObject, js_class, unwrap
from js.errors import JsException
from js.scheduling import spawn_task

from .attribution import current_exchange

if TYPE_CHECKING:
    from .exchange import Exchange

__all__ = ["ExecutionContext", "current"]


def current() -> "Exchange":
    """The request being handled, for what makes no sense without one."""
    exchange = current_exchange.get()
    if exchange is None:
        raise JsException("Error", "this can only be called while a request is being handled")
    return exchange


class ExecutionContext(JsObject):
    """What a handler may ask of the platform for its own request."""

    __slots__ = ("__dict__", "_exchange")

    def __init__(self, exchange: "Exchange") -> None:
        self._exchange = exchange

    def waitUntil(self, awaitable: Any) -> None:
        """Keep the request alive until `awaitable` is done, also after its response."""
        awaitable = unwrap(awaitable)
        if inspect.isawaitable(awaitable):
            self._exchange.wait_until(spawn_task(awaitable))

    wait_until = waitUntil

    def passThroughOnException(self) -> None:
        """Accepted and without effect: there is no origin server to pass on to."""

    pass_through_on_exception = passThroughOnException

    @property
    def props(self) -> PlainObject:
        return PlainObject()


js_class(ExecutionContext, "ExecutionContext")
