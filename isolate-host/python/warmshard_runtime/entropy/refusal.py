"""What the author of a worker is told when the top level does what it must not.

Three things are found on the stack: which call of a library it was (`uuid.uuid4()`, not
the `os.urandom` inside), who made it, and, where that is a package, which line of the
worker's own led there.
"""

import errno
import linecache
import os
import sys
from types import FrameType
from typing import Any

__all__ = ["Place", "entropy_error", "find_place", "generator_error", "top_level_error"]

_PLATFORM = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))) + os.sep
#: Ours: how a guard works says nothing to anybody.
_GUARDS = tuple(_PLATFORM + name + os.sep for name in ("warmshard_runtime", "_cloudflare"))
_JS = _PLATFORM + "js" + os.sep
_STANDARD_LIBRARY = os.path.dirname(os.path.abspath(linecache.__file__)) + os.sep
_PACKAGES = os.sep + "python_modules" + os.sep

_SAME_EVERYWHERE = "every isolate would get the same value"
_IN_A_HANDLER = "Call it while a request is handled, in `fetch` for example"
_IN_A_PACKAGE = "Import the package inside the handler, or ask its authors to draw the value when it is first needed"


class Place:
    """Where on the stack something happened, in the worker's terms."""

    __slots__ = ("call", "caller", "worker")

    def __init__(self, call: str, caller: FrameType | None, worker: FrameType | None) -> None:
        #: `module.function()` as the caller wrote it, or nearly so.
        self.call = call
        #: The frame that made the call; of the worker, a package or a module being imported.
        self.caller = caller
        #: The innermost frame of the worker's own code.
        self.worker = worker

    def __str__(self) -> str:
        if self.caller is None:
            return "(before the worker's own code ran)"
        if self.worker is None or self.worker is self.caller:
            return f"({_line(self.caller)})"
        return f"({_line(self.caller)}; which {_line(self.worker)} led to)"

    @property
    def in_a_package(self) -> bool:
        return self.caller is not self.worker


def find_place(call: str) -> Place:
    """`call` names what was called, unless a library's function lies in between."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and _is_between(frame):
        if not _is_guard(frame):
            call = _name_of_call(frame) or call
        frame = frame.f_back
    caller = frame if frame is not None and not _is_guard(frame) else None
    while frame is not None and not _is_of_the_worker(frame):
        frame = frame.f_back
    return Place(call, caller, frame)


def entropy_error(call: str) -> OSError:
    """For what draws from the operating system: `os.urandom` and all that is made of it."""
    place = find_place(call)
    return OSError(
        errno.EIO,
        f"Cannot get entropy outside of request context: {place.call} at top level {place}. "
        f"It is refused because {_SAME_EVERYWHERE}. {_advice(place)}",
    )


def generator_error(call: str) -> RuntimeError:
    """For what draws from a generator whose state the snapshot keeps."""
    place = find_place(call)
    hint = "" if place.in_a_package else "; a generator with a seed, `random.Random(42)`, may be used here"
    return RuntimeError(
        f"Cannot use {place.call} outside of request context: it was called at top level {place}. "
        f"It is refused because {_SAME_EVERYWHERE}. {_advice(place)}{hint}"
    )


def top_level_error(what: str, why: str) -> RuntimeError:
    """`what` happened at top level, and `why` it must not. What lies between is no matter."""
    place = find_place("")
    place.caller = place.worker or place.caller
    return RuntimeError(f"{what} at top level {place}. {why}")


def _advice(place: Place) -> str:
    return _IN_A_PACKAGE if place.in_a_package else _IN_A_HANDLER


def _is_between(frame: FrameType) -> bool:
    """A function of the platform or the standard library; not a module being imported."""
    code = frame.f_code
    if code.co_name == "<module>" or code.co_filename.startswith("<frozen"):
        return False
    between = (*_GUARDS, _JS, _STANDARD_LIBRARY)
    return code.co_filename.startswith(between) and "site-packages" not in code.co_filename


def _is_guard(frame: FrameType) -> bool:
    return frame.f_code.co_filename.startswith(_GUARDS)


def _is_of_the_worker(frame: FrameType) -> bool:
    from .. import modules

    path = frame.f_code.co_filename
    return path.startswith(modules.worker_folder + os.sep) and _PACKAGES not in path


def _name_of_call(frame: FrameType) -> str | None:
    module = frame.f_globals.get("__name__", "")
    name = getattr(frame.f_code, "co_qualname", frame.f_code.co_name)
    if frame.f_code.co_name.startswith("_") or "<" in name:
        return None
    owner: Any = frame.f_locals.get("self")
    if module == "random" and "." in name:
        # The module's functions are methods of a generator nobody sees.
        shared = owner is getattr(sys.modules["random"], "_inst", None)
        name = name.rpartition(".")[2] if shared else f"{type(owner).__name__}().{frame.f_code.co_name}"
    elif module == "js.crypto":
        module, name = "js", name.replace("Crypto", "crypto", 1)
    return f"{module}.{name}()"


def _line(frame: FrameType) -> str:
    path, number = frame.f_code.co_filename, frame.f_lineno
    text = linecache.getline(path, number, frame.f_globals).strip()
    return f"{shown(path)}, line {number}" + (f": `{text}`" if text else "")


def shown(path: str) -> str:
    """A path as the worker's author knows it."""
    from .. import modules

    for folder in (os.path.join(modules.worker_folder, "python_modules"), modules.worker_folder):
        if path.startswith(folder + os.sep):
            return path[len(folder) + 1 :]
    return path
