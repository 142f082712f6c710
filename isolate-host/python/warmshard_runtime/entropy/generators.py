"""Generators of random numbers: which are in the snapshot, and seeding them in an isolate.

Seeding lies on the way of a worker's first request: which generators there are is found
out before the snapshot, and one read of entropy does for all of them.
"""

import gc
import os
import random
import sys
import time
from _random import Random as _CoreRandom
from typing import Any
from weakref import WeakSet

__all__ = [
    "PURPOSE",
    "assert_untouched",
    "collect",
    "is_chosen",
    "is_seeded",
    "remember",
    "reseed",
    "reseed_numpy",
    "seeded",
    "unseeded",
]

#: What a draw is for that seeds a generator of the worker's at top level.
PURPOSE = "random.Random()"

_SEED_BYTES = 32

_shared: Any = random._inst  # type: ignore[attr-defined]
_core_seed = _CoreRandom.seed

#: Generators that were given their seed, while a top level runs.
_seeded: "WeakSet[Any]" = WeakSet()
#: The worker's generators that every isolate seeds anew.
_unseeded: tuple[Any, ...] = ()
#: What `random.getrandbits(64)` gives next, as long as nobody has drawn from it.
_promised: int | None = None


# --- while a top level runs -------------------------------------------------
def is_chosen(seed: Any) -> bool:
    """Whether a seed makes a generator the same on purpose.

    None does not, and neither does the time: the clock stands still at top level.
    """
    return seed is not None and not _is_a_time(seed)


def _is_a_time(seed: Any) -> bool:
    if type(seed) not in (int, float):
        return False
    # A frozen clock: nothing lies between these but what the top level may have read.
    latest, now = time.monotonic(), time.time()
    began = now - latest - 0.001
    if type(seed) is float and 0 < seed <= latest:
        return True
    return any(int(began * unit) <= seed <= now * unit for unit in (1, 10**3, 10**6, 10**9))


def seeded(generator: Any) -> None:
    _seeded.add(generator)


def unseeded(generator: Any) -> None:
    _seeded.discard(generator)


def is_seeded(generator: Any) -> bool:
    return generator in _seeded


# --- before the snapshot ----------------------------------------------------
def remember() -> None:
    """Notes the state of `random`'s own generator, which nobody may draw from any more."""
    global _promised
    if _promised is None:
        _promised = _next_of_shared()


def _next_of_shared() -> int:
    """What it would give next, without drawing it."""
    copy = _CoreRandom(0)
    copy.setstate(_CoreRandom.getstate(_shared))
    return copy.getrandbits(64)


def assert_untouched() -> None:
    if _promised is not None and _next_of_shared() != _promised:
        raise RuntimeError(
            "internal error: numbers were drawn from `random` before the snapshot, past the rules that refuse it"
        )


def collect() -> None:
    """Finds the worker's generators that are to be seeded anew."""
    global _unseeded
    assert_untouched()
    # `type(x)`, not `isinstance`: a lazy object would be made to work by being asked.
    found = [x for x in gc.get_objects() if issubclass(type(x), _CoreRandom)]
    _unseeded = tuple(
        x for x in found if x is not _shared and not isinstance(x, random.SystemRandom) and x not in _seeded
    )
    _seeded.clear()


# --- in a restored isolate --------------------------------------------------
def reseed() -> None:
    """Fresh seeds for all of them, from one read of entropy."""
    global _promised
    fresh = os.urandom(_SEED_BYTES * (1 + len(_unseeded)))
    # Asked of the generator itself: it is overwritten at once.
    if _promised is not None and _CoreRandom.getrandbits(_shared, 64) != _promised:
        raise RuntimeError("internal error: the state of `random` is not the one the snapshot was taken with")
    _promised = None
    _seed(_shared, fresh[:_SEED_BYTES])
    for index, generator in enumerate(_unseeded, 1):
        _seed(generator, fresh[index * _SEED_BYTES : (index + 1) * _SEED_BYTES])


def reseed_numpy() -> None:
    """numpy's own shared generator; last, since the SDK first checks that it is unchanged."""
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random is not None:
        numpy_random.seed()


def _seed(generator: Any, fresh: bytes) -> None:
    _core_seed(generator, int.from_bytes(fresh, "little"))
    generator.gauss_next = None
