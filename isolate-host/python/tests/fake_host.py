"""A stand-in for the builtin `_warmshard`: the other end of every operation, in memory."""

import marshal
import os
import sys
import time
from types import ModuleType
from typing import Any

POLL, PARK, CONFIG, REPORT, LOG, WAIT = 1, 2, 3, 4, 5, 6
RESPONSE_HEAD, RESPONSE_CHUNK, RESPONSE_END, RESPONSE_FAIL, REQUEST_DONE, RESPONSE_FULL = 10, 11, 12, 13, 14, 15
BODY_PULL, BODY_CANCEL = 20, 21
MARK, ALLOW, SEARCH = 40, 41, 42
RESUME, REQUEST, BODY_CHUNK, BODY_END, BODY_ERROR, DRAINED, CANCEL, TIMER = range(1, 9)

_urandom = os.urandom


class Reply:
    """What came back for one request."""

    def __init__(self) -> None:
        self.status: int | None = None
        self.headers: list[tuple[bytes, bytes]] = []
        self.chunks: list[bytes] = []
        self.received = 0
        self.ended = False
        self.failure: tuple[str, str] | None = None
        self.done = False
        self.whole = False
        self.body_cancelled = False

    @property
    def body(self) -> bytes:
        return b"".join(self.chunks)

    def header(self, name: str) -> str | None:
        return next((v.decode() for k, v in self.headers if k == name.encode()), None)


