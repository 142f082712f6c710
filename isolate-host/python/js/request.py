"""`Request`: an incoming one over the host's events, or one made by the worker."""

from typing import Any

from .base import js_class, jsnull, option
from .body import Body, extract_body
from .errors import type_error
from .headers import Headers, headers_from_host
from .readable import ReadableStream
from .url import URL

__all__ = ["REQUEST", "Request", "request_from_host"]

_NORMALISED_METHODS = {"get", "head", "post", "put", "delete", "options"}
_NO_BODY_METHODS = ("GET", "HEAD")


class Request(Body):
    """An HTTP request. Headers, `cf` and `signal` are made when first asked for."""

    __slots__ = ("_cf", "_headers", "_raw_headers", "_signal", "method", "redirect", "url")

    cache = "default"
    credentials = "same-origin"
    destination = ""
    integrity = ""
    isHistoryNavigation = False
    keepalive = False
    mode = "cors"
    referrer = "about:client"
    referrerPolicy = ""

    def __init__(self, source: Any, init: Any = None, /) -> None:
        self._consumed = False
        self._raw_headers = None
        self._data = self._stream = None
        headers: Any = None
        if isinstance(source, Request):
            self.url, self.method, self.redirect = source.url, source.method, source.redirect
            self._cf, self._signal = source._cf, source._signal
            headers = source.headers
        else:
            self.url = URL(source).href
            self.method, self.redirect = "GET", "follow"
            self._cf, self._signal = None, None
        if init is not None:
            method = str(option(init, "method", self.method))
            self.method = method.upper() if method.lower() in _NORMALISED_METHODS else method
            headers = option(init, "headers", headers)
            self.redirect = option(init, "redirect", self.redirect)
            self._cf = option(init, "cf", self._cf)
            self._signal = option(init, "signal", self._signal)
        self._headers: Headers | None = Headers(headers)
        self._set_body(source, option(init, "body"))

    def _set_body(self, source: Any, body: Any) -> None:
        if body is not None and body is not jsnull:
            if self.method in _NO_BODY_METHODS:
                raise type_error(f"Request with a {self.method} method cannot have a body.")
            self._data, self._stream, content_type = extract_body(body)
            if content_type is not None and not self.headers.has("content-type"):
                self.headers.append("content-type", content_type)
        elif isinstance(source, Request) and self.method not in _NO_BODY_METHODS:
            if source.bodyUsed:
                raise type_error("Cannot construct a Request with a Request object that has already been used.")
            self._data, self._stream = source._data, source._stream
            # The body moves: the first request is used up by the second.
            source._consumed = source._data is not None or source._stream is not None

    def _content_type(self) -> str:
        found = self.headers.get("content-type")
        return "" if found is jsnull else found

    @property
    def headers(self) -> Headers:
        headers = self._headers
        if headers is None:
            headers = self._headers = headers_from_host(self._raw_headers or ())
        return headers

    @property
    def cf(self) -> Any:
        cf = self._cf
        if type(cf) is dict:
            from .convert import from_json

            self._cf = cf = from_json(cf) if cf else jsnull
        return jsnull if cf is None else cf

    @property
    def signal(self) -> Any:
        if self._signal is None:
            from .abort import AbortSignal

            self._signal = AbortSignal()
        return self._signal

    def clone(self) -> "Request":
        copy = Request.__new__(Request)
        self._copy_body(copy)
        copy.url, copy.method, copy.redirect = self.url, self.method, self.redirect
        copy._cf, copy._signal = self._cf, self._signal
        copy._raw_headers = None
        copy._headers = Headers(self.headers)
        return copy


def request_from_host(
    method: str, url: str, headers: list[tuple[bytes, bytes]], stream: ReadableStream | None, cf: dict[str, Any]
) -> Request:
    """The request of an event, with nothing decoded yet."""
    request = Request.__new__(Request)
    request.method = method
    request.url = url
    request.redirect = "manual"
    request._raw_headers = headers
    request._headers = None
    request._cf = cf
    request._signal = None
    request._consumed = False
    request._data = None
    request._stream = stream
    return request


def _new(source: Any, init: Any = None, /, **options: Any) -> Request:
    return Request(source, options or init)


REQUEST = js_class(Request, "Request", new=_new)
