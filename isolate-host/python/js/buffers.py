"""`ArrayBuffer` and the typed arrays.

An `ArrayBuffer` keeps its memory in one of three ways:

* `bytes`: shared with whoever else holds it and copied on the first write. Bodies
  stay `bytes` from the host to the handler and back, with no copy between;
* `bytearray`: memory of its own;
* `memoryview`: a window on a Python object's memory (`create_proxy(x).getBuffer()`).
"""

import struct
from collections.abc import Iterator
from typing import Any

from .base import JS_FLAGS, JsObject, is_nullish, js_class, unwrap
from .errors import range_error, type_error

__all__ = ["TYPED_ARRAYS", "ArrayBuffer", "TypedArray", "Uint8Array", "bytes_of", "typed_array_of"]


def _bounds(start: Any, end: Any, length: int) -> tuple[int, int]:
    """JavaScript's slice arguments, resolved and clamped."""
    first, last, _ = slice(None if is_nullish(start) else int(start), None if is_nullish(end) else int(end)).indices(
        length
    )
    return first, max(first, last)


class _Buffer(JsObject):
    """What `pyodide.ffi.JsBuffer` offers on array buffers and their views."""

    __slots__ = ()

    _js_type_flags = JS_FLAGS["IS_BUFFER"]

    def to_bytes(self) -> bytes:
        raise NotImplementedError

    def _window(self) -> memoryview:
        """A writable view on the bytes themselves."""
        raise NotImplementedError

    def to_memoryview(self) -> memoryview:
        return memoryview(bytearray(self.to_bytes()))

    def to_string(self, encoding: str | None = None) -> str:
        return self.to_bytes().decode(encoding or "utf-8", "replace")

    def assign(self, source: Any) -> None:
        view = memoryview(source).cast("B")
        window = self._window()
        if len(view) != len(window):
            raise ValueError(f"cannot assign {len(view)} bytes to a buffer of {len(window)} bytes")
        window[:] = view

    def assign_to(self, target: Any) -> None:
        memoryview(target).cast("B")[:] = self.to_bytes()

    def to_file(self, file: Any) -> None:
        file.write(self.to_bytes())

    _into_file = to_file

    def from_file(self, file: Any) -> None:
        window = self._window()
        data = file.read(len(window))
        window[: len(data)] = data


class _View(_Buffer):
    """A window on an `ArrayBuffer`: a typed array or a `DataView`."""

    __slots__ = ()


class ArrayBuffer(_Buffer):
    """A block of bytes."""

    __slots__ = ("_data",)

    def __init__(self, source: Any = 0, options: Any = None) -> None:
        self._data: Any = bytearray(int(source)) if isinstance(source, (int, float)) else bytes_of(source)

    @property
    def byteLength(self) -> int:
        return len(self._data)

    def slice(self, start: Any = 0, end: Any = None) -> "ArrayBuffer":
        first, last = _bounds(start, end, len(self._data))
        return _buffer_of(bytes(self._data[first:last]))

    def to_bytes(self) -> bytes:
        data = self._data
        return data if type(data) is bytes else bytes(data)

    def _window(self) -> memoryview:
        if type(self._data) is bytes:
            self._data = bytearray(self._data)
        return memoryview(self._data)


def _buffer_of(data: Any) -> ArrayBuffer:
    """An `ArrayBuffer` over `data` itself: no copy."""
    buffer = ArrayBuffer.__new__(ArrayBuffer)
    buffer._data = data
    return buffer


