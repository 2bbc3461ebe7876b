"""OCSF 1.8.0: one event a line, in the class that fits the kind of the entry.

The table below says which kind becomes which class and activity; docs/reference/ocsf.md is written from it.
"""

from __future__ import annotations

from enum import Enum
from typing import Any, Final, assert_never

from mimrun import __version__
from mimrun.canonical import Json
from mimrun.log import kinds
from mimrun.log.entry import LogEntry
from mimrun.log.export.inert import ascii_json, inert
from mimrun.log.export.lines import Blobs
from mimrun.log.export.ocsf_activity import ACTIVITIES, OTHER, Class
from mimrun.log.export.sentence import sentence_of
from mimrun.log.export.weight import Weight, weight_of
from mimrun.log.moment import write_moment

VERSION: Final = "1.8.0"

_SEVERITY: Final = {
    Weight.USUAL: (1, "Informational"),
    Weight.NOTABLE: (2, "Low"),
    Weight.WARNING: (3, "Medium"),
    Weight.SERIOUS: (4, "High"),
    Weight.CRITICAL: (5, "Critical"),
}
_KEPT: Final = ("inc", "iseq", "iprev", "run", "step", "attempt", "epoch", "body", "blobs", "prev")
"""Fields of the entry that have no place of their own in OCSF."""
_USER_TYPES: Final = {"person": (1, "User"), "worker": (4, "Service"), "system": (3, "System")}


class Came(Enum):
    """What became of what an entry is about, as OCSF numbers it."""

    SUCCESS = (1, "Success")
    FAILURE = (2, "Failure")
    PARTIAL = (4, "Partial")
    UNKNOWN = (0, "Unknown")
    OTHER = (99, "Other")


class Ocsf:
    """Events with all that OCSF has a place for, and the rest of the entry under `unmapped`."""

    def head(self) -> bytes:
        """Nothing stands before the first event."""
        return b""

    def record(self, entry: LogEntry, blobs: Blobs | None) -> bytes:
        """Give the line of an entry."""
        return ascii_json(event_of(entry)).encode("ascii") + b"\n"


def event_of(entry: LogEntry) -> dict[str, Json]:
    """Give the event of an entry."""
    activity = ACTIVITIES[entry.kind]
    cls = activity.cls
    severity, severity_name = _SEVERITY[weight_of(entry)]
    name = activity.name if activity.id != OTHER else entry.kind.value
    event: dict[str, Json] = {
        "category_uid": cls.category[0],
        "category_name": cls.category[1],
        "class_uid": cls.uid,
        "class_name": cls.caption,
        "activity_id": activity.id,
        "activity_name": name,
        "type_uid": cls.uid * 100 + activity.id,
        "type_name": f"{cls.caption}: {activity.name}",
        "time": int(entry.ts.timestamp()) * 1000 + entry.ts.microsecond // 1000,
        "timezone_offset": 0,
        "severity_id": severity,
        "severity": severity_name,
        "message": inert(sentence_of(entry)),
        "metadata": _metadata(entry),
        "actor": {"user": _user(entry)},
        "unmapped": _unmapped(entry),
    }
    if entry.target:
        event["device"] = {"type_id": 0, "type": "Unknown", "name": entry.target}
    if isinstance(duration := getattr(entry.body, "dur_ms", None), int):
        event["duration"] = duration
    return event | _came(entry, cls) | _of_class(entry, cls)


def _metadata(entry: LogEntry) -> dict[str, Json]:
    moment = int(entry.ts.timestamp()) * 1000 + entry.ts.microsecond // 1000
    found: dict[str, Json] = {
        "version": VERSION,
        "product": {"name": "mimrun", "vendor_name": "mimrun", "version": __version__},
        "profiles": ["host"],
        "uid": f"{entry.log}/{entry.seq}",
        "sequence": entry.seq,
        "event_code": entry.kind.value,
        "log_name": entry.log,
        "log_version": "mimlog/1",
        "logged_time": moment,
        "original_time": write_moment(entry.ts),
    }
    if entry.inc:
        found["correlation_uid"] = entry.inc
    return found


def _user(entry: LogEntry) -> dict[str, Json]:
    type_id, type_ = _USER_TYPES[entry.actor.kind]
    return {"name": entry.actor.id, "uid": entry.actor.id, "type_id": type_id, "type": type_}


def _unmapped(entry: LogEntry) -> dict[str, Json]:
    """Everything that is not said elsewhere, so that nothing of the entry is lost, and its leaf hash."""
    value = entry.as_json()
    kept = {name: value[name] for name in _KEPT if value[name] not in ("", 0, [])}
    return {**kept, "via": entry.actor.via, "auth": entry.actor.auth, "leaf": entry.leaf().hex()}


