"""What FastAPI looks up about an endpoint when it is first called.

FastAPI names the endpoint's file and line in its error messages, and finds them by
reading and tokenising the module's source: 0.7 ms of a first request. The answer is
kept for the endpoint's life, so it is asked for before the snapshot is taken. No
endpoint is called.
"""

import gc
import sys

__all__ = ["look_up_endpoints"]


def look_up_endpoints() -> None:
    routing = sys.modules.get("fastapi.routing")
    look_up = getattr(routing, "_extract_endpoint_context", None)
    if look_up is None:
        # No FastAPI, or one that has no need of it.
        return
    kinds = (routing.APIRoute, routing.APIWebSocketRoute)
    for route in [thing for thing in gc.get_objects() if isinstance(thing, kinds)]:
        if route.dependant.call is not None:
            look_up(route.dependant.call)
