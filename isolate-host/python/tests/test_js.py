"""The objects of the global scope that have no file of tests of their own."""

import math
import sys

import pytest


def ffi():
    """`pyodide.ffi`, which can only be imported once the platform is booted."""
    from pyodide import ffi

    return ffi


@pytest.fixture(autouse=True)
def _platform(platform, host):
    pass


def test_what_is_missing_says_so():
    import js

    with pytest.raises(AttributeError, match="js.WebSocketPair is not available in this version of warmshard"):
        js.WebSocketPair
    with pytest.raises(ImportError, match="js.WebSocketPair is not available in this version of warmshard"):
        from js import WebSocketPair  # noqa: F401
    with pytest.raises(ImportError, match="nonsense"):
        from js import nonsense  # noqa: F401
    assert not hasattr(js, "WebSocket") and not hasattr(js, "headers") and not hasattr(js, "url")


def test_there_is_no_javascript():
    from pyodide.code import run_js

    import js

    for attempt in (lambda: run_js("1 + 1"), lambda: js.eval("1"), lambda: js.Function.new("return 1")):
        with pytest.raises(ffi().JsException, match="without a JavaScript engine"):
            attempt()


def test_the_scope_is_an_object():
    import js

    assert js.globalThis is js.self is js is sys.modules["js"]
    assert isinstance(js, ffi().JsProxy)
    js.expando = 5
    assert sys.modules["js"].expando == 5
    del js.expando


def test_names_of_constructors_are_exact():
    import js

    made = {
        "Headers": js.Headers.new(),
        "Response": js.Response.new(),
        "Request": js.Request.new("http://a/"),
        "URL": js.URL.new("http://a/"),
        "URLSearchParams": js.URLSearchParams.new(),
        "Blob": js.Blob.new([]),
        "File": js.File.new([], "n"),
        "FormData": js.FormData.new(),
        "ReadableStream": js.ReadableStream.new(),
        "WritableStream": js.WritableStream.new(),
        "TransformStream": js.TransformStream.new(),
        "Uint8Array": js.Uint8Array.new(1),
        "ArrayBuffer": js.ArrayBuffer.new(1),
        "Object": js.Object.new(),
        "Array": js.Array.new(),
        "Map": js.Map.new(),
        "Set": js.Set.new(),
        "Date": js.Date.new(),
        "Error": js.Error.new("x"),
        "TypeError": js.TypeError.new("x"),
        "Promise": js.Promise.resolve(1),
        "AbortController": js.AbortController.new(),
        "AbortSignal": js.AbortController.new().signal,
        "TextEncoder": js.TextEncoder.new(),
    }
    for name, value in made.items():
        assert value.constructor.name == name and value.constructor is getattr(js, name)
        assert isinstance(value, ffi().JsProxy), name
    assert isinstance(made["Response"], js.Response) and not isinstance(made["Blob"], js.Response)


def test_kinds_of_proxies():
    from pyodide import ffi

    import js

    assert isinstance(js.Array.new(), ffi.JsArray) and not isinstance(js.Array.new(), ffi.JsMap)
    assert isinstance(js.Map.new(), ffi.JsMutableMap)
    assert isinstance(js.Uint8Array.new(1), ffi.JsBuffer) and isinstance(js.Uint8Array.new(1), ffi.JsTypedArray)
    assert isinstance(js.Promise.resolve(), ffi.JsPromise)
    assert isinstance(ffi.create_proxy(b""), ffi.JsDoubleProxy)
    assert isinstance(js.fetch, ffi.JsCallable) and isinstance(js.Response, ffi.JsCallable)
    assert isinstance(js.Error.new("x"), ffi.JsException)
    assert not isinstance(5, ffi.JsProxy) and not isinstance([], ffi.JsProxy)


def test_errors_are_exceptions_with_a_name():
    import pickle

    import js

    error = js.RangeError.new("too far", cause="c")
    assert (error.name, error.message, error.cause, str(error)) == ("RangeError", "too far", "c", "RangeError: too far")
    assert pickle.loads(pickle.dumps(error)).message == "too far"
    assert js.DOMException.new("m", "AbortError").name == "AbortError"
    with pytest.raises(ffi().JsException):
        raise error


