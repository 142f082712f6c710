"""Exceptions to "no randomness at top level".

This version does not police entropy at top level yet, so the contexts permit what
would be permitted anyway. They are here because packages' patches use them; the
counting of calls comes with the policing.
"""

from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["allow_bad_entropy_calls"]


@contextmanager
def allow_bad_entropy_calls(num_calls: int) -> Iterator[None]:
    """Let the next `num_calls` draws of entropy through."""
    yield
