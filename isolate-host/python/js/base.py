"""What every object of the `js` package has in common.

There is no JavaScript here: a "JavaScript object" is a Python object that keeps
to the shape Pyodide's `JsProxy` gives it. Two ideas carry the package.

* `JsObject` is the base of instances. It does not inherit `pyodide.ffi.JsProxy`:
  that class recognises its members by the class attribute `_js_type_flags`, so
  `isinstance(x, JsProxy)` and its refinements (`JsArray`, `JsPromise`, …) hold.
* `JsClass` is a constructor (`js.Response`), kept apart from the Python class
  behind it, because a static (`Response.json`) and a method of the instances
  (`response.json()`) may share a name. `x.constructor` is a plain class attribute,
  since the SDK looks at `x.constructor.name` several times per request.
"""

from typing import Any

from _pyodide import _core_docs
from _pyodide._core_docs import jsnull

__all__ = [
    "JS_FLAGS",
    "JsClass",
    "JsFunction",
    "JsObject",
    "PlainObject",
    "is_nullish",
    "js_class",
    "jsnull",
    "method_table",
    "option",
    "unwrap",
]

_FLAG_NAMES = (
    "IS_CALLABLE",
    "IS_AWAITABLE",
    "IS_ITERABLE",
    "IS_ITERATOR",
    "IS_ASYNC_ITERABLE",
    "IS_ASYNC_ITERATOR",
    "IS_GENERATOR",
    "IS_ASYNC_GENERATOR",
    "IS_ARRAY",
    "IS_ARRAY_LIKE",
    "IS_TYPEDARRAY",
    "IS_BUFFER",
    "IS_DOUBLE_PROXY",
    "IS_ERROR",
    "IS_OBJECT_MAP",
    "IS_PY_JSON_DICT",
    "IS_PY_JSON_SEQUENCE",
    "HAS_GET",
    "HAS_SET",
    "HAS_HAS",
    "HAS_LENGTH",
    "HAS_INCLUDES",
    "HAS_DISPOSE",
    "HAS_ASYNC_DISPOSE",
)

#: Named bits that `pyodide.ffi` looks up to decide which kind of proxy a class is.
JS_FLAGS: dict[str, int] = {name: 1 << bit for bit, name in enumerate(_FLAG_NAMES)}

# `pyodide.ffi` does the same later; `isinstance` may be asked before.
_core_docs._js_flags = JS_FLAGS


class JsObject:
    """Base of everything that would be a JavaScript object."""

    __slots__ = ("__weakref__",)

    _js_type_flags = 0
    #: Replaced by `js_class` on every class that has a constructor of its own.
    constructor: Any = None

    @property
    def js_id(self) -> int:
        """A number that identifies this object while it lives."""
        return id(self)

    @property
    def typeof(self) -> str:
        return "object"

    def toString(self) -> str:
        return f"[object {self.constructor.name}]"

    def valueOf(self) -> Any:
        return self

    def object_keys(self) -> Any:
        return _array(self._own_properties())

    def object_values(self) -> Any:
        return _array(self._own_properties().values())

    def object_entries(self) -> Any:
        return _array(_array(pair) for pair in self._own_properties().items())

    def to_py(self, *, depth: int = -1, default_converter: Any = None) -> Any:
        """The closest native Python value, as `JsProxy.to_py` describes it."""
        from .convert import to_py

        return to_py(self, depth=depth, default_converter=default_converter)

    def to_weakref(self) -> Any:
        from .globals import WeakRef

        return WeakRef(self)

    def as_object_map(self, *, hereditary: bool = False) -> Any:
        from .convert import ObjectMap

        return ObjectMap(self, hereditary)

    def as_py_json(self) -> Any:
        return self.as_object_map(hereditary=True)

    def bind_sig(self, signature: Any) -> Any:
        """Signatures only steer conversions at a language border; there is none."""
        return self

    bind_class = bind_sig

    def _own_properties(self) -> dict[str, Any]:
        return getattr(self, "__dict__", {})

    def __repr__(self) -> str:
        return self.toString()

    __str__ = __repr__


