"""`create_proxy` and what it makes.

In Pyodide a proxy keeps a Python object alive while JavaScript holds it. With no
JavaScript on the other side it only has to behave like one: pass calls and
attributes through, hand out the object's memory, and be destroyed.
"""

import inspect
from collections.abc import Awaitable, Callable
from typing import Any

from .base import JS_FLAGS, JsObject, PlainObject
from .buffers import view_of
from .errors import JsException

__all__ = ["PyBuffer", "PyProxy", "create_once_callable", "create_proxy", "destroy_proxies"]


class PyBuffer(JsObject):
    """`proxy.getBuffer()`: the memory of a Python object, until `release()`."""

    __slots__ = ("_view", "data")

    def __init__(self, target: Any) -> None:
        # `bytes` cannot change, so it is shared and needs no lock on the object.
        self._view = None if type(target) is bytes else memoryview(target)
        self.data: Any = view_of(target if self._view is None else self._view)

    @property
    def nbytes(self) -> int:
        return self.data.byteLength

    @property
    def readonly(self) -> bool:
        return self._view is None or self._view.readonly

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.data.length,) if self._view is None else self._view.shape or ()

    @property
    def format(self) -> str:
        return self.data._format

    @property
    def itemsize(self) -> int:
        return self.data.BYTES_PER_ELEMENT

    def release(self) -> None:
        view, self._view = self._view, None
        if view is not None:
            window = self.data.buffer._data
            self.data.buffer._data = b""
            if isinstance(window, memoryview):
                window.release()
            view.release()


class PyProxy(JsObject):
    """What `create_proxy` returns for an object that is neither callable nor awaitable."""

    __slots__ = ("_destroyed", "_target")

    _js_type_flags = JS_FLAGS["IS_DOUBLE_PROXY"]

    def __init__(self, target: Any) -> None:
        self._target = target
        self._destroyed = False

    def _proxy_target(self) -> Any:
        if self._destroyed:
            raise JsException("Error", "Object has already been destroyed")
        return self._target

    unwrap = _proxy_target

    def destroy(self, *_options: Any) -> None:
        self._destroyed = True
        self._target = None

    def copy(self) -> "PyProxy":
        return create_proxy(self._proxy_target())

    def getBuffer(self, number_format: str | None = None) -> PyBuffer:
        return PyBuffer(self._proxy_target())

    def toJs(self, **options: Any) -> Any:
        from .convert import to_js

        return to_js(self._proxy_target(), **options)

    @property
    def type(self) -> str:
        return type(self._proxy_target()).__name__

    def toString(self) -> str:
        return str(self._proxy_target())

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._proxy_target(), name)


class _Callable:
    """The part a proxy of a callable adds."""

    __slots__ = ()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._proxy_target()(*args, **kwargs)


class PyCallableProxy(_Callable, PyProxy):
    __slots__ = ()
    _js_type_flags = JS_FLAGS["IS_DOUBLE_PROXY"] | JS_FLAGS["IS_CALLABLE"]


class PyAwaitableProxy(PyProxy):
    """Of a coroutine, task or future: awaiting it awaits the object."""

    __slots__ = ()
    _js_type_flags = JS_FLAGS["IS_DOUBLE_PROXY"] | JS_FLAGS["IS_AWAITABLE"]

    def __await__(self) -> Any:
        return (yield from self._proxy_target().__await__())

    def then(self, on_fulfilled: Any = None, on_rejected: Any = None) -> Any:
        from .promise import promise_of

        return promise_of(self._proxy_target()).then(on_fulfilled, on_rejected)


class PyOnceCallable(PyProxy):
    """`create_once_callable`: lets go of the function with the first call."""

    __slots__ = ()
    _js_type_flags = JS_FLAGS["IS_DOUBLE_PROXY"] | JS_FLAGS["IS_CALLABLE"]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self._destroyed:
            raise JsException("Error", "OnceProxy can only be called once")
        function = self._target
        self.destroy()
        return function(*args, **kwargs)


_OBJECT = PlainObject.constructor


def create_proxy(obj: Any, /, *, capture_this: bool = False, roundtrip: bool = True) -> Any:
    """A proxy of `obj` that lives until `destroy()`."""
    if callable(obj):
        return PyCallableProxy(obj)
    # Awaitables are rare and the check is slow, so bytes (the hot case) go first.
    if type(obj) is bytes:
        return PyProxy(obj)
    return PyAwaitableProxy(obj) if inspect.isawaitable(obj) else PyProxy(obj)


def create_once_callable(obj: Callable[..., Any], /, *, _may_syncify: bool = False) -> PyOnceCallable:
    return PyOnceCallable(obj)


def destroy_proxies(pyproxies: Any, /) -> None:
    for proxy in pyproxies:
        destroy = getattr(proxy, "destroy", None)
        if destroy is not None:
            destroy()


Awaitable.register(PyAwaitableProxy)
