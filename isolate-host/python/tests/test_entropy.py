"""The rules of a top level, and what is seeded anew after it."""

import importlib
import linecache
import random
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from typing import Any

import pytest
from fake_host import RESUME

ON_FETCH = "\ndef on_fetch():\n    return None\n"


@pytest.fixture
def top_level(platform: Any, host: Any, worker_folder: Any) -> Any:
    """Runs source text as a top level; gives the report and the module."""
    made: list[str] = []
    linecache.clearcache()
    importlib.invalidate_caches()

    def run(source: str) -> tuple[dict[str, Any], Any]:
        name = f"top_{len(made)}"
        made.append(name)
        (worker_folder / f"{name}.py").write_text(textwrap.dedent(source).strip() + ON_FETCH)
        host.config["main"] = f"{name}.py"
        platform.load()
        return host.reports[-1], sys.modules.get(name)

    yield run
    for name in made:
        sys.modules.pop(name, None)


def refused(top_level: Any, source: str) -> str:
    report, _ = top_level(source)
    assert not report["ok"], "it was let through"
    return str(report["error"])


# --- what is refused --------------------------------------------------------
@pytest.mark.parametrize(
    ("statement", "kind", "call"),
    [
        ("import random; X = random.random()", "RuntimeError", "random.random()"),
        ("import random; X = random.getrandbits(8)", "RuntimeError", "random.getrandbits()"),
        ("import random; X = random.choice([1, 2])", "RuntimeError", "random.choice()"),
        ("import random; random.shuffle([1, 2])", "RuntimeError", "random.shuffle()"),
        ("import random; random.seed(1)", "RuntimeError", "random.seed()"),
        ("import random; random.getstate()", "RuntimeError", "random.getstate()"),
        ("import random; X = random.Random().random()", "RuntimeError", "random.Random().random()"),
        ("import random; X = random.Random().choice([1, 2])", "RuntimeError", "random.Random().choice()"),
        ("import copy, random; X = copy.copy(random.Random())", "RuntimeError", "copy.copy()"),
        ("from random import random; X = random()", "RuntimeError", "random.random()"),
        ("import random; X = random.SystemRandom().random()", "OSError", "random.SystemRandom().random()"),
        ("import os; X = os.urandom(4)", "OSError", "os.urandom()"),
        ("from os import urandom; X = urandom(4)", "OSError", "os.urandom()"),
        ("import uuid; X = uuid.uuid4()", "OSError", "uuid.uuid4()"),
        ("import secrets; X = secrets.token_hex()", "OSError", "secrets.token_hex()"),
        ("import secrets; X = secrets.choice([1, 2])", "OSError", "choice()"),
        ("import js; X = js.crypto.randomUUID()", "OSError", "js.crypto.randomUUID()"),
    ],
)
def test_a_draw_is_refused_with_file_line_and_advice(top_level, statement, kind, call):
    error = refused(top_level, f"# a comment\n{statement}")
    assert error.startswith(kind + ": "), error
    for expected in (call, "outside of request context", "top_0.py, line 2", statement, "request is handled"):
        assert expected in error, f"no `{expected}` in: {error}"


def test_a_draw_in_a_function_names_the_line_that_draws(top_level):
    error = refused(top_level, "import uuid\ndef make():\n    return uuid.uuid4()\nTOKEN = make()")
    assert "top_0.py, line 3: `return uuid.uuid4()`" in error


def test_a_package_that_draws_is_named_with_the_line_that_imports_it(top_level, worker_folder):
    (worker_folder / "python_modules" / "drawing_package.py").write_text("import uuid\n\nKEY = uuid.uuid4()\n")
    error = refused(top_level, "x = 1\nimport drawing_package")
    assert "uuid.uuid4() at top level (drawing_package.py, line 3: `KEY = uuid.uuid4()`" in error
    assert "which top_0.py, line 2: `import drawing_package` led to" in error
    assert "Import the package inside the handler" in error


def test_who_catches_the_refusal_goes_on(top_level):
    report, module = top_level(
        """
        import os
        try:
            SALT = os.urandom(8)
        except OSError:
            SALT = None
        """
    )
    assert report["ok"] and module.SALT is None


def test_everything_is_put_back_for_requests(top_level, host, platform):
    import os

    before = (os.urandom, random.random, random.seed, dict(vars(random.Random)), tempfile._RandomNameSequence)
    report, module = top_level("from random import random, seed\nfrom os import urandom\nimport os")
    assert report["ok"], report["traceback"]
    after = (os.urandom, random.random, random.seed, dict(vars(random.Random)), tempfile._RandomNameSequence)
    assert before == after and tempfile._name_sequence is None
    assert module.random is random.random and module.urandom is os.urandom and module.seed is random.seed


def test_what_keeps_a_function_out_of_reach_works_in_requests_too(top_level, host, platform):
    report, module = top_level(
        """
        import random
        def draw(source=random.random):
            return source()
        class Dice:
            source = random.random
        """
    )
    assert report["ok"], report["traceback"]
    host.event(RESUME, 0, {})
    platform.pump()
    assert 0 <= module.draw() < 1 and 0 <= module.Dice().source() < 1


