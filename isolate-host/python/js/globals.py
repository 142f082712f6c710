"""The small change of the global scope: primitives, `Math`, `WeakRef`, cloning."""

import copy
import math
import random
import re
import weakref
from typing import Any

from .array import JsArray
from .base import JsObject, PlainObject, is_nullish, js_class, jsnull
from .buffers import ArrayBuffer, TypedArray, _buffer_of
from .collections import JsMap, JsSet
from .date import Date
from .errors import JsException

__all__ = [
    "BOOLEAN",
    "MATH",
    "NUMBER",
    "STRING",
    "WEAK_REF",
    "WeakRef",
    "isNaN",
    "no_javascript",
    "parseFloat",
    "parseInt",
    "structuredClone",
    "to_js_string",
]


def to_js_string(value: Any) -> str:
    """`String(value)`."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "undefined"
    if value is jsnull:
        return "null"
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e21:
        return str(int(value))
    if isinstance(value, float) and (math.isnan(value) or math.isinf(value)):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return str(value)


def _number(value: Any = 0) -> Any:
    if isinstance(value, (int, float)):
        return value + 0
    if value is jsnull:
        return 0
    if isinstance(value, Date):
        return value.getTime()
    try:
        text = str(value).strip()
        return int(text, 0) if (text and not set(text) & set(".eE")) or text.startswith("0x") else float(text or 0)
    except ValueError:
        return math.nan


def parseFloat(text: Any) -> float:
    found = re.match(r"\s*([+-]?(?:Infinity|\d+\.?\d*(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?))", str(text))
    return float(found.group(1)) if found else math.nan


def parseInt(text: Any, radix: int = 10) -> Any:
    digits = "0123456789abcdefghijklmnopqrstuvwxyz"[: radix or 10]
    body = str(text).strip().lower()
    sign = -1 if body.startswith("-") else 1
    body = body.lstrip("+-")
    if (radix or 10) in (10, 16) and body.startswith("0x"):
        body, digits, radix = body[2:], "0123456789abcdef", 16
    end = next((i for i, character in enumerate(body) if character not in digits), len(body))
    return sign * int(body[:end], radix or 10) if end else math.nan


def isNaN(value: Any) -> bool:
    number = _number(value)
    return isinstance(number, float) and math.isnan(number)


class WeakRef(JsObject):
    __slots__ = ("_reference",)

    def __init__(self, target: Any) -> None:
        self._reference = weakref.ref(target)

    def deref(self) -> Any:
        return self._reference()


def structuredClone(value: Any, _options: Any = None) -> Any:
    """A deep copy of data; what is not data cannot be cloned."""
    if isinstance(value, (str, int, float, type(None), type(jsnull), JsException)):
        return value
    if isinstance(value, JsArray):
        return JsArray([structuredClone(item) for item in value])
    if isinstance(value, JsMap):
        return JsMap([(structuredClone(k), structuredClone(v)) for k, v in value._entries.items()])
    if isinstance(value, JsSet):
        return JsSet([structuredClone(item) for item in value])
    if isinstance(value, Date):
        return Date(value)
    if isinstance(value, ArrayBuffer):
        return _buffer_of(value.to_bytes())
    if isinstance(value, TypedArray):
        return value.slice()
    if type(value) is PlainObject:
        return PlainObject({key: structuredClone(item) for key, item in value.__dict__.items()})
    if isinstance(value, (dict, list, tuple, set, bytes, bytearray)):
        return copy.deepcopy(value)
    raise JsException("DataCloneError", f"{value} could not be cloned.")


class _Math(PlainObject):
    __slots__ = ()


def _round(value: float) -> int:
    return math.floor(value + 0.5)


js_class(_Math, "Math")
MATH = _Math(
    {
        "PI": math.pi,
        "E": math.e,
        "abs": abs,
        "ceil": math.ceil,
        "cos": math.cos,
        "exp": math.exp,
        "floor": math.floor,
        "log": math.log,
        "log10": math.log10,
        "log2": math.log2,
        "max": lambda *values: max(values, default=-math.inf),
        "min": lambda *values: min(values, default=math.inf),
        "pow": pow,
        # Looked up at the call: `random` is reseeded after a restore.
        "random": lambda: random.random(),
        "round": _round,
        "sign": lambda value: (value > 0) - (value < 0),
        "sin": math.sin,
        "sqrt": lambda value: math.sqrt(value) if value >= 0 else math.nan,
        "tan": math.tan,
        "trunc": math.trunc,
    }
)


class _Number:
    """Only the constructors exist: numbers, strings and booleans are Python's own."""


class _String(_Number):
    pass


class _Boolean(_Number):
    pass


NUMBER = js_class(
    _Number,
    "Number",
    call=_number,
    new=_number,
    parseFloat=parseFloat,
    parseInt=parseInt,
    isNaN=lambda value: isinstance(value, float) and math.isnan(value),
    isInteger=lambda value: isinstance(value, int) or (isinstance(value, float) and value.is_integer()),
    isFinite=lambda value: isinstance(value, (int, float)) and math.isfinite(value),
    MAX_SAFE_INTEGER=2**53 - 1,
    MIN_SAFE_INTEGER=-(2**53) + 1,
    EPSILON=2.0**-52,
)
STRING = js_class(
    _String,
    "String",
    call=lambda value="": to_js_string(value),
    new=lambda value="": to_js_string(value),
    fromCharCode=lambda *codes: "".join(chr(int(code) & 0xFFFF) for code in codes),
    fromCodePoint=lambda *codes: "".join(map(chr, codes)),
)
BOOLEAN = js_class(
    _Boolean,
    "Boolean",
    call=lambda value=None: bool(value) and not is_nullish(value),
    new=lambda value=None: bool(value) and not is_nullish(value),
)
WEAK_REF = js_class(WeakRef, "WeakRef")


def no_javascript(what: str) -> JsException:
    return JsException(
        "EvalError",
        f"{what} is not possible: warmshard runs Python without a JavaScript engine, "
        "so JavaScript source cannot be evaluated",
    )
