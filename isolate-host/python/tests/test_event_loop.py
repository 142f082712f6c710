"""The pump-driven loop, and synchronous waiting on top of it."""

import asyncio
import time

import pytest


@pytest.fixture
def loop(platform, host):
    from warmshard_runtime import event_loop

    loop = event_loop.main_loop
    loop.enter()
    yield loop
    loop.leave()


def test_nothing_runs_between_pumps_and_the_deadline_is_parked(load, host, platform):
    load(
        """
        import asyncio
        from js import Response

        async def on_fetch():
            await asyncio.sleep(0.03)
            return Response.new("slept")
        """
    )
    reply = host.request()
    before = time.monotonic()
    platform.pump()
    assert reply.status is None
    assert before + 0.03 <= host.deadline <= time.monotonic() + 0.03
    with pytest.raises(RuntimeError):
        asyncio.get_running_loop()
    platform.pump()
    assert reply.status is None, "the timer fired before its time"
    time.sleep(0.035)
    platform.pump()
    assert reply.body == b"slept" and host.deadline is None


def test_timeouts_queues_and_gather(run, host):
    async def main():
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(asyncio.sleep(10), 0.01)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await asyncio.Event().wait()
        queue = asyncio.Queue(1)

        async def producer():
            for n in range(5):
                await queue.put(n)

        async def consumer():
            return [await queue.get() for _ in range(5)]

        async with asyncio.TaskGroup() as group:
            group.create_task(producer())
            numbers = group.create_task(consumer())
        return numbers.result()

    assert run(main()) == [0, 1, 2, 3, 4]


def test_anyio_runs_on_it(run, host):
    import anyio
    import anyio.to_thread

    async def main():
        results = []
        async with anyio.create_task_group() as group:
            for n in range(3):
                group.start_soon(sleeper, n, results)
        with anyio.move_on_after(0.01) as scope:
            await anyio.sleep(10)
        assert scope.cancelled_caught
        return results, await anyio.to_thread.run_sync(lambda: "inline")

    async def sleeper(n, results):
        await __import__("anyio").sleep(0.001 * (3 - n))
        results.append(n)

    assert run(main()) == ([2, 1, 0], "inline")


def test_run_in_executor_runs_inline(run, host):
    async def main():
        loop = asyncio.get_running_loop()
        assert await asyncio.to_thread(lambda: 5) == 5
        with pytest.raises(ZeroDivisionError):
            await loop.run_in_executor(None, lambda: 1 / 0)

    run(main())


def test_async_generators_are_closed(run, host):
    events = []

    async def numbers():
        try:
            yield 1
            yield 2
        finally:
            await asyncio.sleep(0)
            events.append("closed")

    async def main():
        async for _ in numbers():
            break
        await asyncio.sleep(0.001)

    run(main())
    assert events == ["closed"]


def test_a_busy_task_does_not_keep_events_out(load, host, platform):
    worker = load(
        """
        import asyncio
        from js import Response

        stop = asyncio.Event()

        async def on_fetch(request):
            if request.url.endswith("stop"):
                stop.set()
                return Response.new("stopping")
            turns = 0
            while not stop.is_set():
                turns += 1
                await asyncio.sleep(0)
            return Response.new("stopped")
        """
    )
    busy = host.request("http://a/")
    platform.pump()
    assert host.deadline is not None and not busy.done
    assert worker.fetch("http://a/stop").body == b"stopping"
    host.run(platform.pump, until=lambda: busy.done)


def test_many_cancelled_timers_do_not_pile_up(loop):
    for _ in range(10_000):
        loop.call_later(1000, print).cancel()
    assert len(loop._scheduled) < 300
    loop._scheduled.clear()


def test_unhandled_errors_are_logged(load, host):
    worker = load(
        """
        import asyncio
        from js import Response

        def breaks():
            raise ValueError("in a callback")

        async def task():
            raise KeyError("in a task")

        async def on_fetch():
            asyncio.get_running_loop().call_soon(breaks)
            asyncio.create_task(task())
            await asyncio.sleep(0)
            return Response.new("fine")
        """
    )
    reply = worker.fetch()
    import gc

    gc.collect()
    worker.platform.pump()
    assert reply.body == b"fine"
    assert "ValueError: in a callback" in host.log_text(reply.id)
    assert "KeyError: 'in a task'" in host.log_text()


