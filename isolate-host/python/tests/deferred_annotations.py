"""Import `pyodide` and the SDK on an older Python as 3.14 does: annotations unevaluated.

Both are written for 3.14 and annotate with expressions that only work when nobody
evaluates them (`"Request" | None`). Worker code under test is compiled normally.
"""

import __future__

import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import PathFinder, SourceFileLoader
from typing import Any

_PACKAGES = ("pyodide", "_pyodide", "workers")


class _Loader(SourceFileLoader):
    def source_to_code(self, data: Any, path: Any, *, _optimize: int = -1) -> Any:
        flag = __future__.annotations.compiler_flag
        return compile(data, path, "exec", flags=flag, dont_inherit=True, optimize=_optimize)

    def get_code(self, fullname: str) -> Any:
        # Never through a cache written for other flags.
        path = self.get_filename(fullname)
        return self.source_to_code(self.get_data(path), path)


class _Finder(MetaPathFinder):
    def find_spec(self, fullname: str, path: Any, target: Any = None) -> Any:
        if fullname.partition(".")[0] not in _PACKAGES:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = _Loader(spec.loader.name, spec.loader.path)
        return spec


def install() -> None:
    if sys.version_info < (3, 14):
        sys.meta_path.insert(0, _Finder())
