"""Putting our modules where the interpreter and the packages will look for them."""

import asyncio
import importlib
import importlib.util
import os
import site
import sys
import time

__all__ = ["install", "process_pth_files", "set_search_path"]

WORKER_FOLDER = "/session/metadata"
_PACKAGES = "python_modules"

#: Where the worker's sources are.
worker_folder = WORKER_FOLDER

#: Ours, loaded before any code of the worker's so that nothing can take their place.
_OURS = (
    "js",
    "pyodide_js",
    "pyodide_js._api",
    "_cloudflare_compat_flags",
    "_cloudflare",
    "_cloudflare.allow_entropy",
    "_cloudflare.import_patch_manager",
)


def install() -> None:
    """`_pyodide_core` and friends into `sys.modules`, then Pyodide's own Python half."""
    for name in _OURS:
        importlib.import_module(name)
    _load_core()
    importlib.import_module("_pyodide_entrypoint_helper")
    _import_pyodide()


def _load_core() -> None:
    # By path: a plain import would find the interpreter's uninitialised builtin.
    path = os.path.join(_platform_folder(), "_pyodide_core.py")
    spec = importlib.util.spec_from_file_location("_pyodide_core", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["_pyodide_core"] = module
    spec.loader.exec_module(module)


def _import_pyodide() -> None:
    from . import event_loop

    run, sleep = asyncio.run, time.sleep
    importlib.import_module("pyodide")
    event_loop.restore_asyncio(run, sleep)


def _platform_folder() -> str:
    return os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def set_search_path(folder: str = WORKER_FOLDER) -> None:
    """The worker's sources, its packages, the standard library, and the platform last."""
    global worker_folder
    worker_folder = folder
    packages = os.path.join(folder, _PACKAGES)
    platform = _platform_folder()
    rest = [path for path in sys.path if path not in ("", folder, packages, platform)]
    sys.path[:] = [folder, packages, *rest, platform]
    importlib.invalidate_caches()


def process_pth_files(folder: str = WORKER_FOLDER) -> None:
    """Packages start what they need at start-up through `.pth` files, as the SDK does."""
    packages = os.path.join(folder, _PACKAGES)
    if os.path.isdir(packages):
        site.addsitedir(packages)
