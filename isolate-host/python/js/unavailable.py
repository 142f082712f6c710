"""Names of the platform that this version does not have yet.

`js.WebSocketPair` fails in the module's `__getattr__`. `from js import WebSocketPair`
would end in Python's own "cannot import name …"; but before that Python looks for a
submodule `js.WebSocketPair`, and there a finder can say what is the matter.
"""

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from typing import Any

__all__ = ["UNAVAILABLE", "refuse_from_imports"]

_NAMES = (
    "BroadcastChannel",
    "ByteLengthQueuingStrategy",
    "CompressionStream",
    "CountQueuingStrategy",
    "CryptoKey",
    "DecompressionStream",
    "EventSource",
    "FixedLengthStream",
    "HTMLRewriter",
    "IdentityTransformStream",
    "MessageChannel",
    "MessagePort",
    "Symbol",
    "TextDecoderStream",
    "TextEncoderStream",
    "URLPattern",
    "WebAssembly",
    "WebSocket",
    "WebSocketPair",
    "WebSocketRequestResponsePair",
    "caches",
    "navigator",
    "scheduler",
)

#: Message by name.
UNAVAILABLE = {name: f"js.{name} is not available in this version of warmshard" for name in _NAMES}


class _Refusal(MetaPathFinder):
    def find_spec(self, fullname: str, path: Sequence[str] | None, target: Any = None) -> None:
        parent, _, name = fullname.partition(".")
        if parent == "js" and name in UNAVAILABLE:
            raise ImportError(UNAVAILABLE[name], name="js")


def refuse_from_imports() -> None:
    if not any(isinstance(finder, _Refusal) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Refusal())
