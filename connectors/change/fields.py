"""Reading the fields of a change record: what cannot be read is named, and never guessed.

A decision is made from these values, and whoever may edit a record over there has written them. So a value has the
form that is expected, or it is unreadable, with the reason; nothing is cut, mended or taken for something near it.
Only words for people (a title, a comment) are made fit to be shown.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final, TypeAlias, TypeVar

from mimrun.change_system import ChangeVote, Window
from mimrun.connector import Json

T = TypeVar("T")

LINE: Final = 200
"""Characters of a name, an account, a reference, a digest."""
PAGE: Final = 10_000
"""Characters of words for people."""
MOST: Final = 1000
"""Names in one field."""
MOMENT: Final = re.compile(
    r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:[.,]\d{1,9})?)? ?(?:Z|z|[+-]\d\d:?\d\d)?", re.ASCII
)
"""A date and a time of day. Source: RFC 3339, section 5.6; seconds and the zone's colon are left out by some."""


class Missing:
    """What stands where an answer has no such field at all; null is a value."""

    def __repr__(self) -> str:
        return "MISSING"


MISSING: Final = Missing()
Found: TypeAlias = "Json | Missing"


def at(value: Found, *path: str | int) -> Found:
    """Give what stands in an answer under these keys and positions, one in another; MISSING where nothing does."""
    for key in path:
        if isinstance(value, dict) and isinstance(key, str):
            value = value.get(key, MISSING)
        elif isinstance(value, list) and isinstance(key, int) and -len(value) <= key < len(value):
            value = value[key]
        else:
            return MISSING
    return value


def words(value: Found, *, longest: int = PAGE) -> str:
    """Make a text fit to be shown: no control characters but line ends, and no more than so many characters."""
    text = value if isinstance(value, str) else ""
    shown = "".join(c for c in text[: longest + 1] if c == "\n" or not _invisible(c)).strip()
    return shown if len(text) <= longest else shown[: longest - 1] + "…"


