"""Code that runs around the import of certain modules, and around a restore.

A patch is a context manager taking the module: what stands before its `yield` runs
before the module's own code, the rest after it. One finder at the head of
`sys.meta_path` wraps the loaders of the modules that have patches and stays out of
the way of all others.
"""

import sys
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, ExitStack
from functools import wraps
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any, TypeVar

from warmshard_runtime.entropy import allowances, refusal

__all__ = [
    "before_first_request",
    "block_calls",
    "install",
    "register_after_snapshot",
    "register_before_first_request",
    "register_create_patch",
    "register_exec_patch",
]

Patch = Callable[[Any], AbstractContextManager[None]]
Hook = Callable[[ModuleType], None]
_Function = TypeVar("_Function", bound=Callable[..., Any])

_exec_patches: dict[str, list[Patch]] = {}
_create_patches: dict[str, list[Patch]] = {}
_after_snapshot: dict[str, list[Hook]] = {}
_before_first_request: dict[str, list[Hook]] = {}

#: Whether functions given to `block_calls` refuse to run.
_blocking = True


def _register(table: dict[str, list[Any]], module_name: str) -> Callable[[_Function], _Function]:
    def register(function: _Function) -> _Function:
        table.setdefault(module_name, []).append(function)
        return function

    return register


def register_exec_patch(module_name: str) -> Callable[[_Function], _Function]:
    """The context surrounds the execution of the module's code."""
    return _register(_exec_patches, module_name)


def register_create_patch(module_name: str) -> Callable[[_Function], _Function]:
    """The context surrounds the creation of the module (for extension modules)."""
    return _register(_create_patches, module_name)


def register_after_snapshot(module_name: str) -> Callable[[_Function], _Function]:
    """Call with the module, if it is loaded, once a snapshot has been restored."""
    return _register(_after_snapshot, module_name)


def register_before_first_request(module_name: str) -> Callable[[_Function], _Function]:
    """Call with the module, if it is loaded, before the first request."""
    return _register(_before_first_request, module_name)


def block_calls(module: ModuleType, *, allowlist: Iterable[str] = ()) -> None:
    """Make the public functions of `module` refuse to run until the first request.

    The check is made at each call, so that a function taken out of the module at top
    level (`from numpy.random import shuffle`) works in a handler. Classes stay.
    """
    allowed = set(allowlist)
    for name, value in list(vars(module).items()):
        if name.startswith("_") or name in allowed:
            continue
        if (
            isinstance(value, (FunctionType, BuiltinFunctionType, MethodType))
            or type(value).__name__ in _CALLABLE_KINDS
        ):
            setattr(module, name, _blocked(module.__name__, name, value))


#: Functions compiled by Cython, as in numpy, have types of their own.
_CALLABLE_KINDS = {"cython_function_or_method", "fused_cython_function"}


def _blocked(module_name: str, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    def guard(*args: Any, **kwargs: Any) -> Any:
        if _blocking:
            raise refusal.generator_error(f"{module_name}.{name}()")
        return function(*args, **kwargs)

    return guard


def before_first_request() -> None:
    """Unblock what was blocked and run the hooks; called once per restored isolate."""
    global _blocking
    _blocking = False
    for table in (_after_snapshot, _before_first_request):
        for module_name, hooks in table.items():
            module = sys.modules.get(module_name)
            if module is not None:
                for hook in hooks:
                    hook(module)


class _PatchingLoader:
    """A loader that runs the patches around another one's work."""

    def __init__(self, loader: Any, name: str) -> None:
        self._loader = loader
        self._name = name

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        with allowances.while_importing(self._name), _entered(_create_patches.get(self._name, ()), spec):
            module: ModuleType | None = self._loader.create_module(spec)
            return module

    def exec_module(self, module: ModuleType) -> None:
        # Whoever asks the module for its loader means the real one.
        module.__loader__ = self._loader
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        with allowances.while_importing(self._name), _entered(_exec_patches.get(self._name, ()), module):
            self._loader.exec_module(module)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)


def _entered(patches: Iterable[Patch], subject: Any) -> ExitStack:
    stack = ExitStack()
    for patch in patches:
        stack.enter_context(patch(subject))
    return stack


class _PatchFinder(MetaPathFinder):
    def find_spec(self, fullname: str, path: Any, target: Any = None) -> ModuleSpec | None:
        if fullname not in _exec_patches and fullname not in _create_patches:
            return None
        for finder in sys.meta_path:
            if finder is self or not hasattr(finder, "find_spec"):
                continue
            spec = finder.find_spec(fullname, path, target)
            if spec is None:
                continue
            if spec.loader is not None and hasattr(spec.loader, "exec_module"):
                spec.loader = _PatchingLoader(spec.loader, fullname)
            return spec
        return None


def install() -> None:
    """Put the finder in front; patches may be registered before or after."""
    if not any(isinstance(finder, _PatchFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _PatchFinder())
