"""`setTimeout` and its kin, `queueMicrotask`, `performance`."""

import inspect
import time
from typing import Any

from .base import PlainObject, js_class
from .scheduling import current_loop, spawn_task

__all__ = ["clearInterval", "clearTimeout", "performance", "queueMicrotask", "setInterval", "setTimeout"]

_timers: dict[int, Any] = {}
_next_id = 0
#: JavaScript keeps delays in 32 bits.
_LONGEST_DELAY = 2**31 - 1


def _run(callback: Any, args: tuple[Any, ...]) -> None:
    outcome = callback(*args)
    if inspect.isawaitable(outcome):
        spawn_task(outcome)


def _add(delay: Any, fire: Any) -> int:
    global _next_id
    _next_id += 1
    _timers[_next_id] = None
    _schedule(_next_id, delay, fire)
    return _next_id


def _schedule(timer: int, delay: Any, fire: Any) -> None:
    seconds = min(max(float(delay or 0), 0), _LONGEST_DELAY) / 1000
    _timers[timer] = current_loop().call_later(seconds, fire, timer)


def setTimeout(callback: Any, delay: Any = 0, *args: Any) -> int:
    def fire(timer: int) -> None:
        _timers.pop(timer, None)
        _run(callback, args)

    return _add(delay, fire)


def setInterval(callback: Any, delay: Any = 0, *args: Any) -> int:
    def fire(timer: int) -> None:
        _schedule(timer, delay, fire)
        _run(callback, args)

    return _add(delay, fire)


def clearTimeout(timer: Any = None) -> None:
    handle = _timers.pop(timer, None)
    if handle is not None:
        handle.cancel()


def clearInterval(timer: Any = None) -> None:
    clearTimeout(timer)


def queueMicrotask(callback: Any) -> None:
    current_loop().call_soon(_run, callback, ())


class _Performance(PlainObject):
    __slots__ = ()

    timeOrigin = 0

    def now(self) -> float:
        return time.monotonic() * 1000


js_class(_Performance, "Performance")
performance = _Performance()
