"""`Object` and its statics."""

from typing import Any

from .array import JsArray, iterate
from .base import JsObject, PlainObject, is_nullish, js_class

__all__ = ["OBJECT"]


def _properties(value: Any) -> dict[str, Any]:
    if isinstance(value, JsObject):
        return value._own_properties()
    return value if isinstance(value, dict) else {}


def _from_entries(entries: Any) -> PlainObject:
    result = PlainObject()
    source = iterate(entries)
    for key, value in source.items() if isinstance(source, dict) else source:
        result.__dict__[str(key)] = value
    return result


# `to_js` recognises this converter and builds the object without the pairs between.
_from_entries._builds_plain_objects = True


def _new(value: Any = None, /, **properties: Any) -> Any:
    if properties:
        return PlainObject(properties)
    return PlainObject() if is_nullish(value) else value


def _assign(target: Any, *sources: Any) -> Any:
    for source in sources:
        for key, value in _properties(source).items():
            setattr(target, key, value)
    return target


OBJECT = js_class(
    PlainObject,
    "Object",
    call=_new,
    new=_new,
    fromEntries=_from_entries,
    keys=lambda value: JsArray(_properties(value)),
    values=lambda value: JsArray(_properties(value).values()),
    entries=lambda value: JsArray([JsArray(pair) for pair in _properties(value).items()]),
    assign=_assign,
    create=lambda _prototype=None, _descriptors=None: PlainObject(),
    freeze=lambda value: value,
    hasOwn=lambda value, name: name in _properties(value),
    getOwnPropertyNames=lambda value: JsArray(_properties(value)),
    **{"is": lambda left, right: left is right or left == right},
)

# Whatever has no constructor of its own is an `Object`.
JsObject.constructor = OBJECT