class Reading:
    """One record as it is read; `unreadable` tells afterwards what could not be, and why.

    Every method takes the name of a field of `ChangeRecord` and the value that stands for it. An empty value (null,
    or a text of spaces) is a field that is not filled; with `needed` it is unreadable, as a value of another form is.
    """

    def __init__(self) -> None:
        self.unreadable: dict[str, str] = {}

    def miss(self, name: str, why: str) -> None:
        """Call a field unreadable; the first reason stands."""
        self.unreadable.setdefault(name, why)

    def text(self, name: str, value: Found, *, longest: int = LINE, needed: bool = False) -> str:
        """Read a name, a reference or a digest, exactly as it stands, on one line.

        Numbers are read as they are written, for systems whose references are numbers.
        """
        if isinstance(value, int) and not isinstance(value, bool):
            value = str(value)
        if self._empty(name, value, needed=needed):
            return ""
        if not isinstance(value, str):
            self.miss(name, f"{_form(value)} where a text belongs")
        elif len(value) > longest:
            self.miss(name, f"a text of {len(value)} characters; {longest} are read")
        elif bad := next((c for c in value.strip() if _invisible(c)), None):
            self.miss(name, f"a text with the invisible character U+{ord(bad):04X}")
        else:
            return value.strip()
        return ""

    def words(self, name: str, value: Found, *, longest: int = PAGE) -> str:
        """Read words for people, made fit to be shown."""
        if isinstance(value, str) or self._empty(name, value, needed=False):
            return words(value, longest=longest)
        self.miss(name, f"{_form(value)} where a text belongs")
        return ""

    def flag(self, name: str, value: Found, *, empty: bool = False) -> bool:
        """Read yes or no: true and false, 1 and 0, or these as texts. Unreadable is False.

        Arguments:
            empty: null and an empty text mean no, instead of being unreadable.
        """
        if empty and not isinstance(value, Missing) and _blank(value):
            return False
        if self._empty(name, value, needed=True):
            return False
        said = str(value).strip().lower() if isinstance(value, bool | int | str) else ""
        if said not in ("true", "false", "1", "0", "yes", "no"):
            self.miss(name, f"{_shown(value)} is neither yes nor no")
        return said in ("true", "1", "yes")

    def choice(self, name: str, value: Found, table: Mapping[str, T], *, needed: bool = True) -> T | None:
        """Read a value that means what a table says; one that the table does not have is unreadable.

        A table's keys are compared without regard to case. Numbers are looked up as they are written.
        """
        if isinstance(value, bool):
            value = str(value).lower()
        key = self.text(name, value, needed=needed).casefold()
        if not key:
            return None
        for word, meaning in table.items():
            if word.casefold() == key:
                return meaning
        known = ", ".join(sorted(table)) or "none"
        self.miss(name, f"{_shown(value)} is not among the values that are known ({known})")
        return None

    def time(
        self, name: str, value: Found, *, zone: tzinfo | None = None, needed: bool = False
    ) -> datetime | None:
        """Read a moment.

        Arguments:
            zone: what a time without a zone is in; None where such a time is unreadable.

        Returns:
            The moment in UTC; None where the field is not filled or not readable.
        """
        if self._empty(name, value, needed=needed):
            return None
        if not isinstance(value, str) or not MOMENT.fullmatch(value.strip()):
            self.miss(name, f"{_shown(value)} is not a date and a time")
            return None
        try:
            moment = datetime.fromisoformat(value.strip().replace(" Z", "Z").replace(" +", "+").upper())
            return self._utc(name, moment, zone)
        except (ValueError, OverflowError):
            self.miss(name, f"{_shown(value)} is not a moment that there is")
            return None

    def window(self, start: Found, end: Found, *, zone: tzinfo | None = None) -> Window | None:
        """Read from when until when; both are filled or neither is, and the end is behind the start."""
        before = len(self.unreadable)
        opens = self.time("window", start, zone=zone)
        closes = self.time("window", end, zone=zone)
        if len(self.unreadable) > before or "window" in self.unreadable or (opens is None and closes is None):
            return None
        if opens is None or closes is None:
            self.miss("window", "it has no start" if opens is None else "it has no end")
        elif opens >= closes:
            self.miss("window", "its end is not after its start")
        else:
            return Window(opens, closes)
        return None

    def names(self, name: str, value: Found) -> tuple[str, ...]:
        """Read names: a list of texts, or a text in which commas, spaces or line ends part them.

        Returns:
            Each name once, sorted; none of them where one is unreadable.
        """
        if self._empty(name, value, needed=False):
            return ()
        parts: Iterable[Json] = re.split(r"[\s,;]+", value) if isinstance(value, str) else []
        if isinstance(value, list):
            parts = value
        elif not isinstance(value, str):
            self.miss(name, f"{_form(value)} where names belong")
        read = {self.text(name, part) for part in parts} - {""}
        if len(read) > MOST:
            self.miss(name, f"{len(read)} names; {MOST} are read")
        return () if name in self.unreadable else tuple(sorted(read))

    def _utc(self, name: str, moment: datetime, zone: tzinfo | None) -> datetime | None:
        if moment.tzinfo is None and zone is None:
            self.miss(name, f"{moment.isoformat()} has no time zone")
            return None
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=zone)
            if moment.utcoffset() != moment.replace(fold=1).utcoffset():
                self.miss(
                    name, f"{moment.replace(tzinfo=None).isoformat()} is there twice or never in {zone}"
                )
                return None
        if not timedelta(0) <= moment - _FIRST < _LAST - _FIRST:
            self.miss(name, f"{moment.isoformat()} is not between the years 1970 and 9000")
            return None
        return moment.astimezone(UTC)

    def _empty(self, name: str, value: Found, *, needed: bool) -> bool:
        """Say whether there is nothing to read; a field that the answer lacks is unreadable."""
        if isinstance(value, Missing):
            self.miss(name, "the answer has no such field, or it may not be seen with this login")
            return True
        if not _blank(value):
            return False
        if needed:
            self.miss(name, "it is empty")
        return True


def approved_since(votes: Iterable[ChangeVote], reading: Reading) -> datetime | None:
    """Give the moment of the first approval, behind which nothing may have been changed; None where there is none.

    Where it is not known of an approval when it was given, nobody can tell what was changed behind it: that is named.
    """
    moments = [vote.at for vote in votes if vote.decision == "approved"]
    if None in moments:
        reading.miss("votes", "it is not known when it was approved, nor so what was changed afterwards")
    return min((moment for moment in moments if moment is not None), default=None)


_FIRST: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LAST: Final = datetime(9000, 1, 1, tzinfo=UTC)


def _blank(value: Found) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())


def _invisible(char: str) -> bool:
    """Say whether a character is not for the eye: controls, marks of direction, halves of pairs, line ends."""
    return unicodedata.category(char) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")


def _form(value: Found) -> str:
    if isinstance(value, bool):
        return "a yes or no"
    if isinstance(value, dict):
        return "an object"
    return "a list" if isinstance(value, list) else "a number"


def _shown(value: Found) -> str:
    return repr(words(value, longest=60)) if isinstance(value, str) else _form(value)
