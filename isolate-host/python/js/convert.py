"""Conversions between Python's own containers and JavaScript's: `to_js`, `to_py`."""

from collections.abc import Callable, Iterator
from typing import Any

from .array import JsArray
from .base import JS_FLAGS, JsClass, JsObject, PlainObject, js_class, jsnull
from .buffers import ArrayBuffer, TypedArray, typed_array_of
from .collections import JsMap, JsSet
from .errors import JsException

__all__ = ["ObjectMap", "from_json", "plain", "to_js", "to_json_value", "to_py"]

#: Python values that JavaScript has under the same name: they cross as they are.
_SCALARS = (str, int, float, bool, type(None), type(jsnull))


def plain(properties: Any) -> PlainObject:
    """`Object.fromEntries` for a dict or an iterable of pairs."""
    return PlainObject(properties if isinstance(properties, dict) else dict(properties))


def from_json(value: Any) -> Any:
    """A value of `json.loads` as JavaScript's `JSON.parse` would give it."""
    kind = type(value)
    if kind is dict:
        return PlainObject({key: from_json(item) for key, item in value.items()})
    if kind is list:
        return JsArray([from_json(item) for item in value])
    return jsnull if value is None else value


def to_json_value(value: Any) -> Any:
    """What `JSON.stringify` sees, in terms `json.dumps` understands."""
    if value is jsnull:
        return None
    if isinstance(value, PlainObject):
        custom = value.__dict__.get("toJSON")
        if custom is not None:
            return to_json_value(custom())
        return {k: to_json_value(v) for k, v in value.__dict__.items() if v is not None and not callable(v)}
    if isinstance(value, dict):
        return {k: to_json_value(v) for k, v in value.items()}
    if isinstance(value, (JsArray, list, tuple)):
        return [to_json_value(item) for item in value]
    if isinstance(value, _SCALARS):
        return value
    custom = getattr(value, "toJSON", None)
    return to_json_value(custom()) if custom is not None else {}


class _ToPy:
    """One run of `to_py`: depth and cycles are kept here."""

    __slots__ = ("cache", "default_converter")

    def __init__(self, default_converter: Any) -> None:
        self.default_converter = default_converter
        self.cache: dict[int, Any] = {}

    def convert(self, value: Any, depth: int) -> Any:
        kind = type(value)
        if depth == 0 or kind in _SCALARS:
            return value
        if id(value) in self.cache:
            return self.cache[id(value)]
        if kind is JsArray:
            result: Any = []
            self.cache[id(value)] = result
            result.extend(self.convert(item, depth - 1) for item in value)
            return result
        if isinstance(value, PlainObject) or kind is JsMap:
            result = {}
            self.cache[id(value)] = result
            entries = value._entries if kind is JsMap else value.__dict__
            for key, item in entries.items():
                result[key] = self.convert(item, depth - 1)
            return result
        if kind is JsSet:
            return {self.convert(item, depth - 1) for item in value}
        if isinstance(value, (ArrayBuffer, TypedArray)):
            return value.to_memoryview()
        target = getattr(value, "_proxy_target", None)
        if target is not None:
            return target()
        if self.default_converter is not None and isinstance(value, (JsObject, JsException)):
            return self.default_converter(
                value,
                lambda item: self.convert(item, depth - 1),
                lambda item, result: self.cache.__setitem__(id(item), result),
            )
        return value


def to_py(value: Any, *, depth: int = -1, default_converter: Any = None) -> Any:
    return _ToPy(default_converter).convert(value, depth)


