"""`Map` and `Set`."""

from collections.abc import Iterator
from typing import Any

from .array import JsArray, iterate
from .base import JS_FLAGS, JsObject, js_class

__all__ = ["MAP", "SET", "JsMap", "JsSet"]


class JsMap(JsObject):
    """A `Map`; in Python also a mutable mapping, iterated by key."""

    __slots__ = ("_entries",)

    _js_type_flags = (
        JS_FLAGS["HAS_GET"]
        | JS_FLAGS["HAS_SET"]
        | JS_FLAGS["HAS_HAS"]
        | JS_FLAGS["HAS_LENGTH"]
        | JS_FLAGS["IS_ITERABLE"]
    )

    def __init__(self, entries: Any = ()) -> None:
        source = iterate(entries)
        self._entries: dict[Any, Any] = dict(source.items() if isinstance(source, dict) else map(tuple, source))

    @property
    def size(self) -> int:
        return len(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._entries)

    def __contains__(self, key: Any) -> bool:
        return key in self._entries

    def __getitem__(self, key: Any) -> Any:
        return self._entries[key]

    def __setitem__(self, key: Any, value: Any) -> None:
        self._entries[key] = value

    def __delitem__(self, key: Any) -> None:
        del self._entries[key]

    def items(self) -> Any:
        return self._entries.items()

    def pop(self, *args: Any) -> Any:
        return self._entries.pop(*args)

    def update(self, *args: Any, **kwargs: Any) -> None:
        self._entries.update(*args, **kwargs)

    def get(self, key: Any, default: Any = None) -> Any:
        return self._entries.get(key, default)

    def set(self, key: Any, value: Any) -> "JsMap":
        self._entries[key] = value
        return self

    def has(self, key: Any) -> bool:
        return key in self._entries

    def delete(self, key: Any) -> bool:
        found = key in self._entries
        self._entries.pop(key, None)
        return found

    def clear(self) -> None:
        self._entries.clear()

    def keys(self) -> Any:
        return self._entries.keys()

    def values(self) -> Any:
        return self._entries.values()

    def entries(self) -> Iterator[JsArray]:
        return (JsArray(pair) for pair in self._entries.items())

    def forEach(self, function: Any) -> None:
        for key, value in list(self._entries.items()):
            function(value, key)


class JsSet(JsObject):
    """A `Set`, in insertion order."""

    __slots__ = ("_entries",)

    _js_type_flags = JS_FLAGS["IS_ITERABLE"] | JS_FLAGS["HAS_HAS"] | JS_FLAGS["HAS_LENGTH"]

    def __init__(self, values: Any = ()) -> None:
        self._entries = dict.fromkeys(iterate(values))

    @property
    def size(self) -> int:
        return len(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._entries)

    def __contains__(self, value: Any) -> bool:
        return value in self._entries

    def add(self, value: Any) -> "JsSet":
        self._entries[value] = None
        return self

    def has(self, value: Any) -> bool:
        return value in self._entries

    def delete(self, value: Any) -> bool:
        found = value in self._entries
        self._entries.pop(value, None)
        return found

    def clear(self) -> None:
        self._entries.clear()

    def keys(self) -> Any:
        return self._entries.keys()

    values = keys

    def forEach(self, function: Any) -> None:
        for value in list(self._entries):
            function(value)


MAP = js_class(JsMap, "Map")
SET = js_class(JsSet, "Set")