class TypedArray(_View):
    """A view of numbers on an `ArrayBuffer`; one subclass per number format."""

    __slots__ = ("buffer", "byteOffset", "length")

    _js_type_flags = (
        JS_FLAGS["IS_BUFFER"]
        | JS_FLAGS["IS_TYPEDARRAY"]
        | JS_FLAGS["IS_ARRAY_LIKE"]
        | JS_FLAGS["IS_ITERABLE"]
        | JS_FLAGS["HAS_LENGTH"]
    )
    BYTES_PER_ELEMENT = 1
    _format = "B"

    def __init__(self, source: Any = 0, byte_offset: Any = 0, length: Any = None) -> None:
        size = self.BYTES_PER_ELEMENT
        source = unwrap(source)
        if isinstance(source, ArrayBuffer):
            offset = int(byte_offset or 0)
            available = source.byteLength - offset
            count = available // size if is_nullish(length) else int(length)
            if offset % size or available < 0 or count * size > available:
                raise range_error(f"Invalid typed array length or offset: {count} elements at byte {offset}")
            self.buffer, self.byteOffset, self.length = source, offset, count
            return
        self.byteOffset = 0
        if is_nullish(source):
            source = 0
        if isinstance(source, (int, float)):
            self.buffer, self.length = ArrayBuffer(int(source) * size), int(source)
            return
        if isinstance(source, TypedArray) and source._format == self._format:
            data: Any = source.to_bytes()
        elif self._format == "B" and isinstance(source, (bytes, bytearray, memoryview)):
            data = bytes(source)
        else:
            values = [self._coerce(value) for value in source]
            data = bytearray(struct.pack(f"<{len(values)}{self._format}", *values))
        self.buffer, self.length = _buffer_of(data), len(data) // size

    def _coerce(self, value: Any) -> Any:
        if self._format in "efd":
            return float(value)
        bits = self.BYTES_PER_ELEMENT * 8
        number = int(value) & ((1 << bits) - 1)
        return number - (1 << bits) if self._format.islower() and number >> (bits - 1) else number

    @property
    def byteLength(self) -> int:
        return self.length * self.BYTES_PER_ELEMENT

    def to_bytes(self) -> bytes:
        data = self.buffer._data
        count = self.length * self.BYTES_PER_ELEMENT
        if count == len(data):
            return data if type(data) is bytes else bytes(data)
        return bytes(memoryview(data)[self.byteOffset : self.byteOffset + count])

    def _window(self) -> memoryview:
        return self.buffer._window()[self.byteOffset : self.byteOffset + self.byteLength]

    def _numbers(self) -> memoryview:
        return self._window().cast(self._format)

    def to_memoryview(self) -> memoryview:
        return memoryview(bytearray(self.to_bytes())).cast(self._format)

    def slice(self, start: Any = None, end: Any = None) -> "TypedArray":
        """A copy of a part (of the whole without arguments)."""
        if start is None and end is None:
            return self._over(self.to_bytes())
        first, last = _bounds(start, end, self.length)
        size = self.BYTES_PER_ELEMENT
        return self._over(self.to_bytes()[first * size : last * size])

    def subarray(self, start: Any = None, end: Any = None) -> "TypedArray":
        """A view on a part of the same memory."""
        first, last = _bounds(start, end, self.length)
        return type(self)(self.buffer, self.byteOffset + first * self.BYTES_PER_ELEMENT, last - first)

    @classmethod
    def _over(cls, data: Any) -> "TypedArray":
        view = cls.__new__(cls)
        view.buffer = _buffer_of(data)
        view.byteOffset = 0
        view.length = len(data) // cls.BYTES_PER_ELEMENT
        return view

    def set(self, source: Any, offset: int = 0) -> None:
        values = [self._coerce(value) for value in unwrap(source)]
        if offset + len(values) > self.length:
            raise range_error(f"{len(values)} values at {offset} do not fit in {self.length} elements")
        numbers = self._numbers()
        for index, value in enumerate(values, offset):
            numbers[index] = value

    def fill(self, value: Any, start: Any = None, end: Any = None) -> "TypedArray":
        first, last = _bounds(start, end, self.length)
        numbers, number = self._numbers(), self._coerce(value)
        for index in range(first, last):
            numbers[index] = number
        return self

    def _values(self) -> list[Any]:
        return memoryview(self.to_bytes()).cast(self._format).tolist()

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[Any]:
        return iter(self._values())

    def __contains__(self, value: Any) -> bool:
        return value in self._values()

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return self._over(
                bytearray(struct.pack(f"<{len(self._values()[index])}{self._format}", *self._values()[index]))
            )
        data = memoryview(self.buffer._data)[self.byteOffset : self.byteOffset + self.byteLength]
        return data.cast("B").cast(self._format)[index]

    def __setitem__(self, index: int, value: Any) -> None:
        self._numbers()[index] = self._coerce(value)

    def at(self, index: int) -> Any:
        return self[index] if -self.length <= index < self.length else None

    def indexOf(self, value: Any) -> int:
        values = self._values()
        return values.index(value) if value in values else -1

    def includes(self, value: Any) -> bool:
        return value in self._values()

    def join(self, separator: str = ",") -> str:
        return separator.join(map(str, self._values()))

    def toString(self) -> str:
        return self.join()


#: Name → (struct format, bytes per element).
_FORMATS = {
    "Uint8Array": ("B", 1),
    "Uint8ClampedArray": ("B", 1),
    "Int8Array": ("b", 1),
    "Uint16Array": ("H", 2),
    "Int16Array": ("h", 2),
    "Uint32Array": ("I", 4),
    "Int32Array": ("i", 4),
    "BigUint64Array": ("Q", 8),
    "BigInt64Array": ("q", 8),
    "Float16Array": ("e", 2),
    "Float32Array": ("f", 4),
    "Float64Array": ("d", 8),
}


def _typed_array_class(name: str, number_format: str, size: int) -> type[TypedArray]:
    return type(name, (TypedArray,), {"__slots__": (), "_format": number_format, "BYTES_PER_ELEMENT": size})


_CLASSES = {name: _typed_array_class(name, *shape) for name, shape in _FORMATS.items()}
Uint8Array = _CLASSES["Uint8Array"]

#: Constructors by name, for the global scope.
TYPED_ARRAYS = {
    name: js_class(
        cls,
        name,
        BYTES_PER_ELEMENT=cls.BYTES_PER_ELEMENT,
        of=lambda *values, _cls=cls: _cls(values),
        **{"from": lambda values, _cls=cls: _cls(unwrap(values))},
    )
    for name, cls in _CLASSES.items()
}

ARRAY_BUFFER = js_class(ArrayBuffer, "ArrayBuffer", isView=lambda value: isinstance(value, _View))


def typed_array_of(data: Any) -> TypedArray:
    """A copy of a Python buffer as a typed array of its own number format."""
    if type(data) is bytes:
        return Uint8Array._over(data)
    view = memoryview(data)
    for cls in _CLASSES.values():
        if view.format == cls._format and cls is not _CLASSES["Uint8ClampedArray"]:
            return cls._over(bytearray(view.cast("B") if view.c_contiguous else view.tobytes()))
    return Uint8Array._over(bytearray(view.tobytes()))


def view_of(data: Any) -> TypedArray:
    """A typed array on the memory of a Python object itself (of `bytes`, shared)."""
    if type(data) is bytes:
        return Uint8Array._over(data)
    view = memoryview(data)
    cls = next((cls for cls in _CLASSES.values() if cls._format == view.format), Uint8Array)
    return cls._over(view.cast("B"))


def bytes_of(value: Any) -> bytes:
    """The bytes of a `BufferSource`; Python's own bytes-like objects count as one."""
    if type(value) is bytes:
        return value
    if isinstance(value, _Buffer):
        return value.to_bytes()
    value = unwrap(value)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value)
    raise type_error(f"expected an ArrayBuffer or a view on one, found {type(value).__name__}")
