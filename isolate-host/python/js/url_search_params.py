"""`URLSearchParams`, and the `application/x-www-form-urlencoded` format."""

from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote_plus, unquote_plus

from .array import JsArray, iterate
from .base import JS_FLAGS, JsObject, PlainObject, is_nullish, js_class, jsnull

__all__ = ["URL_SEARCH_PARAMS", "URLSearchParams", "parse_urlencoded"]


def parse_urlencoded(text: str) -> list[tuple[str, str]]:
    pairs = []
    for piece in text.split("&"):
        if piece:
            name, _, value = piece.partition("=")
            pairs.append((unquote_plus(name), unquote_plus(value)))
    return pairs


def _encode(text: str) -> str:
    # The standard leaves `*` alone and encodes `~`; Python's function is the other way round.
    return quote_plus(text.encode("utf-8", "replace"), safe="*").replace("~", "%7E")


class URLSearchParams(JsObject):
    """The pairs of a query string; those of a `URL` write back to it."""

    __slots__ = ("_changed", "_pairs")

    _js_type_flags = JS_FLAGS["IS_ITERABLE"] | JS_FLAGS["HAS_GET"] | JS_FLAGS["HAS_HAS"] | JS_FLAGS["HAS_SET"]

    def __init__(self, source: Any = None, **more: Any) -> None:
        self._changed: Callable[[str], None] | None = None
        source = more or source
        if is_nullish(source):
            self._pairs: list[tuple[str, str]] = []
        elif isinstance(source, str):
            self._pairs = parse_urlencoded(source.removeprefix("?"))
        elif isinstance(source, (PlainObject, dict)):
            items = source.items() if isinstance(source, dict) else source.__dict__.items()
            self._pairs = [(str(key), str(value)) for key, value in items]
        else:
            self._pairs = [(str(key), str(value)) for key, value in iterate(source)]

    def _update(self) -> None:
        if self._changed is not None:
            self._changed(self.toString())

    @property
    def size(self) -> int:
        return len(self._pairs)

    def append(self, name: Any, value: Any) -> None:
        self._pairs.append((str(name), str(value)))
        self._update()

    def delete(self, name: Any, value: Any = None) -> None:
        self._pairs = [pair for pair in self._pairs if pair[0] != name or (value is not None and pair[1] != value)]
        self._update()

    def get(self, name: Any) -> Any:
        return next((value for key, value in self._pairs if key == name), jsnull)

    def getAll(self, name: Any) -> JsArray:
        return JsArray([value for key, value in self._pairs if key == name])

    def has(self, name: Any, value: Any = None) -> bool:
        return any(key == name and (value is None or found == value) for key, found in self._pairs)

    def set(self, name: Any, value: Any) -> None:
        name, value = str(name), str(value)
        first = next((i for i, pair in enumerate(self._pairs) if pair[0] == name), None)
        if first is None:
            self._pairs.append((name, value))
        else:
            self._pairs[first] = (name, value)
            self._pairs[first + 1 :] = [pair for pair in self._pairs[first + 1 :] if pair[0] != name]
        self._update()

    def sort(self) -> None:
        self._pairs.sort(key=lambda pair: pair[0].encode("utf-16-be", "surrogatepass"))
        self._update()

    def entries(self) -> Iterator[JsArray]:
        return (JsArray(pair) for pair in self._pairs)

    def keys(self) -> Iterator[str]:
        return (key for key, _ in self._pairs)

    def values(self) -> Iterator[str]:
        return (value for _, value in self._pairs)

    def forEach(self, function: Any) -> None:
        for key, value in list(self._pairs):
            function(value, key, self)

    def __iter__(self) -> Iterator[JsArray]:
        return self.entries()

    def __contains__(self, name: Any) -> bool:
        return self.has(name)

    def toString(self) -> str:
        return "&".join(f"{_encode(key)}={_encode(value)}" for key, value in self._pairs)


URL_SEARCH_PARAMS = js_class(URLSearchParams, "URLSearchParams")