def _came(entry: LogEntry, cls: Class) -> dict[str, Json]:
    """Say how it came out. An incident's status is another thing, and a mere fact has none."""
    came = came_of(entry)
    if cls is Class.INCIDENT or came is None:
        return {}
    if came is Came.PARTIAL and cls is not Class.REMEDIATION:
        came = Came.FAILURE
    id_, name = came.value
    found: dict[str, Json] = {"status_id": id_, "status": name}
    if reason := getattr(entry.body, "reason", ""):
        found["status_detail"] = inert(reason)
    if status := getattr(entry.body, "status", ""):
        found["status_code"] = str(status)
    return found


_WORDS: Final = {
    "ok": Came.SUCCESS,
    "succeeded": Came.SUCCESS,
    "failed": Came.FAILURE,
    "unknown": Came.UNKNOWN,
    "skipped": Came.OTHER,
    "cancelled": Came.OTHER,
}


def came_of(entry: LogEntry) -> Came | None:
    """Say how what an entry is about came out; None where it is a fact that neither works nor fails."""
    match entry.body:
        case kinds.StepOutcome(status="failed", clean=False):
            return Came.PARTIAL
        case kinds.StepOutcome() | kinds.StepEvidence() | kinds.StepFinished() | kinds.RunEnded():
            return _WORDS[entry.body.status]
        case kinds.StepVerified(passed=worked) | kinds.LogAnchored(done=worked):
            return Came.SUCCESS if worked else Came.FAILURE
        case kinds.GuardTripped():
            return Came.FAILURE
        case kinds.StepInDoubt():
            return Came.UNKNOWN
        case kinds.ManualAttested() | kinds.ManualReported() | kinds.ExportMade() | kinds.RedactApplied():
            return Came.SUCCESS
        case _:
            return None


def _of_class(entry: LogEntry, cls: Class) -> dict[str, Json]:
    """Give what this class has, and others do not."""
    match cls:
        case Class.INCIDENT:
            return _incident(entry)
        case Class.ENTITY:
            return {"entity": _entity(entry)}
        case Class.REMEDIATION:
            # The same for an intent and its outcome, so that the two can be joined.
            place = [part for part in (entry.run or entry.inc, entry.step, entry.target) if part]
            return {"command_uid": "/".join(place) or f"{entry.log}/{entry.seq}"}
        case Class.SSH:
            return {"dst_endpoint": {"name": entry.target or "unknown"}}
        case Class.LOG:
            return {
                "log_name": entry.log,
                "log_provider": "mimrun",
                "log_type_id": 2,
                "log_type": "Application",
            }
        case _:
            assert_never(cls)


_STANDS: Final = {
    kinds.Kind.INCIDENT_OPENED: (1, "New"),
    kinds.Kind.INCIDENT_RESOLVED: (4, "Resolved"),
    kinds.Kind.INCIDENT_CLOSED: (5, "Closed"),
}


def _incident(entry: LogEntry) -> dict[str, Json]:
    info: dict[str, Json] = {"uid": entry.inc or f"{entry.log}/{entry.seq}"}
    if isinstance(entry.body, kinds.IncidentOpened):
        info["title"] = inert(entry.body.title)
    status, name = _STANDS.get(entry.kind, (2, "In Progress"))
    return {"finding_info_list": [info], "assignee": _user(entry), "status_id": status, "status": name}


def _entity(entry: LogEntry) -> dict[str, Json]:
    """Name the thing that was made, decided on or taken: the noun of the kind, and which one."""
    noun = entry.kind.value.split(".", maxsplit=1)[0]
    body: Any = entry.body
    match entry.body:
        case kinds.PlanFrozen():
            uid, name = body.digest, f"{body.runbook}@{body.version}"
        case kinds.LockTaken() | kinds.LockReleased() | kinds.LockReleaseProposed():
            uid, name = body.resource, body.resource
        case kinds.BreakerClosed():
            uid, name = body.runbook, body.runbook
        case kinds.LogKey() | kinds.LogKeyRetired():
            uid, name = body.keyid, "log key"
        case kinds.KillswitchPulled() | kinds.KillswitchLiftAgreed():
            uid, name = entry.log, "kill switch"
        case _:
            place = "/".join(part for part in (entry.run, entry.step, entry.target) if part)
            uid, name = place or f"{entry.log}/{entry.seq}", getattr(body, "title", "") or noun
    # A gate is a rule that must be satisfied; OCSF has no type for the others.
    type_id, type_ = (5, "Policy") if noun == "gate" else (99, noun)
    return {"uid": uid, "name": inert(name), "type_id": type_id, "type": type_}
