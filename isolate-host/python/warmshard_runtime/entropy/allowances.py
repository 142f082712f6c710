"""Draws of entropy that are let through at top level, counted by the host.

Each call of the C library's `getentropy` is one draw: up to 256 bytes.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from .. import host

__all__ = ["OF_THE_WORKER", "allowed", "none_allowed", "refused_draws", "register", "while_importing"]

#: What an allowance is for that the worker's own code asked for.
OF_THE_WORKER = "the worker's top level"
#: Draws of one native extension while it is imported: Rust and C++ seed their hash maps,
#: which is no secret and of which a clone needs no other.
_OF_AN_EXTENSION = 4
#: Modules of the standard library that draw when they are imported.
_OF_THE_STANDARD_LIBRARY = {
    # The key processes authenticate themselves with; a worker has no other processes.
    "multiprocessing.process": 1,
}

#: Draws allowed now and what for; the innermost allowance is the one in force.
_current: tuple[int, str] = (0, "")
#: Modules whose import is under way and has patches, innermost last.
_importing: list[str] = []


@contextmanager
def allowed(draws: int, purpose: str = "") -> Iterator[None]:
    """Let `draws` draws through; those not made are taken back at the end.

    An inner allowance has a number of its own and leaves the outer one's alone.
    """
    global _current
    purpose = purpose or (_importing[-1] if _importing else OF_THE_WORKER)
    left, _ = host.allow(draws, purpose)
    before, _current = (left, _current[1]), (draws, purpose)
    try:
        yield
    finally:
        _current = before
        host.allow(*before)


def none_allowed() -> None:
    """From here on the host refuses draws; before, while Python starts, it does not."""
    global _current
    _current = (0, OF_THE_WORKER)
    host.allow(*_current)


def refused_draws() -> int:
    """How many draws the host has refused."""
    left, refused = host.allow(*_current)
    host.allow(left, _current[1])
    return refused


@contextmanager
def while_importing(module: str) -> Iterator[None]:
    """Allowances asked for in here are for this module."""
    _importing.append(module)
    try:
        yield
    finally:
        _importing.pop()


def extension(load: Any) -> Any:
    """Wraps a step of loading native extensions."""

    def load_extension(self: Any, subject: Any) -> Any:
        with allowed(_OF_AN_EXTENSION, getattr(subject, "__name__", None) or subject.name):
            return load(self, subject)

    return load_extension


def register() -> None:
    """The standard library's exceptions. Those of packages come with the SDK."""
    from _cloudflare.import_patch_manager import register_exec_patch

    def patch_of(draws: int) -> Any:
        return contextmanager(lambda _module: _one(draws))

    for module, draws in _OF_THE_STANDARD_LIBRARY.items():
        register_exec_patch(module)(patch_of(draws))


def _one(draws: int) -> Iterator[None]:
    with allowed(draws):
        yield
