"""From a `js.Response` to the host: in one piece when it is complete, else as it comes."""

import asyncio
from typing import TYPE_CHECKING, Any

from js.buffers import _Buffer
from js.errors import type_error
from js.readers import END
from js.response import Response

if TYPE_CHECKING:
    from .exchange import Exchange

__all__ = ["LARGEST_CHUNK", "write_response"]

#: What the host takes at once.
LARGEST_CHUNK = 64 * 1024
#: A complete body up to this size crosses with its head; a larger one in chunks, so
#: that a slow client does not make the host hold all of it.
_LARGEST_WHOLE = 256 * 1024


async def write_response(exchange: "Exchange", response: Response) -> None:
    data, stream = response._data, response._stream
    if response.bodyUsed:
        raise type_error("the body of the response has already been used")
    if stream is not None and stream._reader is not None:
        raise type_error("the body of the response is locked to a reader")
    if stream is None or data is not None:
        if data is None or len(data) <= _LARGEST_WHOLE:
            exchange.head_sent = True
            exchange.host.respond(exchange.id, response.status, response.headers._raw(), data or b"")
        else:
            await _write_large(exchange, response, data)
        return
    await _write_stream(exchange, response, stream)


async def _write_large(exchange: "Exchange", response: Response, data: bytes) -> None:
    headers = response.headers._raw()
    if not any(name == b"content-length" for name, _ in headers):
        headers.append((b"content-length", str(len(data)).encode()))
    _send_head(exchange, response, headers)
    await _write_bytes(exchange, data)
    exchange.host.respond_end(exchange.id)


async def _write_stream(exchange: "Exchange", response: Response, stream: Any) -> None:
    _send_head(exchange, response, response.headers._raw())
    exchange.response_stream = stream
    try:
        while (chunk := await stream._read()) is not END:
            await _write_bytes(exchange, chunk if type(chunk) is bytes else _chunk_bytes(chunk))
    except BaseException as error:
        # Whoever feeds the stream must learn that nobody reads it any more.
        stream._cancel(error if isinstance(error, Exception) else None)
        raise
    finally:
        exchange.response_stream = None
    exchange.host.respond_end(exchange.id)


def _send_head(exchange: "Exchange", response: Response, headers: list[tuple[bytes, bytes]]) -> None:
    exchange.head_sent = True
    exchange.host.respond_head(exchange.id, response.status, headers)


async def _write_bytes(exchange: "Exchange", data: bytes) -> None:
    if len(data) <= LARGEST_CHUNK:
        if data:
            await _write_chunk(exchange, data)
        return
    for start in range(0, len(data), LARGEST_CHUNK):
        await _write_chunk(exchange, data[start : start + LARGEST_CHUNK])


async def _write_chunk(exchange: "Exchange", data: bytes) -> None:
    if exchange.host.respond_chunk(exchange.id, data):
        return
    exchange.drained = asyncio.get_running_loop().create_future()
    try:
        await exchange.drained
    finally:
        exchange.drained = None


def _chunk_bytes(chunk: Any) -> bytes:
    if isinstance(chunk, _Buffer):
        return chunk.to_bytes()
    target = getattr(chunk, "_proxy_target", None)
    if target is not None:
        chunk = target()
    if isinstance(chunk, (bytes, bytearray, memoryview)):
        return bytes(chunk)
    raise type_error(
        f"a chunk of a response body must be bytes or a Uint8Array, found {type(chunk).__name__}"
        + ("; encode text before writing it" if isinstance(chunk, str) else "")
    )
