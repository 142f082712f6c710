"""From the event of a request to the operations of its response."""

import asyncio
import sys
from pathlib import Path

import pytest
from fake_host import CANCEL, RESUME

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"


def test_plain_entrypoint(load):
    reply = load((EXAMPLES / "hello/src/entry.py").read_text()).fetch()
    assert (reply.status, reply.body, reply.whole) == (200, b"Hello from warmshard\n", True)
    assert reply.header("content-type") == "text/plain;charset=UTF-8"


def test_the_articles_program(load):
    reply = load((EXAMPLES / "fastapi/src/entry.py").read_text()).fetch("http://fastapi.localhost:8080/")
    assert reply.body == b'{"message":"This is FastAPI on Workers"}'
    assert reply.headers == [(b"content-length", b"40"), (b"content-type", b"application/json")]
    assert reply.whole and reply.done


def test_fastapi_sees_path_query_headers_and_body(load):
    worker = load(
        """
        from fastapi import FastAPI, Request
        from pydantic import BaseModel
        from workers import WorkerEntrypoint
        import asgi

        app = FastAPI()

        class Item(BaseModel):
            name: str
            price: float

        @app.post("/items/{number}")
        async def item(number: int, item: Item, request: Request, q: str = ""):
            greeting = request.scope["env"].GREETING
            return {"n": number, "q": q, "item": item, "h": request.headers["x-test"], "env": greeting}

        @app.get("/sync")
        def sync():
            return "from a plain function"

        class Default(WorkerEntrypoint):
            async def fetch(self, request):
                return await asgi.fetch(app, request.js_object, self.env)
        """
    )
    headers = [(b"content-type", b"application/json"), (b"x-test", "grün".encode())]
    reply = worker.fetch("http://a/items/7?q=a%20b", "POST", headers, b'{"name": "pen", "price": 1.5}')
    assert reply.body == b'{"n":7,"q":"a b","item":{"name":"pen","price":1.5},"h":"gr\xc3\x83\xc2\xbcn","env":"hi"}'
    assert worker.fetch("http://a/items/x", "POST", headers, b"{}").status == 422
    assert worker.fetch("http://a/sync").body == b'"from a plain function"'
    assert worker.fetch("http://a/none").status == 404


def test_on_fetch_gets_as_many_arguments_as_it_takes(load):
    worker = load(
        """
        from js import Response

        def on_fetch(request, env):
            return Response.new(f"{request.method} {request.constructor.name} {env.GREETING}", status=201)
        """
    )
    reply = worker.fetch(method="PUT")
    assert (reply.status, reply.body) == (201, b"PUT Request hi")


def test_on_fetch_with_the_sdks_handler(load):
    worker = load(
        """
        from workers import Response, handler

        @handler
        async def on_fetch(request, env, ctx):
            return Response(f"{type(request).__name__} {request.method.value} {env.SETTINGS.name}")
        """
    )
    assert worker.fetch().body == b"Request GET x"


def test_an_instance_per_request_with_ctx_and_env(load):
    worker = load(
        """
        from workers import Response, WorkerEntrypoint

        seen = []

        class Default(WorkerEntrypoint):
            def __init__(self, ctx, env):
                super().__init__(ctx, env)
                seen.append(self)

            async def fetch(self, request):
                return Response(self.env.GREETING + self.ctx.constructor.name)
        """
    )
    assert worker.fetch().body == b"hiExecutionContext"
    worker.fetch()
    assert len(set(map(id, worker.module.seen))) == 2


def test_exception_is_logged_with_its_request_and_the_isolate_lives_on(load, host):
    worker = load(
        """
        import logging
        from workers import Response, WorkerEntrypoint

        class Default(WorkerEntrypoint):
            async def fetch(self, request):
                if "bad" in request.url:
                    raise LookupError("nothing here")
                return Response("fine")
        """
    )
    bad = worker.fetch("http://a/bad")
    assert bad.failure == ("worker_exception", "LookupError: nothing here")
    assert bad.status is None and bad.done
    text = host.log_text(bad.id)
    assert "GET http://a/bad failed" in text and 'raise LookupError("nothing here")' in text
    assert worker.fetch("http://a/good").body == b"fine"


