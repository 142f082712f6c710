"""The worker's top level and what is reported about it."""

import sys

import pytest


@pytest.fixture
def report(platform, host, worker_folder):
    def report(name: str, source: str):
        path = worker_folder / f"{name}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(source)
        host.config["main"] = f"{name}.py"
        platform.load()
        return host.reports[-1]

    return report


def test_a_raising_top_level_is_reported_with_the_workers_frames_only(report):
    found = report("raises", "def helper():\n    raise ValueError('broken top level')\nhelper()\n")
    assert found["ok"] is False
    assert found["error"] == "ValueError: broken top level"
    assert "raise ValueError('broken top level')" in found["traceback"]
    assert "warmshard_runtime" not in found["traceback"] and "importlib" not in found["traceback"]


def test_a_syntax_error_names_the_line(report):
    found = report("syntax", "def f(:\n")
    assert found["error"].startswith("SyntaxError")
    assert "def f(:" in found["traceback"]


@pytest.mark.parametrize("statement", ["import sys; sys.exit(1)", "raise KeyboardInterrupt"])
def test_leaving_the_interpreter_is_reported_too(report, statement):
    assert report("leaves", statement)["ok"] is False
    sys.modules.pop("leaves", None)


def test_no_entrypoint(report):
    found = report("empty", "x = 1\n")
    assert "defines neither a class `Default(WorkerEntrypoint)`" in found["error"]
    found = report("without", "class Default:\n    pass\n")
    assert "has no method `fetch`" in found["error"]


def test_a_missing_module_is_named(report):
    assert "No module named 'nowhere'" in report("missing", "import nowhere\n")["error"]


def test_entrypoints_are_listed_and_subfolders_work(report):
    source = (
        "from workers import WorkerEntrypoint\n"
        "class Default(WorkerEntrypoint):\n    async def fetch(self, request): ...\n"
        "class Admin(WorkerEntrypoint):\n    async def greet(self): ...\n"
    )
    found = report("folder/inner", source)
    assert found == {"ok": True, "error": "", "traceback": "", "entrypoints": ["Default", "Admin"]}


def test_top_level_may_use_js_objects_and_asyncio_run(report):
    source = """
import asyncio, js
from pyodide.ffi import to_js

headers = js.Headers.new({"a": "b"})
data = to_js({"x": [1, 2]})

async def main():
    await asyncio.sleep(0.001)
    return await js.Response.new("text").text()

text = asyncio.run(main())
other = asyncio.get_event_loop().run_until_complete(main())

def on_fetch():
    return js.Response.new(text, headers=headers)
"""
    found = report("top", source)
    assert found["ok"], found["traceback"]
    assert sys.modules["top"].text == sys.modules["top"].other == "text"
    assert sys.modules["top"].data.x[1] == 2
