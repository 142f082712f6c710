"""`js`: the global scope of a worker, without JavaScript.

`import js`, `from js import Response` and `js.Response` work as in Pyodide. Each
subject has its own file; this one only names what is global. A name of the platform
that is still missing raises an error that says so, from all three forms.
"""

import math
import sys
from types import ModuleType
from typing import Any

from . import convert, pipe, proxies, tee  # noqa: F401  loaded now: later would put them into the scope
from .abort import ABORT_CONTROLLER, ABORT_SIGNAL
from .array import ARRAY
from .base import FUNCTION, JsFunction
from .blob import BLOB, FILE
from .buffers import ARRAY_BUFFER, TYPED_ARRAYS
from .collections import MAP, SET
from .console import console
from .crypto import crypto
from .data_view import DATA_VIEW
from .date import DATE
from .encoding import (
    TEXT_DECODER,
    TEXT_ENCODER,
    atob,
    btoa,
    decodeURI,
    decodeURIComponent,
    encodeURI,
    encodeURIComponent,
)
from .errors import DOM_EXCEPTION, ERRORS
from .events import EVENT, EVENT_TARGET
from .fetch import fetch
from .formdata import FORM_DATA
from .globals import (
    BOOLEAN,
    MATH,
    NUMBER,
    STRING,
    WEAK_REF,
    isNaN,
    no_javascript,
    parseFloat,
    parseInt,
    structuredClone,
)
from .headers import HEADERS
from .json import JSON
from .object import OBJECT
from .promise import PROMISE
from .request import REQUEST
from .response import RESPONSE
from .streams import READABLE_STREAM, TRANSFORM_STREAM, WRITABLE_STREAM
from .timers import clearInterval, clearTimeout, performance, queueMicrotask, setInterval, setTimeout
from .unavailable import UNAVAILABLE, refuse_from_imports
from .url import URL_CLASS
from .url_search_params import URL_SEARCH_PARAMS


def eval(*_args: Any) -> Any:
    raise no_javascript("js.eval()")


def _no_function(*_args: Any, **_kwargs: Any) -> Any:
    raise no_javascript("js.Function()")


FUNCTION.new = _no_function
FUNCTION._call = _no_function

_FUNCTIONS = (
    atob,
    btoa,
    clearInterval,
    clearTimeout,
    decodeURI,
    decodeURIComponent,
    encodeURI,
    encodeURIComponent,
    eval,
    fetch,
    isNaN,
    parseFloat,
    parseInt,
    queueMicrotask,
    setInterval,
    setTimeout,
    structuredClone,
)

_CLASSES = (
    ABORT_CONTROLLER,
    ABORT_SIGNAL,
    ARRAY,
    ARRAY_BUFFER,
    BLOB,
    BOOLEAN,
    DATA_VIEW,
    DATE,
    DOM_EXCEPTION,
    EVENT,
    EVENT_TARGET,
    FILE,
    FORM_DATA,
    FUNCTION,
    HEADERS,
    MAP,
    NUMBER,
    OBJECT,
    PROMISE,
    READABLE_STREAM,
    REQUEST,
    RESPONSE,
    SET,
    STRING,
    TEXT_DECODER,
    TEXT_ENCODER,
    TRANSFORM_STREAM,
    URL_CLASS,
    URL_SEARCH_PARAMS,
    WEAK_REF,
    WRITABLE_STREAM,
    *TYPED_ARRAYS.values(),
    *ERRORS.values(),
)


class _GlobalScope(ModuleType):
    """The module itself is the global object: also `globalThis` and `self`."""

    _js_type_flags = 0
    constructor = OBJECT

    @property
    def js_id(self) -> int:
        return id(self)

    def object_keys(self) -> Any:
        return OBJECT.keys({name: None for name in vars(self) if not name.startswith("_")})

    def __getattr__(self, name: str) -> Any:
        if name in UNAVAILABLE:
            raise AttributeError(UNAVAILABLE[name])
        raise AttributeError(f"js.{name} is not available in this version of warmshard")


def _global_scope(package: ModuleType) -> ModuleType:
    """A module with nothing but the globals: no submodules, no helpers of this file."""
    scope = _GlobalScope(package.__name__, package.__doc__)
    for name in ("__file__", "__loader__", "__package__", "__path__", "__spec__"):
        setattr(scope, name, getattr(package, name))
    names = vars(scope)
    names.update((cls.name, cls) for cls in _CLASSES)
    names.update((function.__name__, JsFunction(function)) for function in _FUNCTIONS)
    names.update(JSON=JSON, Math=MATH, console=console, crypto=crypto, performance=performance)
    names.update(globalThis=scope, self=scope, Infinity=math.inf, NaN=math.nan, undefined=None)
    return scope


refuse_from_imports()
# `import js` hands out what stands in `sys.modules` when this file is through.
sys.modules[__name__] = _global_scope(sys.modules[__name__])
