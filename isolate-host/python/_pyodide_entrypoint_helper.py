"""What the SDK asks the runtime for: the `cloudflare:` modules and a few helpers."""

from collections.abc import Iterator
from typing import Any

from js.base import JsObject, PlainObject
from js.errors import JsException, unavailable
from js.promise import Promise, rejected, resolved
from warmshard_runtime import context, environment

__all__ = [
    "cloudflareSocketsModule",
    "cloudflareWorkersModule",
    "doAnImport",
    "patchWaitUntil",
    "patch_env_helper",
]


class _WorkersModule(JsObject):
    """`cloudflare:workers`."""

    __slots__ = ()

    @property
    def env(self) -> Any:
        return environment.env

    def waitUntil(self, awaitable: Any) -> None:
        context.current().ctx.waitUntil(awaitable)

    wait_until = waitUntil

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(str(unavailable(f"cloudflare:workers {name}")))


class _SocketsModule(JsObject):
    """`cloudflare:sockets`."""

    __slots__ = ()

    def connect(self, *_args: Any, **_options: Any) -> Any:
        raise unavailable("cloudflare:sockets connect()")


cloudflareWorkersModule = _WorkersModule()
cloudflareSocketsModule = _SocketsModule()

_MODULES = {"cloudflare:workers": cloudflareWorkersModule, "cloudflare:sockets": cloudflareSocketsModule}


def doAnImport(module_name: str) -> Promise:
    """`import(name)` of JavaScript: only the modules of the platform exist."""
    module = _MODULES.get(module_name)
    if module is not None:
        return resolved(module)
    return rejected(
        JsException(
            "Error",
            f"No such module {module_name!r}: JavaScript modules cannot be loaded, there is no JavaScript engine",
        )
    )


def patchWaitUntil(ctx: Any) -> None:
    """Nothing to do: our `ctx.waitUntil` takes Python awaitables as it is."""


def patch_env_helper(patch: Any) -> Iterator[None]:
    """Replace entries of `env` until the generator goes on."""
    properties = patch.__dict__ if isinstance(patch, PlainObject) else dict(patch)
    missing = object()
    before = {name: environment.env.__dict__.get(name, missing) for name in properties}
    environment.env.__dict__.update(properties)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is missing:
                environment.env.__dict__.pop(name, None)
            else:
                environment.env.__dict__[name] = value
