"""Finds every object a snapshot holds, so that the host can make them immortal.

Reading an object in CPython writes its reference count, and a write makes a restored
isolate copy the page it shares with all others. Counts of immortal objects are never
written. Objects of a snapshot live as long as the isolate anyway; what is given up is
that those the worker later drops are not freed, nor finalised.

The host keeps the set of objects seen (as addresses) and writes the counts after the
walk is over, when nothing of the walk itself is alive any more.
"""

import gc
from array import array
from types import CoroutineType, FrameType, GeneratorType

from .entropy import generators
from .host import MARK, call

__all__ = ["settle"]

_BATCH = 2048
#: What is still running, or may be: its lifetime ends before the isolate's.
_MORTAL = {FrameType, GeneratorType, CoroutineType}


def settle() -> None:
    """The last Python before a capture; the host calls it with no other frame alive.

    Whatever dies between the walk and the capture must not be marked: that is why this
    is a function of a module that stays, and not a statement whose code is freed.
    """
    generators.assert_untouched()
    gc.collect()
    _mark_everything()
    gc.collect()
    gc.freeze()


def _mark_everything() -> None:
    """Tells the host the address of everything reachable from the collector's objects."""
    pending = gc.get_objects()
    while pending:
        batch = [found for found in pending[-_BATCH:] if type(found) not in _MORTAL]
        del pending[-_BATCH:]
        unseen = call(MARK, 0, array("I", map(id, batch)).tobytes())
        fresh = [found for found, new in zip(batch, unseen) if new]
        pending.extend(gc.get_referents(*fresh))
