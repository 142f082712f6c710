"""Events of the host, handed to whom they concern."""

from typing import Any

from . import entrypoint, event_loop, host, restore
from .exchange import Exchange, in_flight

__all__ = ["deliver", "expects_events"]

_HOST = host.Host()


def deliver(events: list[tuple[int, int, Any]]) -> bool:
    """Act on each event; true if there was one."""
    for kind, number, payload in events:
        if kind == host.EVENT_REQUEST:
            exchange = Exchange(_HOST, payload, number)
            in_flight[number] = exchange
            exchange.start(entrypoint.handle, event_loop.main_loop)
        elif kind == host.EVENT_RESUME:
            restore.resume(payload)
        else:
            found = in_flight.get(number)
            # An event may cross with the end of its request.
            if found is not None:
                _deliver_to(found, kind, payload)
    return bool(events)


def _deliver_to(exchange: Exchange, kind: int, payload: Any) -> None:
    if kind == host.EVENT_DRAINED:
        if exchange.drained is not None and not exchange.drained.done():
            exchange.drained.set_result(None)
    elif kind == host.EVENT_CANCEL:
        exchange.cancel(payload or "")
    elif exchange.body is None:
        return
    elif kind == host.EVENT_BODY_CHUNK:
        exchange.body.chunk(payload)
    elif kind == host.EVENT_BODY_END:
        exchange.body.end()
    elif kind == host.EVENT_BODY_ERROR:
        exchange.body.error(payload or "")


def expects_events() -> bool:
    """Whether something was asked of the host that it has not answered yet."""
    return any(
        exchange.drained is not None or (exchange.body is not None and exchange.body.waiting)
        for exchange in in_flight.values()
    )
