"""Three native packages at top level, a fourth in a handler, and files written before the snapshot."""

import json
import os
import time

import msgspec
import jiter
from pydantic import BaseModel
from workers import Response, WorkerEntrypoint


class Point(msgspec.Struct):
    x: int
    y: int


class Line(BaseModel):
    name: str
    points: list[int]


# An object whose memory belongs to a library.
DECODER = msgspec.json.Decoder(Point)

os.makedirs("/tmp/made/at", exist_ok=True)
with open("/tmp/made/at/top-level.txt", "w") as file:
    file.write("first line\nsecond line\n")
os.symlink("/tmp/made/at/top-level.txt", "/tmp/link")
os.environ["SET_AT_TOP_LEVEL"] = "yes"
READER = open("/tmp/link")
READER.readline()
MONOTONIC = time.monotonic()


def answer(value):
    return Response(json.dumps(value), headers={"content-type": "application/json"})


class Default(WorkerEntrypoint):
    async def fetch(self, request):
        if request.url.endswith("/late"):
            import charset_normalizer
            from charset_normalizer import md

            text = "Le cœur a ses raisons que la raison ne connaît point, à dit Pascal. " * 4
            best = charset_normalizer.from_bytes(text.encode("utf-8")).best()
            return answer({"encoding": best.encoding, "native": md.__file__.endswith(".so")})
        if request.url.endswith("/files"):
            with open("/tmp/made/at/top-level.txt", "a") as file:
                file.write("of this isolate\n")
            with open("/tmp/made/at/top-level.txt") as file:
                lines = file.read().splitlines()
            return answer({
                "lines": lines,
                "rest": READER.read().splitlines()[:1],
                "environment": os.environ["SET_AT_TOP_LEVEL"],
                "elapsed": time.monotonic() - MONOTONIC,
            })
        point = DECODER.decode(b'{"x": 1, "y": 2}')
        line = Line.model_validate_json('{"name": "a", "points": [1, "2"]}')
        return answer({
            "msgspec": [point.x, point.y],
            "jiter": jiter.from_json(b"[1.5, null]"),
            "pydantic": line.model_dump(),
        })
