"""The tables of the page on export formats that come from the code: severities, and OCSF's classes."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

from mimrun.log.export.lines import COLUMNS
from mimrun.log.export.ocsf_activity import ACTIVITIES, Activity
from mimrun.log.export.weight import WEIGHTS, Weight
from mimrun.log.kinds import Kind

_LEVELS = {
    Weight.USUAL: ("1 Informational", "6 informational"),
    Weight.NOTABLE: ("2 Low", "5 notice"),
    Weight.WARNING: ("3 Medium", "4 warning"),
    Weight.SERIOUS: ("4 High", "3 error"),
    Weight.CRITICAL: ("5 Critical", "2 critical"),
}
_MORE = {
    Weight.WARNING: "an outcome or step that failed or is unknown, a verification that did not pass, an anchor that did not take",
    Weight.SERIOUS: "`run.ended` with `failed`",
}


def columns() -> str:
    """Give the columns of CSV, in their order."""
    return " · ".join(f"`{name}`" for name in COLUMNS)


def severities() -> str:
    """Give the table of how much each kind weighs."""
    rows = ["| OCSF `severity_id` | syslog severity | Kinds |", "|---|---|---|"]
    for weight in reversed(Weight):
        kinds = [f"`{kind}`" for kind in Kind if WEIGHTS.get(kind) is weight]
        told = ", ".join([*kinds, *([_MORE[weight]] if weight in _MORE else [])])
        rows.append(f"| {_LEVELS[weight][0]} | {_LEVELS[weight][1]} | {told or 'every other entry'} |")
    return "\n".join(rows)


def classes() -> str:
    """Give the table of which kind is which class and activity of OCSF."""
    rows = ["| Class | Activity | Kinds |", "|---|---|---|"]
    return "\n".join([*rows, *_rows()])


def _rows() -> Iterator[str]:
    def by(kind: Kind) -> tuple[int, int]:
        return ACTIVITIES[kind].cls.uid, ACTIVITIES[kind].id

    for _, several in groupby(sorted(Kind, key=by), key=by):
        kinds = list(several)
        yield f"| {_class(ACTIVITIES[kinds[0]])} | {', '.join(f'`{kind}`' for kind in kinds)} |"


def _class(activity: Activity) -> str:
    return f"{activity.cls.caption} {activity.cls.uid} | {activity.id} {activity.name}"
