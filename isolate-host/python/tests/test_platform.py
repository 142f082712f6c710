"""Boot, restore, warm-up, log streams and the import hooks."""

import asyncio
import importlib
import logging
import random
import sys
import tempfile
import time

import pytest
from fake_host import RESUME


@pytest.mark.parametrize(
    "name",
    [
        "pyodide.webloop",
        "pyodide.http",
        "pyodide.http.pyxhr",
        "pyodide.code",
        "pyodide.console",
        "pyodide.ffi.wrappers",
        "pyodide._package_loader",
        "pyodide._state",
        "_pyodide._base",
        "pyodide_js",
        "pyodide_js._api",
        "asgi",
        "workers.wsgi",
    ],
)
def test_python_halves_import(platform, name):
    importlib.import_module(name)


def test_pyodide_did_not_take_over_asyncio(platform):
    from warmshard_runtime import event_loop

    assert time.sleep.__module__ == "time"
    assert isinstance(asyncio.new_event_loop(), event_loop.HostLoop)
    assert asyncio.get_event_loop_policy().get_event_loop() is event_loop.main_loop


def test_pyodide_core_is_ours_and_names_what_is_missing(platform):
    import pyodide.ffi

    core = sys.modules["_pyodide_core"]
    assert core.__file__.endswith("_pyodide_core.py")
    assert pyodide.ffi.to_js is core.to_js
    with pytest.raises(AttributeError, match="_pyodide_core.JsFuncSignature is not available in this version"):
        core.JsFuncSignature


def test_search_path_puts_the_worker_first_and_the_platform_last(platform, worker_folder):
    assert sys.path[:2] == [str(worker_folder), str(worker_folder / "python_modules")]
    assert sys.path[-1].endswith("isolate-host/python")


def test_compatibility_flags(platform):
    import _cloudflare_compat_flags as flags

    flags._configure(["x"], "2026-01-01")
    assert flags.x and not flags.y and not flags.python_request_headers_preserve_commas
    flags._configure([], "2026-02-17")
    assert flags.python_request_headers_preserve_commas
    flags._configure(["disable_python_request_headers_preserve_commas"], "2026-02-17")
    assert not flags.python_request_headers_preserve_commas


# --- restore ----------------------------------------------------------------


def resume(host, platform):
    host.event(RESUME, 0, {"vars": {}, "secrets": {}, "host_id": "host-b"})
    platform.pump()


def test_two_restores_of_one_state_do_not_agree(platform, host):
    from warmshard_runtime.environment import env

    state = random.getstate()
    drawn, names = [], []
    for _ in range(2):
        random.setstate(state)
        tempfile._name_sequence = None
        resume(host, platform)
        drawn.append(random.random())
        names.append(next(tempfile._get_candidate_names()))
    assert drawn[0] != drawn[1] and names[0] != names[1]
    assert not env.__dict__


def test_resume_reseeds_numpy_where_it_is_loaded(platform, host, monkeypatch):
    calls = []

    class Fake:
        @staticmethod
        def seed():
            calls.append("seed")

    monkeypatch.setitem(sys.modules, "numpy.random", Fake)
    # The SDK's own hooks for numpy expect the real one.
    import _cloudflare.import_patch_manager as patches

    monkeypatch.setattr(patches, "_after_snapshot", {})
    monkeypatch.setattr(patches, "_before_first_request", {})
    resume(host, platform)
    assert calls == ["seed"]


def test_resume_is_quick(platform, host):
    from warmshard_runtime import restore

    payload = {"vars": {"A": "b"}, "secrets": {}, "host_id": "h"}
    restore.resume(payload)
    start = time.perf_counter()
    for _ in range(100):
        restore.resume(payload)
    assert (time.perf_counter() - start) / 100 < 0.001


# --- warm-up ----------------------------------------------------------------


def test_warm_up_calls_no_handler_and_leaves_nothing(load, host, platform):
    worker = load(
        """
        from fastapi import FastAPI
        from workers import WorkerEntrypoint
        import asgi

        app = FastAPI()
        called = []

        class Default(WorkerEntrypoint):
            async def fetch(self, request):
                called.append(1)
                return await asgi.fetch(app, request.js_object, self.env)
        """
    )
    from warmshard_runtime import attribution, event_loop, exchange

    host.events.clear()
    platform.warm_up()
    assert not worker.module.called and not host.logs and not host.replies
    assert not exchange.in_flight and attribution.current_id() == 0
    loop = event_loop.main_loop
    assert not loop.has_ready() and loop.next_deadline() is None
    assert not asyncio.all_tasks(loop)
    with pytest.raises(RuntimeError):
        asyncio.get_running_loop()


