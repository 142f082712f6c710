"""The stream classes by themselves."""

import asyncio

import pytest


@pytest.fixture(autouse=True)
def _platform(platform, host):
    pass


@pytest.fixture
def error():
    from pyodide.ffi import JsException

    return JsException


async def collect(stream):
    return [chunk if isinstance(chunk, (int, str)) else chunk.to_bytes() async for chunk in stream]


def test_pull_follows_demand(run):
    import js

    pulled = []

    async def main():
        def pull(controller):
            pulled.append(controller.desiredSize)
            controller.enqueue(len(pulled))
            if len(pulled) == 5:
                controller.close()

        stream = js.ReadableStream.new({"pull": pull}, {"highWaterMark": 2})
        assert pulled == [2, 1]
        reader = stream.getReader()
        first = await reader.read()
        assert (first.value, first.done) == (1, False) and len(pulled) == 3
        reader.releaseLock()
        rest = await collect(stream)
        assert rest == [2, 3, 4, 5] and not stream.locked
        last = await stream.getReader().read()
        assert last.done and last.value is None

    run(main())


def test_an_eager_source_does_not_recurse(run):
    import js

    def pull(controller):
        controller.enqueue(0)

    stream = js.ReadableStream.new({"pull": pull}, {"highWaterMark": 20_000})
    assert stream._desired_size == 0


def test_start_comes_before_pull(run):
    import js

    order = []

    async def start(controller):
        await asyncio.sleep(0.001)
        order.append("start")

    async def pull(controller):
        order.append("pull")
        controller.enqueue(1)
        controller.close()

    async def main():
        return await collect(js.ReadableStream.new(start=start, pull=pull))

    assert run(main()) == [1] and order == ["start", "pull"]


def test_errors_reach_the_reader(run, error):
    import js

    async def main():
        def pull(controller):
            controller.error("broken")

        with pytest.raises(error, match="broken"):
            await collect(js.ReadableStream.new(pull=pull))

        async def fails(controller):
            raise ValueError("in pull")

        reader = js.ReadableStream.new(pull=fails).getReader()
        with pytest.raises(ValueError, match="in pull"):
            await reader.read()
        with pytest.raises(ValueError, match="in pull"):
            await reader.closed

    run(main())


def test_locks_and_cancel(run, error):
    import js

    reasons = []
    stream = js.ReadableStream.new(cancel=reasons.append)
    reader = stream.getReader()
    with pytest.raises(error, match="already locked"):
        stream.getReader()
    with pytest.raises(error, match="locked to a reader"):
        run(stream.cancel())

    async def main():
        pending = asyncio.ensure_future(reader.read())
        await asyncio.sleep(0)
        reader.releaseLock()
        with pytest.raises(error, match="released its lock"):
            await pending
        await stream.cancel("why")

    run(main())
    assert reasons == ["why"]


def test_tee(run):
    import js

    async def main():
        one, two = js.ReadableStream.from_([b"a", b"b", b"c"]).tee()
        return await asyncio.gather(collect(one), collect(two))

    assert run(main()) == [[b"a", b"b", b"c"]] * 2


def test_from_async_iterables(run):
    import js

    async def numbers():
        for n in range(3):
            await asyncio.sleep(0)
            yield n

    async def main():
        return await collect(js.ReadableStream.from_(numbers()))

    assert run(main()) == [0, 1, 2]


def test_writable_streams_write_in_order_and_push_back(run, error):
    import js

    written = []

    async def write(chunk, controller):
        await asyncio.sleep(0.001)
        written.append(chunk)

    async def main():
        stream = js.WritableStream.new(write=write, close=lambda: written.append("closed"))
        writer = stream.getWriter()
        assert writer.desiredSize == 1
        first, second = writer.write(1), writer.write(2)
        assert writer.desiredSize == -1
        ready = writer.ready
        await asyncio.gather(first, second, ready)
        await writer.close()
        await writer.closed
        with pytest.raises(error, match="closed"):
            await writer.write(3)

    run(main())
    assert written == [1, 2, "closed"]


