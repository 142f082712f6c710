"""Splitting a URL into its parts, after the WHATWG URL standard.

Almost every URL a worker parses is the one of a request, which is already in normal
form: one regular expression recognises and splits it. Everything else takes the long
way: trimming, relative references, dot segments, percent-encoding, default ports,
IPv4 and IPv6 hosts.
"""

import ipaddress
import re
from typing import NamedTuple

from .errors import type_error

__all__ = ["UrlParts", "encode_fragment", "encode_path", "encode_query", "parse_url"]

DEFAULT_PORTS = {"http": "80", "https": "443", "ws": "80", "wss": "443", "ftp": "21", "file": ""}

#: An http(s) URL with nothing to encode.
_NORMAL = re.compile(
    r"(https?)://([a-z0-9][a-z0-9.-]*)(?::([1-9][0-9]{0,4}))?"
    r"(/[A-Za-z0-9!$&'()*+,;=:@_~/%.-]*)(\?[A-Za-z0-9!$&()*+,;=:@_~/?%.-]*)?"
)
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")
_FORBIDDEN_HOST = re.compile(r"[\0\t\n\r #/:<>?@\[\\\]^|%\x7f\x01-\x1f]")

_CONTROL = "".join(map(chr, range(0x20))) + "\x7f"
_FRAGMENT_SET = frozenset(_CONTROL + ' "<>`')
_QUERY_SET = frozenset(_CONTROL + ' "#<>')
_SPECIAL_QUERY_SET = _QUERY_SET | {"'"}
_PATH_SET = _QUERY_SET | frozenset("?^`{}")
_USERINFO_SET = _PATH_SET | frozenset("/:;=@[\\]|")


class UrlParts(NamedTuple):
    """`query` and `fragment` are `None` when absent; an opaque path has no host."""

    scheme: str
    username: str
    password: str
    host: str | None
    port: str
    path: str
    query: str | None
    fragment: str | None

    @property
    def special(self) -> bool:
        return self.scheme in DEFAULT_PORTS


def _encode(text: str, characters: frozenset[str]) -> str:
    if text.isascii() and characters.isdisjoint(text):
        return text
    return "".join(
        character
        if character.isascii() and character not in characters
        else "".join(f"%{byte:02X}" for byte in character.encode("utf-8", "replace"))
        for character in text
    )


def encode_path(text: str) -> str:
    return _encode(text, _PATH_SET)


def encode_query(text: str, special: bool) -> str:
    return _encode(text, _SPECIAL_QUERY_SET if special else _QUERY_SET)


def encode_fragment(text: str) -> str:
    return _encode(text, _FRAGMENT_SET)


def parse_url(text: str, base: UrlParts | None = None) -> UrlParts:
    """The parts of `text`, read relative to `base` when it has no scheme."""
    match = _NORMAL.fullmatch(text)
    if match is not None:
        scheme, host, port, path, query = match.groups()
        # Dot segments, default ports and numeric hosts are left to the long way.
        plain_path = "/." not in path and "%2" not in path
        plain_port = port is None or (port != DEFAULT_PORTS[scheme] and int(port) < 65536)
        if plain_path and plain_port and (host[-1].isalpha() or host == "127.0.0.1"):
            return UrlParts(scheme, "", "", host, port or "", path, query[1:] if query else None, None)
    return _parse_slowly(text, base)


def _parse_slowly(text: str, base: UrlParts | None) -> UrlParts:
    original = text
    text = text.strip("".join(map(chr, range(0x21)))).replace("\t", "").replace("\n", "").replace("\r", "")
    text, hash_mark, raw_fragment = text.partition("#")
    fragment = encode_fragment(raw_fragment) if hash_mark else None
    match = _SCHEME.match(text)
    scheme = match.group(1).lower() if match else None
    if scheme is None:
        if base is None or (base.host is None and not base.special):
            raise type_error(f"Invalid URL: {original!r}")
        return _relative(text, base, fragment, original)
    rest = text[len(scheme) + 1 :]
    special = scheme in DEFAULT_PORTS
    if special and base is not None and base.scheme == scheme and not rest.replace("\\", "/").startswith("/"):
        return _relative(rest, base, fragment, original)
    rest, question, raw_query = rest.partition("?")
    query = encode_query(raw_query, special) if question else None
    if special:
        rest = rest.replace("\\", "/")
        slashes = "///" if scheme == "file" and rest.startswith("///") else None
        authority, slash, path = rest[2:].partition("/") if slashes else rest.lstrip("/").partition("/")
        return _with_authority(scheme, authority, "/" + path, query, fragment, original)
    if rest.startswith("//"):
        authority, slash, path = rest[2:].partition("/")
        return _with_authority(scheme, authority, slash + path, query, fragment, original)
    path = _dot_segments(rest) if rest.startswith("/") else _encode(rest, frozenset(_CONTROL))
    return UrlParts(scheme, "", "", None, "", path, query, fragment)