# --- what is allowed --------------------------------------------------------
def test_a_generator_with_a_seed_is_the_workers_own_business(top_level):
    report, module = top_level("import random\nR = random.Random(42)\nX = R.random()\nY = R.choice([1, 2, 3])")
    assert report["ok"], report["traceback"]
    expected = random.Random(42)
    assert (module.X, module.Y) == (expected.random(), expected.choice([1, 2, 3]))
    assert module.R.random() == expected.random(), "it goes on after the snapshot"


def test_allowances_are_counted_and_taken_back(top_level):
    source = """
    import os
    from _cloudflare.allow_entropy import allow_bad_entropy_calls
    with allow_bad_entropy_calls(2):
        os.urandom(1)
        with allow_bad_entropy_calls(1):
            os.urandom(1)
        os.urandom(1)
        try:
            os.urandom(1)
        except OSError as error:
            FIRST = str(error)
    with allow_bad_entropy_calls(5):
        pass
    os.urandom(2)
    """
    error = refused(top_level, source)
    assert "os.urandom(2)" in error, "nothing is left of an allowance when it ends"


def test_temporary_names_are_made_without_entropy(top_level, host):
    report, module = top_level("import tempfile\nPATH = tempfile.mktemp()\nOTHER = tempfile.mktemp()")
    assert report["ok"], report["traceback"]
    assert module.PATH != module.OTHER and not host.draws


def test_multiprocessing_imports(top_level, monkeypatch):
    for name in [name for name in sys.modules if name.startswith("multiprocessing")]:
        monkeypatch.delitem(sys.modules, name)
    report, _ = top_level("import multiprocessing.process")
    assert report["ok"], report["traceback"]


# --- seeding anew -----------------------------------------------------------
def test_the_workers_generators_are_seeded_anew_in_every_isolate(top_level, host, platform):
    report, module = top_level(
        """
        import random, time
        class Dice(random.Random):
            pass
        PLAIN, DICE, HELD = random.Random(), Dice(), {"list": [random.Random()]}
        BY_THE_CLOCK = random.Random(time.time())
        FIXED = random.Random(7)
        """
    )
    assert report["ok"], report["traceback"]
    from warmshard_runtime.entropy import generators

    mine = [module.PLAIN, module.DICE, module.HELD["list"][0], module.BY_THE_CLOCK]
    assert all(any(found is one for found in generators._unseeded) for one in mine)
    states = [one.getstate() for one in (*mine, module.FIXED, random._inst)]
    drawn = []
    for _ in range(2):
        # As restored from one snapshot.
        for one, state in zip((*mine, module.FIXED, random._inst), states):
            one.setstate(state)
        generators._promised = None
        generators.remember()
        host.event(RESUME, 0, {})
        platform.pump()
        drawn.append([one.random() for one in mine] + [random.random()])
        assert module.FIXED.getstate() == states[-2]
    assert len({*drawn[0], *drawn[1]}) == 2 * len(drawn[0]), "no two generators, and no two restores, agree"


def test_an_isolate_whose_state_is_not_the_snapshots_does_not_serve(top_level, host, platform):
    from warmshard_runtime.restore import RestoreError

    report, _ = top_level("x = 1")
    assert report["ok"], report["traceback"]
    random.random()
    host.event(RESUME, 0, {})
    with pytest.raises(RestoreError, match="the state of `random` is not the one"):
        platform.pump()


def test_a_draw_past_the_rules_is_noticed_before_the_snapshot(top_level):
    error = refused(top_level, "import random, _random\n_random.Random.random(random._inst)")
    assert "numbers were drawn from `random` before the snapshot, past the rules" in error


# --- leaks ------------------------------------------------------------------
def test_whatever_holds_a_draw_is_named(top_level, host):
    source = """
    import os
    from _cloudflare.allow_entropy import allow_bad_entropy_calls
    with allow_bad_entropy_calls(3):
        RAW, INSIDE, _ = os.urandom(16), {"key": [bytearray(os.urandom(16))]}, os.urandom(16)
    class Holder:
        value = RAW + b"more"
    def remembers(default=RAW):
        pass
    _ = None
    import _warmshard
    _warmshard.call.__self__.memory = [RAW, Holder.value]
    """
    error = refused(top_level, source)
    assert error.startswith("LeakError: these variables hold something that was drawn at top level"), error
    assert "`top_0.RAW` (bytes)" in error
    assert "`top_0.INSIDE['key'][0]` (bytes in a bytearray)" in error
    assert "`top_0.Holder.value` (bytes)" in error


