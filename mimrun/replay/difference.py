"""Differences: what a worker of today decides, held against what a worker decided then, entry by entry.

Only decisions count. How long something took, and in which words a reason is given, is no decision.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

import orjson
from pydantic import JsonValue

from mimrun.log.entry import Draft, LogEntry
from mimrun.log.kinds import Kind
from mimrun.runbook.duration import parse_duration
from mimrun.secret import MASK

DECIDES: Final[Mapping[Kind, tuple[str, ...]]] = {
    Kind.RUN_ENDED: ("status", "recap"),
    Kind.GUARD_TRIPPED: ("guard",),
    Kind.STEP_STARTED: ("form", "targets", "count"),
    Kind.STEP_FINISHED: ("status",),
    Kind.STEP_INTENT: ("action", "effect", "iteration"),
    Kind.STEP_OUTCOME: ("status", "changed", "clean", "unreachable", "performed", "iteration"),
    Kind.STEP_PROBED: ("finding", "iteration"),
    Kind.STEP_IN_DOUBT: ("why", "iteration"),
    Kind.STEP_SKIPPED: ("iteration",),
    Kind.STEP_VERIFIED: ("passed", "iteration"),
    Kind.STEP_CAPTURED: ("when", "iteration"),
    Kind.STEP_COMPARED: ("found", "iteration"),
    Kind.STEP_REVERT_SCHEDULED: ("due_at", "outcome", "iteration"),
    Kind.LOOP_EXPANDED: ("count",),
    Kind.GATE_REQUESTED: ("digest", "approvals", "change", "on_timeout", "freeze_override", "signed"),
    Kind.GATE_OPENED: ("digest", "by"),
    Kind.GATE_CLOSED: ("digest", "reason"),
    Kind.GATE_ESCALATED: ("to", "round"),
    Kind.MANUAL_REQUESTED: ("role", "fields", "checklist", "second"),
}
"""What a worker decides with each kind of entry that it writes."""

COMPARED: Final[Mapping[Kind, tuple[str, ...]]] = {
    Kind.STEP_INTENT: ("args",),
    Kind.LOOP_EXPANDED: ("items",),
    Kind.MANUAL_REQUESTED: ("instructions",),
}
"""The content, kept beside an entry, that is decided, too."""

Content = Callable[[LogEntry, str], bytes | None]
"""Gives content that is kept beside an entry; None where there is none, or where it was erased."""


class Difference(NamedTuple):
    """One thing that is decided differently."""

    what: str
    recorded: str
    today: str


def differences(draft: Draft, entry: LogEntry, content: Content) -> list[Difference]:
    """Give what is decided differently in an entry of the same kind.

    Arguments:
        draft: what today's code wants to write.
        entry: what was written.
        content: of the entry.
    """
    found = [
        Difference(name, _shown(getattr(entry, name)), _shown(getattr(draft, name)))
        for name in ("step", "target", "attempt")
        if getattr(entry, name) != getattr(draft, name)
    ]
    for name in DECIDES.get(draft.kind, ()):
        was, now = getattr(entry.body, name), getattr(draft.body, name)
        if was != now:
            found.append(Difference(name, _shown(was), _shown(now)))
    for name in COMPARED.get(draft.kind, ()):
        found += _content(name, draft, entry, content)
    return found


def _content(name: str, draft: Draft, entry: LogEntry, content: Content) -> list[Difference]:
    now = next((blob.data for blob in draft.blobs if blob.n == name), None)
    digest = getattr(draft.body, "args_digest", "")
    if now is None or (digest and digest == getattr(entry.body, "args_digest", "")):
        return []
    was = content(entry, name)
    if was is None or was == now:
        return []
    if name == "instructions":
        return [Difference(name, was.decode(errors="replace"), now.decode(errors="replace"))]
    return [
        Difference(f"{name}{where}", before, after)
        for where, before, after in _parts(orjson.loads(was), orjson.loads(now))
    ]


def _parts(was: JsonValue, now: JsonValue, where: str = "") -> list[tuple[str, str, str]]:
    """Give the parts of a value that are different, each with its place.

    What a connector filled in by itself stands in the record only, and is no part of what today's code knows.
    """
    if isinstance(was, dict) and isinstance(now, dict):
        return [
            part
            for key, value in now.items()
            for part in _parts(was.get(key), value, f"{where}.{key}" if where else f" {key}")
        ]
    if isinstance(was, list) and isinstance(now, list) and len(was) == len(now):
        return [
            part
            for n, (before, after) in enumerate(zip(was, now, strict=True))
            for part in _parts(before, after, f"{where}[{n}]")
        ]
    return [] if same_value(was, now) else [(where, _shown(was), _shown(now))]


def same_value(was: JsonValue, now: JsonValue) -> bool:
    """Say whether two values are the same for a connector, which may have written one of them in its own form.

    A number where text is asked for is its text, a duration its milliseconds, and a secret is shown as a mask, with the
    version that was fetched.
    """
    if isinstance(was, list) and isinstance(now, list) and len(was) == len(now):
        return all(map(same_value, was, now))
    if isinstance(was, dict) and isinstance(now, dict) and was.keys() == now.keys():
        return all(same_value(was[key], now[key]) for key in was)
    if was == now or str(was) == str(now):
        return True
    if isinstance(was, str) and isinstance(now, str) and MASK in was:
        return _same_masked(was, now)
    if isinstance(was, int | float) and isinstance(now, str):
        try:
            return parse_duration(now) in (was, was * 1000)
        except ValueError:
            return False
    return False


def _same_masked(was: str, now: str) -> bool:
    """Say whether two texts are the same but for the version of a secret, or for how much is told of it."""
    if _VERSION.sub(r"\1)", was) == _VERSION.sub(r"\1)", now):
        return True
    return not _REFERENCE.search(was) and was == _REFERENCE.sub(MASK, now)


_REFERENCE: Final = re.compile(re.escape(MASK) + r"\([^()]*\)")
_VERSION: Final = re.compile("(" + re.escape(MASK) + r"\([^()@]*)@[^()]*\)")


def _shown(value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, tuple):
        return ", ".join(map(_shown, value)) or "none"
    return str(value)
