"""`pyodide_js`: Pyodide's JavaScript API object, as far as Python code relies on it."""

from typing import Any

from js.base import PlainObject

__all__ = ["loadedPackages", "version"]

_js_type_flags = 0

version = "314.0.7"

#: Packages come with the deployment; none is ever loaded at run time.
loadedPackages = PlainObject()


def __getattr__(name: str) -> Any:
    if name in ("loadPackage", "loadPackagesFromImports"):
        hint = "; packages are part of a deployment: list them in pyproject.toml"
    else:
        hint = ""
    raise AttributeError(f"pyodide_js.{name} is not available in this version of warmshard{hint}")
