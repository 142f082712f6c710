"""Objects of the interpreter, and the names a worker's author knows them by.

Slow and wasteful of memory: only for a deployment that is about to be refused.
"""

import gc
import os
import sys
from collections import deque
from collections.abc import Callable, Iterator
from types import (
    CellType,
    FrameType,
    FunctionType,
    GetSetDescriptorType,
    MappingProxyType,
    MemberDescriptorType,
    ModuleType,
)
from typing import Any

__all__ = ["names_of", "variables"]

#: A step on the way to an object: the step before, and what follows its name.
_Step = tuple[Any, str]


def variables() -> Iterator[tuple[Any, Callable[[], str]]]:
    """Every object that modules lead to, each once, with a function that gives its name.

    The shortest way comes first, and the worker's own modules before all others. The name
    is what one would write: `entry.CLIENTS['a'].socket`.
    """
    modules = [(name, module) for name, module in list(sys.modules.items()) if type(module) is ModuleType]
    modules.sort(key=_distance)
    pending: deque[tuple[Any, _Step]] = deque()
    seen = {id(module) for _, module in modules}
    seen.update(map(id, (modules, pending)))
    for name, module in modules:
        pending.extend((value, ((None, name), f".{key}")) for key, value in vars(module).items())
        while pending:
            found, step = pending.popleft()
            if id(found) in seen or type(found) in (ModuleType, FrameType):
                continue
            seen.add(id(found))
            yield found, lambda step=step: _render(step)
            pending.extend((part, (step, label)) for label, part in _parts(found))


def names_of(targets: list[Any]) -> dict[int, str]:
    """The names of some objects, by their `id`; what no variable holds is left out."""
    wanted, names = set(map(id, targets)), {}
    for found, name in variables():
        if id(found) in wanted:
            names[id(found)] = name()
            if len(names) == len(wanted):
                break
    return names


def _distance(item: tuple[str, ModuleType]) -> int:
    """0 for the worker's own modules, 1 for its packages, 2 for all others."""
    from . import modules

    path = getattr(item[1], "__file__", None) or ""
    if not path.startswith(modules.worker_folder + os.sep):
        return 2
    return 1 if f"{os.sep}python_modules{os.sep}" in path else 0


def _render(step: _Step | None) -> str:
    labels = []
    while step is not None:
        step, label = step
        labels.append(label)
    return "".join(reversed(labels))


def _parts(found: Any) -> Iterator[tuple[str, Any]]:
    """What an object holds, each with what follows the object's name."""
    kind = type(found)
    if kind in (str, bytes, int, float, bool, complex, type(None)):
        return
    if issubclass(kind, dict):
        for key, value in list(dict.items(found)):
            yield f"[{_key(key)}]", value
            yield " (a key)", key
    elif kind in (list, tuple):
        yield from ((f"[{index}]", part) for index, part in enumerate(found))
    elif kind in (set, frozenset):
        yield from ((" (a member)", part) for part in list(found))
    elif kind is CellType:
        yield from (("", part) for part in gc.get_referents(found))
    elif kind is FunctionType:
        yield from _parts_of_function(found)
    elif issubclass(kind, type):
        yield from ((f".{name}", part) for name, part in list(type.__dict__["__dict__"].__get__(found).items()))
    else:
        yield from _attributes(found, kind)
        yield from ((f" (in a {kind.__name__})", part) for part in gc.get_referents(found))


def _parts_of_function(found: FunctionType) -> Iterator[tuple[str, Any]]:
    for name, cell in zip(found.__code__.co_freevars, found.__closure__ or ()):
        yield f"(…).{name}", cell
    yield from ((".__defaults__", part) for part in found.__defaults__ or ())
    yield from ((f".__kwdefaults__[{name!r}]", part) for name, part in (found.__kwdefaults__ or {}).items())
    yield from ((f".{name}", part) for name, part in vars(found).items())
    yield ".__code__", found.__code__


def _attributes(found: Any, kind: type) -> Iterator[tuple[str, Any]]:
    """Without asking the object itself, whose own idea of attributes may be anything."""
    for owner in kind.__mro__:
        for name, member in list(vars(owner).items()):
            if type(member) is MemberDescriptorType:
                try:
                    yield f".{name}", member.__get__(found)
                except Exception:
                    continue
            elif name == "__dict__" and type(member) is GetSetDescriptorType:
                try:
                    attributes = member.__get__(found)
                except Exception:
                    continue
                if type(attributes) in (dict, MappingProxyType):
                    yield from ((f".{key}", value) for key, value in list(attributes.items()))


def _key(key: Any) -> str:
    return repr(key) if type(key) in (str, bytes, int, bool, type(None)) else type(key).__name__
