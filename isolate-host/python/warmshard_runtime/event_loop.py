"""The event loop of an isolate, driven by the host.

The host calls `pump()` when there is something to do; `turn()` runs what is ready and
says when it wants to be called again. Nothing here waits: between two pumps no frame
of Python is alive, so an idle isolate is only memory.

`run_until_complete` and `asyncio.run` do wait, on behalf of code that has no other way
(at top level, or synchronous code inside a handler). They drive this same machinery in
a nested fashion; see `nested.py`.
"""

import asyncio
import heapq
import sys
import threading
import time
from asyncio.events import Handle, _set_running_loop
from collections.abc import Callable
from typing import Any

from . import logs
from .attribution import current_exchange

__all__ = ["HostLoop", "install", "main_loop"]

#: Rounds of callbacks in one pump. A task that never stops yielding (`sleep(0)` in a
#: loop) must not keep the host from delivering new events.
_ROUNDS_PER_PUMP = 128


class HostLoop(asyncio.BaseEventLoop):
    """A `BaseEventLoop` without a selector."""

    def __init__(self) -> None:
        super().__init__()

    # --- driven from outside ----------------------------------------------
    def enter(self) -> None:
        """Become the running loop, for the length of a pump."""
        self._thread_id = threading.get_ident()
        _set_running_loop(self)

    def leave(self) -> None:
        self._thread_id = None
        _set_running_loop(None)

    def turn(self, rounds: int = _ROUNDS_PER_PUMP) -> float | None:
        """Run what is due until nothing is; the time to come back, if there is one."""
        ready = self._ready
        for _ in range(rounds):
            if self._scheduled:
                self._collect_due()
            if not ready:
                return self.next_deadline()
            for _ in range(len(ready)):
                # A nested loop may have emptied the queue under our feet.
                if not ready:
                    break
                handle = ready.popleft()
                if handle._cancelled:
                    continue
                try:
                    handle._run()
                except (SystemExit, KeyboardInterrupt) as error:
                    # The task keeps it as its result; it must not end the interpreter.
                    logs.emit_exception(error, f"{type(error).__name__} in the event loop")
                handle = None
        return self.time() if ready else self.next_deadline()

    def _collect_due(self) -> None:
        scheduled = self._scheduled
        now = time.monotonic()
        while scheduled and (scheduled[0]._cancelled or scheduled[0]._when <= now):
            handle = heapq.heappop(scheduled)
            handle._scheduled = False
            if not handle._cancelled:
                self._ready.append(handle)

    def next_deadline(self) -> float | None:
        scheduled = self._scheduled
        while scheduled and scheduled[0]._cancelled:
            heapq.heappop(scheduled)._scheduled = False
        return scheduled[0]._when if scheduled else None

    def has_ready(self) -> bool:
        return bool(self._ready)

    # --- what BaseEventLoop leaves to a selector, or does slowly -----------
    def call_soon(self, callback: Callable[..., Any], *args: Any, context: Any = None) -> Handle:
        if self._debug:
            return super().call_soon(callback, *args, context=context)
        handle = Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    def create_task(self, coro: Any, **kwargs: Any) -> Any:
        if self._task_factory is not None:
            return super().create_task(coro, **kwargs)
        return asyncio.Task(coro, loop=self, **kwargs)

    # There are no threads, so every caller is the right one.
    call_soon_threadsafe = call_soon

    def call_later(self, delay: float, callback: Callable[..., Any], *args: Any, context: Any = None) -> Any:
        # A delay beyond any deadline the host could keep would only overflow there.
        return super().call_later(min(delay, 10**9), callback, *args, context=context)

    def _write_to_self(self) -> None:
        pass

    def _timer_handle_cancelled(self, handle: Any) -> None:
        """Cancelled timers leave when they come to the head; many of them, now."""
        if not handle._scheduled:
            return
        self._timer_cancelled_count += 1
        scheduled = self._scheduled
        if self._timer_cancelled_count > 100 and self._timer_cancelled_count * 2 > len(scheduled):
            self._timer_cancelled_count = 0
            scheduled[:] = [timer for timer in scheduled if not timer._cancelled]
            heapq.heapify(scheduled)

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> Any:
        """There are no threads: the function runs here and now."""
        future = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:
            future.set_exception(error)
        return future

    def set_default_executor(self, executor: Any) -> None:
        pass

    async def shutdown_default_executor(self, timeout: Any = None) -> None:
        pass

    # --- synchronous waiting ----------------------------------------------
    def run_until_complete(self, future: Any) -> Any:
        from .nested import wait_for

        return wait_for(future, self)

    def run_forever(self) -> None:
        raise RuntimeError("the event loop of a worker is driven by its host; run_forever() is not available")

    def close(self) -> None:
        """Only loops somebody made for himself can be closed."""
        if self is not main_loop:
            super().close()

    def default_exception_handler(self, context: dict[str, Any]) -> None:
        message = context.get("message") or "Unhandled exception in event loop"
        details = [f"{key}: {value!r}" for key, value in sorted(context.items()) if key not in ("message", "exception")]
        error = context.get("exception")
        heading = "\n".join([message, *details])
        request = _request_of(context)
        if error is None:
            logs.emit(logs.ERROR, heading, request)
        else:
            logs.emit_exception(error, heading, request)


