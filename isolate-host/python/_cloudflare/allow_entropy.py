"""Exceptions to "no randomness at top level", as packages' patches ask for them.

The host counts the draws. What is not used up is taken back at the end, and is no error:
how often a library draws depends on its version, and on which one is imported first.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from warmshard_runtime.entropy import allowances

__all__ = ["allow_bad_entropy_calls"]


@contextmanager
def allow_bad_entropy_calls(num_calls: int) -> Iterator[None]:
    """Let the next `num_calls` draws of entropy through."""
    with allowances.allowed(num_calls):
        yield
