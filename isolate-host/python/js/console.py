"""`console`: log lines with a level, attributed to the request that wrote them."""

import traceback
from typing import Any

from warmshard_runtime import logs

from .array import JsArray
from .base import JsObject, PlainObject, is_nullish, js_class, jsnull

__all__ = ["console"]


def _show(value: Any) -> str:
    if isinstance(value, str):
        return value
    if value is None:
        return "undefined"
    if value is jsnull:
        return "null"
    if value is True or value is False:
        return "true" if value else "false"
    if isinstance(value, BaseException):
        return "".join(traceback.format_exception(value)).rstrip()
    if isinstance(value, (PlainObject, JsArray)):
        from .json import stringify

        return str(stringify(value))
    return str(value)


def _line(values: tuple[Any, ...]) -> str:
    return " ".join(_show(value) for value in values)


class Console(JsObject):
    """Levels are those of Python's `logging`, which the host understands."""

    __slots__ = ()

    def debug(self, *values: Any) -> None:
        logs.emit(logs.DEBUG, _line(values))

    def log(self, *values: Any) -> None:
        logs.emit(logs.INFO, _line(values))

    def warn(self, *values: Any) -> None:
        logs.emit(logs.WARNING, _line(values))

    def error(self, *values: Any) -> None:
        logs.emit(logs.ERROR, _line(values))

    def trace(self, *values: Any) -> None:
        logs.emit(logs.DEBUG, _line(values) + "\n" + "".join(traceback.format_stack()[:-1]).rstrip())

    def dir(self, value: Any = None, *_options: Any) -> None:
        self.log(value)

    def assert_(self, condition: Any = False, *values: Any) -> None:
        if not condition or is_nullish(condition):
            self.error("Assertion failed:", *values)

    info = log
    group = log
    exception = error

    def groupEnd(self) -> None:
        pass


js_class(Console, "console")
console = Console()
