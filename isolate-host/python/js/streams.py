"""The stream classes under one name; each kind has a file of its own."""

from .readable import READABLE_STREAM, ReadableStream
from .transform import TRANSFORM_STREAM, TransformStream
from .writable import WRITABLE_STREAM, WritableStream

__all__ = [
    "READABLE_STREAM",
    "TRANSFORM_STREAM",
    "WRITABLE_STREAM",
    "ReadableStream",
    "TransformStream",
    "WritableStream",
]
