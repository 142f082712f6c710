"""What must differ between two restores of one snapshot."""

import os
from typing import Any

from _cloudflare import import_patch_manager

from . import environment, logs
from .entropy import generators

__all__ = ["RestoreError", "resume"]


class RestoreError(Exception):
    """The isolate is not what it must be; it must not serve."""


def resume(payload: dict[str, Any]) -> None:
    """The first event after a restore: fresh randomness, current variables, secrets."""
    try:
        generators.reseed()
        import_patch_manager.before_first_request()
        generators.reseed_numpy()
    except Exception as error:
        logs.emit_exception(error, "internal error: the isolate cannot be made random again")
        raise RestoreError(str(error)) from error
    variables = payload.get("vars")
    if variables is not None:
        environment.set_vars(variables)
    environment.set_secrets(payload.get("secrets"))
    host_id = payload.get("host_id")
    if host_id:
        os.environ["WARMSHARD_HOST_ID"] = host_id
