"""`Response`."""

from typing import Any

from .base import js_class, jsnull, option
from .body import Body, extract_body
from .errors import range_error, type_error
from .headers import Headers

__all__ = ["RESPONSE", "Response"]

_NULL_BODY_STATUSES = frozenset((101, 103, 204, 205, 304))
_REDIRECT_STATUSES = frozenset((301, 302, 303, 307, 308))


class Response(Body):
    """An HTTP response: made by the worker, or by `Response.json` and its kin."""

    __slots__ = ("cf", "encodeBody", "headers", "redirected", "status", "statusText", "type", "url", "webSocket")

    def __init__(self, body: Any = None, init: Any = None, /) -> None:
        self._consumed = False
        self._data, self._stream, content_type = extract_body(body)
        self.url = ""
        self.type = "default"
        self.redirected = False
        self.webSocket: Any = jsnull
        self.cf: Any = None
        self.encodeBody = "automatic"
        if init is None:
            self.status, self.statusText, self.headers = 200, "", Headers()
        else:
            self._apply(init)
        if content_type is not None and not self.headers.has("content-type"):
            self.headers.append("content-type", content_type)
        if self.status in _NULL_BODY_STATUSES and (self._data is not None or self._stream is not None):
            raise type_error(f"Response with null body status (such as {self.status}) cannot have a body.")

    def _apply(self, init: Any) -> None:
        self.status = _status(option(init, "status", 200))
        self.statusText = option(init, "statusText", "")
        if "\r" in self.statusText or "\n" in self.statusText:
            raise type_error("Invalid statusText")
        self.headers = Headers(option(init, "headers"))
        self.webSocket = option(init, "webSocket", jsnull)
        self.cf = option(init, "cf")
        self.encodeBody = option(init, "encodeBody", "automatic")

    def _content_type(self) -> str:
        found = self.headers.get("content-type")
        return "" if found is jsnull else found

    @property
    def ok(self) -> bool:
        return 200 <= self.status <= 299

    def clone(self) -> "Response":
        copy = Response.__new__(Response)
        self._copy_body(copy)
        for name in Response.__slots__:
            setattr(copy, name, getattr(self, name))
        copy.headers = Headers(self.headers)
        return copy


def _status(status: Any) -> int:
    if type(status) is not int:
        status = int(status)
    if not (200 <= status <= 599 or status == 101):
        raise range_error(
            f"Responses may only be constructed with status codes in the range 200 to 599, inclusive; found {status}"
        )
    return status


def _json(data: Any, init: Any = None, /, **options: Any) -> Response:
    from .json import stringify

    response = Response(stringify(data).encode(), options or init)
    if not response.headers.has("content-type"):
        response.headers.append("content-type", "application/json")
    return response


def _redirect(url: Any, status: Any = 302) -> Response:
    from .url import URL

    if int(status) not in _REDIRECT_STATUSES:
        raise range_error(f"{status} is not a redirect status code.")
    response = Response(None, {"status": int(status)})
    response.headers.set("location", URL(url).href)
    return response


def _error() -> Response:
    response = Response()
    response.type = "error"
    response.status = 0
    return response


def _new(body: Any = None, init: Any = None, /, **options: Any) -> Response:
    return Response(body, options or init)


RESPONSE = js_class(Response, "Response", new=_new, json=_json, redirect=_redirect, error=_error)
