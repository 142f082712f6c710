"""`Headers`, `Request`, `Response`, `URL`, `URLSearchParams`, `FormData`, `Blob`."""

import pytest


@pytest.fixture(autouse=True)
def _platform(platform, host):
    pass


@pytest.fixture
def error():
    from pyodide.ffi import JsException

    return JsException


# --- Headers ----------------------------------------------------------------


def test_headers_combine_sort_and_keep_cookies_apart(error):
    import js

    headers = js.Headers.new([("X-B", " 1 "), ("Set-Cookie", "a=1"), ("x-b", "2"), ("Set-Cookie", "b=2"), ("A", "z")])
    assert list(headers) == [("a", "z"), ("set-cookie", "a=1"), ("set-cookie", "b=2"), ("x-b", "1, 2")]
    assert headers.get("x-B") == "1, 2" and headers.getSetCookie().to_py() == ["a=1", "b=2"]
    assert list(headers.keys()) == ["a", "set-cookie", "set-cookie", "x-b"]
    assert "A" in headers and not headers.has("nope") and not headers.get("nope")
    headers.set("x-b", "3")
    headers.delete("a")
    assert list(headers.entries())[-1].to_py() == ["x-b", "3"] and not headers.has("a")
    assert headers._raw() == [(b"set-cookie", b"a=1"), (b"set-cookie", b"b=2"), (b"x-b", b"3")]


def test_headers_from_anything(error):
    from pyodide.ffi import to_js

    import js

    expected = [("a", "1")]
    for source in ({"A": "1"}, {"A": "1"}.items(), [["A", "1"]], to_js({"A": 1}), js.Map.new([("a", 1)])):
        assert list(js.Headers.new(source)) == expected
    original = js.Headers.new({"a": "1"})
    copy = js.Headers.new(original)
    copy.append("b", "2")
    original.set("a", "x")
    assert list(original) == [("a", "x")] and list(copy) == [("a", "1"), ("b", "2")]


@pytest.mark.parametrize("name", ["", "a b", "a:b", "ü", "a\n", "a\r\nb"])
def test_bad_header_names(error, name):
    import js

    with pytest.raises(error, match="Invalid header name"):
        js.Headers.new([(name, "x")])


@pytest.mark.parametrize("value", ["a\nb", "a\r\nset-cookie: x", "a\0"])
def test_bad_header_values(error, value):
    import js

    with pytest.raises(error, match="Invalid header value"):
        js.Headers.new({"a": value})


def test_headers_of_an_incoming_request_cannot_be_changed(error):
    from js.headers import headers_from_host

    headers = headers_from_host([(b"Host", b"a"), (b"x-latin", b"\xff")])
    assert list(headers) == [("host", "a"), ("x-latin", "\xff")]
    with pytest.raises(error, match="immutable"):
        headers.set("a", "b")


# --- Response ---------------------------------------------------------------


def test_response_of_each_kind_of_body(run):
    from pyodide.ffi import create_proxy, to_js

    import js

    form = js.FormData.new()
    form.append("a", "1")
    kinds = [
        ("text", b"text", "text/plain;charset=UTF-8"),
        (b"bytes", b"bytes", None),
        (to_js(b"array"), b"array", None),
        (create_proxy(b"proxy"), b"proxy", None),
        (js.ArrayBuffer.new(2), b"\0\0", None),
        (js.Blob.new(["blob"], type="text/x"), b"blob", "text/x"),
        (js.URLSearchParams.new("a=1&b=%20"), b"a=1&b=+", "application/x-www-form-urlencoded;charset=UTF-8"),
        (None, b"", None),
    ]
    for body, expected, content_type in kinds:
        response = js.Response.new(body)
        found = response.headers.get("content-type")
        assert (found or None) == content_type
        assert run(response.bytes()).to_bytes() == expected
    assert js.Response.new(form).headers.get("content-type").startswith("multipart/form-data; boundary=")
    assert js.Response.new("x", headers={"content-type": "a/b"}).headers.get("content-type") == "a/b"


def test_response_body_is_used_once(run, error):
    import js

    response = js.Response.new('{"a": [1]}')
    assert not response.bodyUsed
    assert run(response.json()).a[0] == 1 and response.bodyUsed
    with pytest.raises(error, match="already been used"):
        run(response.text())
    assert not js.Response.new(None).bodyUsed and not js.Response.new(None).body


