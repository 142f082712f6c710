"""`ReadableStream.pipeTo()`."""

from typing import Any

from .base import option
from .errors import JsException
from .readable import ReadableStream
from .readers import END, as_item
from .writable import WritableStream

__all__ = ["pipe_to"]


async def pipe_to(source: ReadableStream, destination: WritableStream, options: Any) -> None:
    """Move every chunk, waiting for the destination's room before each."""
    reader = source.getReader()
    writer = destination.getWriter()
    try:
        while True:
            await writer.ready
            try:
                chunk = await source._read(as_item)
            except Exception as error:
                if not option(options, "preventAbort", False):
                    await writer.abort(error)
                raise
            if chunk is END:
                break
            # Not awaited: `ready` is what paces a pipe.
            writer.write(chunk)
        if not option(options, "preventClose", False):
            await writer.close()
    except Exception as error:
        if not option(options, "preventCancel", False):
            await reader.cancel(error if isinstance(error, JsException) else str(error))
        raise
    finally:
        reader.releaseLock()
        writer.releaseLock()
