"""One pump: the host's events in, callbacks until nothing is ready, the deadline out."""

from . import dispatch, event_loop, host, logs, restore

__all__ = ["pump"]


def pump() -> None:
    loop = event_loop.main_loop
    deadline = None
    try:
        loop.enter()
        try:
            dispatch.deliver(host.poll())
            deadline = loop.turn()
        finally:
            loop.leave()
    except restore.RestoreError:
        # Nothing may be served: the host ends an isolate whose pump raises.
        raise
    except BaseException as error:
        logs.emit_exception(error, "internal error: the event loop of the isolate failed")
        deadline = loop.time() if loop.has_ready() else loop.next_deadline()
    try:
        host.park(deadline)
    except BaseException as error:
        logs.emit_exception(error, "internal error: the isolate could not be parked")
