"""Compatibility flags of this deployment, as attributes that are true or false.

A flag is on when the configuration names it, off when the configuration names its
opposite, and otherwise on from the date the platform made it the default.
"""

_DEFAULT_FROM = {
    "python_no_global_handlers": ("disable_python_no_global_handlers", "2025-08-14"),
    "python_request_headers_preserve_commas": ("disable_python_request_headers_preserve_commas", "2026-02-17"),
    "python_workflows_implicit_dependencies": ("no_python_workflows_implicit_dependencies", "2026-02-25"),
    "python_process_pth_files": ("disable_python_process_pth_files", "2026-05-26"),
}

_enabled: frozenset[str] = frozenset()
_date = ""


def _configure(flags: list[str], date: str) -> None:
    global _date, _enabled
    _enabled = frozenset(flags)
    _date = date


def __getattr__(name: str) -> bool:
    if name.startswith("__"):
        raise AttributeError(name)
    if name in _enabled:
        return True
    if name not in _DEFAULT_FROM:
        return False
    opposite, since = _DEFAULT_FROM[name]
    return opposite not in _enabled and _date >= since