# --- what cannot be kept ----------------------------------------------------
@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import os\nLOG = open(os.devnull, 'w')", "`top_0.LOG` is open for writing on `/dev/null`"),
        ("import os\nFILES = {'log': open(os.devnull, 'wb')}", "`top_0.FILES['log']` is open for writing"),
        ("import socket\nS = socket.socket()", "`top_0.S` is an open socket"),
        (
            "import asyncio\nasync def work():\n    await asyncio.sleep(99)\n"
            "TASK = asyncio.get_event_loop_policy().get_event_loop().create_task(work())",
            "`top_0.TASK` is a task that is still running (work(), top_0.py, line 2)",
        ),
        (
            "import asyncio\nTIMER = asyncio.get_event_loop_policy().get_event_loop().call_later(99, print)",
            "`top_0.TIMER` is a timer that has not run out (it calls print)",
        ),
    ],
)
def test_what_no_snapshot_keeps_is_refused_by_name(top_level, source, expected):
    error = refused(top_level, source)
    assert expected in error, error
    # Let go of it, for the tests that follow.
    module = sys.modules["top_0"]
    for name, method in {"LOG": "close", "S": "close", "TASK": "cancel", "TIMER": "cancel"}.items():
        if hasattr(module, name):
            getattr(getattr(module, name), method)()
    for file in getattr(module, "FILES", {}).values():
        file.close()


def test_what_is_closed_or_done_is_nobodys_concern(top_level):
    source = """
    import asyncio, os, socket
    with open(os.devnull, "w") as LOG:
        pass
    READ = open(__file__)
    S = socket.socket()
    S.close()
    async def work():
        return 4
    X = asyncio.run(work())
    SOON = asyncio.get_event_loop_policy().get_event_loop().create_task(work())
    """
    report, module = top_level(source)
    assert report["ok"], report["traceback"]
    module.READ.close()


# --- secrets ----------------------------------------------------------------
def test_a_secret_read_at_top_level_fails_by_name(top_level, host):
    host.config["secrets"] = ["API_KEY"]
    for read in ("env.API_KEY", "getattr(env, 'API_KEY', None)"):
        error = refused(top_level, f"from workers import env\nKEY = {read}")
        assert "the secret `API_KEY` was read at top level (top_" in error, error
        assert "read `self.env.API_KEY` while a request is handled" in error


def test_secrets_are_there_in_requests(top_level, host, platform):
    from warmshard_runtime.environment import env

    host.config["secrets"] = ["API_KEY", "UNSET"]
    report, _ = top_level("x = 1")
    assert report["ok"], report["traceback"]
    host.event(RESUME, 0, {"secrets": {"API_KEY": "k"}})
    platform.pump()
    assert env.API_KEY == "k"
    with pytest.raises(AttributeError):
        env.UNSET
    del env.__dict__["API_KEY"]


# --- numpy ------------------------------------------------------------------
@pytest.fixture
def numpy_unloaded() -> Iterator[None]:
    """An isolate resumes once, and the SDK's hook for numpy relies on it."""
    yield
    sys.modules.pop("numpy.random", None)


@pytest.mark.usefixtures("numpy_unloaded")
def test_numpy_imports_and_is_seeded_anew(top_level, host, platform, monkeypatch):
    report, module = top_level("import numpy\nimport numpy.random\nR = numpy.random.default_rng(7)\nX = R.random()")
    assert report["ok"], report["traceback"]
    import _cloudflare.import_patch_manager as patches
    import numpy.random
    from warmshard_runtime.entropy import generators

    monkeypatch.setattr(patches, "_blocking", False)
    state, drawn = numpy.random.get_state(), []
    for _ in range(2):
        numpy.random.set_state(state)
        generators._promised = None
        host.event(RESUME, 0, {})
        platform.pump()
        drawn.append(numpy.random.random())
    assert drawn[0] != drawn[1]
    assert module.X == numpy.random.default_rng(7).random(), "a generator with a seed is left alone"


@pytest.mark.usefixtures("numpy_unloaded")
def test_numpy_draws_at_top_level_are_refused(top_level, monkeypatch):
    import _cloudflare.import_patch_manager as patches

    monkeypatch.setattr(patches, "_blocking", True)
    error = refused(top_level, "import numpy\nX = numpy.random.rand(3)")
    assert "numpy.random.rand()" in error and "(top_0.py, line 2: `X = numpy.random.rand(3)`)" in error
    error = refused(top_level, "import numpy\nR = numpy.random.default_rng()")
    assert "Cannot get entropy outside of request context" in error
    assert "top_1.py, line 2: `R = numpy.random.default_rng()`" in error


@pytest.mark.usefixtures("numpy_unloaded")
def test_numpys_legacy_generator_works_at_top_level_with_a_seeded_source(top_level):
    # `RandomState(42)` draws entropy before it looks at the seed.
    assert "RandomState(42)" in refused(top_level, "import numpy\nR = numpy.random.RandomState(42)")
    report, module = top_level("import numpy.random as nr\nR = nr.RandomState(nr.MT19937(42))\nX = R.rand()")
    assert report["ok"], report["traceback"]
    assert 0 <= module.X < 1
