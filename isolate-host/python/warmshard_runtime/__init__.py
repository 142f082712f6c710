"""The Python half of the platform: what the host calls.

    boot()     once after the interpreter is up: modules, search path, loop, log streams
    load()     the worker's top level; reports what came of it
    warm_up()  the platform's own request path, before a snapshot is taken
    pump()     whenever there is something to do; runs until nothing is ready

An event of the host travels `pump → dispatch → exchange → entrypoint`, and what the
handler returns goes back through `response_writer`. Each step is a module here; the
objects a worker sees on the way are in the package `js`.
"""

__all__ = ["boot", "load", "pump", "warm_up"]


def boot(worker_folder: str = "/session/metadata") -> None:
    """Make the interpreter a worker's interpreter. No code of the worker's own runs."""
    from . import logs

    logs.install()
    from . import modules

    modules.set_search_path(worker_folder)
    from js.scheduling import set_main_loop

    from . import event_loop

    set_main_loop(event_loop.install())
    modules.install()
    from _cloudflare import import_patch_manager

    # Loaded now, so that neither a snapshot nor a first request has to.
    from . import loading, pumping, warm  # noqa: F401
    from .entropy import allowances, rules

    # The host looks `pump` up once the platform is booted: spare each call a detour.
    globals()["pump"] = pumping.pump
    import_patch_manager.install()
    allowances.register()
    # Packages' start-up files are the first code that is not ours.
    with rules.in_force():
        modules.process_pth_files(worker_folder)


def load() -> None:
    """Run the worker's top level, find its entrypoints and report. Never raises."""
    from . import loading

    loading.load()


def warm_up() -> None:
    """Send requests of our own through the platform, so that a restored isolate has
    done everything once. The worker's handler is not called."""
    from . import warm

    warm.warm_up()


def pump() -> None:
    """Deliver the host's events and run callbacks until nothing is ready. Never raises."""
    from . import pumping

    pumping.pump()
