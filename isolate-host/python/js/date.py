"""`Date`. The time zone of a worker is UTC."""

import time
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from math import isnan, nan
from typing import Any

from .base import JsObject, js_class
from .errors import range_error

__all__ = ["DATE", "Date"]


def _now() -> float:
    return float(int(time.time() * 1000))


def _parse(text: str) -> float:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        try:
            moment = parsedate_to_datetime(text)
        except (ValueError, TypeError):
            return nan
    return float(int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000))


def _utc(
    year: int, month: int = 0, day: int = 1, hour: int = 0, minute: int = 0, second: int = 0, ms: int = 0
) -> float:
    year, month = year + month // 12, month % 12
    start = datetime(year, month + 1, 1, tzinfo=UTC).timestamp() * 1000
    return start + (((day - 1) * 24 + hour) * 60 + minute) * 60000 + second * 1000 + ms


class Date(JsObject):
    __slots__ = ("_time",)

    def __init__(self, *parts: Any) -> None:
        if not parts:
            self._time = _now()
        elif len(parts) > 1:
            self._time = _utc(*map(int, parts))
        elif isinstance(parts[0], str):
            self._time = _parse(parts[0])
        else:
            value = parts[0]._time if isinstance(parts[0], Date) else parts[0]
            self._time = float(value) if isnan(value) else float(int(value))

    def getTime(self) -> float | int:
        return self._time if isnan(self._time) else int(self._time)

    valueOf = getTime

    def setTime(self, value: float) -> float:
        self._time = float(int(value))
        return self._time

    def _moment(self) -> datetime:
        if isnan(self._time):
            raise range_error("Invalid time value")
        return datetime.fromtimestamp(self._time / 1000, UTC)

    def toISOString(self) -> str:
        return self._moment().strftime("%Y-%m-%dT%H:%M:%S.") + f"{int(self._time) % 1000:03d}Z"

    toJSON = toISOString

    def toUTCString(self) -> str:
        return self._moment().strftime("%a, %d %b %Y %H:%M:%S GMT")

    def toString(self) -> str:
        if isnan(self._time):
            return "Invalid Date"
        return self._moment().strftime("%a %b %d %Y %H:%M:%S GMT+0000 (Coordinated Universal Time)")

    def getTimezoneOffset(self) -> int:
        return 0

    def getUTCFullYear(self) -> int:
        return self._moment().year

    def getUTCMonth(self) -> int:
        return self._moment().month - 1

    def getUTCDate(self) -> int:
        return self._moment().day

    def getUTCDay(self) -> int:
        return self._moment().isoweekday() % 7

    def getUTCHours(self) -> int:
        return self._moment().hour

    def getUTCMinutes(self) -> int:
        return self._moment().minute

    def getUTCSeconds(self) -> int:
        return self._moment().second

    def getUTCMilliseconds(self) -> int:
        return int(self._time) % 1000

    getFullYear, getMonth, getDate, getDay = getUTCFullYear, getUTCMonth, getUTCDate, getUTCDay
    getHours, getMinutes, getSeconds, getMilliseconds = getUTCHours, getUTCMinutes, getUTCSeconds, getUTCMilliseconds


DATE = js_class(Date, "Date", call=lambda *_parts: Date().toString(), now=lambda: int(_now()), parse=_parse, UTC=_utc)
