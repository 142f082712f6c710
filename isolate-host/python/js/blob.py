"""`Blob` and `File`: immutable bytes with a media type."""

import time
from collections.abc import Iterable
from typing import Any

from .array import iterate
from .base import JsObject, js_class, option, unwrap
from .buffers import Uint8Array, _bounds, _Buffer, _buffer_of
from .promise import Promise, resolved
from .readable import ReadableStream, bytes_stream

__all__ = ["BLOB", "FILE", "Blob", "File"]


class Blob(JsObject):
    __slots__ = ("_data", "type")

    def __init__(self, parts: Any = (), options: Any = None, **more: Any) -> None:
        options = more or options
        self._data = _join(iterate(parts), option(options, "endings") == "native")
        media_type = str(option(options, "type", ""))
        self.type = media_type.lower() if media_type.isascii() and media_type.isprintable() else ""

    @classmethod
    def _of(cls, data: bytes, media_type: str) -> "Blob":
        blob = cls.__new__(cls)
        blob._data = data
        blob.type = media_type
        return blob

    @property
    def size(self) -> int:
        return len(self._data)

    def slice(self, start: Any = None, end: Any = None, content_type: Any = None) -> "Blob":
        first, last = _bounds(start, end, len(self._data))
        return Blob._of(self._data[first:last], str(content_type).lower() if content_type else "")

    def text(self) -> Promise:
        return resolved(self._data.decode("utf-8", "replace"))

    def arrayBuffer(self) -> Promise:
        return resolved(_buffer_of(self._data))

    def bytes(self) -> Promise:
        return resolved(Uint8Array._over(self._data))

    def stream(self) -> ReadableStream:
        return bytes_stream(self._data)


class File(Blob):
    __slots__ = ("lastModified", "name")

    def __init__(self, parts: Any, name: Any, options: Any = None, **more: Any) -> None:
        super().__init__(parts, more or options)
        self.name = str(name)
        self.lastModified = int(option(more or options, "lastModified", time.time() * 1000))

    @classmethod
    def _named(cls, data: bytes, media_type: str, name: str) -> "File":
        file = cls.__new__(cls)
        file._data = data
        file.type = media_type
        file.name = name
        file.lastModified = int(time.time() * 1000)
        return file


def _join(parts: Iterable[Any], native_endings: bool) -> bytes:
    pieces = []
    for part in parts:
        if isinstance(part, Blob):
            pieces.append(part._data)
        elif isinstance(part, _Buffer):
            pieces.append(part.to_bytes())
        elif isinstance(unwrap(part), (bytes, bytearray, memoryview)):
            pieces.append(bytes(unwrap(part)))
        else:
            text = str(part)
            if native_endings:
                text = text.replace("\r\n", "\n").replace("\r", "\n")
            pieces.append(text.encode("utf-8", "replace"))
    return b"".join(pieces)


BLOB = js_class(Blob, "Blob")
FILE = js_class(File, "File")