def test_calling_a_class_without_new():
    import js

    with pytest.raises(ffi().JsException, match="use js.Response.new"):
        js.Response("x")


def test_to_js_and_to_py():
    from pyodide.ffi import ConversionError, jsnull, to_js

    import js

    source = {"a": [1, "x", None, {"b": b"\x01\x02"}], "s": {3}}
    value = to_js(source)
    assert value.constructor.name == "Object" and value.a.constructor.name == "Array"
    assert value.a[3].b.constructor.name == "Uint8Array" and value.s.constructor.name == "Set"
    back = value.to_py()
    assert back["a"][:3] == [1, "x", None] and bytes(back["a"][3]["b"]) == b"\x01\x02" and back["s"] == {3}
    assert to_js({"k": {"l": 1}}, dict_converter=js.Object.fromEntries).k.l == 1
    as_map = to_js({"k": 1}, dict_converter=js.Map.new)
    assert as_map.constructor.name == "Map" and as_map.to_py() == {"k": 1}
    assert to_js(jsnull) is jsnull and to_js(5) == 5 and to_js(value) is value

    cyclic: list = []
    cyclic.append(cyclic)
    assert to_js(cyclic)[0] is not None and to_js(cyclic).to_py()[0] is not None

    class Pair:
        pass

    pair = Pair()
    assert to_js(pair).unwrap() is pair
    assert to_js([pair], default_converter=lambda v, convert, cache: "pair")[0] == "pair"
    with pytest.raises(ConversionError):
        to_js(pair, create_pyproxies=False)
    collected = js.Array.new()
    to_js([pair], pyproxies=collected)
    assert collected.length == 1
    date = js.Date.new(1000)
    assert to_js([date]).to_py(default_converter=lambda v, convert, cache: v.getTime()) == [1000]


def test_proxies():
    from pyodide.ffi import create_once_callable, create_proxy, destroy_proxies, to_js

    memory = bytearray(b"abc")
    proxy = create_proxy(memory)
    buffer = proxy.getBuffer()
    view = buffer.data
    assert view.to_bytes() == b"abc" and view.constructor.name == "Uint8Array"
    view[0] = 0x41
    copy = view.slice()
    buffer.release()
    proxy.destroy()
    assert memory == b"Abc" and copy.to_bytes() == b"Abc"
    memory.append(1)
    with pytest.raises(Exception, match="already been destroyed"):
        proxy.unwrap()

    data = b"immutable"
    shared = create_proxy(data).getBuffer().data
    assert shared.to_bytes() is data
    shared[0] = 0
    assert data == b"immutable" and shared.to_bytes()[0] == 0

    function = create_proxy(lambda a, b=1: a + b)
    assert function(2, b=3) == 5
    once = create_once_callable(lambda: "done")
    assert once() == "done"
    with pytest.raises(Exception, match="OnceProxy can only be called once"):
        once()
    destroy_proxies(to_js([function]))


def test_objects_arrays_maps():
    import js

    thing = js.Object.new(size=1, color="red")
    assert (thing.size, thing.color, thing.hasOwnProperty("size")) == (1, "red", True)
    assert thing.object_keys().to_py() == ["size", "color"] and list(thing.object_values()) == [1, "red"]
    assert js.Object.entries(thing).to_py() == [["size", 1], ["color", "red"]]
    assert js.Object.assign(js.Object.new(), thing, js.Object.new(x=2)).x == 2
    with pytest.raises(AttributeError):
        thing.missing
    thing.class_ = 1
    assert thing.as_object_map()["color"] == "red" and dict(thing.as_py_json())["size"] == 1

    array = js.Array.new(1, 2, 3)
    assert (array.length, array[-1], array.includes(2), array.join("-"), array.indexOf(9)) == (3, 3, True, "1-2-3", -1)
    assert js.Array.from_([1, 2], lambda n: n * 2).to_py() == [2, 4] and js.Array.isArray(array)
    assert array.slice(1).to_py() == [2, 3] and array.push(4) == 4 and [*array] == [1, 2, 3, 4]

    found = js.Map.new([("a", 1)])
    found.set("b", 2)
    assert found.size == 2 and found["b"] == 2 and list(found) == ["a", "b"] and found.to_py() == {"a": 1, "b": 2}


