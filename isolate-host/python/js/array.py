"""`Array`."""

from collections.abc import Iterable, Iterator
from typing import Any

from .base import JS_FLAGS, JsObject, is_nullish, js_class, unwrap

__all__ = ["ARRAY", "JsArray", "iterate"]


def iterate(value: Any) -> Iterable[Any]:
    """What JavaScript's `for … of` would walk; nothing for `undefined` and `null`."""
    return () if is_nullish(value) else unwrap(value)


class JsArray(JsObject):
    """An `Array`: Python's sequence protocol and JavaScript's methods over one list."""

    __slots__ = ("_items",)

    _js_type_flags = (
        JS_FLAGS["IS_ARRAY"]
        | JS_FLAGS["IS_ARRAY_LIKE"]
        | JS_FLAGS["IS_ITERABLE"]
        | JS_FLAGS["HAS_LENGTH"]
        | JS_FLAGS["HAS_INCLUDES"]
    )

    def __init__(self, items: Iterable[Any] = ()) -> None:
        self._items = list(items)

    @property
    def length(self) -> int:
        return len(self._items)

    # --- Python -----------------------------------------------------------
    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._items)

    def __reversed__(self) -> Iterator[Any]:
        return reversed(self._items)

    def __contains__(self, value: Any) -> bool:
        return value in self._items

    def __getitem__(self, index: Any) -> Any:
        found = self._items[index]
        return JsArray(found) if isinstance(index, slice) else found

    def __setitem__(self, index: Any, value: Any) -> None:
        self._items[index] = value

    def __delitem__(self, index: Any) -> None:
        del self._items[index]

    def __add__(self, other: Any) -> "JsArray":
        return JsArray([*self._items, *other])

    def __mul__(self, count: int) -> "JsArray":
        return JsArray(self._items * count)

    def append(self, value: Any) -> None:
        self._items.append(value)

    def extend(self, values: Iterable[Any]) -> None:
        self._items.extend(values)

    def insert(self, index: int, value: Any) -> None:
        self._items.insert(index, value)

    def remove(self, value: Any) -> None:
        self._items.remove(value)

    def index(self, value: Any, *bounds: int) -> int:
        return self._items.index(value, *bounds)

    def count(self, value: Any) -> int:
        return self._items.count(value)

    def pop(self, index: int = -1) -> Any:
        return self._items.pop(index)

    def reverse(self) -> "JsArray":
        self._items.reverse()
        return self

    # --- JavaScript -------------------------------------------------------
    def push(self, *values: Any) -> int:
        self._items.extend(values)
        return len(self._items)

    def shift(self) -> Any:
        return self._items.pop(0) if self._items else None

    def unshift(self, *values: Any) -> int:
        self._items[:0] = values
        return len(self._items)

    def at(self, index: int) -> Any:
        return self._items[index] if -len(self._items) <= index < len(self._items) else None

    def slice(self, start: int | None = None, end: int | None = None) -> "JsArray":
        return JsArray(self._items[start:end])

    def concat(self, *others: Any) -> "JsArray":
        result = list(self._items)
        for other in others:
            if isinstance(other, JsArray):
                result.extend(other._items)
            else:
                result.append(other)
        return JsArray(result)

    def join(self, separator: str = ",") -> str:
        from .globals import to_js_string

        return separator.join("" if is_nullish(item) else to_js_string(item) for item in self._items)

    def indexOf(self, value: Any) -> int:
        return next((i for i, item in enumerate(self._items) if item == value), -1)

    def includes(self, value: Any) -> bool:
        return value in self._items

    def map(self, function: Any) -> "JsArray":
        return JsArray([function(item) for item in self._items])

    def filter(self, function: Any) -> "JsArray":
        return JsArray([item for item in self._items if function(item)])

    def find(self, function: Any) -> Any:
        return next((item for item in self._items if function(item)), None)

    def some(self, function: Any) -> bool:
        return any(function(item) for item in self._items)

    def every(self, function: Any) -> bool:
        return all(function(item) for item in self._items)

    def forEach(self, function: Any) -> None:
        for item in list(self._items):
            function(item)

    def keys(self) -> Iterator[int]:
        return iter(range(len(self._items)))

    def values(self) -> Iterator[Any]:
        return iter(self._items)

    def entries(self) -> Iterator["JsArray"]:
        return (JsArray(pair) for pair in enumerate(self._items))

    def toString(self) -> str:
        return self.join()

    def _own_properties(self) -> dict[str, Any]:
        return {str(index): item for index, item in enumerate(self._items)}


def _new_array(*items: Any) -> JsArray:
    if len(items) == 1 and type(items[0]) is int:
        return JsArray([None] * items[0])
    return JsArray(items)


def _array_from(values: Any, function: Any = None) -> JsArray:
    items = iterate(values)
    return JsArray(items if function is None else map(function, items))


ARRAY = js_class(
    JsArray,
    "Array",
    call=_new_array,
    new=_new_array,
    of=lambda *items: JsArray(items),
    isArray=lambda value: isinstance(value, JsArray),
    **{"from": _array_from},
)
