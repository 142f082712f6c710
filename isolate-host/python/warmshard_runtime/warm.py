"""Exercising the platform before a snapshot is taken.

A restored isolate answers its first request the sooner the more of the path has run
before: lazy imports are done, caches filled, pages in place. The requests here go
through the real machinery with an application and a host of our own; the worker's
handler must not run before the snapshot, and nothing of this may stay behind.
"""

import gc
import importlib
import importlib.util
import sys
from typing import Any

from . import endpoints, event_loop, logs
from .exchange import Exchange
from .host import Host

__all__ = ["warm_up"]

_HEADERS = [
    (b"host", b"warm-up.localhost"),
    (b"accept", b"*/*"),
    (b"user-agent", b"warm-up"),
    (b"content-type", b"text/plain"),
]
_BODY = (b"warm", b"up")
#: The interpreter rewrites a function's code while it learns what runs through it. Once
#: it has, a request neither writes to these pages nor pays for the learning.
_REPEATS = 16


class _SilentHost(Host):
    """Stands in for the host: serves a small body, swallows the response."""

    __slots__ = ("chunks", "exchange", "failure")

    def __init__(self) -> None:
        self.chunks = list(_BODY)
        self.exchange: Exchange | None = None
        self.failure = ""

    def respond(self, request: int, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        pass

    def respond_head(self, request: int, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        pass

    def respond_chunk(self, request: int, data: bytes) -> bool:
        return True

    def respond_end(self, request: int) -> None:
        pass

    def respond_failure(self, request: int, code: str, message: str) -> None:
        self.failure = message

    def request_done(self, request: int) -> None:
        self.exchange = None

    def pull_body(self, request: int) -> None:
        assert self.exchange is not None and self.exchange.body is not None
        body = self.exchange.body
        loop = event_loop.main_loop
        if self.chunks:
            loop.call_soon(body.chunk, self.chunks.pop(0))
        else:
            loop.call_soon(body.end)

    def cancel_body(self, request: int) -> None:
        pass


async def _asgi_app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Answers in one piece, or streams when the path says so."""
    if scope["type"] == "lifespan":
        return
    await receive()
    headers = [(b"content-type", b"text/plain; charset=utf-8")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    if scope["path"] == "/stream":
        await send({"type": "http.response.body", "body": b"warm", "more_body": True})
    await send({"type": "http.response.body", "body": b"up", "more_body": False})


def warm_up() -> None:
    """Never raises: a worker whose warm-up fails works all the same, only slower."""
    try:
        rounds = _rounds()
        for _ in range(_REPEATS):
            for handler, request in rounds:
                _send(handler, *request)
        endpoints.look_up_endpoints()
    except Exception as error:
        logs.emit_exception(error, "internal error: the warm-up of the platform failed")
    gc.collect()


def _rounds() -> list[tuple[Any, tuple[str, str, bool]]]:
    plain = _plain_handler
    rounds = [(plain, ("GET", "/", False)), (plain, ("POST", "/echo", True))]
    if importlib.util.find_spec("workers") is None:
        return rounds
    for app in _apps():
        handler = _asgi_handler(app)
        rounds += [
            (handler, ("GET", "/", False)),
            (handler, ("GET", "/plain?name=x&count=2", False)),
            (handler, ("POST", "/stream", True)),
        ]
    return rounds


def _plain_handler(exchange: Exchange) -> Any:
    from js.response import Response

    request = exchange.request
    workers = sys.modules.get("workers")
    if workers is not None:
        assert len(workers.Request(request).headers) == len(_HEADERS)
        if request._stream is None:
            return workers.Response("warm", headers={"content-type": "text/plain"})
    return Response(request.body if request._stream is not None else "warm")


def _asgi_handler(app: Any) -> Any:
    asgi = importlib.import_module("workers.asgi")
    from .environment import env

    def handler(exchange: Exchange) -> Any:
        return asgi.fetch(app, exchange.request, env)

    return handler


def _apps() -> list[Any]:
    """Our own application, and one in each framework the worker has loaded."""
    apps: list[Any] = [_asgi_app]
    fastapi = sys.modules.get("fastapi")
    if fastapi is not None:
        apps.append(_fastapi_app(fastapi))
    elif "starlette.applications" in sys.modules:
        apps.append(_starlette_app())
    return apps


def _fastapi_app(fastapi: Any) -> Any:
    app = fastapi.FastAPI()

    async def answer() -> dict[str, str]:
        return {"warm": "up"}

    def plain(name: str = "warm", count: int = 1) -> dict[str, str]:
        return {name: "up" * count}

    app.add_api_route("/", answer, methods=["GET"])
    app.add_api_route("/plain", plain, methods=["GET"])
    app.add_route("/stream", _streaming_endpoint(), methods=["POST"])
    return app


def _starlette_app() -> Any:
    applications = sys.modules["starlette.applications"]
    responses = importlib.import_module("starlette.responses")
    routing = importlib.import_module("starlette.routing")

    async def answer(request: Any) -> Any:
        return responses.JSONResponse({"warm": "up"})

    stream = routing.Route("/stream", _streaming_endpoint(), methods=["POST"])
    routes = [routing.Route("/", answer), routing.Route("/plain", answer), stream]
    return applications.Starlette(routes=routes)


def _streaming_endpoint() -> Any:
    responses = importlib.import_module("starlette.responses")

    async def chunks() -> Any:
        yield b"warm"
        yield b"up"

    async def stream(request: Any) -> Any:
        await request.body()
        return responses.StreamingResponse(chunks(), media_type="text/plain")

    return stream


def _send(handler: Any, method: str, path: str, has_body: bool) -> None:
    """One request through an exchange, on the isolate's loop, until it is done."""
    host = _SilentHost()
    event = (method, f"http://warm-up.localhost{path}", list(_HEADERS), has_body, {})
    loop = event_loop.main_loop
    exchange = host.exchange = Exchange(host, event, 0)
    loop.enter()
    try:
        exchange.start(handler, loop)
        for _ in range(1000):
            loop.turn(rounds=1)
            if host.exchange is None and not loop.has_ready():
                break
    finally:
        loop.leave()
    if host.failure:
        raise RuntimeError(f"{method} {path}: {host.failure}")
