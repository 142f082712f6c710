"""Where the `js` objects find the event loop, also at top level where none runs."""

import asyncio
from asyncio.events import _get_running_loop
from typing import Any

__all__ = ["current_loop", "set_main_loop", "spawn_task"]

_main_loop: Any = None


def set_main_loop(loop: Any) -> None:
    """Name the loop that takes what is scheduled outside any running loop."""
    global _main_loop
    _main_loop = loop


def current_loop() -> Any:
    loop = _get_running_loop()
    if loop is not None:
        return loop
    return _main_loop if _main_loop is not None else asyncio.new_event_loop()


def spawn_task(awaitable: Any) -> Any:
    """A task (or the future itself) that drives `awaitable`."""
    return asyncio.ensure_future(awaitable, loop=current_loop())
