"""Log lines: `print`, `logging` and `console`, each with the request it belongs to.

The host captures the file descriptors 1 and 2 as well, but only here is it known which
request is running. So the standard streams hand their lines to the host one by one;
what bypasses them (C code, a crash) still arrives over the descriptors.
"""

import io
import logging
import os
import sys
from typing import Any

from . import host, tracebacks
from .attribution import current_id

__all__ = ["DEBUG", "ERROR", "INFO", "WARNING", "emit", "emit_exception", "expect", "install"]

DEBUG, INFO, WARNING, ERROR = logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR

#: A line longer than this is cut in pieces rather than kept in memory.
_LONGEST_LINE = 64 * 1024
#: Causes of an exception looked at; a chain may be a circle.
_LONGEST_CHAIN = 16


def emit(level: int, text: str, request: int | None = None) -> None:
    """Hand one entry to the host. Logging must not be what breaks a worker."""
    try:
        host.log(current_id() if request is None else request, level, text)
    except Exception:
        os.write(2, text.encode("utf-8", "backslashreplace") + b"\n")


def emit_exception(error: BaseException, heading: str, request: int | None = None) -> None:
    """The whole traceback as one entry."""
    emit(ERROR, f"{heading}\n{tracebacks.render(error)}", request)


class _LineWriter(io.RawIOBase):
    """The bottom of `sys.stdout` and `sys.stderr`: complete lines become log entries."""

    def __init__(self, descriptor: int, level: int) -> None:
        self._descriptor = descriptor
        self._level = level
        self._rest = b""

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return False

    def write(self, data: Any) -> int:
        raw = bytes(data)
        *lines, self._rest = (self._rest + raw).split(b"\n")
        for line in lines:
            emit(self._level, line.decode("utf-8", "backslashreplace"))
        if len(self._rest) > _LONGEST_LINE:
            emit(self._level, self._rest.decode("utf-8", "backslashreplace"))
            self._rest = b""
        return len(raw)


def expect(error: BaseException) -> None:
    """Frameworks log what interrupts them. That a client went away is no error."""
    error._warmshard_expected = True


def _is_expected(record: logging.LogRecord) -> bool:
    error = record.exc_info[1] if record.exc_info else None
    for _ in range(_LONGEST_CHAIN):
        if error is None:
            break
        if getattr(error, "_warmshard_expected", False):
            return True
        error = error.__cause__ or error.__context__
    return False


class _HostHandler(logging.Handler):
    """Where `logging` goes when the worker has not configured it."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = self.format(record)
        except Exception:
            self.handleError(record)
        else:
            emit(DEBUG if _is_expected(record) else record.levelno, text)


def _stream(descriptor: int, level: int) -> io.TextIOWrapper:
    writer = io.BufferedWriter(_LineWriter(descriptor, level))
    return io.TextIOWrapper(writer, encoding="utf-8", errors="backslashreplace", line_buffering=True)


def install() -> None:
    """Standard streams and `logging`'s last resort.

    The last resort, not a handler on the root logger: with one there
    `logging.basicConfig(...)` in a worker would silently do nothing.
    """
    sys.stdout = sys.__stdout__ = _stream(1, INFO)
    sys.stderr = sys.__stderr__ = _stream(2, WARNING)
    handler = _HostHandler(logging.WARNING)
    handler.setFormatter(logging.Formatter("%(name)s: %(message)s"))
    logging.lastResort = handler
