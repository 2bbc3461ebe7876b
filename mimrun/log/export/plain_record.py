"""What set things off, what change systems said, and what became of the record itself: its sentences."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

from mimrun.log.entry import LogEntry
from mimrun.log.export.telling import Names, at, count, pick, short, who, why
from mimrun.log.kinds import Kind

_ALERT: Final = {
    "firing": "says that something is wrong",
    "resolved": "says that it is right again",
    "acknowledged": "says that somebody looks at it",
    "info": "says",
}
_FIRED: Final = {
    "notified": "told people",
    "proposed": "proposed a run",
    "launched": "launched a run",
    "held": "held back",
    "failed": "could not do what it is for",
}
_WRITTEN: Final = {
    "done": "was written to",
    "already": "stood already in",
    "failed": "could not be written to",
    "unknown": "may have been written to",
}


def _alert(_: LogEntry, b: Any, __: Names) -> str:
    service = f" ({b.service})" if b.service else ""
    value = f", value {b.value}" if b.value else ""
    return f"{b.source} {pick(_ALERT, b.status)}: {b.title}{service}, {b.severity}{value}"


def _fired(_: LogEntry, b: Any, __: Names) -> str:
    proposal = f" ({b.proposal})" if b.proposal else ""
    heeded = f" on {count(b.count, 'alert')} of {b.group}" if b.count else f" on {b.group}"
    return f"The rule {b.rule} {pick(_FIRED, b.outcome)}{proposal}{heeded}{why(b.reason)}"


def _read(_: LogEntry, b: Any, __: Names) -> str:
    if b.problem:
        return f"{b.ref} in {b.system} could not be read: {b.problem}"
    return f"{b.system} says of {b.ref}: {b.state}, approval {b.approval}"


RECORD: Final[Mapping[Kind, Callable[[LogEntry, Any, Names], str]]] = MappingProxyType(
    {
        Kind.ALERT_RECEIVED: _alert,
        Kind.RULE_FIRED: _fired,
        Kind.RULE_ENDED: lambda _e, b, _n: f"The rule {b.rule}: {b.group} is right again{why(b.reason)}",
        Kind.PROPOSAL_MADE: lambda _e, b, _n: (
            f"The rule {b.rule} proposes {b.runbook}@{b.version} ({b.proposal}), risk {b.risk}: {b.title};"
            f" it waits until {at(b.expires_at)}"
        ),
        Kind.PROPOSAL_TAKEN: lambda e, b, _n: f"{who(e)} launched what was proposed ({b.proposal})",
        Kind.PROPOSAL_DISMISSED: lambda e, b, _n: (
            f"{who(e)} dismissed what was proposed ({b.proposal}){why(b.reason)}"
        ),
        Kind.STORM_BEGAN: lambda _e, b, _n: (
            f"Rules launch nothing any more, all is {b.incident} now{why(b.reason)}"
        ),
        Kind.STORM_ENDED: lambda e, b, _n: f"{who(e)} lets rules launch again{why(b.reason)}",
        Kind.CHANGE_OPENED: lambda e, b, _n: f"{who(e)} opened the {b.type} change {b.ref}: {b.title}",
        Kind.CHANGE_EDITED: lambda e, b, _n: f"{who(e)} changed what {b.ref} says",
        Kind.CHANGE_MOVED: lambda e, b, _n: (
            f"{b.ref} is {b.state.replace('_', ' ')} now, says {who(e)}"
            + (f", {b.result.replace('_', ' ')}" if b.result else "")
            + why(b.reason)
        ),
        Kind.CHANGE_DECIDED: lambda e, b, _n: f"{who(e)} {b.decision} {b.ref}, as {b.role}{why(b.reason)}",
        Kind.CHANGE_LINKED: lambda e, b, _n: f"The run is done under {b.ref} of {b.system}, says {who(e)}",
        Kind.CHANGE_READ: _read,
        Kind.CHANGE_WRITING: lambda _e, b, _n: f"To {b.ref} in {b.system} is written next: {b.what}",
        Kind.CHANGE_WRITTEN: lambda _e, b, _n: (
            f"What was to be written {pick(_WRITTEN, b.status)} {b.ref or 'the change record'}{why(b.reason)}"
        ),
        Kind.BREAKGLASS_PACKED: lambda e, b, _n: (
            f"{who(e)} sealed {count(b.files, 'file')} ({short(b.pack)}), good until {at(b.expires_at)}{why(b.reason)}"
        ),
        Kind.BREAKGLASS_UNPACKED: lambda e, b, _n: (
            f"{who(e)} opened the sealed pack {short(b.pack)} of {b.origin}"
        ),
        Kind.BREAKGLASS_MERGED: lambda e, b, _n: (
            f"{who(e)} brought {count(b.entries, 'entry', 'entries')} of the sealed pack"
            f" {short(b.pack)}{why(b.reason)}"
        ),
        Kind.RULES_RECORDED: lambda _e, b, _n: (
            f"The rules file {b.file} holds as recorded here ({b.size} bytes)"
        ),
        Kind.TOKEN_CREATED: lambda e, b, _n: f"{who(e)} made the token {b.token} for {b.person}",
        Kind.TOKEN_REVOKED: lambda e, b, _n: f"{who(e)} revoked the token {b.token}{why(b.reason)}",
        Kind.PASSWORD_CHANGED: lambda e, b, _n: (
            f"{who(e)} took {b.person}'s password away"
            if b.removed
            else f"{who(e)} changed {b.person}'s password"
        ),
        Kind.SESSION_OPENED: lambda _e, b, _n: f"{b.person} signed in ({b.auth})",
        Kind.SESSION_ENDED: lambda _e, b, _n: f"The session {b.session} is over: {b.why.replace('_', ' ')}",
        Kind.EXPORT_MADE: lambda e, b, _n: (
            f"{who(e)} took {count(b.entries, 'entry', 'entries')} out as {b.format}"
        ),
        Kind.REDACT_PROPOSED: lambda e, b, _n: (
            f"{who(e)} wants {', '.join(b.names)} of entry {b.entry} erased{why(b.reason)}"
        ),
        Kind.REDACT_APPLIED: lambda e, b, _n: (
            f"{who(e)} agreed: {b.name} of entry {b.entry} is erased{why(b.reason)}"
        ),
        Kind.LOG_GENESIS: lambda _e, _b, _n: "The log begins",
        Kind.LOG_KEY: lambda _e, b, _n: f"The key {b.keyid} signs the log from here",
        Kind.LOG_KEY_RETIRED: lambda _e, b, _n: f"The key {b.keyid} signs the log no more{why(b.reason)}",
        Kind.LOG_HEADS: lambda _e, b, _n: (
            f"The ends of {count(b.incidents, 'incident')} are on record for a checkpoint"
        ),
        Kind.LOG_ANCHORED: lambda _e, b, _n: (
            f"{b.anchor} {'has' if b.done else 'could not be given'} the checkpoint of {b.size} entries{why(b.reason)}"
        ),
        Kind.LOG_ACCEPTED: lambda e, b, _n: f"{who(e)} says that this log is the right one{why(b.reason)}",
        Kind.LOG_MOVED: lambda _e, b, _n: f"The log goes on in {b.to}",
    }
)
"""The sentences of alerts, rules, changes, and of the log itself."""