class _ToJs:
    """One run of `to_js` with its settings."""

    __slots__ = ("cache", "create_pyproxies", "default_converter", "dict_converter", "eager_converter", "pyproxies")

    def __init__(
        self,
        pyproxies: Any,
        create_pyproxies: bool,
        dict_converter: Any,
        default_converter: Any,
        eager_converter: Any,
    ) -> None:
        self.cache: dict[int, Any] = {}
        self.pyproxies = pyproxies
        self.create_pyproxies = create_pyproxies
        self.dict_converter = dict_converter
        self.default_converter = default_converter
        self.eager_converter = eager_converter

    def convert(self, value: Any, depth: int) -> Any:
        if isinstance(value, (int, float, bool)) or value is None or value is jsnull:
            return value
        if isinstance(value, (JsObject, JsException)):
            return value
        if depth == 0:
            return self.proxy(value)
        if id(value) in self.cache:
            return self.cache[id(value)]
        if self.eager_converter is not None:
            return self.eager_converter(value, lambda item: self.builtin(item, depth), self.remember)
        return self.builtin(value, depth)

    def remember(self, value: Any, result: Any) -> None:
        self.cache[id(value)] = result

    def builtin(self, value: Any, depth: int) -> Any:
        if isinstance(value, str):
            return value
        if isinstance(value, (list, tuple)):
            result: Any = JsArray()
            self.remember(value, result)
            result._items.extend(self.convert(item, depth - 1) for item in value)
            return result
        if isinstance(value, dict):
            return self.dictionary(value, depth)
        if isinstance(value, (set, frozenset)):
            return JsSet([self.convert(item, depth - 1) for item in value])
        if isinstance(value, (bytes, bytearray, memoryview)):
            return typed_array_of(value)
        if self.default_converter is not None:
            return self.default_converter(value, lambda item: self.convert(item, depth - 1), self.remember)
        return self.proxy(value)

    def dictionary(self, value: dict[Any, Any], depth: int) -> Any:
        converter = self.dict_converter
        if converter is None or getattr(converter, "_builds_plain_objects", False):
            result = PlainObject()
            self.remember(value, result)
            for key, item in value.items():
                result.__dict__[str(key)] = self.convert(item, depth - 1)
            return result
        pairs = JsArray([JsArray((key, self.convert(item, depth - 1))) for key, item in value.items()])
        result = converter(pairs)
        self.remember(value, result)
        return result

    def proxy(self, value: Any) -> Any:
        from .proxies import PyProxy, create_proxy

        if isinstance(value, PyProxy):
            return value
        if not self.create_pyproxies:
            from _pyodide._core_docs import ConversionError

            raise ConversionError(f"cannot convert a {type(value).__name__} to JavaScript without a proxy")
        proxy = create_proxy(value)
        if self.pyproxies is not None:
            self.pyproxies.push(proxy)
        return proxy


def to_js(
    obj: Any,
    /,
    *,
    depth: int = -1,
    pyproxies: Any = None,
    create_pyproxies: bool = True,
    dict_converter: Callable[..., Any] | JsClass | None = None,
    default_converter: Callable[..., Any] | None = None,
    eager_converter: Callable[..., Any] | None = None,
) -> Any:
    """Convert a Python value to JavaScript's kind, as `pyodide.ffi.to_js` does."""
    run = _ToJs(pyproxies, create_pyproxies, dict_converter, default_converter, eager_converter)
    return run.convert(obj, depth)


class ObjectMap(JsObject):
    """`as_object_map()`: the properties of an object as a Python mapping."""

    __slots__ = ("_hereditary", "_object")

    _js_type_flags = JS_FLAGS["IS_OBJECT_MAP"] | JS_FLAGS["IS_PY_JSON_DICT"] | JS_FLAGS["IS_ITERABLE"]

    def __init__(self, target: Any, hereditary: bool) -> None:
        self._object = target
        self._hereditary = hereditary

    def _properties(self) -> dict[str, Any]:
        properties: dict[str, Any] = self._object._own_properties()
        return properties

    def _wrap(self, value: Any) -> Any:
        return ObjectMap(value, True) if self._hereditary and isinstance(value, PlainObject) else value

    def __getitem__(self, key: str) -> Any:
        return self._wrap(self._properties()[key])

    def __setitem__(self, key: str, value: Any) -> None:
        self._properties()[key] = value

    def __delitem__(self, key: str) -> None:
        del self._properties()[key]

    def __contains__(self, key: Any) -> bool:
        return key in self._properties()

    def __iter__(self) -> Iterator[str]:
        return iter(self._properties())

    def __len__(self) -> int:
        return len(self._properties())

    def get(self, key: str, default: Any = None) -> Any:
        return self[key] if key in self else default

    def keys(self) -> Any:
        return self._properties().keys()

    def values(self) -> Any:
        return [self._wrap(value) for value in self._properties().values()]

    def items(self) -> Any:
        return [(key, self._wrap(value)) for key, value in self._properties().items()]


OBJECT_MAP = js_class(ObjectMap, "Object")
