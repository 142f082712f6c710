"""`JSON.parse` and `JSON.stringify`."""

import json
from typing import Any

from .base import PlainObject, js_class
from .convert import from_json, to_json_value
from .errors import JsException

__all__ = ["JSON", "parse", "stringify"]


def parse(text: str) -> Any:
    try:
        return from_json(json.loads(text))
    except ValueError as error:
        raise JsException("SyntaxError", f"{error} is not valid JSON") from None


def stringify(value: Any, replacer: Any = None, space: Any = None) -> Any:
    if value is None:
        return None
    plain = to_json_value(value)
    if space:
        return json.dumps(plain, ensure_ascii=False, indent=space)
    return json.dumps(plain, ensure_ascii=False, separators=(",", ":"))


class _Json(PlainObject):
    __slots__ = ()


js_class(_Json, "JSON")
JSON = _Json({"parse": parse, "stringify": stringify})