def test_typed_arrays():
    import js

    buffer = js.ArrayBuffer.new(8)
    words = js.Uint16Array.new(buffer, 2, 2)
    words[0] = 0x0102
    words[1] = 70000
    assert js.Uint8Array.new(buffer).to_bytes() == bytes([0, 0, 2, 1, 0x70, 0x11, 0, 0])
    assert js.Int8Array.new([255, -1, 127])[0] == -1
    part = js.Uint8Array.new([1, 2, 3, 4]).subarray(1, 3)
    part[0] = 9
    assert part.buffer.to_bytes() == b"\x01\x09\x03\x04" and part.length == 2 and list(part) == [9, 3]
    assert js.Uint8Array.new(range(3)).slice(-2).to_bytes() == b"\x01\x02"
    assert js.Float64Array.new([1.5]).byteLength == 8 and js.Float64Array.new([1.5])[0] == 1.5
    view = js.DataView.new(buffer)
    view.setInt32(0, -2)
    assert view.getInt32(0) == -2 and view.getUint8(3) == 0xFE
    with pytest.raises(ffi().JsException, match="outside the bounds"):
        view.getUint8(8)
    with pytest.raises(ffi().JsException, match="Invalid typed array length"):
        js.Uint16Array.new(buffer, 1)
    assert js.Uint8Array.new(b"abc").to_string() == "abc"


def test_text_and_uri_functions():
    import js

    assert js.TextEncoder.new().encode("ü").to_bytes() == b"\xc3\xbc"
    decoder = js.TextDecoder.new()
    assert decoder.decode(js.Uint8Array.new(b"\xef\xbb\xbfa\xc3"), stream=True) + decoder.decode(b"\xbc") == "aü"
    with pytest.raises(ffi().JsException):
        js.TextDecoder.new("utf-8", fatal=True).decode(b"\xff")
    assert js.btoa("a\xff") == "Yf8=" and js.atob("Yf8") == "a\xff"
    assert js.encodeURIComponent("a b/ü*") == "a%20b%2F%C3%BC*" and js.decodeURIComponent("a%20%C3%BC") == "a ü"


def test_json_and_primitives():
    import js

    value = js.JSON.parse('{"a": [1, null], "b": {"c": "ü"}}')
    assert value.b.c == "ü" and value.a[1] is ffi().jsnull
    assert js.JSON.stringify(value) == '{"a":[1,null],"b":{"c":"ü"}}'
    assert js.JSON.stringify({"x": js.Date.new(0)}) == '{"x":"1970-01-01T00:00:00.000Z"}'
    with pytest.raises(ffi().JsException, match="SyntaxError"):
        js.JSON.parse("{")
    assert (js.Number("12"), js.String(True), js.Boolean(0), js.parseInt("0x1f"), js.parseFloat("1.5px")) == (
        12,
        "true",
        False,
        31,
        1.5,
    )
    assert math.isnan(js.Number("x")) and js.Math.round(2.5) == 3 and 0 <= js.Math.random() < 1


def test_dates_are_utc():
    import js

    date = js.Date.new("2024-02-29T12:30:15.250Z")
    assert date.getTime() == 1709209815250 and date.toISOString() == "2024-02-29T12:30:15.250Z"
    assert (date.getUTCFullYear(), date.getMonth(), date.getDate(), date.getDay()) == (2024, 1, 29, 4)
    assert js.Date.UTC(2024, 1, 29) == 1709164800000 and abs(js.Date.now() - js.Date.new().getTime()) < 1000
    assert js.Date.new("nonsense").toString() == "Invalid Date"


def test_crypto(run):
    import js

    array = js.Uint8Array.new(32)
    assert js.crypto.getRandomValues(array) is array and any(array)
    assert len(js.crypto.randomUUID()) == 36

    async def digest():
        return (await js.crypto.subtle.digest("SHA-256", js.TextEncoder.new().encode("abc"))).to_bytes().hex()

    assert run(digest()).startswith("ba7816bf")


