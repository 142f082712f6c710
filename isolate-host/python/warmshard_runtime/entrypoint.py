"""Finding the worker's entrypoints, and calling the default one.

Two forms exist: a class `Default` with a method `fetch`, of which an instance is made
for every request with `(ctx, env)`; and the older function `on_fetch` at module level,
which is called with as many of `(request, env, ctx)` as it takes.
"""

import importlib
import inspect
import sys
from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING, Any

from . import environment

if TYPE_CHECKING:
    from .exchange import Exchange

__all__ = ["EntrypointError", "find", "handle", "import_main"]


class EntrypointError(Exception):
    """The main module does not say how to handle a request."""


Handler = Callable[["Exchange"], Any]
_handler: Handler | None = None


def handle(exchange: "Exchange") -> Any:
    """What an exchange runs."""
    if _handler is None:
        raise EntrypointError("the worker has no entrypoint for `fetch`")
    return _handler(exchange)


def import_main(main: str) -> ModuleType:
    """Run the worker's top level: `src/entry.py` is the module `src.entry`."""
    name = main.removeprefix("./").removesuffix(".py").replace("/", ".")
    return importlib.import_module(name)


def find(module: ModuleType) -> list[str]:
    """Choose the handler and name every entrypoint of the module."""
    global _handler
    _handler = _choose(module)
    return _names(module)


def _choose(module: ModuleType) -> Handler:
    default = getattr(module, "Default", None)
    if inspect.isclass(default):
        if not callable(getattr(default, "fetch", None)):
            raise EntrypointError(f"class Default in {module.__name__} has no method `fetch`")
        return _class_handler(default)
    on_fetch = getattr(module, "on_fetch", None)
    if callable(on_fetch):
        return _function_handler(on_fetch)
    raise EntrypointError(
        f"{module.__name__} defines neither a class `Default(WorkerEntrypoint)` with a method `fetch` "
        "nor a function `on_fetch`"
    )


def _class_handler(default: Any) -> Handler:
    # A class entrypoint gets the SDK's Request. Without the SDK there is none to give.
    wrap = getattr(sys.modules.get("workers"), "Request", None)
    env = environment.env

    def fetch(exchange: "Exchange") -> Any:
        instance = default(exchange.ctx, env)
        request = exchange.request
        return instance.fetch(request if wrap is None else wrap(request))

    return fetch


def _function_handler(on_fetch: Any) -> Handler:
    count = _positional_count(on_fetch)
    env = environment.env

    def fetch(exchange: "Exchange") -> Any:
        return on_fetch(*(exchange.request, env, exchange.ctx)[:count])

    return fetch


def _positional_count(function: Any) -> int:
    """How many of three positional arguments the function takes."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return 3
    if any(p.kind is p.VAR_POSITIONAL for p in parameters):
        return 3
    return min(3, sum(p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) for p in parameters))


def _names(module: ModuleType) -> list[str]:
    base = getattr(sys.modules.get("workers"), "WorkerEntrypoint", None)
    names = []
    for name, value in vars(module).items():
        if inspect.isclass(value):
            named = name == "Default" or (base is not None and issubclass(value, base) and value is not base)
        else:
            named = name.startswith("on_") and inspect.isfunction(value)
        if named:
            names.append(name)
    return names
