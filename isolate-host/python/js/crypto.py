"""`crypto`: random values and digests."""

import hashlib
import os
import uuid
from typing import Any

from .base import JsObject, js_class, option
from .buffers import TypedArray, _buffer_of, bytes_of
from .errors import JsException, unavailable
from .promise import Promise, rejected, resolved

__all__ = ["crypto"]

_DIGESTS = {"SHA-1": "sha1", "SHA-256": "sha256", "SHA-384": "sha384", "SHA-512": "sha512", "MD5": "md5"}
_QUOTA = 65536


class SubtleCrypto(JsObject):
    __slots__ = ()

    def digest(self, algorithm: Any, data: Any) -> Promise:
        name = (algorithm if isinstance(algorithm, str) else option(algorithm, "name", "")).upper()
        if name not in _DIGESTS:
            return rejected(JsException("NotSupportedError", f"Unrecognized digest algorithm {name!r}"))
        return resolved(_buffer_of(hashlib.new(_DIGESTS[name], bytes_of(data)).digest()))

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(str(unavailable(f"js.crypto.subtle.{name}")))


class Crypto(JsObject):
    __slots__ = ("subtle",)

    def __init__(self) -> None:
        self.subtle = SubtleCrypto()

    def getRandomValues(self, array: Any) -> Any:
        if not isinstance(array, TypedArray) or array._format in "efd":
            raise JsException("TypeMismatchError", "getRandomValues() needs an integer typed array")
        if array.byteLength > _QUOTA:
            raise JsException("QuotaExceededError", f"getRandomValues() gives at most {_QUOTA} bytes at once")
        array._window()[:] = os.urandom(array.byteLength)
        return array

    def randomUUID(self) -> str:
        return str(uuid.uuid4())


js_class(SubtleCrypto, "SubtleCrypto")
js_class(Crypto, "Crypto")
crypto = Crypto()
