"""`TextEncoder`, `TextDecoder`, `atob`, `btoa` and the URI functions."""

import base64
import binascii
import codecs
from typing import Any
from urllib.parse import quote, unquote_to_bytes

from .base import JsObject, PlainObject, js_class, option
from .buffers import Uint8Array, bytes_of
from .errors import JsException, range_error, type_error

__all__ = [
    "TEXT_DECODER",
    "TEXT_ENCODER",
    "atob",
    "btoa",
    "decodeURI",
    "decodeURIComponent",
    "encodeURI",
    "encodeURIComponent",
]


class TextEncoder(JsObject):
    __slots__ = ()

    encoding = "utf-8"

    def encode(self, text: Any = "") -> Any:
        return Uint8Array._over(str(text).encode("utf-8", "replace"))

    def encodeInto(self, text: str, target: Any) -> PlainObject:
        read = written = 0
        window = target._window()
        for character in text:
            encoded = character.encode("utf-8", "replace")
            if written + len(encoded) > len(window):
                break
            window[written : written + len(encoded)] = encoded
            written += len(encoded)
            read += 1 if ord(character) < 0x10000 else 2
        return PlainObject({"read": read, "written": written})


class TextDecoder(JsObject):
    """Decodes a whole buffer, or a stream of them with `stream=True`."""

    __slots__ = ("_decoder", "_started", "encoding", "fatal", "ignoreBOM")

    def __init__(self, label: str = "utf-8", options: Any = None) -> None:
        if not isinstance(label, str):
            label, options = "utf-8", label
        try:
            self.encoding = codecs.lookup(label.strip()).name
        except LookupError:
            raise range_error(f"The encoding label provided ({label!r}) is invalid.") from None
        self.fatal = bool(option(options, "fatal", False))
        self.ignoreBOM = bool(option(options, "ignoreBOM", False))
        self._reset()

    def _reset(self) -> None:
        self._decoder = codecs.getincrementaldecoder(self.encoding)("strict" if self.fatal else "replace")
        self._started = False

    def decode(self, source: Any = None, options: Any = None, **more: Any) -> str:
        streaming = bool(option(more or options, "stream", False))
        try:
            text = self._decoder.decode(b"" if source is None else bytes_of(source), not streaming)
        except UnicodeDecodeError as error:
            self._reset()
            raise type_error(f"The encoded data was not valid {self.encoding}: {error.reason}") from None
        if text and not self._started:
            self._started = True
            if not self.ignoreBOM:
                text = text.removeprefix("\ufeff")
        if not streaming:
            self._reset()
        return text


def btoa(text: str) -> str:
    try:
        return base64.b64encode(str(text).encode("latin-1")).decode("ascii")
    except UnicodeEncodeError:
        raise JsException(
            "InvalidCharacterError", "btoa() can only operate on characters in the Latin1 (ISO/IEC 8859-1) range."
        ) from None


def atob(text: str) -> str:
    compact = "".join(str(text).split())
    compact = compact.rstrip("=") if len(compact) % 4 == 0 else compact
    try:
        return base64.b64decode(compact + "=" * (-len(compact) % 4), validate=True).decode("latin-1")
    except (binascii.Error, ValueError):
        raise JsException("InvalidCharacterError", "atob() called with invalid base64-encoded data.") from None


def encodeURIComponent(text: Any) -> str:
    return quote(str(text), safe="-_.!~*'()")


def encodeURI(text: Any) -> str:
    return quote(str(text), safe="-_.!~*'();/?:@&=+$,#")


def decodeURIComponent(text: Any) -> str:
    try:
        return unquote_to_bytes(str(text)).decode()
    except UnicodeDecodeError:
        raise JsException("URIError", "URI malformed") from None


def decodeURI(text: Any) -> str:
    return decodeURIComponent(text)


TEXT_ENCODER = js_class(TextEncoder, "TextEncoder")
TEXT_DECODER = js_class(TextDecoder, "TextDecoder")