def _relative(text: str, base: UrlParts, fragment: str | None, original: str) -> UrlParts:
    text, question, raw_query = text.partition("?")
    query = encode_query(raw_query, base.special) if question else None
    if base.special:
        text = text.replace("\\", "/")
    if text.startswith("//"):
        authority, slash, path = text[2:].partition("/")
        return _with_authority(base.scheme, authority, slash + path, query, fragment, original)
    if text.startswith("/"):
        path = _dot_segments(text)
    elif text:
        path = _dot_segments(base.path.rpartition("/")[0] + "/" + text)
    else:
        path = base.path
        query = query if question else base.query
    return base._replace(path=path, query=query, fragment=fragment)


def _with_authority(
    scheme: str, authority: str, path: str, query: str | None, fragment: str | None, original: str
) -> UrlParts:
    special = scheme in DEFAULT_PORTS
    userinfo, _, host_port = authority.rpartition("@")
    username, _, password = userinfo.partition(":")
    host, port = _split_port(host_port, original)
    if special and not host and scheme != "file":
        raise type_error(f"Invalid URL: {original!r}")
    host = _normal_host(host, special, original)
    if port == DEFAULT_PORTS.get(scheme):
        port = ""
    if special and not path:
        path = "/"
    return UrlParts(
        scheme,
        _encode(username, _USERINFO_SET),
        _encode(password, _USERINFO_SET),
        host,
        port,
        _dot_segments(path),
        query,
        fragment,
    )


def _split_port(host_port: str, original: str) -> tuple[str, str]:
    if host_port.startswith("["):
        host, bracket, rest = host_port.partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise type_error(f"Invalid URL: {original!r}")
        host, port = host + bracket, rest[1:]
    else:
        host, _, port = host_port.partition(":")
    if not port:
        return host, ""
    if not (port.isascii() and port.isdigit()) or int(port) > 65535:
        raise type_error(f"Invalid URL: {original!r}")
    return host, str(int(port))


def _normal_host(host: str, special: bool, original: str) -> str:
    if host.startswith("["):
        try:
            return f"[{ipaddress.IPv6Address(host[1:-1]).compressed}]"
        except ValueError:
            raise type_error(f"Invalid URL: {original!r}") from None
    if not special:
        return _encode(host, frozenset(_CONTROL))
    from urllib.parse import unquote

    host = unquote(host, errors="strict") if "%" in host else host
    if not host.isascii():
        try:
            host = host.encode("idna").decode("ascii")
        except UnicodeError:
            raise type_error(f"Invalid URL: {original!r}") from None
    host = host.lower()
    if _FORBIDDEN_HOST.search(host):
        raise type_error(f"Invalid URL: {original!r}")
    last = host.rstrip(".").rsplit(".", 1)[-1]
    if last.isdigit() or re.fullmatch(r"0x[0-9a-f]*", last):
        return _ipv4(host, original)
    return host


def _ipv4(host: str, original: str) -> str:
    """`127.1`, `0x7f.0.0.1` and the like, as four decimal numbers."""
    parts = host.removesuffix(".").split(".")
    numbers = []
    for part in parts:
        try:
            base = 16 if part.startswith("0x") else 8 if part.startswith("0") and part != "0" else 10
            numbers.append(int(part[2:] or "0", 16) if base == 16 else int(part, base))
        except ValueError:
            raise type_error(f"Invalid URL: {original!r}") from None
    if len(numbers) > 4 or any(n > 255 for n in numbers[:-1]) or numbers[-1] >= 256 ** (5 - len(numbers)):
        raise type_error(f"Invalid URL: {original!r}")
    address = numbers[-1] + sum(n << (8 * (3 - i)) for i, n in enumerate(numbers[:-1]))
    return ".".join(str(address >> shift & 255) for shift in (24, 16, 8, 0))


_SINGLE_DOT = {".", "%2e"}
_DOUBLE_DOT = {"..", ".%2e", "%2e.", "%2e%2e"}


def _dot_segments(path: str) -> str:
    """Resolve `.` and `..`, then percent-encode."""
    if "." in path or "%2" in path:
        segments: list[str] = []
        pieces = path.split("/")[1:]
        for index, segment in enumerate(pieces):
            last = index == len(pieces) - 1
            lower = segment.lower()
            if lower in _DOUBLE_DOT:
                if segments:
                    segments.pop()
                if last:
                    segments.append("")
            elif lower in _SINGLE_DOT:
                if last:
                    segments.append("")
            else:
                segments.append(segment)
        path = "/" + "/".join(segments)
    return encode_path(path)
