"""`fetch`: outgoing requests. Not there yet; importing it must work all the same."""

from typing import Any

from .errors import unavailable
from .promise import Promise, rejected

__all__ = ["fetch"]


def fetch(*_args: Any, **_kwargs: Any) -> Promise:
    return rejected(unavailable("js.fetch", "a worker cannot make outgoing HTTP requests yet"))