def test_response_body_is_copied_when_it_could_change(run):
    from pyodide.ffi import create_proxy

    import js

    memory = bytearray(b"before")
    buffer = create_proxy(memory).getBuffer()
    response = js.Response.new(buffer.data)
    memory[:] = b"after!"
    buffer.release()
    assert run(response.text()) == "before"


def test_response_clone_and_init_from_another(run, error):
    import js

    first = js.Response.new("body", status=404, statusText="Gone?", headers={"x-a": "1"})
    second = first.clone()
    third = js.Response.new("other", first)
    assert (third.status, third.statusText, third.headers.get("x-a"), third.ok) == (404, "Gone?", "1", False)
    assert run(first.text()) == run(second.text()) == "body"
    with pytest.raises(error, match="already been used"):
        first.clone()
    streamed = js.Response.new(js.ReadableStream.from_([b"a", b"b"]))
    copy = streamed.clone()
    assert run(js.Promise.all([streamed.text(), copy.text()])).to_py() == ["ab", "ab"]


def test_response_statics(error):
    import js

    response = js.Response.json({"a": 1}, status=201)
    assert response._data == b'{"a":1}' and response.headers.get("content-type") == "application/json"
    assert js.Response.redirect("http://a/b", 301).headers.get("location") == "http://a/b"
    assert js.Response.error().type == "error"
    with pytest.raises(error, match="RangeError"):
        js.Response.redirect("http://a/", 200)


@pytest.mark.parametrize(
    ("args", "match"), [(("x", {"status": 204}), "null body status"), ((None, {"status": 99}), "RangeError")]
)
def test_response_refuses(error, args, match):
    import js

    with pytest.raises(error, match=match):
        js.Response.new(*args)


# --- Request ----------------------------------------------------------------


def test_request(run, error):
    import js

    request = js.Request.new("HTTP://A.com:80/b/../c?q=ü", method="post", headers={"x": "1"}, body="text")
    assert (request.url, request.method) == ("http://a.com/c?q=%C3%BC", "POST")
    copy = js.Request.new(request, method="PUT", headers=[("y", "2")])
    assert copy.method == "PUT" and list(copy.headers) == [("y", "2")] and request.bodyUsed
    assert run(copy.text()) == "text"
    with pytest.raises(error, match="cannot have a body"):
        js.Request.new("http://a/", body="x")
    with pytest.raises(error, match="Invalid URL"):
        js.Request.new("/relative")


# --- URL --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "base", "href"),
    [
        ("http://a.com", None, "http://a.com/"),
        ("https://A.COM:443/x", None, "https://a.com/x"),
        ("http://a:8080/x?y#z", None, "http://a:8080/x?y#z"),
        ("  http://a/\t\nb ", None, "http://a/b"),
        ("http:\\\\a\\b", None, "http://a/b"),
        ("http://a/./b/../c/%2e%2E/d", None, "http://a/d"),
        ("http://u:p%40@a/", None, "http://u:p%40@a/"),
        ("http://a/b c?d e#f g", None, "http://a/b%20c?d%20e#f%20g"),
        ("http://bücher.example/", None, "http://xn--bcher-kva.example/"),
        ("http://[::1]:80/", None, "http://[::1]/"),
        ("http://0x7f.1/", None, "http://127.0.0.1/"),
        ("b", "http://h/a/c?q#f", "http://h/a/b"),
        ("/b?x", "http://h/a/c?q#f", "http://h/b?x"),
        ("?x", "http://h/a/c?q#f", "http://h/a/c?x"),
        ("#x", "http://h/a/c?q#f", "http://h/a/c?q#x"),
        ("", "http://h/a/c?q#f", "http://h/a/c?q"),
        ("//other/x", "https://h/a", "https://other/x"),
        ("../../../x", "http://h/a/b", "http://h/x"),
        ("mailto:a@b", None, "mailto:a@b"),
        ("data:text/plain,hi there", None, "data:text/plain,hi there"),
        ("file:///a/b", None, "file:///a/b"),
        ("wss://a/b", None, "wss://a/b"),
        ("http://a/?q='x'", None, "http://a/?q=%27x%27"),
        ("http://a.b-c.d/%zz/~x;y=1", None, "http://a.b-c.d/%zz/~x;y=1"),
    ],
)
def test_urls(url, base, href):
    import js

    assert js.URL.new(url, base).href == href
    assert js.URL.new(href).href == href


