"""Bodies larger than anybody wants in memory."""

import tracemalloc

from fake_host import BODY_ERROR, CANCEL

MIB = 1024 * 1024
STREAMER = """
    import asyncio
    from js import ReadableStream, Response, Uint8Array
    from pyodide.ffi import to_js
    from workers import WorkerEntrypoint

    log = []

    class Default(WorkerEntrypoint):
        async def fetch(self, request):
            chunk = bytes(100_000)
            left = [1024 * 1024 * 1024 // len(chunk) if "endless" in request.url else 100 * 1024 * 1024 // len(chunk)]

            async def pull(controller):
                if left[0] == 0:
                    controller.close()
                    return
                left[0] -= 1
                controller.enqueue(to_js(chunk))

            async def cancel(reason):
                log.append(str(reason))

            return Response.new(ReadableStream.new(pull=pull, cancel=cancel), headers={"x-kind": "stream"})
"""


def measured(action):
    tracemalloc.start()
    try:
        action()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_response_of_100_mib_in_bounded_memory(load, host, platform):
    load(STREAMER)
    host.window, host.keep_chunks = MIB, False
    reply = host.request()
    peak = measured(lambda: host.run(platform.pump, until=lambda: reply.done))
    assert reply.received == 100 * MIB // 100_000 * 100_000 and reply.ended
    assert reply.header("x-kind") == "stream"
    assert peak < 8 * MIB


def test_request_of_100_mib_in_bounded_memory(load, host, platform):
    worker = load(
        """
        from workers import Response, WorkerEntrypoint

        class Default(WorkerEntrypoint):
            async def fetch(self, request):
                size = 0
                async for chunk in request.body:
                    size += chunk.byteLength
                return Response(str(size))
        """
    )
    chunk = bytes(65536)
    reply = host.request(method="POST", body=(chunk for _ in range(1600)))
    peak = measured(lambda: host.run(worker.platform.pump, until=lambda: reply.done))
    assert reply.body == str(100 * MIB).encode()
    assert peak < 8 * MIB


def test_echo_of_a_stream_pulls_no_faster_than_the_client_reads(load, host, platform):
    load("from js import Response\ndef on_fetch(request):\n    return Response.new(request.body)\n")
    host.window = 4 * 65536
    reply = host.request(method="POST", body=(bytes([n]) * 65536 for n in range(100)))
    host.run(platform.pump, drain=False)
    assert reply.received == host.window and host.pulls == 4
    host.run(platform.pump, until=lambda: reply.done)
    assert reply.body == b"".join(bytes([n]) * 65536 for n in range(100))


def test_complete_bodies_that_are_large_go_in_chunks_with_their_length(load, host, platform):
    worker = load(
        "from workers import Response, WorkerEntrypoint\n"
        "class Default(WorkerEntrypoint):\n"
        "    async def fetch(self, request):\n"
        "        return Response(bytes(range(256)) * 4096)\n"
    )
    host.window = 3 * 65536
    reply = worker.fetch()
    assert reply.body == bytes(range(256)) * 4096 and not reply.whole
    assert reply.header("content-length") == str(MIB)


def test_cancel_while_streaming_reaches_the_source(load, host, platform):
    worker = load(STREAMER)
    host.window = MIB
    reply = host.request("http://a/endless")
    host.run(platform.pump, drain=False)
    assert reply.received >= MIB and not reply.ended
    host.event(CANCEL, reply, "connection closed")
    host.run(platform.pump, drain=False)
    assert reply.done and reply.failure is None
    assert worker.module.log == ["AbortError: connection closed"]


ASGI_STREAM = """
    import asyncio
    from fastapi import FastAPI
    from fastapi.responses import StreamingResponse
    from workers import WorkerEntrypoint
    import asgi

    app = FastAPI()
    produced = 0

    async def numbers(count):
        global produced
        for n in range(count):
            produced += 1
            yield bytes([n % 256]) * 50_000
            await asyncio.sleep(0)

    @app.get("/stream/{count}")
    async def stream(count: int):
        return StreamingResponse(numbers(count))

    class Default(WorkerEntrypoint):
        async def fetch(self, request):
            return await asgi.fetch(app, request.js_object, self.env)
"""


