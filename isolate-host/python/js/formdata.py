"""`FormData`, and its two forms on the wire."""

import os
from collections.abc import Iterator
from typing import Any

from .array import JsArray
from .base import JS_FLAGS, JsObject, js_class, jsnull
from .blob import Blob, File
from .errors import type_error
from .url_search_params import parse_urlencoded

__all__ = ["FORM_DATA", "FormData", "encode_multipart", "parse_form_data"]


class FormData(JsObject):
    """Ordered names and values; a value is a string or a `File`."""

    __slots__ = ("_entries",)

    _js_type_flags = JS_FLAGS["IS_ITERABLE"] | JS_FLAGS["HAS_GET"] | JS_FLAGS["HAS_HAS"] | JS_FLAGS["HAS_SET"]

    def __init__(self) -> None:
        self._entries: list[tuple[str, Any]] = []

    def append(self, name: Any, value: Any, filename: Any = None) -> None:
        self._entries.append((str(name), _entry_value(value, filename)))

    def set(self, name: Any, value: Any, filename: Any = None) -> None:
        name, value = str(name), _entry_value(value, filename)
        first = next((i for i, entry in enumerate(self._entries) if entry[0] == name), None)
        if first is None:
            self._entries.append((name, value))
            return
        self._entries[first] = (name, value)
        self._entries[first + 1 :] = [entry for entry in self._entries[first + 1 :] if entry[0] != name]

    def delete(self, name: Any) -> None:
        self._entries = [entry for entry in self._entries if entry[0] != name]

    def get(self, name: Any) -> Any:
        return next((value for key, value in self._entries if key == name), jsnull)

    def getAll(self, name: Any) -> JsArray:
        return JsArray([value for key, value in self._entries if key == name])

    def has(self, name: Any) -> bool:
        return any(key == name for key, _ in self._entries)

    def entries(self) -> Iterator[JsArray]:
        return (JsArray(entry) for entry in self._entries)

    def keys(self) -> JsArray:
        return JsArray([key for key, _ in self._entries])

    def values(self) -> JsArray:
        return JsArray([value for _, value in self._entries])

    def forEach(self, function: Any) -> None:
        for key, value in list(self._entries):
            function(value, key, self)

    def __iter__(self) -> Iterator[JsArray]:
        return self.entries()

    def __contains__(self, name: Any) -> bool:
        return self.has(name)


def _entry_value(value: Any, filename: Any) -> Any:
    if not isinstance(value, Blob):
        return str(value)
    if isinstance(value, File) and not filename:
        return value
    return File._named(value._data, value.type, str(filename or "blob"))


def _escape(name: str) -> str:
    return name.replace("\r\n", "\n").replace("\r", "\n").replace("\n", "%0D%0A").replace('"', "%22")


def encode_multipart(form: FormData) -> tuple[bytes, str]:
    """(body, boundary) of a `multipart/form-data` request or response."""
    boundary = f"----warmshard{os.urandom(16).hex()}"
    out = []
    for name, value in form._entries:
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="{_escape(name)}"'
        if isinstance(value, File):
            head += f'; filename="{_escape(value.name)}"\r\nContent-Type: {value.type or "application/octet-stream"}'
            data = value._data
        else:
            data = value.encode("utf-8", "replace")
        out += [head.encode(), b"\r\n\r\n", data, b"\r\n"]
    out.append(f"--{boundary}--\r\n".encode())
    return b"".join(out), boundary


def parse_form_data(data: bytes, content_type: str) -> FormData:
    """Read a body as the form its `Content-Type` says it is."""
    kind, _, parameters = content_type.partition(";")
    kind = kind.strip().lower()
    form = FormData()
    if kind == "application/x-www-form-urlencoded":
        form._entries = parse_urlencoded(data.decode("utf-8", "replace"))
    elif kind == "multipart/form-data":
        boundary = _parameters(parameters).get("boundary")
        if not boundary:
            raise type_error("multipart/form-data without a boundary")
        form._entries = list(_parse_multipart(data, boundary.encode("utf-8", "replace")))
    else:
        raise type_error(
            "formData() needs a body of type `multipart/form-data` or "
            f"`application/x-www-form-urlencoded`, found `{kind or 'none'}`"
        )
    return form


def _parameters(text: str) -> dict[str, str]:
    """`a=b; c="d"` as a dict; quoted values may contain semicolons."""
    found: dict[str, str] = {}
    while text:
        name, equals, rest = text.lstrip("; \t").partition("=")
        if not equals:
            break
        if rest.startswith('"'):
            end = rest.find('"', 1)
            end = len(rest) if end < 0 else end
            value, text = rest[1:end], rest[end + 1 :]
        else:
            value, _, text = rest.partition(";")
            value = value.strip()
        found[name.strip().lower()] = value
    return found


def _parse_multipart(data: bytes, boundary: bytes) -> Iterator[tuple[str, Any]]:
    delimiter = b"--" + boundary
    # The first delimiter has no line break before it; give it one and all are alike.
    parts = (b"\r\n" + data).split(b"\r\n" + delimiter)
    if len(parts) < 2 or not parts[-1].startswith(b"--"):
        raise type_error("the multipart body does not end with its boundary")
    for part in parts[1:-1]:
        head, separator, content = part.partition(b"\r\n\r\n")
        if not separator:
            raise type_error("a part of the multipart body has no end of headers")
        headers = {
            name.strip().lower(): value.strip()
            for name, _, value in (line.partition(":") for line in head.decode("utf-8", "replace").split("\r\n"))
        }
        disposition, _, parameters = headers.get("content-disposition", "").partition(";")
        fields = _parameters(parameters)
        if disposition.strip().lower() != "form-data" or "name" not in fields:
            raise type_error("a part of the multipart body has no form-data name")
        name = _unescape(fields["name"])
        if "filename" in fields:
            media_type = headers.get("content-type", "application/octet-stream")
            yield name, File._named(content, media_type, _unescape(fields["filename"]))
        else:
            yield name, content.decode("utf-8", "replace")


def _unescape(name: str) -> str:
    return name.replace("%22", '"').replace("%0D%0A", "\r\n").replace("%0d%0a", "\r\n")


FORM_DATA = js_class(FormData, "FormData")
