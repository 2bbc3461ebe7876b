"""The past: which moment a person means by `10:42` or `15m ago`. Never one to come, and never a guess.

What is not said in full is read on the clock of the person's own time zone, and what could mean two moments,
or none, is refused with the way to say it in full.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from typing import Final, TypeAlias

from mimrun.errors import InputError
from mimrun.runbook.duration import parse_duration

LONGEST: Final = timedelta(days=366)
"""What is said to be longer ago is taken for a slip."""
SLIP: Final = timedelta(minutes=15)
"""A time of day that is ahead of the clock by no more than this is not taken for yesterday's."""

Localize: TypeAlias = Callable[[datetime], datetime]
"""Gives a moment on the person's clock. A moment without a zone stands on that clock already."""

_CLOCK: Final = re.compile(r"([01]\d|2[0-3]):([0-5]\d)(?::([0-5]\d))?", re.ASCII)
_FULL: Final = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d)?(?P<zone>Z|[+-]\d\d:\d\d)?", re.ASCII)
_AGO: Final = re.compile(r"((?:\d{1,6}[dhms])+) ago", re.ASCII)
_WRITTEN: Final = "write 10:42, 10:42:30, 2026-11-22T10:42, 2026-11-22T10:42+01:00 or `15m ago`"


def on_this_clock(moment: datetime) -> datetime:
    """Give a moment in the time zone of this process (TZ, else the machine's)."""
    return moment.astimezone()


def parse_past(text: str, now: datetime, localize: Localize = on_this_clock) -> datetime:
    """Give the moment that a person means.

    Arguments:
        text: `10:42[:30]`, which is today's or else yesterday's; ISO 8601 to the minute or second, with or without
            an offset; `15m ago`.
        now: the present moment, with a zone.
        localize: the person's clock.

    Returns:
        the moment, on the person's clock.

    Raises:
        InputError: it is none of these, lies in the future or more than a year back, or means two moments or none
            as the clock is set forward or back.
    """
    moment = _read(text.strip(), now, localize)
    if moment > now:
        raise InputError(f"--at {text!r}: that is {_ahead(moment - now)} from now; say when it was done")
    if now - moment > LONGEST:
        raise InputError(f"--at {text!r}: that is more than a year ago; is the date right?")
    return localize(moment)


def say_moment(moment: datetime) -> str:
    """Say a moment in full: on its own clock with the zone, and in UTC."""
    own, offset = moment.strftime("%a %Y-%m-%d %H:%M:%S"), moment.strftime("%z")
    if not moment.utcoffset():
        return f"{own} UTC"
    name = moment.tzname() or ""
    shift = f"{offset[:3]}:{offset[3:5]}"
    zone = f"{name} ({shift})" if re.fullmatch("[A-Za-z]+", name) else shift
    utc = moment.astimezone(UTC)
    return f"{own} {zone}, {utc:%H:%M:%S} UTC" + (
        "" if utc.date() == moment.date() else f" on {utc:%Y-%m-%d}"
    )


def _read(text: str, now: datetime, localize: Localize) -> datetime:
    if found := _AGO.fullmatch(text):
        try:
            return now - timedelta(milliseconds=parse_duration(found[1]))
        except ValueError as exc:
            raise InputError(f"--at {text!r}: {exc}") from exc
    if found := _CLOCK.fullmatch(text):
        clock = time(int(found[1]), int(found[2]), int(found[3] or 0))
        return _latest(text, clock, now, localize)
    if found := _FULL.fullmatch(text):
        try:
            moment = datetime.fromisoformat(text)
        except ValueError as exc:
            raise InputError(f"--at {text!r}: {exc}") from exc
        if not 1970 < moment.year < 9999:
            raise InputError(f"--at {text!r}: is the year right?")
        return moment if found["zone"] else _one(text, _moments(moment, localize), moment)
    raise InputError(f"--at {text!r} is not a moment; {_WRITTEN}")


def _latest(text: str, clock: time, now: datetime, localize: Localize) -> datetime:
    """Give the nearest moment in the past at which the person's clock said so: today's, or yesterday's."""
    today: date = localize(now).date()
    wall = datetime.combine(today, clock)
    moments = _moments(wall, localize)
    if not moments or moments[0] <= now:
        return _one(text, [moment for moment in moments if moment <= now], wall)
    if moments[0] - now <= SLIP:
        raise InputError(
            f"--at {text!r}: the clock here says {localize(now):%H:%M:%S}; if yesterday's is meant, write"
            f" {today - timedelta(days=1)}T{clock.isoformat()}"
        )
    wall -= timedelta(days=1)
    return _one(text, _moments(wall, localize), wall)


def _moments(wall: datetime, localize: Localize) -> list[datetime]:
    """Give the moments at which the person's clock says so: one, none where it is set forward, two where back."""
    found = {localize(wall.replace(fold=fold)).astimezone(UTC) for fold in (0, 1)}
    return sorted(moment for moment in found if localize(moment).replace(tzinfo=None, fold=0) == wall)


def _one(text: str, moments: list[datetime], wall: datetime) -> datetime:
    if len(moments) == 1:
        return moments[0]
    happened = "came twice" if moments else "did not come"
    example = f"{wall.isoformat(timespec='minutes')}+01:00"
    raise InputError(
        f"--at {text!r}: {wall:%H:%M} {happened} on {wall:%Y-%m-%d}, as the clock was changed; write it with its"
        f" offset from UTC, such as {example}"
    )


def _ahead(span: timedelta) -> str:
    seconds = int(span.total_seconds())
    return f"{seconds} s" if seconds < 120 else f"{seconds // 60} min"
