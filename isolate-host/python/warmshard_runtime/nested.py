"""Waiting synchronously for something asynchronous: `run_sync`, `run_until_complete`.

The waiting frame drives the event loop itself until its future is done. Frames that
wait inside one another can only return in the reverse order, and a frame waits for
good when what it needs is further down its own stack: with nothing ready, no timer and
nothing asked of the host, nothing will ever happen, and that is reported instead.

While a frame waits, Python is on the stack and the host counts the isolate as full.
"""

import asyncio
import time
from asyncio.events import _get_running_loop, _set_running_loop
from typing import Any

from . import host

__all__ = ["can_run_sync", "run_sync", "wait_for"]

#: Each level is a few dozen frames of C and Python.
_DEEPEST = 8

_depth = 0


def can_run_sync() -> bool:
    return _depth < _DEEPEST and _get_running_loop() is not None


def run_sync(awaitable: Any) -> Any:
    """`pyodide.ffi.run_sync`: block until the awaitable is done, and give its result."""
    loop = _get_running_loop()
    if loop is None:
        raise RuntimeError("No suspender")
    return wait_for(awaitable, loop)


def wait_for(awaitable: Any, loop: Any) -> Any:
    global _depth
    if _depth >= _DEEPEST:
        if asyncio.iscoroutine(awaitable):
            awaitable.close()
        raise RuntimeError(f"synchronous waits are nested more than {_DEEPEST} deep")
    before = _get_running_loop()
    ours = not asyncio.isfuture(awaitable)
    future = asyncio.ensure_future(awaitable, loop=loop)
    task = asyncio.current_task(before) if before is not None else None
    # asyncio allows one current task per loop: step aside for those run below.
    if task is not None:
        asyncio.tasks._leave_task(before, task)
    _set_running_loop(loop)
    _depth += 1
    try:
        _drive(loop, future)
    finally:
        _depth -= 1
        _set_running_loop(before)
        if task is not None:
            asyncio.tasks._enter_task(before, task)
        if ours and not future.done():
            future.cancel()
    return future.result()


def _drive(loop: Any, future: Any) -> None:
    from . import dispatch, event_loop

    # Another loop than the isolate's own (`asyncio.run` at top level) gets no events.
    main = loop is event_loop.main_loop
    while not future.done():
        busy = dispatch.deliver(host.poll()) if main else False
        deadline = loop.turn(rounds=1)
        if not (busy or future.done() or loop.has_ready()):
            _pause(loop, deadline, main and dispatch.expects_events())


def _pause(loop: Any, deadline: float | None, expects_events: bool) -> None:
    """Nothing to run: let time pass until something can be."""
    if expects_events:
        _wait_for_events(deadline)
    elif deadline is not None:
        time.sleep(max(deadline - loop.time(), 0))
    else:
        raise RuntimeError(
            "deadlock: this synchronous wait can never end, since nothing is ready, no timer runs and "
            "nothing was asked of the host; what it waits for is blocked by the waiting code itself"
        )


def _wait_for_events(deadline: float | None) -> None:
    try:
        host.wait(deadline)
    except RuntimeError as refusal:
        raise RuntimeError(
            "waiting synchronously for a request body, or for a client to take a response, is not available "
            f"in this version of warmshard ({refusal}); use `await` instead of a synchronous call"
        ) from None
