"""The worker's top level: configuration in, entrypoints or a traceback out."""

import sys

import _cloudflare_compat_flags

from . import entrypoint, environment, host, tracebacks

__all__ = ["load"]


def load() -> None:
    try:
        entrypoints = _load()
    except BaseException as error:
        # Also SystemExit and KeyboardInterrupt: whatever stopped it, it is reported.
        host.report(False, tracebacks.summary(error), tracebacks.render(error), [])
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
