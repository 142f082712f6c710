"""`ReadableStream.tee()`: two streams with the chunks of one."""

from typing import Any

from .array import JsArray
from .readable import ReadableStream, source_stream
from .readers import END

__all__ = ["tee"]


def tee(stream: ReadableStream) -> JsArray:
    """Both branches get every chunk; the faster one sets the pace."""
    stream.getReader()
    branches: list[Any] = []
    open_branches = {0, 1}
    reading = [False]

    def pull() -> None:
        if not reading[0]:
            reading[0] = True
            stream._read()._when_settled(arrived)

    def arrived(read: Any) -> None:
        reading[0] = False
        for index in sorted(open_branches):
            if read._failed:
                branches[index]._fail(read._value)
            elif read._value is END:
                branches[index]._close()
            else:
                branches[index]._enqueue(read._value)

    def leave(index: int) -> Any:
        def cancel(reason: Any) -> Any:
            open_branches.discard(index)
            return None if open_branches else stream._cancel(reason)

        return cancel

    branches.extend(source_stream(pull, leave(index)) for index in (0, 1))
    return JsArray(branches)
