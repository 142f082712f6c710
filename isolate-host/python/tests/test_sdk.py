"""The public SDK's own classes on top of ours."""

import datetime
from http import HTTPMethod, HTTPStatus

import pytest


@pytest.fixture(autouse=True)
def _platform(platform, host):
    pass


def test_response(run):
    from workers import Response

    import js

    response = Response("text", status=HTTPStatus.CREATED, headers={"x-a": "1"}, status_text="Made")
    assert (response.status, response.status_text, response.headers["x-a"], response.ok) == (201, "Made", "1", True)
    assert run(response.text()) == "text" and response.body_used
    assert run(Response(b"bytes").bytes()) == b"bytes"
    assert run(Response.from_json({"a": [1]}).json()) == {"a": [1]}
    assert Response.json([1]).headers["content-type"] == "application/json"
    assert Response.redirect("http://a/", 303).status == 303
    replaced = Response("a", headers={"x-b": "2"}).replace_body("b")
    assert replaced.headers["x-b"] == "2" and run(replaced.text()) == "b"
    assert "status=200" in repr(Response(None))
    with pytest.raises(ValueError, match="not a redirect"):
        Response.redirect("http://a/", 200)
    with pytest.raises(TypeError, match="Unsupported type"):
        Response(5)
    cookies = Response("x", headers=[("set-cookie", "a=1"), ("set-cookie", "b=2")])
    assert cookies.js_object.headers.getSetCookie().to_py() == ["a=1", "b=2"]
    assert Response(js.Response.new("inner", status=202)).status == 202


def test_request(run):
    from workers import Request

    import js

    request = Request("http://a/b", method=HTTPMethod.POST, headers={"x-a": "1"}, body=b"body")
    assert request.method is HTTPMethod.POST and request.headers["X-A"] == "1" and request.cf is None
    copy = request.clone()
    assert run(request.text()) == run(copy.text()) == "body"
    assert run(Request(js.Request.new("http://a/", method="PUT", body='{"x": 1}')).json()) == {"x": 1}
    with pytest.raises(OSError, match="already used"):
        run(request.text())


def test_forms_and_blobs(run):
    from workers import Blob, File, FormData, Response

    form = FormData({"a": "1"})
    form.append("f", File([b"data"], "n.txt", content_type="text/x"))
    back = run(Response(form).form_data())
    assert back["a"] == "1" and back["f"].name == "n.txt" and run(back["f"].text()) == "data"
    assert [*back] == ["a", "f"] and back.get_all("a") == ["1"] and "f" in back
    blob = Blob(["x", b"y"], content_type="a/b")
    assert blob.size == 2 and run(blob.bytes()) == b"xy" and run(blob.slice(1).text()) == "y"
    assert run(run(Response(b"\x01").blob()).bytes()) == b"\x01"


def test_values_across_rpc(run):
    from workers import python_from_rpc, python_to_rpc

    import js

    moment = datetime.datetime(2024, 1, 2, 3, 4, 5)
    sent = python_to_rpc({"a": [1, None, {"b": b"x"}], "t": moment})
    assert sent.constructor.name == "Object" and sent.t.constructor.name == "Date"
    back = python_from_rpc(sent)
    assert back["a"][1] is None and back.t == moment and bytes(back["a"][2]["b"]) == b"x"
    assert python_from_rpc(python_to_rpc(None)) is None
    assert python_from_rpc(js.Map.new([("k", js.Set.new([1]))])) == {"k": {1}}


def test_env_bindings_are_wrapped_by_their_constructors_name():
    from workers import _EnvWrapper

    import js
    from js.base import PlainObject, js_class

    class Store(PlainObject):
        __slots__ = ()

    js_class(Store, "KvNamespace")

    async def get(key):
        return f"value of {key}"

    env = PlainObject({"KV": Store({"get": lambda key: js.Promise.resolve(get(key))}), "TEXT": "t"})
    wrapped = _EnvWrapper(env)
    assert type(wrapped.KV).__name__ == "_BindingWrapper" and wrapped.TEXT == "t"


def test_asgi_entrypoint_and_lifespan(load):
    worker = load(
        """
        import contextlib
        from fastapi import FastAPI, Request, Response
        from workers import asgi

        events = []

        @contextlib.asynccontextmanager
        async def lifespan(app):
            events.append("start")
            yield {"state": "kept"}
            events.append("stop")

        app = FastAPI(lifespan=lifespan)

        @app.get("/")
        async def root(request: Request, response: Response):
            response.set_cookie("a", "1")
            response.set_cookie("b", "2")
            return request.state.state

        @app.get("/empty", status_code=204)
        async def empty():
            return None

        @app.get("/fails")
        async def fails():
            raise RuntimeError("in the application")

        Default = asgi.entrypoint(app)
        """
    )
    reply = worker.fetch()
    assert reply.body == b'"kept"' and worker.module.events == ["start", "stop"]
    assert sorted(value for name, value in reply.headers if name == b"set-cookie") == [
        b"a=1; Path=/; SameSite=lax",
        b"b=2; Path=/; SameSite=lax",
    ]
    empty = worker.fetch("http://a/empty")
    assert (empty.status, empty.body, empty.whole) == (204, b"", True)
    failed = worker.fetch("http://a/fails")
    assert failed.status == 500 or failed.failure is not None
    assert worker.fetch().status == 200
