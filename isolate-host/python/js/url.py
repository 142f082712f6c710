"""`URL`."""

from typing import Any

from .base import JsObject, is_nullish, js_class, jsnull
from .errors import JsException, type_error
from .url_parser import DEFAULT_PORTS, UrlParts, encode_fragment, encode_path, encode_query, parse_url
from .url_search_params import URLSearchParams

__all__ = ["URL", "URL_CLASS"]


class URL(JsObject):
    """A parsed URL. Its parts can be set; the whole is put together when read."""

    __slots__ = ("_parts", "_search_params")

    def __init__(self, url: Any, base: Any = None) -> None:
        text = url if type(url) is str else str(getattr(url, "href", url))
        base_parts = None if is_nullish(base) else parse_url(str(getattr(base, "href", base)))
        self._parts = parse_url(text, base_parts)
        self._search_params: URLSearchParams | None = None

    @property
    def href(self) -> str:
        parts = self._parts
        text = f"{parts.scheme}:"
        if parts.host is not None:
            text += "//"
            if parts.username or parts.password:
                text += parts.username + (f":{parts.password}" if parts.password else "") + "@"
            text += self.host
        text += parts.path
        if parts.query is not None:
            text += f"?{parts.query}"
        return text if parts.fragment is None else f"{text}#{parts.fragment}"

    @href.setter
    def href(self, value: Any) -> None:
        self._parts = parse_url(str(value))
        self._refresh_params()

    @property
    def protocol(self) -> str:
        return f"{self._parts.scheme}:"

    @protocol.setter
    def protocol(self, value: str) -> None:
        scheme = str(value).partition(":")[0].lower()
        if (scheme in DEFAULT_PORTS) == self._parts.special:
            port = "" if self._parts.port == DEFAULT_PORTS.get(scheme) else self._parts.port
            self._parts = self._parts._replace(scheme=scheme, port=port)

    @property
    def host(self) -> str:
        parts = self._parts
        return f"{parts.host or ''}:{parts.port}" if parts.port else parts.host or ""

    @host.setter
    def host(self, value: str) -> None:
        found = self._with_host(str(value))
        if found is not None:
            self._parts = self._parts._replace(host=found.host, port=found.port or self._parts.port)

    @property
    def hostname(self) -> str:
        return self._parts.host or ""

    @hostname.setter
    def hostname(self, value: str) -> None:
        found = self._with_host(str(value))
        if found is not None:
            self._parts = self._parts._replace(host=found.host)

    def _with_host(self, text: str) -> UrlParts | None:
        """Setters ignore what does not parse."""
        try:
            return parse_url(f"{self._parts.scheme}://{text}/")
        except JsException:
            return None

    @property
    def port(self) -> str:
        return self._parts.port

    @port.setter
    def port(self, value: Any) -> None:
        text = str(value)
        if text == "" or (text.isdigit() and int(text) < 65536):
            text = str(int(text)) if text else ""
            self._parts = self._parts._replace(port="" if text == DEFAULT_PORTS.get(self._parts.scheme) else text)

    @property
    def pathname(self) -> str:
        return self._parts.path

    @pathname.setter
    def pathname(self, value: str) -> None:
        path = str(value)
        self._parts = self._parts._replace(path=encode_path(path if path.startswith("/") else f"/{path}"))

    @property
    def search(self) -> str:
        query = self._parts.query
        return f"?{query}" if query else ""

    @search.setter
    def search(self, value: str) -> None:
        text = str(value).removeprefix("?")
        self._parts = self._parts._replace(query=encode_query(text, self._parts.special) if text else None)
        self._refresh_params()

    @property
    def hash(self) -> str:
        fragment = self._parts.fragment
        return f"#{fragment}" if fragment else ""

    @hash.setter
    def hash(self, value: str) -> None:
        text = str(value).removeprefix("#")
        self._parts = self._parts._replace(fragment=encode_fragment(text) if text else None)

    @property
    def username(self) -> str:
        return self._parts.username

    @property
    def password(self) -> str:
        return self._parts.password

    @property
    def origin(self) -> str:
        return f"{self._parts.scheme}://{self.host}" if self._parts.special and self._parts.scheme != "file" else "null"

    @property
    def searchParams(self) -> URLSearchParams:
        if self._search_params is None:
            self._search_params = URLSearchParams(self._parts.query or "")
            self._search_params._changed = self._params_changed
        return self._search_params

    def _params_changed(self, query: str) -> None:
        self._parts = self._parts._replace(query=query or None)

    def _refresh_params(self) -> None:
        if self._search_params is not None:
            self._search_params._pairs = URLSearchParams(self._parts.query or "")._pairs

    def toString(self) -> str:
        return self.href

    toJSON = toString


def _can_parse(url: Any, base: Any = None) -> bool:
    return _parse(url, base) is not jsnull


def _parse(url: Any, base: Any = None) -> Any:
    try:
        return URL(url, base)
    except JsException:
        return jsnull


def _no_object_url(*_args: Any) -> Any:
    raise type_error("URL.createObjectURL() is not available in workers")


URL_CLASS = js_class(URL, "URL", canParse=_can_parse, parse=_parse, createObjectURL=_no_object_url)
