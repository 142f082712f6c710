"""The worker's top level: configuration in, entrypoints or a traceback out."""

import sys
import traceback

import _cloudflare_compat_flags

from . import entrypoint, environment, host, logs

__all__ = ["load"]

#: Frames of the import machinery and of ours say nothing about the worker.
_NOT_THE_WORKERS = ("<frozen importlib", "/warmshard_runtime/", "/importlib/__init__.py", "/_cloudflare/")


def load() -> None:
    try:
        entrypoints = _load()
    except BaseException as error:
        # Also SystemExit and KeyboardInterrupt: whatever stopped it, it is reported.
        host.report(False, _summary(error), _trace(error), [])
        return
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    host.report(True, "", "", entrypoints)


def _load() -> list[str]:
    config = host.config()
    environment.set_vars(config.get("vars") or {})
    _cloudflare_compat_flags._configure(config.get("compatibility_flags") or [], config.get("compatibility_date") or "")
    return entrypoint.find(entrypoint.import_main(config["main"]))


def _summary(error: BaseException) -> str:
    try:
        return "".join(traceback.format_exception_only(error)).strip()
    except Exception:
        return type(error).__name__


def _trace(error: BaseException) -> str:
    try:
        described = traceback.TracebackException.from_exception(error)
        kept = [frame for frame in described.stack if not any(part in frame.filename for part in _NOT_THE_WORKERS)]
        if kept:
            described.stack = traceback.StackSummary.from_list(kept)
        return "".join(described.format())
    except Exception as broken:
        logs.emit(logs.WARNING, f"the traceback cannot be shown: {type(broken).__name__}")
        return ""
