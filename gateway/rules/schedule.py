"""When a rule holds: days of the week and hours of the day, in a time zone.

A span of hours over midnight belongs to the day on which it begins: `days = "fri"` with
`hours = "22:00-06:00"` ends on Saturday morning. The moment is an argument; what the clock on the wall shows
then is worked out once a minute, because calls come faster than minutes pass.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, tzinfo
from zoneinfo import ZoneInfo, available_timezones

from gateway.patterns import BadValue
from gateway.toml_source import closest

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

UTC = "UTC"
"""The zone of days and hours that name none. Not that of the machine: a rule means the same on each."""

_HOURS = re.compile(r"([0-9]{1,2}):([0-9]{2}) ?- ?([0-9]{1,2}):([0-9]{2})")
_MINUTES_A_DAY = 1440

Span = tuple[int, int]


class Schedule:
    """Some of the minutes of a week. `spans` are minutes of a day, the end not inside; none means all day."""

    __slots__ = ("_days", "_held", "_minute", "_spans", "_zone")

    def __init__(self, days: frozenset[int], spans: Sequence[Span], zone: tzinfo) -> None:
        self._days = days
        self._spans = tuple(spans) or ((0, _MINUTES_A_DAY),)
        self._zone = zone
        self._minute = -1
        self._held = False

    def holds(self, now: float) -> bool:
        """Tell whether `now`, in seconds since the epoch, lies within."""
        minute = int(now // 60)
        if minute != self._minute:  # time zones differ from UTC by whole minutes
            local = self._local(minute * 60)
            self._held = local is not None and self._look(local)
            self._minute = minute
        return self._held

    def shown(self, now: float) -> str:
        """Return the moment as a clock on the wall shows it, such as `fri 22:05`."""
        local = self._local(now)
        return "unknown" if local is None else f"{DAYS[local.weekday()]} {local:%H:%M}"

    def _local(self, now: float) -> datetime | None:
        """Return what the calendar and the clock on the wall show; None of a time in a damaged capture that
        is in no calendar.
        """
        try:
            return datetime.fromtimestamp(now, self._zone)
        except (OverflowError, ValueError, OSError):
            return None

    def _look(self, local: datetime) -> bool:
        at = local.hour * 60 + local.minute
        today, yesterday = local.weekday(), (local.weekday() - 1) % 7
        for begin, end in self._spans:
            if begin < end:
                if begin <= at < end and today in self._days:
                    return True
            elif (at >= begin and today in self._days) or (at < end and yesterday in self._days):
                return True
        return False


def read_days(text: str) -> frozenset[int]:
    """Read "mon", "mon-fri" or "sat-mon" into numbers of days, Monday being 0. Raises BadValue."""
    first, dash, last = text.lower().partition("-")
    names = [first.strip(), last.strip() if dash else first.strip()]
    for name in names:
        if name not in DAYS:
            near = closest(name, DAYS)
            remedy = f'did you mean "{near}"?' if near else f'write {", ".join(DAYS)} or a span, "mon-fri"'
            raise BadValue(f'"{text}" is no day of the week', remedy)
    begin, end = map(DAYS.index, names)
    return frozenset((begin + offset) % 7 for offset in range((end - begin) % 7 + 1))


def read_hours(text: str) -> Span:
    """Read "08:00-18:00" or, over midnight, "22:00-06:00" into minutes of the day. Raises BadValue."""
    match = _HOURS.fullmatch(text.strip())
    if match is None:
        raise BadValue(f'"{text}" is no span of hours', 'write one such as "08:00-18:00"')
    hours = [int(group) for group in match.groups()]
    begin, end = hours[0] * 60 + hours[1], hours[2] * 60 + hours[3]
    if max(hours[1], hours[3]) > 59 or begin >= _MINUTES_A_DAY or end > _MINUTES_A_DAY:
        raise BadValue(f'"{text}" names a time that no clock shows', "write times from 00:00 to 24:00")
    if begin == end:
        raise BadValue(f'"{text}" ends as it begins', 'write "00:00-24:00" for the whole day')
    return begin, end


def read_zone(text: str) -> tzinfo:
    """Read a name of the time zone database, such as "Europe/Berlin". Raises BadValue."""
    try:
        return ZoneInfo(text)
    except (ValueError, OSError, LookupError):
        known = {name.lower(): name for name in available_timezones()}
        near = closest(text, known)
        remedy = f'did you mean "{known[near]}"?' if near else 'write one such as "Europe/Berlin"'
        raise BadValue(f'"{text}" is no time zone', remedy) from None
