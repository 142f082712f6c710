"""Runs a package's own test suite in an isolate.

The suite lies beside this file in `tests/`. Its modules are imported at top level, so that
what the tests use is part of the snapshot: classes, fixtures, parameters, constants. Modules
that cannot be imported there are left to the handler.
"""

import contextlib
import importlib
import io
import json
import os
import sys
from pathlib import Path

import pytest
from workers import Response, WorkerEntrypoint

ROOT = Path(__file__).parent
TESTS = sorted(ROOT.glob("tests/**/test_*.py"))

sys.path.insert(0, str(ROOT))
sys.dont_write_bytecode = True

IN_SNAPSHOT = []
for path in TESTS:
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    # What a test module raises when it is imported is anything, pytest's own `skip` among it.
    with contextlib.suppress(Exception, pytest.skip.Exception):
        importlib.import_module(name)
        IN_SNAPSHOT.append(name)


class Recorder:
    """What became of each test."""

    def __init__(self):
        self.outcomes = {}

    def pytest_collectreport(self, report):
        if report.failed:
            self.outcomes[report.nodeid] = "cannot be collected"

    def pytest_runtest_logreport(self, report):
        if report.when == "call" or not report.passed:
            self.outcomes[report.nodeid] = report.outcome


class Default(WorkerEntrypoint):
    async def fetch(self, request):
        os.chdir(ROOT)
        recorder, printed = Recorder(), io.StringIO()
        options = ["-q", "--capture=sys", "--continue-on-collection-errors", "-W", "ignore"]
        for plugin in ("cacheprovider", "faulthandler", "threadexception", "unraisableexception", "anyio"):
            options += ["-p", f"no:{plugin}"]
        with contextlib.redirect_stdout(printed):
            code = pytest.main([*options, *map(str, TESTS)], plugins=[recorder])
        answer = {
            "code": int(code),
            "immortal": sys._is_immortal(IN_SNAPSHOT),
            "imported": len(IN_SNAPSHOT),
            "modules": len(TESTS),
            "outcomes": recorder.outcomes,
            "printed": printed.getvalue()[-8000:],
        }
        return Response(json.dumps(answer), headers={"content-type": "application/json"})
