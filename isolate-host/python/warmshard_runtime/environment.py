"""`env`: the worker's variables and, once restored, its secrets."""

from typing import Any

from js.base import PlainObject, js_class
from js.convert import from_json

__all__ = ["env", "set_secrets", "set_vars"]


class Env(PlainObject):
    __slots__ = ()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
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


def set_secrets(secrets: dict[str, str]) -> None:
    env.__dict__.update(secrets)
