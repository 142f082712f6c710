"""`EventTarget` and `Event`, as much as signals and sockets need."""

from typing import Any

from .base import JsObject, js_class, jsnull, option

__all__ = ["EVENT", "EVENT_TARGET", "Event", "EventTarget"]


class Event(JsObject):
    __slots__ = ("__dict__", "cancelable", "defaultPrevented", "target", "type")

    def __init__(self, kind: str, init: Any = None, **more: Any) -> None:
        self.type = kind
        self.target: Any = jsnull
        self.cancelable = bool(option(more or init, "cancelable", False))
        self.defaultPrevented = False

    def preventDefault(self) -> None:
        self.defaultPrevented = self.cancelable


class EventTarget(JsObject):
    """Listeners by event type; `target.onNAME` counts as one more listener."""

    __slots__ = ("__dict__", "_listeners")

    def __init__(self) -> None:
        self._listeners: dict[str, list[tuple[Any, bool]]] = {}

    def addEventListener(self, kind: str, listener: Any, options: Any = None, **more: Any) -> None:
        options = more or options
        once = bool(option(options, "once", False)) if not isinstance(options, bool) else False
        listeners = self._listeners.setdefault(kind, [])
        if all(known is not listener for known, _ in listeners):
            listeners.append((listener, once))

    def removeEventListener(self, kind: str, listener: Any, _options: Any = None) -> None:
        self._listeners[kind] = [entry for entry in self._listeners.get(kind, []) if entry[0] is not listener]

    def dispatchEvent(self, event: Event) -> bool:
        event.target = self
        for listener, once in list(self._listeners.get(event.type, [])):
            if once:
                self.removeEventListener(event.type, listener)
            listener(event)
        handler = getattr(self, f"on{event.type}", None)
        if callable(handler):
            handler(event)
        return not event.defaultPrevented


EVENT = js_class(Event, "Event")
EVENT_TARGET = js_class(EventTarget, "EventTarget")
