"""`Error` and its kin. In Python each of them is a `JsException`, as in Pyodide."""

from typing import Any

from .base import JS_FLAGS, JsClass, is_nullish, option

__all__ = ["ERRORS", "JsException", "abort_error", "range_error", "type_error", "unavailable"]


class JsException(Exception):
    """A JavaScript error: has `name`, `message` and `stack`, and can be raised."""

    _js_type_flags = JS_FLAGS["IS_ERROR"]

    def __init__(self, name: str = "Error", message: Any = "", stack: str = "") -> None:
        super().__init__(name, message, stack)
        self.name = name
        self.message = "" if is_nullish(message) else message
        self.stack = stack
        self.cause: Any = None

    @classmethod
    def new(cls, name: str = "Error", message: Any = "", stack: str = "") -> "JsException":
        return cls(name, message, stack)

    @property
    def constructor(self) -> Any:
        return ERRORS.get(self.name) or DOM_EXCEPTION

    @property
    def typeof(self) -> str:
        return "object"

    @property
    def js_id(self) -> int:
        return id(self)

    def toString(self) -> str:
        return str(self)

    def to_py(self, *, depth: int = -1, default_converter: Any = None) -> Any:
        if default_converter is None:
            return self
        return default_converter(self, lambda value: value, lambda value, result: None)

    def __str__(self) -> str:
        return f"{self.name}: {self.message}" if self.message != "" else self.name

    def __reduce__(self) -> Any:
        return (JsException, (self.name, self.message, self.stack))


# Where users import it from, which is what a traceback should say.
JsException.__module__ = "pyodide.ffi"


def _error_class(name: str) -> JsClass:
    def construct(message: Any = "", options: Any = None, **more: Any) -> JsException:
        error = JsException(name, message)
        error.cause = option(more or options, "cause")
        return error

    return JsClass(JsException, name, construct, {"new": construct})


def _new_dom_exception(message: Any = "", name: Any = "Error") -> JsException:
    return JsException(name if isinstance(name, str) else option(name, "name", "Error"), message)


#: Constructors by the name their instances carry.
ERRORS: dict[str, JsClass] = {
    name: _error_class(name)
    for name in ("Error", "TypeError", "RangeError", "SyntaxError", "ReferenceError", "EvalError", "URIError")
}

#: Every other name (`AbortError`, `TimeoutError`, …) belongs to a `DOMException`.
DOM_EXCEPTION = JsClass(JsException, "DOMException", None, {"new": _new_dom_exception})


def type_error(message: str) -> JsException:
    return JsException("TypeError", message)


def range_error(message: str) -> JsException:
    return JsException("RangeError", message)


def abort_error(message: str = "The operation was aborted") -> JsException:
    return JsException("AbortError", message)


def unavailable(name: str, advice: str = "") -> JsException:
    """What using a part of the platform that is not there yet raises."""
    text = f"{name} is not available in this version of warmshard"
    return JsException("NotSupportedError", f"{text}; {advice}" if advice else text)