def test_after_the_warm_up_a_request_imports_nothing(load, host, platform):
    worker = load(
        """
        from fastapi import FastAPI
        from workers import WorkerEntrypoint
        import asgi

        app = FastAPI()

        @app.get("/")
        async def root():
            return {}

        class Default(WorkerEntrypoint):
            async def fetch(self, request):
                return await asgi.fetch(app, request.js_object, self.env)
        """
    )
    platform.warm_up()
    before = set(sys.modules)
    assert worker.fetch().body == b"{}"
    assert set(sys.modules) == before


def test_a_failing_warm_up_is_only_logged(host, platform, monkeypatch):
    from warmshard_runtime import warm

    monkeypatch.setattr(warm, "_rounds", lambda: [(lambda exchange: 1 / 0, ("GET", "/", False))])
    platform.warm_up()
    assert "warm-up of the platform failed" in host.log_text()


# --- logs -------------------------------------------------------------------


def test_streams_become_lines(platform, host):
    from warmshard_runtime import logs

    out = logs._stream(1, logs.INFO)
    print("one", file=out)
    print("two\nthree", "four", file=out)
    print("no end", end="", file=out, flush=True)
    print(" yet \udcff", file=out)
    out.buffer.write(b"raw \xff\n")
    out.flush()
    assert [text for _, _, text in host.logs] == ["one", "two", "three four", "no end yet \\udcff", "raw \\xff"]
    assert out.fileno() == 1 and not out.isatty()


def test_basic_config_still_works_in_a_worker(platform, host):
    assert not logging.getLogger().handlers
    logging.getLogger("x").warning("by default")
    logging.getLogger("x").info("not shown by default")
    assert [(level, text) for _, level, text in host.logs] == [(30, "x: by default")]


# --- import hooks -----------------------------------------------------------


@pytest.fixture
def package(worker_folder):
    def write(name: str, source: str):
        (worker_folder / f"{name}.py").write_text(source)
        importlib.invalidate_caches()

    return write


def test_exec_patches_surround_the_modules_code(platform, package):
    from contextlib import contextmanager

    from _cloudflare.import_patch_manager import register_create_patch, register_exec_patch

    package("patched_one", "import sys\nvalue = before + ['code']\n")
    events = []

    @register_exec_patch("patched_one")
    @contextmanager
    def around(module):
        module.before = ["before"]
        yield
        module.value.append("after")

    @register_create_patch("patched_one")
    @contextmanager
    def creating(spec):
        events.append(spec.name)
        yield

    import patched_one

    assert patched_one.value == ["before", "code", "after"]
    assert events == ["patched_one"]
    assert type(patched_one.__loader__).__name__ == type(patched_one.__spec__.loader).__name__ == "SourceFileLoader"


def test_blocked_functions_work_again_in_handlers(platform, host, package, monkeypatch):
    from contextlib import contextmanager

    import _cloudflare.import_patch_manager as patches

    monkeypatch.setattr(patches, "_blocking", True)
    package("draws", "def draw():\n    return 4\n\ndef seed():\n    return 1\n\nclass Generator: pass\n")

    @patches.register_exec_patch("draws")
    @contextmanager
    def block(module):
        yield
        patches.block_calls(module, allowlist=("seed",))

    hooks = []
    patches.register_before_first_request("draws")(lambda module: hooks.append(module.draw()))
    import draws
    from draws import draw

    with pytest.raises(RuntimeError, match=r"Cannot use draws.draw\(\) outside of request context"):
        draw()
    assert draws.seed() == 1 and isinstance(draws.Generator(), draws.Generator)
    resume(host, platform)
    assert draw() == 4 and hooks == [4]


def test_entropy_contexts_exist(platform):
    from _cloudflare.allow_entropy import allow_bad_entropy_calls

    with allow_bad_entropy_calls(1):
        pass
