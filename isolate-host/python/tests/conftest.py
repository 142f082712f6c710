"""One platform per test process, as in an isolate; a fresh host and worker per test.

The suite runs on any CPython ≥ 3.11. It needs the packages of the example workers and
Pyodide's Python half on its path; `WARMSHARD_TEST_PATHS` names the folders.
"""

import itertools
import os
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).resolve().parent
sys.path[:0] = [
    str(HERE.parent),
    str(HERE),
    *filter(None, os.environ.get("WARMSHARD_TEST_PATHS", "").split(os.pathsep)),
]

import deferred_annotations  # noqa: E402
from fake_host import RESUME, FakeHost, Reply  # noqa: E402

deferred_annotations.install()
HOST = FakeHost()
HOST.install()

_numbers = itertools.count()


@pytest.fixture(scope="session")
def worker_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("worker")
    packages = folder / "python_modules"
    packages.mkdir()
    # The SDK's start-up file: processed here as in a deployment's packages.
    for place in map(Path, sys.path):
        for pth in place.glob("_workers_sdk*.pth") if place.is_dir() else ():
            (packages / pth.name).write_text(pth.read_text())
    return folder


@pytest.fixture(scope="session")
def platform(worker_folder: Path) -> Any:
    """The booted runtime. pytest keeps its own standard streams."""
    import warmshard_runtime

    streams = sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__
    warmshard_runtime.boot(str(worker_folder))
    sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__ = streams
    HOST.allowance = None
    return warmshard_runtime


@pytest.fixture
def host(platform: Any) -> Iterator[FakeHost]:
    from warmshard_runtime.entropy import generators

    HOST.reset()
    HOST.reports.clear()
    # Each test is a deployment of its own.
    generators._promised, generators._unseeded = None, ()
    HOST.config = {
        "worker": "test",
        "main": "",
        "vars": {"GREETING": "hi", "SETTINGS": {"list": [1, None], "name": "x"}},
        "compatibility_date": "2026-03-01",
        "compatibility_flags": ["python_workers"],
        "phase": "deploying",
    }
    yield HOST
    from warmshard_runtime import exchange

    leftover = dict(exchange.in_flight)
    exchange.in_flight.clear()
    assert not leftover, "the test left requests in flight"


class Worker:
    """A loaded worker and the means to send it requests."""

    def __init__(self, platform: Any, host: FakeHost, module: Any) -> None:
        self.platform = platform
        self.host = host
        self.module = module

    def fetch(self, *args: Any, **kwargs: Any) -> Reply:
        """Send one request and pump until the isolate is idle."""
        reply = self.host.request(*args, **kwargs)
        self.host.run(self.platform.pump, until=lambda: reply.done)
        return reply


@pytest.fixture
def load(platform: Any, host: FakeHost, worker_folder: Path) -> Callable[[str], Worker]:
    """Write source text as the main module, load it and resume as after a restore."""

    def load(source: str) -> Worker:
        name = f"worker_{next(_numbers)}"
        (worker_folder / f"{name}.py").write_text(textwrap.dedent(source))
        host.config["main"] = f"{name}.py"
        platform.load()
        assert host.reports[-1]["ok"], host.reports[-1]["traceback"]
        host.event(RESUME, 0, {"vars": host.config["vars"], "secrets": {}, "host_id": "host-a"})
        return Worker(platform, host, sys.modules[name])

    return load


@pytest.fixture
def run(platform: Any) -> Callable[[Any], Any]:
    """Run a coroutine on the isolate's loop."""
    from warmshard_runtime import event_loop

    return event_loop.main_loop.run_until_complete