def _request_of(context: dict[str, Any]) -> int | None:
    """The request whose callback or task went wrong: the handler runs outside both."""
    handle = context.get("handle")
    task = context.get("task") or context.get("future")
    found = getattr(handle, "_context", None)
    if found is None and hasattr(task, "get_context"):
        found = task.get_context()
    exchange = None if found is None else found.get(current_exchange)
    return None if exchange is None else exchange.id


#: The loop of this isolate; made by `install`.
main_loop: HostLoop


def _unavailable_io(name: str) -> Any:
    def refuse(self: HostLoop, *_args: Any, **_kwargs: Any) -> Any:
        raise NotImplementedError(f"loop.{name}() is not available in this version of warmshard")

    refuse.__name__ = name
    return refuse


for _name in (
    "add_reader",
    "add_writer",
    "remove_reader",
    "remove_writer",
    "add_signal_handler",
    "remove_signal_handler",
    "sock_recv",
    "sock_recv_into",
    "sock_sendall",
    "sock_connect",
    "sock_accept",
    "subprocess_exec",
    "subprocess_shell",
    "create_connection",
    "create_server",
    "create_datagram_endpoint",
    "create_unix_connection",
    "create_unix_server",
    "connect_read_pipe",
    "connect_write_pipe",
):
    setattr(HostLoop, _name, _unavailable_io(_name))


def install() -> HostLoop:
    """Make the isolate's loop, and have asyncio hand it (or its like) to everybody."""
    global main_loop
    main_loop = HostLoop()
    sys.set_asyncgen_hooks(
        firstiter=main_loop._asyncgen_firstiter_hook,
        finalizer=main_loop._asyncgen_finalizer_hook,
    )
    return main_loop


def restore_asyncio(original_run: Any, original_sleep: Any) -> None:
    """Take back what importing `pyodide` did: it puts a loop for browsers in place."""
    time.sleep = original_sleep
    asyncio.run = _run_function(original_run)
    _set_policy(_policy())
    _set_running_loop(None)


def _policy() -> Any:
    # Policies are on their way out of asyncio; 3.14 has them under private names.
    base = getattr(asyncio.events, "_BaseDefaultEventLoopPolicy", None) or asyncio.events.BaseDefaultEventLoopPolicy

    class HostLoopPolicy(base):
        _loop_factory = HostLoop

        def get_event_loop(self) -> Any:
            return main_loop

    return HostLoopPolicy()


def _set_policy(policy: Any) -> None:
    set_policy = getattr(asyncio.events, "_set_event_loop_policy", None) or asyncio.events.set_event_loop_policy
    set_policy(policy)


def _run_function(original: Any) -> Any:
    def run(main: Any, **options: Any) -> Any:
        """`asyncio.run`, also from synchronous code inside a handler."""
        if asyncio.events._get_running_loop() is main_loop and options.get("loop_factory") is None:
            return main_loop.run_until_complete(main)
        return original(main, **options)

    run.__wrapped__ = original
    return run
