"""What Pyodide's Python half imports from its JavaScript bridge, without JavaScript.

The interpreter has a builtin of the same name, which is not initialised here and must
never be imported: `warmshard_runtime.boot()` puts this module into `sys.modules`
before anything can ask for the other one. `pyodide.ffi` picks its names up from here.
"""

from typing import Any

from js.base import JS_FLAGS as js_flags
from js.convert import to_js
from js.errors import JsException
from js.proxies import create_once_callable, create_proxy, destroy_proxies
from warmshard_runtime.nested import can_run_sync, run_sync

__all__ = [
    "JsException",
    "can_run_sync",
    "create_once_callable",
    "create_proxy",
    "destroy_proxies",
    "js_flags",
    "run_sync",
    "to_js",
]


def __getattr__(name: str) -> Any:
    raise AttributeError(f"_pyodide_core.{name} is not available in this version of warmshard")