def test_writable_errors_and_abort(run, error):
    import js

    async def main():
        def write(chunk, controller):
            raise ValueError("full")

        writer = js.WritableStream.new(write=write).getWriter()
        with pytest.raises(ValueError, match="full"):
            await writer.write(1)
        with pytest.raises(ValueError, match="full"):
            await writer.write(2)
        reasons = []
        stream = js.WritableStream.new(abort=reasons.append)
        await stream.abort("enough")
        assert reasons == ["enough"]
        with pytest.raises(error, match="enough"):
            await stream.getWriter().write(1)

    run(main())


def test_transform_without_transformer_is_a_meeting(run, error):
    import js

    async def main():
        pair = js.TransformStream.new()
        writer = pair.writable.getWriter()
        write = asyncio.ensure_future(writer.write(js.Uint8Array.new(b"a")))
        await asyncio.sleep(0)
        assert not write.done(), "nobody has taken the chunk yet"
        reader = pair.readable.getReader()
        assert (await reader.read()).value.to_bytes() == b"a"
        await write
        # A reader that waits first is served at once.
        read = asyncio.ensure_future(reader.read())
        await asyncio.sleep(0)
        await writer.write(b"b")
        assert (await read).value.to_bytes() == b"b"
        last = asyncio.ensure_future(writer.write(b"c"))
        await asyncio.sleep(0)
        close = asyncio.ensure_future(writer.close())
        await asyncio.sleep(0)
        assert not close.done()
        assert (await reader.read()).value.to_bytes() == b"c"
        assert (await reader.read()).done
        await asyncio.gather(last, close, writer.closed)
        with pytest.raises(error, match="closed"):
            await writer.write(b"d")

    run(main())


def test_both_ends_of_a_meeting_learn_of_the_others_end(run, error):
    import js

    async def main():
        pair = js.TransformStream.new()
        writer = pair.writable.getWriter()
        waiting = asyncio.ensure_future(writer.write(b"a"))
        await asyncio.sleep(0)
        await pair.readable.cancel("the reader left")
        for attempt in (waiting, writer.write(b"b"), writer.close(), writer.ready):
            with pytest.raises(error, match="the reader left"):
                await attempt
        pair = js.TransformStream.new()
        reader = pair.readable.getReader()
        reading = asyncio.ensure_future(reader.read())
        await asyncio.sleep(0)
        await pair.writable.getWriter().abort("the writer broke")
        with pytest.raises(error, match="the writer broke"):
            await reading

    run(main())


def test_transformers(run, error):
    import js

    def transform(chunk, controller):
        for part in chunk.to_bytes().split():
            controller.enqueue(part)

    async def flush(controller):
        controller.enqueue(b"end")

    async def main():
        source = js.ReadableStream.from_([b"a b", b"c"])
        return await collect(source.pipeThrough(js.TransformStream.new(transform=transform, flush=flush)))

    assert run(main()) == [b"a", b"b", b"c", b"end"]

    async def fails(chunk, controller):
        raise ValueError("no")

    async def broken():
        await collect(js.ReadableStream.from_([b"a"]).pipeThrough(js.TransformStream.new(transform=fails)))

    with pytest.raises(ValueError, match="no"):
        run(broken())


def test_pipe_to(run, error):
    import js

    async def main():
        written = []
        await js.ReadableStream.from_([b"1", b"2"]).pipeTo(
            js.WritableStream.new(
                write=lambda chunk, c: written.append(chunk.to_bytes()), close=lambda: written.append("end")
            )
        )
        assert written == [b"1", b"2", "end"]
        reasons = []

        def write(chunk, controller):
            raise ValueError("full")

        source = js.ReadableStream.new(
            pull=lambda c: c.enqueue(b"x"), cancel=lambda reason: reasons.append(str(reason))
        )
        with pytest.raises(ValueError, match="full"):
            await source.pipeTo(js.WritableStream.new(write=write))
        assert reasons == ["full"]

    run(main())