class FakeHost:
    """Queues events and records what the worker does with them.

    `window` is how many bytes of a response the host buffers before it asks for a
    pause; `drain_automatically` empties the buffer at the next pump.
    """

    def __init__(self) -> None:
        self.reset()
        self.config: dict[str, Any] = {}
        self.reports: list[dict[str, Any]] = []

    def reset(self) -> None:
        self.events: list[tuple[int, int, Any]] = []
        self.replies: dict[int, Reply] = {}
        self.bodies: dict[int, Any] = {}
        self.logs: list[tuple[int, int, str]] = []
        self.deadline: float | None = None
        self.window = 1 << 62
        self.buffered: dict[int, int] = {}
        self.keep_chunks = True
        self.can_wait = True
        self.pulls = 0
        self.next_id = 1
        #: Draws of entropy that are let through; none counts them while serving.
        self.allowance: int | None = None
        self.purpose = ""
        self.refused = 0
        self.draws: list[tuple[bytes, str]] = []
        #: What stands for all of memory when it is searched.
        self.memory: list[Any] = []

    def install(self) -> None:
        module = ModuleType("_warmshard")
        module.call = self.call
        sys.modules["_warmshard"] = module
        os.urandom = self.urandom

    # --- the builtin ------------------------------------------------------
    def call(self, op: int, number: int = 0, data: bytes = b"") -> bytes | None:
        assert type(op) is int and type(number) is int and type(data) is bytes
        if op == POLL:
            events, self.events = self.events, []
            if any(kind == RESUME for kind, *_ in events):
                self.allowance = None
            return marshal.dumps(events, 2)
        if op == PARK:
            self.deadline = marshal.loads(data)
            return None
        if op == WAIT:
            if not self.can_wait:
                raise RuntimeError("operation 6 does not exist")
            deadline = marshal.loads(data)
            assert self.events or deadline is not None, "nothing would ever end this wait"
            return None
        if op == CONFIG:
            return marshal.dumps(self.config, 2)
        if op == REPORT:
            self.reports.append(marshal.loads(data))
            return None
        if op == LOG:
            level, text = marshal.loads(data)
            self.logs.append((number, level, text))
            return None
        if op == ALLOW:
            left = self.allowance or 0
            self.allowance, self.purpose = number, data.decode()
            return marshal.dumps((left, self.refused), 2)
        if op == SEARCH:
            return marshal.dumps(self.search(data), 2)
        return self.request_op(op, number, data)

    def urandom(self, size: int) -> bytes:
        """What `os.urandom` reaches: counted and remembered while deploying."""
        if self.allowance is None:
            return _urandom(size)
        if self.allowance == 0:
            self.refused += 1
            raise OSError(29, "I/O error")
        self.allowance -= 1
        self.draws.append((_urandom(size), self.purpose))
        return self.draws[-1][0]

    def search(self, data: bytes) -> list[tuple[int, int, str, str]]:
        places = [(0, data)] if data else [(id(value), bytes(8)) for value in self.memory]
        return [
            (at, len(drawn), "bytes", purpose)
            for at, content in places
            for drawn, purpose in self.draws
            if not data or drawn in content
        ]

    def request_op(self, op: int, number: int, data: bytes) -> bytes | None:
        reply = self.replies[number]
        assert not reply.done, f"operation {op} on a request that is done"
        if op == RESPONSE_FULL:
            assert reply.status is None
            reply.status, reply.headers, body = marshal.loads(data)
            reply.chunks, reply.received = [body], len(body)
            reply.ended = reply.whole = True
        elif op == RESPONSE_HEAD:
            assert reply.status is None
            reply.status, reply.headers, streaming = marshal.loads(data)
            assert streaming is True
        elif op == RESPONSE_CHUNK:
            assert reply.status is not None and not reply.ended and 0 < len(data) <= 65536
            assert self.buffered.get(number, 0) < self.window, "a chunk was sent without waiting for DRAINED"
            if self.keep_chunks:
                reply.chunks.append(data)
            reply.received += len(data)
            self.buffered[number] = self.buffered.get(number, 0) + len(data)
            return b"" if self.buffered[number] >= self.window else None
        elif op == RESPONSE_END:
            assert reply.status is not None and not reply.ended
            reply.ended = True
        elif op == RESPONSE_FAIL:
            reply.failure = marshal.loads(data)
        elif op == REQUEST_DONE:
            reply.done = True
        elif op == BODY_PULL:
            self.pulls += 1
            self.answer_pull(number)
        elif op == BODY_CANCEL:
            reply.body_cancelled = True
        else:
            raise AssertionError(f"unknown operation {op}")
        return None

    def answer_pull(self, number: int) -> None:
        source = self.bodies.get(number)
        if source is None:
            return
        chunk = next(source, None)
        self.events.append((BODY_END, number, None) if chunk is None else (BODY_CHUNK, number, chunk))

    # --- what tests do ----------------------------------------------------
    def request(
        self,
        url: str = "http://app.localhost/",
        method: str = "GET",
        headers: Any = (),
        body: Any = None,
        hold_body: bool = False,
    ) -> Reply:
        """Queue a request; `body` is bytes or an iterator of chunks."""
        number, self.next_id = self.next_id, self.next_id + 1
        reply = self.replies[number] = Reply()
        reply.id = number
        if body is not None:
            self.bodies[number] = iter([body] if isinstance(body, bytes) else body)
        has_body = body is not None or hold_body
        self.events.append((REQUEST, number, (method, url, list(headers), has_body, {})))
        return reply

    def event(self, kind: int, reply: Reply | int = 0, payload: Any = None) -> None:
        self.events.append((kind, reply if isinstance(reply, int) else reply.id, payload))

    def drain(self) -> None:
        """The client took everything that was buffered."""
        for number, count in list(self.buffered.items()):
            if count >= self.window:
                self.events.append((DRAINED, number, None))
            self.buffered[number] = 0

    def run(self, pump: Any, until: Any = None, limit: int = 200_000, drain: bool = True) -> None:
        """Pump as the host would: when events wait, or the deadline has come."""
        for _ in range(limit):
            pump()
            if until is not None and until():
                return
            if drain:
                self.drain()
            if self.events:
                continue
            if self.deadline is None:
                assert until is None, "the isolate went idle before the condition held"
                return
            time.sleep(max(0.0, min(self.deadline - time.monotonic(), 1.0)))
        raise AssertionError("the isolate never came to rest")

    def log_text(self, request: int | None = None) -> str:
        return "\n".join(text for number, _, text in self.logs if request is None or number == request)