@pytest.mark.parametrize(
    "url",
    ["", "a", "/a", "http://", "http://a b/", "http://a:99999/", "http://[::1", "http://1.2.3.4.5/", "http://a:b/"],
)
def test_bad_urls(url, error):
    import js

    with pytest.raises(error, match="Invalid URL"):
        js.URL.new(url)
    assert not js.URL.canParse(url)


def test_parts_of_a_url():
    import js

    url = js.URL.new("https://user:pw@example.com:8443/a/b?x=1&y=2#frag")
    assert (url.protocol, url.username, url.password, url.host) == ("https:", "user", "pw", "example.com:8443")
    assert (url.hostname, url.port, url.pathname, url.search, url.hash) == (
        "example.com",
        "8443",
        "/a/b",
        "?x=1&y=2",
        "#frag",
    )
    assert url.origin == "https://example.com:8443"
    url.searchParams.set("x", "a b")
    assert url.search == "?x=a+b&y=2"
    url.pathname, url.port, url.hash, url.search = "c d", "443", "", "z=ä"
    assert str(url) == "https://user:pw@example.com/c%20d?z=%C3%A4" and url.searchParams.get("z") == "ä"
    url.hostname = "other"
    url.protocol = "http"
    assert url.href == "http://user:pw@other/c%20d?z=%C3%A4"


def test_quick_and_thorough_parsing_agree():
    from js.url_parser import _parse_slowly, parse_url

    for url in (
        "http://a/",
        "https://a.b-c.de:8080/x/y.z/~%20?q=1&r=/?",
        "http://127.0.0.1:80/",
        "http://a:1/?",
        "http://a",
    ):
        assert parse_url(url) == _parse_slowly(url, None)


def test_search_params():
    import js

    params = js.URLSearchParams.new("?a=1&b=2&a=3&c=%E4%BD%A0+x")
    assert params.getAll("a").to_py() == ["1", "3"] and params.get("c") == "你 x" and not params.get("z")
    params.append("d", "~*-._ ")
    params.delete("a", "1")
    params.sort()
    assert params.toString() == "a=3&b=2&c=%E4%BD%A0+x&d=%7E*-._+" and params.size == 4
    assert [pair.to_py() for pair in js.URLSearchParams.new({"k": 1})] == [["k", "1"]]


# --- FormData and Blob ------------------------------------------------------


def test_form_data_survives_the_wire(run):
    import js

    form = js.FormData.new()
    form.append("text", "ü\r\nline")
    form.append('quo"ted', "x")
    form.append("file", js.Blob.new([b"\x00\xff--"], type="image/x"), "näme.bin")
    response = js.Response.new(form)
    back = run(response.formData())
    assert back.get("text") == "ü\r\nline" and back.get('quo"ted') == "x"
    file = back.get("file")
    assert (file.constructor.name, file.name, file.type, file.size) == ("File", "näme.bin", "image/x", 4)
    assert run(file.arrayBuffer()).to_bytes() == b"\x00\xff--"
    assert [*back.keys()] == ["text", 'quo"ted', "file"]


def test_form_data_lists():
    import js

    form = js.FormData.new()
    for value in "123":
        form.append("a", value)
    form.append("b", "x")
    form.set("a", "4")
    assert [entry.to_py() for entry in form] == [["a", "4"], ["b", "x"]] and form.has("b") and "c" not in form


@pytest.mark.parametrize(
    ("data", "content_type", "match"),
    [
        (b"x", "text/plain", "found `text/plain`"),
        (b"x", "multipart/form-data", "without a boundary"),
        (b"--b\r\nx", "multipart/form-data; boundary=b", "does not end with its boundary"),
        (
            b"--b\r\nContent-Disposition: form-data\r\n\r\nx\r\n--b--",
            "multipart/form-data; boundary=b",
            "no form-data name",
        ),
    ],
)
def test_bad_forms(run, error, data, content_type, match):
    import js

    with pytest.raises(error, match=match):
        run(js.Response.new(data, headers={"content-type": content_type}).formData())


def test_blobs(run):
    import js

    blob = js.Blob.new(["ab", b"cd", js.Blob.new(["ef"])], type="Text/X")
    assert (blob.size, blob.type) == (6, "text/x")
    assert run(blob.slice(1, -1, "a/b").text()) == "bcde"
    assert run(js.Blob.new(["a\nb\r\n"], endings="native").text()) == "a\nb\n"

    async def read():
        return [chunk.to_bytes() async for chunk in blob.stream()]

    assert run(read()) == [b"abcdef"]
