"""Which request the running code belongs to: one context variable."""

import contextvars
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .exchange import Exchange

__all__ = ["current_exchange", "current_id"]

#: Inherited by every task and callback a request starts.
current_exchange: "contextvars.ContextVar[Exchange | None]" = contextvars.ContextVar("warmshard_request", default=None)


def current_id() -> int:
    """The id log lines are attributed to; 0 outside any request."""
    exchange = current_exchange.get()
    return 0 if exchange is None else exchange.id
