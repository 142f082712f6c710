"""`Headers`: a list of pairs with lower-case names, combined and sorted on iteration."""

from collections.abc import Iterable, Iterator
from operator import itemgetter
from typing import Any

from .array import JsArray, iterate
from .base import JS_FLAGS, JsObject, PlainObject, is_nullish, js_class, jsnull
from .errors import type_error

__all__ = ["HEADERS", "Headers", "decode_header", "headers_from_host"]

_TOKEN = frozenset("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz")
_FORBIDDEN_IN_VALUES = ("\n", "\r", "\0")
_first = itemgetter(0)

#: Names seen before, checked and lower-cased. Bounded: names come from user code.
_known_names: dict[str, str] = {}
_KNOWN_NAMES_LIMIT = 512


def _name(name: Any) -> str:
    known = _known_names.get(name)
    if known is not None:
        return known
    lower = str(name).lower()
    if not lower or not _TOKEN.issuperset(lower):
        raise type_error(f"Invalid header name: {name!r}")
    if len(_known_names) < _KNOWN_NAMES_LIMIT and type(name) is str:
        _known_names[name] = lower
    return lower


def _value(value: Any) -> str:
    text = value if type(value) is str else _text(value)
    if "\n" in text or "\r" in text or "\0" in text:
        text = text.strip(" \t\r\n")
        if any(character in text for character in _FORBIDDEN_IN_VALUES):
            raise type_error(f"Invalid header value: {value!r}")
    elif text[:1] in " \t" or text[-1:] in " \t":
        text = text.strip(" \t")
    return text


def _text(value: Any) -> str:
    if value is True or value is False:
        return "true" if value else "false"
    if value is None:
        return "undefined"
    return "null" if value is jsnull else str(value)


def decode_header(raw: bytes) -> str:
    """UTF-8 as far as it goes: what a worker re-encodes must be what arrived."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1")


class Headers(JsObject):
    """Header names and values, as the Fetch standard orders and joins them."""

    # The list of pairs is never changed, only replaced, so that copies can share it.
    __slots__ = ("_immutable", "_pairs", "_sorted")

    _js_type_flags = JS_FLAGS["IS_ITERABLE"] | JS_FLAGS["HAS_GET"] | JS_FLAGS["HAS_HAS"] | JS_FLAGS["HAS_SET"]

    def __init__(self, source: Any = None) -> None:
        self._sorted: list[tuple[str, str]] | None = None
        self._immutable = False
        if source is None or source is jsnull:
            self._pairs: list[tuple[str, str]] = []
        elif isinstance(source, Headers):
            self._pairs = source._pairs
            self._sorted = source._sorted
        else:
            self._pairs = [(_name(name), _value(value)) for name, value in _pairs_of(source)]

    def _change(self) -> None:
        if self._immutable:
            raise type_error("Can't modify immutable headers; copy them with js.Headers.new(headers)")
        self._sorted = None

    def append(self, name: Any, value: Any) -> None:
        self._change()
        self._pairs = [*self._pairs, (_name(name), _value(value))]

    def set(self, name: Any, value: Any) -> None:
        self._change()
        key = _name(name)
        pairs = [pair for pair in self._pairs if pair[0] != key]
        pairs.append((key, _value(value)))
        self._pairs = pairs

    def delete(self, name: Any) -> None:
        self._change()
        key = _name(name)
        self._pairs = [pair for pair in self._pairs if pair[0] != key]

    def has(self, name: Any) -> bool:
        key = _name(name)
        return any(pair[0] == key for pair in self._pairs)

    def get(self, name: Any) -> Any:
        key = _name(name)
        found = [value for pair_name, value in self._pairs if pair_name == key]
        return ", ".join(found) if found else jsnull

    def getSetCookie(self) -> JsArray:
        return JsArray([value for name, value in self._pairs if name == "set-cookie"])

    def getAll(self, name: Any) -> JsArray:
        if _name(name) != "set-cookie":
            raise type_error('getAll() can only be used with the header name "Set-Cookie"')
        return self.getSetCookie()

    # --- iteration --------------------------------------------------------
    def _combined(self) -> list[tuple[str, str]]:
        if self._sorted is None:
            pairs = self._pairs
            if len({name for name, _ in pairs}) != len(pairs):
                pairs = _combine(pairs)
            self._sorted = sorted(pairs, key=_first)
        return self._sorted

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self._combined())

    def __contains__(self, name: Any) -> bool:
        return self.has(name)

    def __getitem__(self, name: Any) -> str:
        value = self.get(name)
        if value is jsnull:
            raise KeyError(name)
        return value

    def __setitem__(self, name: Any, value: Any) -> None:
        self.set(name, value)

    def entries(self) -> Iterator[JsArray]:
        return (JsArray(pair) for pair in self._combined())

    def keys(self) -> Iterator[str]:
        return (name for name, _ in self._combined())

    def values(self) -> Iterator[str]:
        return (value for _, value in self._combined())

    def forEach(self, function: Any) -> None:
        for name, value in self._combined():
            function(value, name, self)

    def _raw(self) -> list[tuple[bytes, bytes]]:
        """For the host: in the order they were given, repeated ones apart."""
        return [(name.encode(), value.encode("utf-8", "surrogateescape")) for name, value in self._pairs]


def _combine(pairs: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Join repeated headers with a comma; cookies must stay apart."""
    joined: dict[str, str] = {}
    cookies = []
    for name, value in pairs:
        if name == "set-cookie":
            cookies.append((name, value))
        else:
            joined[name] = f"{joined[name]}, {value}" if name in joined else value
    return [*joined.items(), *cookies]


def _pairs_of(source: Any) -> Iterable[Any]:
    if isinstance(source, PlainObject):
        return source.__dict__.items()
    source = iterate(source)
    if is_nullish(source) or isinstance(source, (str, int, float)):
        raise type_error("Headers need an object or an iterable of pairs")
    items = getattr(source, "items", None)
    return items() if items is not None else source


def headers_from_host(raw: Iterable[tuple[bytes, bytes]]) -> Headers:
    """The headers of an incoming request: read-only, as in the reference."""
    headers = Headers.__new__(Headers)
    headers._sorted = None
    headers._immutable = True
    try:
        headers._pairs = [(name.decode().lower(), value.decode()) for name, value in raw]
    except UnicodeDecodeError:
        headers._pairs = [(decode_header(name).lower(), decode_header(value)) for name, value in raw]
    return headers


HEADERS = js_class(Headers, "Headers")
