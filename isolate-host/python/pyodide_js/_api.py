"""The private half of Pyodide's API that `pyodide.webloop` and `pyodide.http` import."""

from typing import Any

from js.abort import any_signal as abortSignalAny
from js.base import PlainObject
from js.scheduling import current_loop

__all__ = ["abortSignalAny", "config", "scheduleCallback"]

#: `asyncio.run()` inside a handler is served by the platform's own loop instead.
config = PlainObject({"enableRunUntilComplete": False})


def scheduleCallback(callback: Any, delay: float = 0) -> None:
    """Run `callback` on the event loop after `delay` milliseconds."""
    current_loop().call_later(delay / 1000, callback)
