"""What must differ between two restores of one snapshot."""

import os
import random
import sys
import tempfile
from typing import Any

from _cloudflare import import_patch_manager

from . import environment

__all__ = ["resume"]


def resume(payload: dict[str, Any]) -> None:
    """The first event after a restore: fresh randomness, current variables, secrets."""
    random.seed()
    # Temporary names come from a generator with a state of its own.
    tempfile._name_sequence = None
    import_patch_manager.before_first_request()
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random is not None:
        numpy_random.seed()
    variables = payload.get("vars")
    if variables is not None:
        environment.set_vars(variables)
    secrets = payload.get("secrets")
    if secrets:
        environment.set_secrets(secrets)
    host_id = payload.get("host_id")
    if host_id:
        os.environ["WARMSHARD_HOST_ID"] = host_id