class PlainObject(JsObject):
    """`{…}`: properties are attributes, in the order they were set."""

    __slots__ = ("__dict__",)

    def __init__(self, properties: Any = None, /, **more: Any) -> None:
        if properties:
            self.__dict__.update(properties)
        if more:
            self.__dict__.update(more)

    def __getattr__(self, name: str) -> Any:
        # Pyodide lets `o.class_` stand for the property `class`.
        if name.endswith("_") and not name.startswith("__"):
            try:
                return self.__dict__[name[:-1]]
            except KeyError:
                pass
        raise AttributeError(name)

    def hasOwnProperty(self, name: str) -> bool:
        return name in self.__dict__


class JsFunction(JsObject):
    """A function of the platform: callable, and an object like any other."""

    __slots__ = ("_function", "name")

    _js_type_flags = JS_FLAGS["IS_CALLABLE"]

    def __init__(self, function: Any, name: str | None = None) -> None:
        self._function = function
        self.name = name or function.__name__

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._function(*args, **kwargs)

    @property
    def typeof(self) -> str:
        return "function"

    def toString(self) -> str:
        return f"function {self.name}() {{ [native code] }}"


class JsClass(JsObject):
    """A constructor. `new` and the statics live in the instance's own dict."""

    __slots__ = ("__dict__",)

    _js_type_flags = JS_FLAGS["IS_CALLABLE"]

    name: str
    new: Any

    def __init__(self, python_class: type, name: str, call: Any, statics: dict[str, Any]) -> None:
        self.name = name
        self._python_class = python_class
        self._call = call
        self.__dict__.update(statics)

        def new(*args: Any, **options: Any) -> Any:
            """Construct; keyword arguments become one trailing options object."""
            return python_class(*args, options) if options else python_class(*args)

        self.__dict__.setdefault("new", new)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self._call is None:
            from .errors import type_error

            raise type_error(
                f"Class constructor {self.name} cannot be invoked without 'new'; use js.{self.name}.new(…)"
            )
        return self._call(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        # `Array.from_`: `from` is a keyword in Python.
        if name.endswith("_") and not name.startswith("__") and name[:-1] in self.__dict__:
            return self.__dict__[name[:-1]]
        raise AttributeError(f"js.{self.__dict__['name']} has no attribute {name!r} in this version of warmshard")

    def __instancecheck__(self, instance: Any) -> bool:
        return isinstance(instance, self._python_class)

    @property
    def typeof(self) -> str:
        return "function"

    def toString(self) -> str:
        return f"function {self.name}() {{ [native code] }}"

    def _own_properties(self) -> dict[str, Any]:
        return {}


def js_class(python_class: type, name: str, *, call: Any = None, **statics: Any) -> JsClass:
    """Make the constructor of `python_class` and give its instances `.constructor`."""
    constructor = JsClass(python_class, name, call, statics)
    python_class.constructor = constructor
    return constructor


def is_nullish(value: Any) -> bool:
    """Whether JavaScript would see `undefined` or `null`."""
    return value is None or value is jsnull


def option(options: Any, name: str, default: Any = None) -> Any:
    """Property `name` of an options bag: keyword arguments, a dict or a JS object."""
    if options is None:
        return default
    if type(options) is dict:
        value = options.get(name)
    elif isinstance(options, JsObject):
        value = getattr(options, name, None)
    elif hasattr(options, "get"):
        value = options.get(name)
    else:
        value = None
    return default if value is None else value


def unwrap(value: Any) -> Any:
    """The Python object behind a proxy made by `create_proxy`; else the value."""
    target = getattr(value, "_proxy_target", None)
    return value if target is None else target()


def method_table(options: Any, *names: str) -> tuple[Any, ...]:
    """The callables `names` of an options bag, `None` where one is missing."""
    return tuple(option(options, name) for name in names)


def _array(items: Any) -> Any:
    from .array import JsArray

    return JsArray(items)


FUNCTION = js_class(JsFunction, "Function")
JsClass.constructor = FUNCTION
