"""What no snapshot can keep, by the name of the variable that holds it.

A restored isolate is a copy of memory: what exists outside of it, or is under way, is not
there. So files open for writing, sockets, tasks and timers are refused when the top level
ends, before they would fail a request.
"""

import asyncio
import gc
import io
import os
import socket
from typing import Any

from . import event_loop, heap

__all__ = ["UnkeepableError", "check", "survey"]

#: Standard input, output and error belong to the platform.
_FIRST_DESCRIPTOR = 3
_MOST_NAMED = 20


class UnkeepableError(Exception):
    """The top level left something open or under way."""


Found = list[tuple[Any, str, str]]


def survey() -> Found:
    """What is open or under way now: the object, what it is, and what to do about it."""
    return [*_under_way(event_loop.main_loop), *_open()]


def check(before: Found) -> None:
    """Refuses a worker whose top level left behind what a snapshot cannot keep.

    What was there `before` it is not the worker's.
    """
    known = {id(value) for value, _, _ in before}
    found = [item for item in survey() if id(item[0]) not in known]
    if not found:
        return
    names = heap.names_of([value for value, _, _ in found])
    lines = []
    for value, what, advice in found[:_MOST_NAMED]:
        # A file is inside a buffer inside what decodes its text: the worker knows the outermost.
        name = names.get(id(value), "").partition(" (in a ")[0].removesuffix(".raw").removesuffix(".buffer")
        lines.append((f"`{name}` is {what}" if name else f"no variable holds {what}") + f"; {advice}")
    more = len(found) - _MOST_NAMED
    if more > 0:
        lines.append(f"and {more} more")
    raise UnkeepableError("the top level leaves behind what no snapshot can keep: " + ". ".join(lines))


def _under_way(loop: Any) -> Found:
    tasks = [task for task in asyncio.all_tasks(loop) if not task.done()]
    tasks.sort(key=lambda task: task.get_name())
    found: Found = [(task, f"a task that is still running ({_coroutine(task)})", _AWAIT) for task in tasks]
    timers = [handle for handle in loop._scheduled if not handle._cancelled]
    # A task that sleeps has a timer of its own, which says nothing more.
    own = {id(future) for task in tasks for future in (getattr(task, "_fut_waiter", None),)}
    for handle in timers:
        arguments = handle._args or ()
        if not any(id(argument) in own for argument in arguments):
            callback = getattr(handle._callback, "__qualname__", repr(handle._callback))
            found.append((handle, f"a timer that has not run out (it calls {callback})", _TIMER))
    return found


_AWAIT = "await it with `asyncio.run()` or start it in a handler"
_TIMER = "set it while a request is handled"


def _coroutine(task: Any) -> str:
    coroutine = task.get_coro()
    code = getattr(coroutine, "cr_code", None)
    name = getattr(coroutine, "__qualname__", type(coroutine).__name__)
    if code is None:
        return f"{name}()"
    return f"{name}(), {os.path.basename(code.co_filename)}, line {code.co_firstlineno}"


def _open() -> Found:
    found: Found = []
    for value in gc.get_objects():
        kind = type(value)
        if issubclass(kind, socket.socket):
            number = socket.socket.fileno(value)
            if number >= 0:
                found.append((value, f"an open socket (descriptor {number})", "open it while a request is handled"))
        elif issubclass(kind, io.FileIO):
            what = _writable(value)
            if what:
                found.append((value, what, "close it when the top level has written it; the file itself is kept"))
    return found


def _writable(file: io.FileIO) -> str:
    if file.closed or file.fileno() < _FIRST_DESCRIPTOR or not io.FileIO.writable(file):
        return ""
    known = isinstance(file.name, str)
    return f"open for writing on `{file.name}`" if known else f"open for writing (descriptor {file.fileno()})"
