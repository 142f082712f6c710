"""Misbehaves on request, so that tests can see what the host makes of it."""

import asyncio
import hashlib
import json
import os
import random
from urllib.parse import parse_qs, urlsplit

import js
from workers import Response, WorkerEntrypoint

PIECE = bytes(range(256)) * 256  # 64 KiB


def answer(value):
    return Response(json.dumps(value), headers={"content-type": "application/json"})


def recurse(value):
    """Nests until the interpreter stops it."""
    return [recurse(value)]


async def stream(pieces):
    """`pieces` times 64 KiB, each written when the one before has been taken."""
    transform = js.TransformStream.new()
    writer = transform.writable.getWriter()

    async def write():
        for _ in range(pieces):
            await writer.write(js.Uint8Array.new(PIECE))
        await writer.close()

    asyncio.ensure_future(write())
    return Response(transform.readable)


async def digest(request):
    hasher, length = hashlib.sha256(), 0
    async for chunk in request.body:
        data = chunk.to_bytes()
        hasher.update(data)
        length += len(data)
    return answer({"length": length, "sha256": hasher.hexdigest()})


class Default(WorkerEntrypoint):
    count = 0
    together = 0
    held = []

    async def fetch(self, request):
        url = urlsplit(request.url)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        match url.path:
            case "/ok":
                Default.count += 1
                return answer({"count": Default.count})
            case "/raise":
                raise ValueError("raised on request")
            case "/recurse":
                try:
                    recurse(0)
                except RecursionError:
                    return answer({"caught": "RecursionError"})
            case "/deep-json":
                # C code recursing: the guest's stack, not Python's counter, is what ends.
                nested = "[" * 1_000_000 + "]" * 1_000_000
                try:
                    json.loads(nested)
                except RecursionError:
                    return answer({"caught": "RecursionError"})
            case "/loop":
                while True:
                    pass
            case "/exit":
                os._exit(3)
            case "/await":
                Default.together += 1
                highest = Default.together
                await asyncio.sleep(float(query["seconds"]))
                highest = max(highest, Default.together)
                Default.together -= 1
                return answer({"together": highest})
            case "/stream":
                return await stream(int(query["pieces"]))
            case "/digest":
                return await digest(request)
            case "/random":
                return answer({"random": random.random(), "urandom": os.urandom(8).hex()})
            case "/hold":
                Default.held.append(bytearray(int(query["bytes"])))
                await asyncio.sleep(float(query["seconds"]))
                return answer({"held": sum(map(len, Default.held))})
            case "/allocate":
                return answer({"length": len(bytearray(int(query["bytes"])))})
        return Response("not found", status=404)
