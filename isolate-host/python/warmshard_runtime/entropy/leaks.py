"""Finds what was drawn at top level and is still held by a variable.

The host knows every byte it let be drawn and searches memory for it: as it is, as
hexadecimal text, as integers. Here it is found out whose memory that is. What libraries
were allowed for themselves may stay, and so may what is left in memory that nobody uses.
"""

import io
import sys
from array import array
from typing import Any

from .. import heap, host
from . import allowances

__all__ = ["LeakError", "check"]

#: Types whose content lies in the object itself.
_INLINE = (bytes, str, int)
#: More are not listed.
_MOST_NAMED = 20


class LeakError(Exception):
    """A variable holds something that was drawn at top level."""


def check() -> None:
    """Refuses a snapshot in which a variable of the worker's holds something drawn."""
    places = [(at, at + length) for at, length, _, purpose in host.search() if purpose == allowances.OF_THE_WORKER]
    if not places:
        return
    found = _holders(sorted(places))
    if found:
        more = len(found) - _MOST_NAMED
        shown = found[:_MOST_NAMED] + ([f"and {more} more"] if more > 0 else [])
        raise LeakError(
            "these variables hold something that was drawn at top level, so that it would be the same in "
            "every isolate: " + "; ".join(shown) + ". Draw it while a request is handled"
        )


def _holders(places: list[tuple[int, int]]) -> list[str]:
    found = []
    for value, name in heap.variables():
        form = _form_in(value, places)
        if form:
            found.append(f"`{name()}` ({form})")
    return found


def _form_in(value: Any, places: list[tuple[int, int]]) -> str:
    """How a value holds poison; an empty text when it does not."""
    kind = next((kind for kind in _INLINE if issubclass(type(value), kind)), None)
    if kind is not None:
        start = id(value)
        end = start + kind.__sizeof__(value)
        return _NAMES[kind] if any(start <= at and until <= end for at, until in places) else ""
    content = _content_of(value)
    if not content:
        return ""
    return next(
        (
            f"{form} in a {type(value).__name__}"
            for _, _, form, purpose in host.search(content)
            if purpose == allowances.OF_THE_WORKER
        ),
        "",
    )


_NAMES = {bytes: "bytes", str: "text", int: "an int"}


def _content_of(value: Any) -> bytes:
    """The bytes of an object that keeps them elsewhere."""
    kind = type(value)
    try:
        if issubclass(kind, (bytearray, array, memoryview)):
            return bytes(value)
        if kind is io.BytesIO:
            return value.getvalue()
        if kind is io.StringIO:
            return value.getvalue().encode("utf-8", "surrogatepass")
        if kind is sys.modules.get("numpy", io).__dict__.get("ndarray"):
            return bytes(value.tobytes())
    except Exception:
        # Closed, released or exported: there is nothing to be read.
        return b""
    return b""
