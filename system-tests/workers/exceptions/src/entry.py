"""Raises, throws, panics and jumps through native code, and tells what became of it.

Everything is told as text that depends on nothing but the code that ran, so that two
translations of the same native packages can be compared by it. Each case is a function
whose result, or the exception it ends with, is one line.
"""

import importlib.util
import re
import sys
from contextlib import contextmanager
from datetime import date
from decimal import Decimal
from pathlib import Path
from types import ModuleType
from typing import Annotated, Literal
from unittest.mock import patch
from urllib.parse import urlsplit

import charset_normalizer
import jiter
import jumps
import msgspec
import pydantic
import pydantic_core
from workers import Response, WorkerEntrypoint

CASES = []


def case(function):
    CASES.append(function)
    return function


def load(package, name):
    """An extension module of a package whose own `__init__` cannot be imported."""
    spec = importlib.util.find_spec(package)
    (path,) = Path(spec.submodule_search_locations[0]).glob(f"{name}.*.so")
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


contourpy = load("contourpy", "_contourpy")


def told(error):
    """An exception with its causes; addresses differ from run to run of any program."""
    text = " ".join(str(error).split())
    line = f"{type(error).__module__}.{type(error).__qualname__}: {text[:2000]}"
    for name, other in [("cause", error.__cause__), ("context", error.__context__)]:
        if other is not None and not (name == "context" and error.__suppress_context__):
            line += f" <{name} {told(other)}>"
    return re.sub(r"0x[0-9a-f]+", "0x…", line)


# Rust, with errors that are values: validation in pydantic_core.


class Item(pydantic.BaseModel):
    name: str = pydantic.Field(min_length=2, pattern="^[a-z]+$")
    price: Decimal = pydantic.Field(gt=0, decimal_places=2)
    day: date
    kind: Literal["book", "film"]


class Cat(pydantic.BaseModel):
    pet: Literal["cat"]
    lives: int = pydantic.Field(le=9)


class Dog(pydantic.BaseModel):
    pet: Literal["dog"]
    tricks: list[str]


class Order(pydantic.BaseModel):
    items: list[Item]
    pet: Annotated[Cat | Dog, pydantic.Field(discriminator="pet")]
    total: int | float | None = None


class Tree(pydantic.BaseModel):
    children: list["Tree"] = []


BAD_ORDER = {
    "items": [
        {"name": "A1", "price": "-1.005", "day": "2026-13-01", "kind": "song"},
        {"name": "x", "price": "abc", "day": 1.5},
    ],
    "pet": {"pet": "cat", "lives": 10},
    "total": [],
}


@case
def validation_errors_in_python():
    Order.model_validate(BAD_ORDER)


@case
def validation_errors_in_json():
    Order.model_validate_json('{"items": [{"name": 1}], "pet": {"pet": "fish"}}')


@case
def validation_errors_as_data():
    try:
        Order.model_validate(BAD_ORDER)
    except pydantic.ValidationError as error:
        return error.json(include_url=False)


@case
def malformed_json():
    Order.model_validate_json(b'{"items": [1, 2, \xff]}')


@case
def a_schema_that_is_none():
    pydantic_core.SchemaValidator({"type": "int", "gt": "nine"})


@case
def what_cannot_be_serialised():
    pydantic_core.to_json({"key": object()})


@case
def data_that_contains_itself():
    loop = {"children": []}
    loop["children"].append(loop)
    Tree.model_validate(loop)


@case
def output_that_contains_itself():
    tree = Tree()
    tree.children.append(tree)
    tree.model_dump()


# Python called from Rust called from Python.


def through_rust(function):
    return pydantic.TypeAdapter(Annotated[object, pydantic.PlainValidator(function)]).validate_python


@case
def an_error_a_validator_turns_into_a_validation_error():
    def refuse(value):
        raise ValueError(f"not {value}")

    through_rust(refuse)(1)


@case
def an_exception_that_passes_through_rust():
    def fail(value):
        raise KeyError(value) from LookupError("inside")

    through_rust(fail)("key")


@case
def an_exception_through_many_layers():
    def fail(value):
        raise ZeroDivisionError(value)

    validate = fail
    for _ in range(30):
        validate = through_rust(validate)
    validate(30)


@case
def an_exception_from_a_generator_that_rust_reads():
    def values():
        yield 1
        raise OSError(5, "ran dry")

    pydantic.TypeAdapter(list[int]).validate_python(values())


# Recursion without end, which CPython stops in C.


@case
def recursion_in_python():
    def recurse(value):
        return recurse(value)

    recurse(0)


@case
def recursion_through_c():
    def recurse(value):
        return sorted([value, value], key=recurse)

    recurse(0)


@case
def recursion_through_rust():
    def recurse(value):
        return through_rust(recurse)(value)

    recurse(0)


# Rust panics: PyO3 makes a PanicException of one, and a panic of that again where
# Python code hands one back, which unwinds all Rust frames in between.


def panic_classes():
    """The classes of pydantic_core's panics and jiter's: each makes its own when it first
    sees an exception, and shows it to nobody."""
    return [found for found in BaseException.__subclasses__() if found.__name__ == "PanicException"]


@case
def the_classes_of_panics():
    return [found.__module__ for found in panic_classes()]


def panic_through(called):
    """What comes of `called` with a function that panics, for each class of panics."""
    outcomes = []
    for panic_class in panic_classes():

        def panic(value, panic_class=panic_class):
            raise panic_class(f"panicked with {value}")

        try:
            outcomes.append(f"returned {called(panic)}")
        except BaseException as error:
            outcomes.append(told(error))
    return outcomes


@case
def a_panic_through_rust():
    return panic_through(lambda panic: through_rust(panic)(1))


