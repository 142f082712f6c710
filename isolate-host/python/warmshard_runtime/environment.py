"""`env`: the worker's variables and, once restored, its secrets."""

from collections.abc import Iterable
from typing import Any

from js.base import PlainObject, js_class
from js.convert import from_json

from .entropy import refusal

__all__ = ["env", "hide_secrets", "set_secrets", "set_vars"]

#: Secrets that exist but are not to be had yet.
_hidden: frozenset[str] = frozenset()


class Env(PlainObject):
    __slots__ = ()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if name in _hidden:
            # No AttributeError: `getattr(env, name, None)` would keep None for good.
            raise refusal.top_level_error(
                f"the secret `{name}` was read",
                "A snapshot holds no secrets, so they are there only once an isolate is restored: "
                f"read `self.env.{name}` while a request is handled",
            )
        raise AttributeError(f"env has no binding or variable named {name!r}")


js_class(Env, "Object")

#: One object for the life of the isolate; handlers and `from workers import env` share it.
env = Env()
_raw_vars: dict[str, Any] = {}


def set_vars(variables: dict[str, Any]) -> None:
    """Text stays text; other JSON values become JavaScript objects, as in the reference."""
    global _raw_vars
    if variables == _raw_vars:
        return
    for name in _raw_vars:
        env.__dict__.pop(name, None)
    env.__dict__.update((name, from_json(value)) for name, value in variables.items())
    _raw_vars = variables


def hide_secrets(names: Iterable[str]) -> None:
    """Reading one of these fails from here on, until their values are set."""
    global _hidden
    _hidden = frozenset(names)


def set_secrets(secrets: dict[str, str] | None) -> None:
    """The values of an isolate; a secret without one is a name like any other."""
    global _hidden
    _hidden = frozenset()
    if secrets:
        env.__dict__.update(secrets)
