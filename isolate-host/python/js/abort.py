"""`AbortController` and `AbortSignal`."""

from typing import Any

from .array import iterate
from .base import JsObject, is_nullish, js_class
from .errors import JsException, abort_error
from .events import Event, EventTarget
from .scheduling import current_loop

__all__ = ["ABORT_CONTROLLER", "ABORT_SIGNAL", "AbortController", "AbortSignal", "any_signal"]


class AbortSignal(EventTarget):
    """Tells whoever listens that an operation is no longer wanted."""

    __slots__ = ("aborted", "reason")

    def __init__(self) -> None:
        super().__init__()
        self.aborted = False
        self.reason: Any = None

    def throwIfAborted(self) -> None:
        if self.aborted:
            raise self.reason if isinstance(self.reason, BaseException) else JsException("AbortError", self.reason)

    def _abort(self, reason: Any = None) -> None:
        if self.aborted:
            return
        self.aborted = True
        self.reason = abort_error() if is_nullish(reason) else reason
        self.dispatchEvent(Event("abort"))


class AbortController(JsObject):
    __slots__ = ("signal",)

    def __init__(self) -> None:
        self.signal = AbortSignal()

    def abort(self, reason: Any = None) -> None:
        self.signal._abort(reason)


def _aborted(reason: Any = None) -> AbortSignal:
    signal = AbortSignal()
    signal._abort(reason)
    return signal


def _timeout(milliseconds: float) -> AbortSignal:
    signal = AbortSignal()
    error = JsException("TimeoutError", "The operation was aborted due to timeout")
    current_loop().call_later(milliseconds / 1000, signal._abort, error)
    return signal


def any_signal(signals: Any) -> AbortSignal:
    """Aborted as soon as one of `signals` is."""
    joined = AbortSignal()
    for signal in iterate(signals):
        if signal.aborted:
            joined._abort(signal.reason)
            break
        signal.addEventListener("abort", lambda _event, source=signal: joined._abort(source.reason))
    return joined


ABORT_SIGNAL = js_class(AbortSignal, "AbortSignal", abort=_aborted, timeout=_timeout, any=any_signal)
ABORT_CONTROLLER = js_class(AbortController, "AbortController")
