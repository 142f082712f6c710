"""The worker's top level: configuration in, entrypoints or a traceback out."""

import sys

import _cloudflare_compat_flags

from . import entrypoint, environment, event_loop, host, tracebacks, unkeepable
from .entropy import allowances, generators, leaks, rules

__all__ = ["load"]


def load() -> None:
    try:
        before = unkeepable.survey()
        with rules.in_force():
            entrypoints = _load()
        unkeepable.check(before)
        generators.collect()
        leaks.check()
    except BaseException as error:
        # Also SystemExit and KeyboardInterrupt: whatever stopped it, it is reported.
        # What is found afterwards was raised by no line of the worker's.
        found_after = isinstance(error, (leaks.LeakError, unkeepable.UnkeepableError))
        trace = "" if found_after else tracebacks.render(error) + _hint()
        host.report(False, tracebacks.summary(error), trace, [])
        return
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    host.report(True, "", "", entrypoints)


def _load() -> list[str]:
    config = host.config()
    environment.set_vars(config.get("vars") or {})
    environment.hide_secrets(config.get("secrets") or ())
    _cloudflare_compat_flags._configure(config.get("compatibility_flags") or [], config.get("compatibility_date") or "")
    found = entrypoint.find(entrypoint.import_main(config["main"]))
    _run_what_is_ready()
    return found


def _run_what_is_ready() -> None:
    """What the top level left to the event loop to be done at once."""
    loop = event_loop.main_loop
    loop.enter()
    try:
        loop.turn()
    finally:
        loop.leave()


def _hint() -> str:
    """For who draws past Python: there the host refuses, and the error says little."""
    if allowances.refused_draws() <= rules.explained:
        return ""
    return (
        "\n\nhint: while this ran, random bytes were asked for and refused, since every isolate would get the "
        "same. If that is what failed, import or call it while a request is handled"
    )