def test_asgi_streaming_response(load, host, platform):
    worker = load(ASGI_STREAM)
    reply = worker.fetch("http://a/stream/5")
    assert reply.body == b"".join(bytes([n]) * 50_000 for n in range(5)) and reply.ended and not reply.whole


def test_asgi_streaming_waits_for_the_client(load, host, platform):
    worker = load(ASGI_STREAM)
    host.window, host.keep_chunks = 200_000, False
    reply = host.request("http://a/stream/2000")
    host.run(platform.pump, drain=False)
    assert reply.received == 200_000 and worker.module.produced <= 6
    peak = measured(lambda: host.run(platform.pump, until=lambda: reply.done))
    assert reply.received == 100_000_000 and peak < 8 * MIB


def test_asgi_stream_whose_client_leaves_ends(load, host, platform):
    worker = load(ASGI_STREAM)
    host.window = 200_000
    reply = host.request("http://a/stream/100000000")
    host.run(platform.pump, drain=False)
    host.event(CANCEL, reply, "")
    host.run(platform.pump, drain=False)
    assert reply.done and worker.module.produced < 10
    assert all(level < 30 for _, level, _ in host.logs), "a client that leaves is no error of the worker"
    assert worker.fetch("http://a/stream/1").body == bytes(50_000)


def test_a_source_that_fails_breaks_the_response_off(load, host, platform):
    worker = load(
        """
        from js import ReadableStream, Response

        def on_fetch():
            sent = []

            async def pull(controller):
                if sent:
                    raise OSError("the disk is gone")
                sent.append(1)
                controller.enqueue(b"first")

            return Response.new(ReadableStream.new(pull=pull))
        """
    )
    reply = worker.fetch()
    assert reply.body == b"first" and not reply.ended
    assert reply.failure == ("worker_exception", "OSError: the disk is gone")


def test_text_in_a_byte_stream_is_refused(load):
    worker = load(
        """
        from js import ReadableStream, Response

        def on_fetch():
            return Response.new(ReadableStream.new(start=lambda controller: controller.enqueue("text")))
        """
    )
    assert "encode text before writing it" in worker.fetch().failure[1]


def test_a_broken_request_body_raises_in_the_reader(load, host, platform):
    load(
        """
        from workers import Response, WorkerEntrypoint

        class Default(WorkerEntrypoint):
            async def fetch(self, request):
                try:
                    return Response(await request.text())
                except Exception as error:
                    return Response(str(error), status=400)
        """
    )
    reply = host.request(method="POST", hold_body=True)
    host.run(platform.pump)
    assert host.pulls == 1
    host.event(BODY_ERROR, reply, "connection reset")
    host.run(platform.pump)
    assert (reply.status, reply.body) == (400, b"TypeError: the request body broke off: connection reset")


def test_whoever_still_reads_when_the_request_is_over_is_told(load, host, platform):
    worker = load(
        """
        import asyncio
        from js import Response

        outcome = []

        async def read(request):
            try:
                await request.text()
            except Exception as error:
                outcome.append(str(error))

        async def on_fetch(request):
            asyncio.create_task(read(request))
            await asyncio.sleep(0)
            return Response.new("early")
        """
    )
    reply = host.request(method="POST", hold_body=True)
    host.run(platform.pump, until=lambda: reply.done)
    host.run(platform.pump)
    assert worker.module.outcome == ["AbortError: the request is over"]


def test_cancelling_the_request_body_tells_the_host(load, host, platform):
    worker = load(
        """
        from js import Response

        async def on_fetch(request):
            reader = request.body.getReader()
            first = await reader.read()
            await reader.cancel("enough")
            return Response.new(first.value)
        """
    )
    reply = worker.fetch(method="POST", body=iter([b"one", b"two", b"three"]))
    assert reply.body == b"one" and reply.body_cancelled and host.pulls == 1
