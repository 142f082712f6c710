"""Runs pip so that it resolves for the guest's Python instead of its own.

pip takes the wheel tags to look for as options, but judges conditions such as
`python_version < "3.13"` or `sys_platform == "win32"` by the interpreter it runs
on. Where its parts cannot be reached, pip runs as it is.
"""

import runpy
import sys

GUEST = {
    "implementation_name": "cpython",
    "implementation_version": "{python_full}",
    "os_name": "posix",
    "platform_machine": "wasm32",
    "platform_python_implementation": "CPython",
    "platform_release": "",
    "platform_system": "Emscripten",
    "platform_version": "",
    "python_full_version": "{python_full}",
    "python_version": "{python}",
    "sys_platform": "emscripten",
}

try:
    from pip._vendor.packaging import markers

    own = markers.default_environment
    markers.default_environment = lambda: {**own(), **GUEST}
except (ImportError, AttributeError):
    pass

sys.argv[0] = "pip"
runpy.run_module("pip", run_name="__main__", alter_sys=True)
