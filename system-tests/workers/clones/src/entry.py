"""Keeps at top level what is kept there: generators, clocks' readings, `js` objects, files."""

import json
import os
import random
import secrets
import tempfile
import time
import uuid
from random import randint
from random import random as draw

import js
from pyodide.ffi import create_proxy, to_js
from workers import Response, WorkerEntrypoint

CLOCKS = {
    name: getattr(time, name)
    for name in ("time", "monotonic", "perf_counter", "process_time", "time_ns", "monotonic_ns")
}
AT_TOP_LEVEL = {name: clock() for name, clock in CLOCKS.items()}


class Dice(random.Random):
    pass


GENERATOR = random.Random()
DICE = Dice()
BY_THE_CLOCK = random.Random(time.time())
FIXED = random.Random(42)
FIRST = FIXED.random()
FOLDER = tempfile.mkdtemp()
with open(os.path.join(FOLDER, "note.txt"), "w") as note:
    note.write("written at top level")


def greet(name):
    return f"hello {name}"


HEADERS = js.Headers.new({"x-kept": "yes"})
LIST = to_js([1])
NESTED = to_js({"a": [1, 2]}, dict_converter=js.Object.fromEntries)
PROXY = create_proxy(greet)
OBJECT = js.Object.new()
OBJECT.answer = 42


def drawn():
    """Must differ from request to request and from isolate to isolate."""
    return {
        "random": random.random(),
        "taken by name": draw(),
        "a method taken by name": randint(0, 1 << 60),
        "shuffle": random.sample(range(1000), 8),
        "secrets": secrets.token_hex(8),
        "uuid4": str(uuid.uuid4()),
        "uuid1": str(uuid.uuid1()),
        "urandom": os.urandom(8).hex(),
        "tempfile": tempfile.mktemp(),
        "SystemRandom": random.SystemRandom().random(),
        "Random() of a handler": random.Random().random(),
        "Random() of the top level": GENERATOR.random(),
        "a subclass of Random": DICE.gauss(),
        "Random(time.time())": BY_THE_CLOCK.random(),
        "js.crypto": js.crypto.randomUUID(),
    }


def kept():
    """What the top level left, used."""
    HEADERS.append("x-used", "in a handler")
    LIST.push(2)
    OBJECT.more = LIST
    with open(os.path.join(FOLDER, "note.txt")) as note:
        text = note.read()
    return {
        "headers": [list(pair) for pair in HEADERS.entries()],
        "list": LIST.to_py(),
        "nested": NESTED.to_py(),
        "proxy": PROXY("you"),
        "object": [OBJECT.answer, OBJECT.more.length],
        "file": text,
        "fixed": [FIRST, FIXED.random()],
        "hash": hash("a string"),
    }


class Default(WorkerEntrypoint):
    async def fetch(self, request):
        now = {name: clock() for name, clock in CLOCKS.items()}
        answer = {"drawn": drawn(), "kept": kept(), "then": AT_TOP_LEVEL, "now": now}
        return Response(json.dumps(answer), headers={"content-type": "application/json"})
