"""`DataView`: numbers of any format and byte order at any offset."""

import struct
from typing import Any

from .base import js_class
from .buffers import _FORMATS, _View
from .errors import range_error

__all__ = ["DATA_VIEW", "DataView"]


class DataView(_View):
    """Reads and writes numbers of any format, big-endian unless told otherwise."""

    __slots__ = ("buffer", "byteLength", "byteOffset")

    def __init__(self, buffer: Any, byte_offset: int = 0, byte_length: int | None = None) -> None:
        self.buffer = buffer
        self.byteOffset = byte_offset
        self.byteLength = buffer.byteLength - byte_offset if byte_length is None else byte_length

    def to_bytes(self) -> bytes:
        return bytes(memoryview(self.buffer._data)[self.byteOffset : self.byteOffset + self.byteLength])

    def _window(self) -> memoryview:
        return self.buffer._window()[self.byteOffset : self.byteOffset + self.byteLength]


def _add_accessors() -> None:
    for name, (number_format, size) in _FORMATS.items():
        if name == "Uint8ClampedArray":
            continue
        kind = name.removesuffix("Array")

        def get(
            self: DataView, offset: int, little: Any = False, _format: str = number_format, _size: int = size
        ) -> Any:
            _check_range(self, offset, _size)
            return struct.unpack_from(("<" if little else ">") + _format, self.to_bytes(), offset)[0]

        def put(
            self: DataView,
            offset: int,
            value: Any,
            little: Any = False,
            _format: str = number_format,
            _size: int = size,
        ) -> None:
            _check_range(self, offset, _size)
            struct.pack_into(("<" if little else ">") + _format, self._window(), offset, value)

        setattr(DataView, f"get{kind}", get)
        setattr(DataView, f"set{kind}", put)


def _check_range(view: DataView, offset: int, size: int) -> None:
    if offset < 0 or offset + size > view.byteLength:
        raise range_error(f"Offset {offset} is outside the bounds of the DataView ({view.byteLength} bytes)")


_add_accessors()
DATA_VIEW = js_class(DataView, "DataView")
