"""The body half of `Request` and `Response`.

A body is either complete (`_data`, plain bytes) or a stream, or there is none. A
complete body becomes a stream only when somebody asks for `.body`, so that the usual
response crosses to the host in one piece.
"""

from collections.abc import Callable
from typing import Any

from .base import JsObject, jsnull
from .blob import Blob
from .buffers import Uint8Array, _Buffer, _buffer_of
from .errors import type_error
from .formdata import FormData, encode_multipart, parse_form_data
from .promise import Promise, promise_of, rejected, resolved
from .readable import ReadableStream, bytes_stream
from .url_search_params import URLSearchParams

__all__ = ["Body", "extract_body"]


class Body(JsObject):
    """Mixin state and the consuming methods."""

    __slots__ = ("_consumed", "_data", "_stream")

    _data: bytes | None
    _stream: ReadableStream | None
    _consumed: bool

    def _content_type(self) -> str:
        raise NotImplementedError

    @property
    def body(self) -> Any:
        if self._stream is None:
            if self._data is None:
                return jsnull
            self._stream = bytes_stream(self._data)
            if self._consumed:
                self._stream._disturbed = True
        return self._stream

    @property
    def bodyUsed(self) -> bool:
        return self._consumed or (self._stream is not None and self._stream._disturbed)

    def _take(self, convert: Callable[[bytes], Any]) -> Promise:
        """Consume the body and resolve to `convert(bytes)`."""
        stream = self._stream
        if self._consumed or (stream is not None and (stream._disturbed or stream._reader is not None)):
            return rejected(
                type_error("Body has already been used. It can only be used once. Use tee() first to read it twice.")
            )
        if stream is None or self._data is not None:
            self._consumed = self._data is not None
            if stream is not None:
                stream._disturbed = True
            try:
                return resolved(convert(self._data or b""))
            except Exception as error:
                return rejected(error)
        self._consumed = True
        return promise_of(_collect(stream, convert))

    def arrayBuffer(self) -> Promise:
        return self._take(_buffer_of)

    def bytes(self) -> Promise:
        return self._take(Uint8Array._over)

    def text(self) -> Promise:
        return self._take(_decode)

    def json(self) -> Promise:
        from .json import parse

        return self._take(lambda data: parse(_decode(data)))

    def blob(self) -> Promise:
        return self._take(lambda data: Blob._of(data, self._content_type()))

    def formData(self) -> Promise:
        return self._take(lambda data: parse_form_data(data, self._content_type()))

    def _copy_body(self, copy: "Body") -> None:
        """For `clone()`: both halves can be read afterwards."""
        if self.bodyUsed:
            raise type_error("cannot clone: the body has already been used")
        copy._consumed = False
        copy._data = self._data
        if self._stream is None or self._data is not None:
            copy._stream = None
        else:
            self._stream, copy._stream = self._stream.tee()


async def _collect(stream: ReadableStream, convert: Callable[[bytes], Any]) -> Any:
    return convert(await stream._read_all())


def _decode(data: bytes) -> str:
    """UTF-8 without a byte order mark, as the Fetch standard decodes text."""
    text = data.decode("utf-8", "replace")
    return text[1:] if text[:1] == "\ufeff" else text


def extract_body(value: Any) -> tuple[bytes | None, ReadableStream | None, str | None]:
    """(data, stream, content type) of whatever may be given as a body."""
    if value is None or value is jsnull:
        return None, None, None
    if type(value) is str:
        return value.encode("utf-8", "replace"), None, "text/plain;charset=UTF-8"
    if isinstance(value, _Buffer):
        return value.to_bytes(), None, None
    if isinstance(value, ReadableStream):
        if value._reader is not None or value._disturbed:
            raise type_error(
                "This ReadableStream is disturbed (has already been read from), and cannot be used as a body."
            )
        return None, value, None
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value), None, None
    if isinstance(value, Blob):
        return value._data, None, value.type or None
    if isinstance(value, URLSearchParams):
        return value.toString().encode(), None, "application/x-www-form-urlencoded;charset=UTF-8"
    if isinstance(value, FormData):
        data, boundary = encode_multipart(value)
        return data, None, f"multipart/form-data; boundary={boundary}"
    target = getattr(value, "_proxy_target", None)
    if target is not None:
        return extract_body(target())
    if isinstance(value, (JsObject, str, int, float)):
        return str(value).encode(), None, "text/plain;charset=UTF-8"
    raise type_error(
        f"a body must be a string, bytes, a typed array, a Blob, a FormData, a URLSearchParams "
        f"or a ReadableStream; found {type(value).__name__}"
    )
