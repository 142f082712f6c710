"""Tracebacks as the author of a worker wants to read them.

The platform's own frames and those of the import machinery are left out at the outer
end: they say how the worker was called, which is always the same.
"""

import os
import traceback

__all__ = ["render", "summary"]

_PLATFORM = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_IMPORT_MACHINERY = ("<frozen importlib", os.sep + os.path.join("importlib", "__init__.py"))


def render(error: BaseException) -> str:
    """The traceback with its causes; never raises."""
    try:
        described = traceback.TracebackException.from_exception(error)
        frames = list(described.stack)
        while frames and _says_nothing(frames[0].filename):
            del frames[0]
        if not frames:
            return "".join(described.format_exception_only()).rstrip()
        described.stack = traceback.StackSummary.from_list(frames)
        return "".join(described.format()).rstrip()
    except Exception as broken:
        return f"{type(error).__name__} (its traceback cannot be shown: {type(broken).__name__})"


def summary(error: BaseException) -> str:
    """`Name: message` on one line or few; never raises."""
    try:
        return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    except Exception:
        return type(error).__name__


def _says_nothing(filename: str) -> bool:
    return filename.startswith(_PLATFORM) or any(part in filename for part in _IMPORT_MACHINERY)