@case
def a_panic_through_many_layers():
    def nested(panic):
        for _ in range(20):
            panic = through_rust(panic)
        return panic(20)

    return panic_through(nested)


@case
def a_panic_inside_a_model():
    def model(panic):
        class Panics(pydantic.BaseModel):
            items: list[Annotated[int, pydantic.AfterValidator(panic)]]

        return Panics.model_validate_json('{"items": [1, 2, 3]}')

    return panic_through(model)


@case
def a_panic_while_serialising():
    def serialise(panic):
        value_type = Annotated[int, pydantic.PlainSerializer(panic)]
        return pydantic.TypeAdapter(dict[str, value_type]).dump_json({"a": 1})

    return panic_through(serialise)


# Rust again, in another library: jiter.


@case
def a_panic_in_jiter():
    def read(panic):
        # jiter keeps the class it finds first, so every panic is of the first kind.
        with patch("decimal.Decimal", type("Panics", (), {"__new__": lambda cls, text: panic(text)})):
            return jiter.from_json(b'{"list": [1.5]}', float_mode="decimal")

    return panic_through(read)


@case
def jiter_reads():
    return jiter.from_json(b'{"a": [1, 2.5, "\\u00e9", null, 12345678901234567890]}')


@case
def jiter_refuses():
    jiter.from_json(b'{"a": [1, 2,, 3]}')


@case
def jiter_stops_nesting():
    jiter.from_json(b"[" * 10_000)


@case
def jiter_refuses_an_option():
    jiter.from_json(b"1", partial_mode="sometimes")


# C++: pybind11 throws, catches, and raises.


@contextmanager
def numpy_like(**attributes):
    """While this lasts there is a numpy, as far as its attributes go."""
    parts = {name: ModuleType(name) for name in ("numpy", "numpy.lib", "numpy._core", "numpy._core.multiarray")}
    parts["numpy"].__version__ = "2.0.0"
    parts["numpy"].lib = parts["numpy.lib"]
    for name, value in attributes.items():
        setattr(parts["numpy._core.multiarray" if name == "_ARRAY_API" else "numpy.lib"], name, value)
    with patch.dict(sys.modules, parts):
        yield


class Version:
    """Of numpy, as numpy tells it."""

    def __init__(self, text, major=2):
        self.text, self.major = text, major


def generate_contours():
    """Asks C++ for arrays, for which it asks Python for numpy."""
    contourpy.SerialContourGenerator(
        [0.0],
        [0.0],
        [[0.0]],
        None,
        corner_mask=False,
        line_type=contourpy.LineType.Separate,
        fill_type=contourpy.FillType.OuterCode,
        quad_as_tri=False,
        z_interp=contourpy.ZInterp.Linear,
    )


@case
def a_python_error_thrown_through_cpp():
    generate_contours()


@case
def another_after_an_import():
    with numpy_like():
        generate_contours()


@case
def a_cpp_cast_that_throws():
    with numpy_like(NumpyVersion=lambda text: Version(text, major="two")):
        generate_contours()


@case
def a_python_error_inside_a_call_from_cpp():
    def refuse(text):
        raise LookupError(text) from EOFError("at the end")

    with numpy_like(NumpyVersion=refuse):
        generate_contours()


@case
def a_missing_attribute_in_cpp():
    with numpy_like(NumpyVersion=Version):
        generate_contours()


@case
def a_capsule_that_is_none():
    with numpy_like(NumpyVersion=Version, _ARRAY_API="no capsule"):
        generate_contours()


@case
def a_cpp_exception_a_hundred_times():
    outcomes = set()
    for _ in range(100):
        try:
            generate_contours()
        except ImportError as error:
            outcomes.add(told(error))
    return sorted(outcomes)


@case
def a_cpp_reference_to_none():
    contourpy.FillType.__int__(None)


@case
def a_cpp_enumeration_without_the_value():
    contourpy.FillType("none")


@case
def a_cpp_enumeration_with_the_value():
    return [repr(contourpy.FillType(201)), contourpy.FillType.OuterCode == contourpy.FillType(201)]


@case
def a_cpp_constructor_without_overload():
    contourpy.SerialContourGenerator(1, 2)


@case
def cpp_answers():
    generator = contourpy.SerialContourGenerator
    return [contourpy.max_threads() > 0, generator.supports_corner_mask(), str(generator.default_line_type)]


# longjmp, over the frames of C and the cleanups of C++.


@case
def jumps_out_of_nested_frames():
    found = {(depth, target): jumps.jump(depth, target) for depth in range(9) for target in range(depth + 1)}
    expected = {
        (depth, target): 11 * target + 10 + 1000 * (depth - target) + 10_000 * target for depth, target in found
    }
    return f"{len(found)} jumps, {sum(found.values())}" if found == expected else f"wrong: {found}"


@case
def a_jump_that_ends_in_an_exception():
    jumps.jump(2, 3)


# C that has nothing to translate, beside the rest.


@case
def msgspec_refuses():
    class Point(msgspec.Struct):
        x: int

    msgspec.json.decode(b'{"x": "1"}', type=list[Point] | Point)


@case
def msgspec_refuses_json():
    msgspec.json.decode(b"[1,")


@case
def charset_normalizer_answers():
    return charset_normalizer.from_bytes("Grüße aus Köln, schöne Grüße".encode("cp1252")).best() is not None


def outcome_of(function):
    try:
        return f"{function.__name__}: returned {function()!r}\n"
    except BaseException as error:
        return f"{function.__name__}: raised {told(error)}\n"


class Default(WorkerEntrypoint):
    """`/` runs every case, `/NAME` the one of that name."""

    async def fetch(self, request):
        name = urlsplit(request.url).path.strip("/")
        chosen = [function for function in CASES if name in ("", function.__name__)]
        return Response("".join(map(outcome_of, chosen)))