def test_exit_and_recursion_are_exceptions_of_one_request(load):
    worker = load(
        """
        import sys
        from workers import Response, WorkerEntrypoint

        def deeper(n):
            return deeper(n + 1) + 1

        class Default(WorkerEntrypoint):
            async def fetch(self, request):
                if request.url.endswith("exit"):
                    sys.exit(3)
                if request.url.endswith("deep"):
                    return deeper(0)
                if request.url.endswith("interrupt"):
                    raise KeyboardInterrupt
                return Response("fine")
        """
    )
    assert worker.fetch("http://a/exit").failure[1] == "SystemExit: 3"
    assert worker.fetch("http://a/deep").failure[1].startswith("RecursionError")
    assert worker.fetch("http://a/interrupt").failure[1].startswith("KeyboardInterrupt")
    assert worker.fetch("http://a/").body == b"fine"


def test_something_that_is_no_response(load):
    worker = load(
        """
        from workers import WorkerEntrypoint

        class Default(WorkerEntrypoint):
            async def fetch(self, request):
                return "text" if "text" in request.url else None
        """
    )
    assert "must return a Response, found str" in worker.fetch("http://a/text").failure[1]
    assert "is a `return` missing?" in worker.fetch("http://a/").failure[1]


def test_fifty_requests_wait_at_the_same_time(load, host, platform):
    worker = load(
        """
        import asyncio
        from workers import Response, WorkerEntrypoint

        waiting = 0
        most = 0

        class Default(WorkerEntrypoint):
            async def fetch(self, request):
                global waiting, most
                waiting += 1
                most = max(most, waiting)
                await asyncio.sleep(0.05)
                waiting -= 1
                return Response(request.url)
        """
    )
    replies = [host.request(f"http://a/{n}") for n in range(50)]
    host.run(platform.pump, until=lambda: all(reply.done for reply in replies))
    assert [reply.body for reply in replies] == [f"http://a/{n}".encode() for n in range(50)]
    assert worker.module.most == 50


def test_log_lines_carry_the_request_that_wrote_them(load, host, platform):
    load(
        """
        import asyncio, logging
        from js import console
        from workers import Response, WorkerEntrypoint

        class Default(WorkerEntrypoint):
            async def fetch(self, request):
                name = request.url[-1]
                await asyncio.sleep(0.001)
                logging.getLogger("w").warning("logged %s", name)
                console.log("console", name, 1, None)
                await asyncio.gather(self.later(name))
                return Response("")

            async def later(self, name):
                await asyncio.sleep(0)
                console.error(f"task {name}")
        """
    )
    replies = [host.request(f"http://a/{name}") for name in "xyz"]
    host.run(platform.pump, until=lambda: all(reply.done for reply in replies))
    for reply, name in zip(replies, "xyz", strict=True):
        found = [(level, text) for number, level, text in host.logs if number == reply.id]
        assert found == [(30, f"w: logged {name}"), (20, f"console {name} 1 undefined"), (40, f"task {name}")]


def test_wait_until_keeps_the_request_alive_after_its_response(load, host, platform):
    load(
        """
        import asyncio
        from workers import Response, WorkerEntrypoint, wait_until

        done = []

        async def later(name):
            await asyncio.sleep(0.02)
            done.append(name)

        async def fails():
            raise ValueError("in the background")

        class Default(WorkerEntrypoint):
            async def fetch(self, request):
                self.ctx.waitUntil(later("ctx"))
                wait_until(later("module"))
                self.ctx.waitUntil(fails())
                return Response("early")
        """
    )
    reply = host.request()
    platform.pump()
    platform.pump()
    assert reply.body == b"early" and not reply.done
    host.run(platform.pump, until=lambda: reply.done)
    assert "ValueError: in the background" in host.log_text(reply.id)


