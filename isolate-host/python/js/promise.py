"""`Promise`: what every asynchronous method of the platform returns.

A promise that is already settled is awaited without a turn of the event loop; a
pending one costs one future per waiter. Nothing here makes a task unless a Python
coroutine has to be driven.
"""

import inspect
from collections.abc import Generator
from typing import Any

from .array import JsArray, iterate
from .base import JS_FLAGS, JsObject, js_class, unwrap
from .convert import plain
from .errors import JsException
from .scheduling import current_loop, spawn_task

__all__ = ["PROMISE", "Promise", "promise_of", "rejected", "resolved"]

_PENDING, _FULFILLED, _REJECTED = 0, 1, 2


class Promise(JsObject):
    """A value to come. `_resolve` and `_reject` are for the platform's own use."""

    __slots__ = ("_state", "_value", "_waiters")

    _js_type_flags = JS_FLAGS["IS_AWAITABLE"]

    def __init__(self, executor: Any = None) -> None:
        self._state = _PENDING
        self._value: Any = None
        self._waiters: list[Any] = []
        if executor is not None:
            try:
                executor(self._resolve, self._reject)
            except Exception as error:
                self._reject(error)

    # --- settling ---------------------------------------------------------
    def _resolve(self, value: Any = None) -> None:
        if self._state != _PENDING:
            return
        if isinstance(value, Promise) or inspect.isawaitable(value):
            _follow(value, self)
        else:
            self._settle(_FULFILLED, value)

    def _fulfil(self, value: Any = None) -> None:
        """Like `_resolve` for a value known not to be awaitable."""
        if self._state == _PENDING:
            self._settle(_FULFILLED, value)

    def _reject(self, error: Any = None) -> None:
        if self._state == _PENDING:
            if not isinstance(error, BaseException):
                error = JsException("Error", error)
            self._settle(_REJECTED, error)

    def _settle(self, state: int, value: Any) -> None:
        self._state = state
        self._value = value
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            waiter(self)

    def _when_settled(self, callback: Any) -> None:
        """Call `callback(promise)` as soon as the outcome is known."""
        if self._state == _PENDING:
            self._waiters.append(callback)
        else:
            callback(self)

    @property
    def _pending(self) -> bool:
        return self._state == _PENDING

    @property
    def _failed(self) -> bool:
        return self._state == _REJECTED

    # --- Python -----------------------------------------------------------
    def __await__(self) -> Generator[Any, None, Any]:
        if self._state == _PENDING:
            future = current_loop().create_future()
            self._waiters.append(_Wake(future))
            yield from future
        if self._state == _FULFILLED:
            return self._value
        raise self._value

    # --- JavaScript -------------------------------------------------------
    def then(self, on_fulfilled: Any = None, on_rejected: Any = None) -> "Promise":
        result = Promise()
        loop = current_loop()

        def react(settled: Promise) -> None:
            loop.call_soon(_run_reaction, settled, on_fulfilled, on_rejected, result)

        self._when_settled(react)
        return result

    def catch(self, on_rejected: Any) -> "Promise":
        return self.then(None, on_rejected)

    def finally_(self, on_finally: Any) -> "Promise":
        result = Promise()
        loop = current_loop()

        def run(settled: Promise) -> None:
            try:
                outcome = on_finally()
            except Exception as error:
                result._reject(error)
                return
            promise_of(outcome)._when_settled(lambda done: result._resolve(done if done._failed else settled))

        self._when_settled(lambda settled: loop.call_soon(run, settled))
        return result

    def __getattr__(self, name: str) -> Any:
        if name == "finally":
            return self.finally_
        raise AttributeError(name)


class _Wake:
    """Wakes the future of one `await`; the awaiting task may be gone by then."""

    __slots__ = ("future",)

    def __init__(self, future: Any) -> None:
        self.future = future

    def __call__(self, _promise: Promise) -> None:
        if not self.future.done():
            self.future.set_result(None)


def _run_reaction(settled: Promise, on_fulfilled: Any, on_rejected: Any, result: Promise) -> None:
    reaction = on_rejected if settled._failed else on_fulfilled
    if reaction is None:
        result._resolve(settled)
        return
    try:
        result._resolve(reaction(settled._value))
    except Exception as error:
        result._reject(error)


def _follow(source: Any, target: Promise) -> None:
    """Settle `target` the way `source` settles."""
    if isinstance(source, Promise):
        source._when_settled(
            lambda done: target._settle(done._state, done._value) if target._state == _PENDING else None
        )
        return

    def finished(task: Any) -> None:
        if task.cancelled():
            target._reject(JsException("AbortError", "The task was cancelled"))
        elif task.exception() is not None:
            target._reject(task.exception())
        else:
            target._resolve(task.result())

    spawn_task(unwrap(source)).add_done_callback(finished)


def resolved(value: Any = None) -> Promise:
    """A promise fulfilled with a value known not to be awaitable."""
    promise = Promise()
    promise._state = _FULFILLED
    promise._value = value
    return promise


def rejected(error: BaseException) -> Promise:
    promise = Promise()
    promise._state = _REJECTED
    promise._value = error
    return promise


def promise_of(value: Any) -> Promise:
    """`Promise.resolve`: the promise itself, a driven awaitable, or a settled value."""
    if isinstance(value, Promise):
        return value
    promise = Promise()
    promise._resolve(value)
    return promise


def _all(values: Any) -> Promise:
    """Fulfilled with all values, or rejected with the first error."""
    promises = [promise_of(value) for value in iterate(values)]
    result = Promise()
    missing = [len(promises)]

    def one(settled: Promise) -> None:
        if settled._failed:
            result._reject(settled._value)
            return
        missing[0] -= 1
        if missing[0] == 0:
            result._fulfil(JsArray([promise._value for promise in promises]))

    for promise in promises:
        promise._when_settled(one)
    if not promises:
        result._fulfil(JsArray())
    return result


def _all_settled(values: Any) -> Promise:
    promises = [promise_of(value) for value in iterate(values)]
    result = Promise()

    def outcome(promise: Promise) -> Any:
        if promise._failed:
            return plain({"status": "rejected", "reason": promise._value})
        return plain({"status": "fulfilled", "value": promise._value})

    def one(_settled: Promise) -> None:
        if all(promise._state != _PENDING for promise in promises):
            result._fulfil(JsArray([outcome(promise) for promise in promises]))

    for promise in promises:
        promise._when_settled(one)
    if not promises:
        result._fulfil(JsArray())
    return result


def _race(values: Any) -> Promise:
    result = Promise()
    for value in iterate(values):
        promise_of(value)._when_settled(result._resolve)
    return result


def _any(values: Any) -> Promise:
    promises = [promise_of(value) for value in iterate(values)]
    result = Promise()

    def one(settled: Promise) -> None:
        if not settled._failed:
            result._resolve(settled)
        elif all(promise._failed for promise in promises):
            result._reject(JsException("AggregateError", "All promises were rejected"))

    for promise in promises:
        promise._when_settled(one)
    return result


def _reject_with(error: Any = None) -> Promise:
    promise = Promise()
    promise._reject(error)
    return promise


def _with_resolvers() -> Any:
    promise = Promise()
    return plain({"promise": promise, "resolve": promise._resolve, "reject": promise._reject})


PROMISE = js_class(
    Promise,
    "Promise",
    resolve=lambda value=None: promise_of(value),
    reject=_reject_with,
    all=_all,
    allSettled=_all_settled,
    race=_race,
    any=_any,
    withResolvers=_with_resolvers,
)
