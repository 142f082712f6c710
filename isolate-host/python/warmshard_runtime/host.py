"""The host's operations: one function of a builtin module, and names for its numbers.

`call(op, id, data)` is synchronous and quick. Structured data crosses as `marshal`
(version 2, which is what the host's side reads and writes).
"""

from marshal import dumps as _dumps
from marshal import loads
from typing import Any

import _warmshard

__all__ = ["Host", "call", "dumps", "loads"]

call = _warmshard.call

POLL = 1
PARK = 2
CONFIG = 3
REPORT = 4
LOG = 5
WAIT = 6
RESPONSE_HEAD = 10
RESPONSE_CHUNK = 11
RESPONSE_END = 12
RESPONSE_FAIL = 13
REQUEST_DONE = 14
RESPONSE_FULL = 15
BODY_PULL = 20
BODY_CANCEL = 21
RANDOM = 30
MARK = 40
ALLOW = 41
SEARCH = 42

EVENT_RESUME = 1
EVENT_REQUEST = 2
EVENT_BODY_CHUNK = 3
EVENT_BODY_END = 4
EVENT_BODY_ERROR = 5
EVENT_DRAINED = 6
EVENT_CANCEL = 7
EVENT_TIMER = 8

_MARSHAL_VERSION = 2

#: PARK without a deadline, by far the most frequent one.
_NO_DEADLINE = _dumps(None, _MARSHAL_VERSION)


def dumps(value: Any) -> bytes:
    return _dumps(value, _MARSHAL_VERSION)


class Host:
    """What a request needs of the host. The warm-up has a stand-in of its own."""

    __slots__ = ()

    def respond(self, request: int, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        call(RESPONSE_FULL, request, _dumps((status, headers, body), _MARSHAL_VERSION))

    def respond_head(self, request: int, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        call(RESPONSE_HEAD, request, _dumps((status, headers, True), _MARSHAL_VERSION))

    def respond_chunk(self, request: int, data: bytes) -> bool:
        """True: send on. False: accepted, but wait for DRAINED before the next chunk."""
        return call(RESPONSE_CHUNK, request, data) is None

    def respond_end(self, request: int) -> None:
        call(RESPONSE_END, request)

    def respond_failure(self, request: int, code: str, message: str) -> None:
        call(RESPONSE_FAIL, request, _dumps((code, printable(message)), _MARSHAL_VERSION))

    def request_done(self, request: int) -> None:
        call(REQUEST_DONE, request)

    def pull_body(self, request: int) -> None:
        call(BODY_PULL, request)

    def cancel_body(self, request: int) -> None:
        call(BODY_CANCEL, request)


def poll() -> list[tuple[int, int, Any]]:
    raw = call(POLL)
    return loads(raw) if raw else []


def park(deadline: float | None) -> None:
    call(PARK, 0, _NO_DEADLINE if deadline is None else _dumps(deadline, _MARSHAL_VERSION))


def wait(deadline: float | None) -> None:
    """Give the thread back in the middle of a call: until an event waits or the deadline."""
    call(WAIT, 0, _NO_DEADLINE if deadline is None else _dumps(deadline, _MARSHAL_VERSION))


def config() -> dict[str, Any]:
    found: dict[str, Any] = loads(call(CONFIG))
    return found


def report(ok: bool, error: str, trace: str, entrypoints: list[str]) -> None:
    found = {"ok": ok, "error": printable(error), "traceback": printable(trace), "entrypoints": entrypoints}
    call(REPORT, 0, dumps(found))


def log(request: int, level: int, text: str) -> None:
    call(LOG, request, _dumps((level, printable(text)), _MARSHAL_VERSION))


def allow(draws: int, purpose: str) -> tuple[int, int]:
    """How many draws of entropy may follow; how many were left, and refused so far."""
    found: tuple[int, int] = loads(call(ALLOW, draws, purpose.encode("utf-8", "replace")))
    return found


def search(data: bytes = b"") -> list[tuple[int, int, str, str]]:
    """Copies of what the host let be drawn, in `data` or in all of memory: `(at, length,
    form, purpose of the draw)`."""
    found: list[tuple[int, int, str, str]] = loads(call(SEARCH, 0, data))
    return found


def printable(text: str) -> str:
    """Lone surrogates are legal in a Python string but not in UTF-8."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()
