"""What people write into a change of mimrun's own register, from what they type."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from mimrun.errors import InputError
from mimrun.gate.register import Content
from mimrun.log.moment import write_moment
from mimrun.runbook.duration import parse_duration

LONGEST: Final = 64 * 1024
"""Bytes of one text of a change."""

_HOURS_LATER: Final = re.compile(r"\+(\d+(?:ms|[dhms])(?:\d+(?:ms|[dhms]))*)")


@dataclass(frozen=True, slots=True)
class Form:
    """What a person gave; None where they said nothing.

    Arguments:
        start, end: of the planned time, as `parse_when` reads it.
        targets: hosts; given ones take the place of all that were there.
    """

    title: str | None = None
    risk: str | None = None
    justification: str | None = None
    implementation: str | None = None
    backout: str | None = None
    test: str | None = None
    start: str | None = None
    end: str | None = None
    targets: Sequence[str] | None = None

    @property
    def is_empty(self) -> bool:
        """Say whether nothing was given at all."""
        return all(getattr(self, one.name) in (None, []) for one in fields(self))


def fill_form(content: Content, form: Form, now: datetime) -> Content:
    """Give a text with what a person gave in its place.

    Raises:
        InputError: something of it is not what it should be.
    """
    changes: dict[str, object] = {}
    for name in ("title", "risk"):
        if (given := getattr(form, name)) is not None:
            changes[name] = given.strip()
    for name in ("justification", "implementation", "backout", "test"):
        if (given := getattr(form, name)) is not None:
            changes[name] = read_text(given, f"--{name}")
    if form.targets:
        changes["targets"] = tuple(dict.fromkeys(form.targets))
    for name, given in (("window_start", form.start), ("window_end", form.end)):
        if given is not None:
            changes[name] = write_moment(parse_when(given, now))
    try:
        filled = Content.model_validate({**content.model_dump(), **changes})
        filled.encode()
    except ValidationError as exc:
        first = exc.errors()[0]
        raise InputError(f"--{first['loc'][0]}: {first['msg'].lower()}") from exc
    except ValueError as exc:
        raise InputError(f"this cannot be kept: {exc}") from exc
    _check(filled)
    return filled


def _check(content: Content) -> None:
    if not content.title or len(content.title) > 200:
        raise InputError("--title: give 1 to 200 characters that say what is done")
    if content.window_start and content.window_end and content.window_start >= content.window_end:
        raise InputError("the planned time ends before it begins; look at --from and --until")


def read_text(given: str, option: str) -> str:
    """Give a text, or the content of the file that is named with @.

    Raises:
        InputError: the file cannot be read, or it is too long.
    """
    if given.startswith("@"):
        try:
            given = Path(given[1:]).read_text("utf-8")
        except (OSError, UnicodeDecodeError) as exc:
            raise InputError(f"{option} {given}: cannot be read: {exc}") from exc
    if len(given.encode("utf-8", "backslashreplace")) > LONGEST:
        raise InputError(f"{option}: is longer than {LONGEST} bytes; attach the rest as a file")
    return given.strip()


def parse_when(given: str, now: datetime) -> datetime:
    """Read a moment as people write it: ISO 8601, `now`, or so much later, such as `+2h`.

    Arguments:
        now: the present moment, UTC.

    Raises:
        InputError: it is none of these. A moment without a zone is meant on this machine's clock.
    """
    text = given.strip()
    if text == "now":
        return now
    later = _HOURS_LATER.fullmatch(text)
    try:
        if later:
            return now + timedelta(milliseconds=parse_duration(later[1]))
        moment = datetime.fromisoformat(text)
    except ValueError as exc:
        raise InputError(f"{given!r} is no moment; write 2026-11-22T03:00Z, now, or +2h") from exc
    return moment.astimezone(now.tzinfo)