def test_files_and_sockets_are_refused_by_name(loop):
    with pytest.raises(NotImplementedError, match=r"loop.add_reader\(\) is not available"):
        loop.add_reader(0, print)


# --- synchronous waiting ----------------------------------------------------


def test_run_sync_inside_a_handler(load):
    worker = load(
        """
        import asyncio
        from js import Response
        from pyodide.ffi import can_run_sync, run_sync

        async def slow(text):
            await asyncio.sleep(0.005)
            return text

        def deeper(n):
            return run_sync(slow("bottom")) if n == 0 else run_sync(nested(n))

        async def nested(n):
            return deeper(n - 1) + str(n)

        async def on_fetch(request):
            assert can_run_sync()
            task = asyncio.current_task()
            text = run_sync(slow("a")) + deeper(3) + await slow("b") + asyncio.run(slow("c"))
            assert asyncio.current_task() is task
            return Response.new(text)
        """
    )
    assert worker.fetch().body == b"abottom123bc"


def test_run_sync_reads_a_body_that_has_yet_to_arrive(load):
    worker = load(
        """
        from js import Response
        from pyodide.ffi import run_sync

        def on_fetch(request):
            return Response.new(run_sync(request.text()).upper())
        """
    )
    assert worker.fetch(method="POST", body=iter([b"one ", b"two"])).body == b"ONE TWO"


def test_a_host_that_cannot_suspend_the_guest_is_reported(load, host):
    worker = load(
        """
        from js import Response
        from pyodide.ffi import run_sync

        def on_fetch(request):
            return Response.new(run_sync(request.text()))
        """
    )
    host.can_wait = False
    reply = host.request(method="POST", hold_body=True)
    host.run(worker.platform.pump)
    assert "waiting synchronously for a request body" in reply.failure[1] and reply.done


def test_wsgi_applications_read_their_body_synchronously(load):
    worker = load(
        """
        from workers import WorkerEntrypoint, wsgi

        def app(environ, start_response):
            body = environ["wsgi.input"].read()
            start_response("201 Created", [("content-type", "text/plain"), ("x-path", environ["PATH_INFO"])])
            return [body[::-1], b"!"]

        class Default(WorkerEntrypoint):
            async def fetch(self, request):
                return await wsgi.fetch(app, request, self.env)
        """
    )
    reply = worker.fetch("http://a/p%20q", "POST", body=iter([b"abc", b"def"]))
    assert (reply.status, reply.body, reply.header("x-path")) == (201, b"fedcba!", "/p q")


def test_a_wait_for_its_own_waiter_is_a_deadlock(load):
    worker = load(
        """
        import asyncio
        from js import Response
        from pyodide.ffi import run_sync

        async def on_fetch():
            return Response.new(run_sync(asyncio.Future()))
        """
    )
    assert "deadlock" in worker.fetch().failure[1]


def test_endless_nesting_is_refused(load):
    worker = load(
        """
        from js import Response
        from pyodide.ffi import run_sync

        async def again():
            return run_sync(again())

        async def on_fetch():
            return Response.new(await again())
        """
    )
    assert "nested more than 8 deep" in worker.fetch().failure[1]


def test_other_requests_go_on_while_one_waits(load, host, platform):
    load(
        """
        import asyncio
        from js import Response
        from pyodide.ffi import run_sync

        async def on_fetch(request):
            if "sync" in request.url:
                run_sync(asyncio.sleep(0.05))
            else:
                await asyncio.sleep(0.01)
            return Response.new(request.url)
        """
    )
    waiting, other = host.request("http://a/sync"), host.request("http://a/other")
    platform.pump()
    assert waiting.done and other.done


def test_run_sync_without_a_loop(platform, host):
    from pyodide.ffi import can_run_sync, run_sync

    assert not can_run_sync()
    with pytest.raises(RuntimeError, match="No suspender"):
        run_sync(asyncio.Future(loop=asyncio.new_event_loop()))