def test_cancel_stops_the_handler_and_its_tasks(load, host, platform):
    worker = load(
        """
        import asyncio
        from workers import Response, WorkerEntrypoint

        events = []

        async def helper():
            try:
                await asyncio.Event().wait()
            finally:
                events.append("helper ended")

        class Default(WorkerEntrypoint):
            async def fetch(self, request):
                request.js_object.signal.addEventListener("abort", lambda event: events.append("signal"))
                asyncio.create_task(helper())
                try:
                    await asyncio.sleep(1000)
                finally:
                    events.append("handler ended")
        """
    )
    reply = host.request()
    platform.pump()
    host.event(CANCEL, reply, "closed")
    host.run(platform.pump, until=lambda: reply.done)
    host.run(platform.pump)
    # Python 3.11 cannot tell whose task it is; workers run on 3.14.
    helper = ["helper ended"] if hasattr(asyncio.Task, "get_context") else []
    assert worker.module.events == ["signal", "handler ended", *helper]
    assert reply.failure is None and reply.status is None


@pytest.mark.skipif(sys.version_info < (3, 12), reason="Task.get_context() came with 3.12")
def test_a_lifespan_task_does_not_outlive_a_cancelled_request(load, host, platform):
    from warmshard_runtime import event_loop

    load(
        """
        import asyncio
        from fastapi import FastAPI
        from workers import WorkerEntrypoint
        import asgi

        app = FastAPI()

        @app.get("/")
        async def slow():
            await asyncio.sleep(1000)

        class Default(WorkerEntrypoint):
            async def fetch(self, request):
                return await asgi.fetch(app, request.js_object, self.env)
        """
    )
    reply = host.request()
    host.run(platform.pump, until=lambda: host.deadline is not None)
    host.event(CANCEL, reply, "")
    host.run(platform.pump)
    assert reply.done
    assert not asyncio.all_tasks(event_loop.main_loop)


def test_cancelling_an_unknown_request_is_harmless(load, host, platform):
    worker = load("from js import Response\ndef on_fetch():\n    return Response.new('x')\n")
    host.event(CANCEL, 4711, "")
    assert worker.fetch().body == b"x"


def test_secrets_arrive_with_resume(load, host):
    worker = load(
        """
        from workers import Response, WorkerEntrypoint, env

        class Default(WorkerEntrypoint):
            async def fetch(self, request):
                return Response(f"{self.env.TOKEN} {env.TOKEN} {hasattr(self.env, 'NOPE')}")
        """
    )
    host.event(RESUME, 0, {"vars": host.config["vars"], "secrets": {"TOKEN": "s3cret"}, "host_id": "h"})
    assert worker.fetch().body == b"s3cret s3cret False"


def test_request_body_as_text_json_and_form(load):
    worker = load(
        """
        from workers import Response, WorkerEntrypoint

        class Default(WorkerEntrypoint):
            async def fetch(self, request):
                if "json" in request.url:
                    return Response.from_json({"got": await request.json(), "used": request.body_used})
                if "form" in request.url:
                    form = await request.form_data()
                    return Response(f"{form['a']} {form.get_all('b')}")
                if "bytes" in request.url:
                    return Response((await request.bytes())[::-1])
                return Response(await request.text())
        """
    )
    assert worker.fetch("http://a/text", "POST", body=[b"gr\xc3", b"\xbcn"]).body == "grün".encode()
    assert worker.fetch("http://a/bytes", "POST", body=b"abc").body == b"cba"
    assert worker.fetch("http://a/json", "POST", body=b'{"a": [1]}').body == b'{"got": {"a": [1]}, "used": true}'
    form = [(b"content-type", b"application/x-www-form-urlencoded")]
    assert worker.fetch("http://a/form", "POST", form, b"a=x+y&b=1&b=2").body == b"x y ['1', '2']"
    assert worker.fetch("http://a/text", "POST", body=b"").body == b""