def test_abort():
    import js
    from pyodide_js._api import abortSignalAny

    controller = js.AbortController.new()
    events = []
    both = abortSignalAny([controller.signal, js.AbortSignal.new()])
    both.addEventListener("abort", lambda event: events.append(event.type), once=True)
    controller.signal.onabort = lambda event: events.append("handler")
    controller.abort("why")
    controller.abort("again")
    assert events == ["abort", "handler"] and both.aborted and both.reason == "why"
    with pytest.raises(ffi().JsException):
        controller.signal.throwIfAborted()


def test_timers(run):
    import asyncio

    import js

    async def main():
        calls = []
        js.setTimeout(lambda text: calls.append(text), 1, "timeout")
        cancelled = js.setTimeout(lambda: calls.append("never"), 1)
        js.clearTimeout(cancelled)
        interval = js.setInterval(lambda: calls.append("tick"), 2)
        js.queueMicrotask(lambda: calls.append("micro"))

        async def coroutine():
            calls.append("async")

        js.setTimeout(coroutine, 0)
        await asyncio.sleep(0.03)
        js.clearInterval(interval)
        count = len(calls)
        await asyncio.sleep(0.01)
        assert len(calls) == count
        return calls

    calls = run(main())
    assert calls[:2] in (["micro", "async"], ["async", "micro"]) and "timeout" in calls and "never" not in calls
    assert calls.count("tick") > 3


def test_structured_clone():
    import js

    source = js.Object.new(a=js.Array.new(1, js.Map.new([("k", 1)])))
    clone = js.structuredClone(source)
    clone.a[1].set("k", 2)
    assert source.a[1].get("k") == 1
    with pytest.raises(ffi().JsException, match="could not be cloned"):
        js.structuredClone(lambda: 1)


def test_promises(run):
    import asyncio

    import js

    async def main():
        p = js.Promise.new(lambda resolve, reject: js.setTimeout(lambda: resolve(5), 1))
        assert await p == 5 and await p == 5
        assert await p.then(lambda v: v + 1).then(lambda v: js.Promise.resolve(v * 2)) == 12

        async def later():
            await asyncio.sleep(0)
            return "coroutine"

        assert await js.Promise.resolve(1).then(lambda v: later()) == "coroutine"
        failed = js.Promise.reject(js.TypeError.new("no"))
        assert await failed.catch(lambda error: error.name) == "TypeError"
        done = []
        with pytest.raises(ffi().JsException):
            await failed.finally_(lambda: done.append(1))
        assert done == [1]
        assert (await js.Promise.all([p, 2, later()])).to_py() == [5, 2, "coroutine"]
        settled = await js.Promise.allSettled([p, failed])
        assert [item.status for item in settled] == ["fulfilled", "rejected"]
        assert await js.Promise.race([js.Promise.new(), 3]) == 3
        assert await js.Promise.any([failed, 4]) == 4
        assert await asyncio.gather(p, js.Promise.resolve(6)) == [5, 6]
        waiting = asyncio.ensure_future(js.Promise.new())
        await asyncio.sleep(0)
        waiting.cancel()

    run(main())


def test_fetch_says_that_it_is_missing(run):
    async def main():
        from pyodide.http import pyfetch

        import js

        with pytest.raises(ffi().JsException, match="js.fetch is not available in this version"):
            await js.fetch("http://example.com/")
        with pytest.raises(OSError, match="js.fetch is not available"):
            await pyfetch("http://example.com/")

    run(main())


def test_environment_patches(platform, host):
    from workers import env, patch_env

    from warmshard_runtime import environment

    environment.set_vars({"A": "1"})
    with patch_env(A="2", B={"c": 3}):
        assert environment.env.A == "2" and environment.env.B.c == 3
    assert environment.env.A == "1" and not hasattr(environment.env, "B")
    assert env.A == "1"


def test_modules_of_the_platform(run):
    from workers import import_from_javascript

    module = import_from_javascript("cloudflare:workers")
    assert module.env is not None
    with pytest.raises(Exception, match=r"connect\(\) is not available in this version"):
        import_from_javascript("cloudflare:sockets").connect("a:1")

    async def main():
        with pytest.raises(ImportError, match="there is no JavaScript engine"):
            import_from_javascript("./thing.js")

    run(main())
