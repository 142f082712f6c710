"""What the platform adds to a request: `python bench_request.py [requests]`.

The example FastAPI worker through the whole platform, the same application through
nothing but an event loop, and the plain example. Uses the paths of the test suite.
"""

import asyncio
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE), *os.environ.get("WARMSHARD_TEST_PATHS", "").split(os.pathsep)]

import deferred_annotations  # noqa: E402
from fake_host import RESUME, FakeHost  # noqa: E402

EXAMPLES = HERE.parents[2] / "examples"
HEADERS = [(b"host", b"fastapi.localhost:8080"), (b"user-agent", b"curl/8.5.0"), (b"accept", b"*/*")]


def measure(action: Any, count: int) -> float:
    """Microseconds per call, the best of five runs."""
    best = float("inf")
    for _ in range(5):
        start = time.perf_counter()
        for _ in range(count):
            action()
        best = min(best, (time.perf_counter() - start) / count)
    return best * 1e6


def load(platform: Any, host: FakeHost, folder: Path, example: str) -> Any:
    name = f"{example}_worker"
    (folder / f"{name}.py").write_text((EXAMPLES / example / "src/entry.py").read_text())
    host.config = {"main": f"{name}.py", "vars": {}, "compatibility_date": "2026-03-01", "compatibility_flags": []}
    platform.load()
    assert host.reports[-1]["ok"], host.reports[-1]["traceback"]
    platform.warm_up()
    return sys.modules[name]


def bare(app: Any) -> Any:
    """The application called directly, on the same loop, with a ready-made scope."""
    from warmshard_runtime import event_loop

    loop = event_loop.main_loop
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    def call() -> None:
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.0"},
            "http_version": "1.1",
            "method": "GET",
            "scheme": "http",
            "path": "/",
            "raw_path": b"/",
            "query_string": b"",
            "headers": HEADERS,
        }
        sent.clear()
        loop.enter()
        task = asyncio.Task(app(scope, receive, send), loop=loop)
        loop.turn()
        loop.leave()
        assert task.done() and len(sent) == 2

    return call


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 3000
    deferred_annotations.install()
    host = FakeHost()
    host.install()
    import warmshard_runtime as platform

    out = sys.stdout
    folder = Path(tempfile.mkdtemp())
    platform.boot(str(folder))
    host.event(RESUME, 0, {"vars": {}, "secrets": {}, "host_id": "bench"})

    def request() -> None:
        reply = host.request("http://fastapi.localhost:8080/", headers=HEADERS)
        platform.pump()
        assert reply.done and reply.status == 200
        host.replies.clear()

    load(platform, host, folder, "hello")
    hello = measure(request, count)
    module = load(platform, host, folder, "fastapi")
    fastapi = measure(request, count)
    alone = measure(bare(module.app), count)
    print(f"hello through the platform    {hello:7.1f} µs", file=out)
    print(f"fastapi through the platform  {fastapi:7.1f} µs", file=out)
    print(f"fastapi alone                 {alone:7.1f} µs", file=out)
    print(f"the SDK and the platform      {fastapi - alone:7.1f} µs", file=out)


if __name__ == "__main__":
    main()
