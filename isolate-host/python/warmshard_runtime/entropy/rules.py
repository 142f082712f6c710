"""The rules of a top level: what draws entropy is replaced while it runs.

Everything is put back when the top level has ended and before the snapshot is taken, so
that a request pays for none of this: class attributes, module attributes, and names a
module took with `from random import random`.
"""

import os
import random
import sys
import tempfile
from _random import Random as _CoreRandom
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.machinery import ExtensionFileLoader
from typing import Any

from . import allowances, generators, refusal

__all__ = ["explained", "in_force"]

_urandom = os.urandom
_shared: random.Random = random._inst  # type: ignore[attr-defined]


class _Guard:
    """Stands for a function of C. Like these it does not become a method in a class."""

    __slots__ = ("_function", "_guarded", "_on")

    def __init__(self, function: Callable[..., Any], guarded: Callable[..., Any]) -> None:
        self._function = function
        self._guarded = guarded
        self._on = True

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return (self._guarded if self._on else self._function)(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._function, name)


#: Draws that the host refused and that were explained to whoever made them.
explained = 0


def _guarded_urandom(size: int) -> bytes:
    try:
        return _urandom(size)
    except OSError:
        global explained
        explained += 1
    raise refusal.entropy_error("os.urandom()") from None


def _refuse(name: str) -> Callable[..., Any]:
    def refuse(*_args: Any, **_kwargs: Any) -> Any:
        raise refusal.generator_error(f"random.{name}()")

    return refuse


# --- generators -------------------------------------------------------------
# A generator that was given its seed is the worker's own business. Any other may be made
# but not drawn from: it is seeded anew in every isolate, and what it gave before is not.


class _Methods:
    """What `random.Random` has instead of its own methods while a top level runs."""

    original_seed = random.Random.seed
    original_getstate = random.Random.getstate
    original_setstate = random.Random.setstate

    def seed(self: Any, a: Any = None, version: int = 2) -> None:
        if self is _shared:
            raise refusal.generator_error("random.seed()")
        if generators.is_chosen(a):
            _Methods.original_seed(self, a, version)
            generators.seeded(self)
        else:
            with allowances.allowed(1, generators.PURPOSE):
                _Methods.original_seed(self, int.from_bytes(_urandom(32), "little"))
            generators.unseeded(self)

    def setstate(self: Any, state: Any) -> None:
        if self is _shared:
            raise refusal.generator_error("random.setstate()")
        _Methods.original_setstate(self, state)
        generators.seeded(self)

    def getstate(self: Any) -> Any:
        if not generators.is_seeded(self):
            raise refusal.generator_error(_name_of(self, "getstate"))
        return _Methods.original_getstate(self)

    def random(self: Any) -> float:
        if not generators.is_seeded(self):
            raise refusal.generator_error(_name_of(self, "random"))
        return _CoreRandom.random(self)

    def getrandbits(self: Any, k: int, /) -> int:
        if not generators.is_seeded(self):
            raise refusal.generator_error(_name_of(self, "getrandbits"))
        return _CoreRandom.getrandbits(self, k)


def _name_of(generator: Any, method: str) -> str:
    return f"random.{method}()" if generator is _shared else f"random.{type(generator).__name__}().{method}()"


class _Names:
    """Names of temporary files at top level: each isolate has files of its own, and the
    names it makes later come from a generator of its own."""

    def __init__(self) -> None:
        self._count = 0

    def __iter__(self) -> "_Names":
        return self

    def __next__(self) -> str:
        self._count += 1
        return f"top{self._count:05}"


_names = _Names()


def _overlays() -> list[tuple[Any, str, Any]]:
    """What is replaced, under which name, by what."""
    urandom = _Guard(_urandom, _guarded_urandom)
    overlays: list[tuple[Any, str, Any]] = [
        (os, "urandom", urandom),
        (random, "_urandom", urandom),
        (tempfile, "_name_sequence", _names),
        (tempfile, "_RandomNameSequence", lambda: _names),
    ]
    posix = sys.modules.get("posix")
    if posix is not None:
        overlays.append((posix, "urandom", urandom))
    # The module's functions are methods bound to a generator of its own. Those not listed
    # end in one that is.
    methods = ("seed", "setstate", "getstate", "random", "getrandbits")
    overlays += [(random, name, _Guard(getattr(random, name), _refuse(name))) for name in methods]
    overlays += [(random.Random, name, vars(_Methods)[name]) for name in methods]
    loads = ("create_module", "exec_module")
    overlays += [(ExtensionFileLoader, name, allowances.extension(vars(ExtensionFileLoader)[name])) for name in loads]
    return overlays


@contextmanager
def in_force() -> Iterator[None]:
    """Code in here is held to the rules of a top level."""
    overlays = _overlays()
    missing = object()
    before = [(owner, name, vars(owner).get(name, missing)) for owner, name, _ in overlays]
    generators.remember()
    allowances.none_allowed()
    for owner, name, replacement in overlays:
        setattr(owner, name, replacement)
    try:
        yield
    finally:
        for owner, name, original in before:
            if original is missing:
                delattr(owner, name)
            else:
                setattr(owner, name, original)
        # What the worker did with temporary files must not name those of its requests.
        tempfile._name_sequence = None  # type: ignore[attr-defined]
        _give_back([replacement for _, _, replacement in overlays if isinstance(replacement, _Guard)])


def _give_back(guards: list[_Guard]) -> None:
    """Modules that took a guard by name get the function itself."""
    functions = {}
    for guard in guards:
        guard._on = False
        functions[id(guard)] = guard._function
    for module in list(sys.modules.values()):
        names = getattr(module, "__dict__", None)
        if type(names) is not dict:
            continue
        for name in [name for name, value in names.items() if type(value) is _Guard]:
            function = functions.get(id(names[name]))
            if function is not None:
                names[name] = function
