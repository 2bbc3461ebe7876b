"""What is written to a ticket, in the forms in which Request Tracker takes and gives it."""

from __future__ import annotations

from datetime import UTC, datetime

from connectors.change.fields import Reading, at
from mimrun.change_system import Addition, ChangeDraft
from mimrun.connector import Json


def custom_fields(draft: ChangeDraft) -> dict[str, str]:
    """Give the custom fields of a draft, by what they hold; "" for what it does not say."""
    window = draft.window
    return {
        "key": draft.key,
        "type": draft.type,
        "risk": draft.risk,
        "incident": draft.incident,
        "run": draft.run,
        "digest": draft.digest,
        "targets": "\n".join(draft.targets),
        "backout": draft.backout,
        "window_start": rt_time(window.start) if window else "",
        "window_end": rt_time(window.end) if window else "",
    }


def content(draft: ChangeDraft) -> str:
    """Give the first text of a ticket."""
    parts = {
        "": draft.plan,
        "Why": draft.justification,
        "Test": draft.test,
        "Asked for by": draft.requested_by,
    }
    return "\n\n".join(f"{head}: {text}".removeprefix(": ") for head, text in parts.items() if text)


def comment(addition: Addition) -> str:
    """Give the text of an addition, with its key."""
    outcome = {"result": "successful" if addition.successful else "not successful"}.get(addition.what, "")
    when = f"{addition.at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC" if addition.at else ""
    lines = (addition.text, outcome, when, addition.url, f"[mimrun {addition.key}]")
    return "\n".join(line for line in lines if line)


def rt_time(moment: datetime) -> str:
    """Write a time as RT reads it in an account whose zone is UTC; with a zone behind it, it becomes midnight."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S}"


def values(ticket: Json) -> dict[str, Json]:
    """Give the first value of each custom field of a ticket, by name."""
    rows = at(ticket, "CustomFields")
    found: dict[str, Json] = {}
    for row in rows if isinstance(rows, list) else []:
        name, value = at(row, "name"), at(row, "values", 0)
        if isinstance(name, str) and isinstance(value, str):
            found[name] = value
    return found


def same(kept: Json, given: str) -> bool:
    """Say whether RT kept what was given; times come back in another form, and line ends may."""
    if not isinstance(kept, str):
        return False
    if kept.replace("\r\n", "\n").strip() == given.replace("\r\n", "\n").strip():
        return True
    first, second = (Reading().time("t", text, zone=UTC) for text in (kept, given))
    return first is not None and first == second


def took(ticket: Json, name: str, given: str) -> bool:
    """Say whether a ticket holds what was written to it."""
    if name == "AddRefersTo":
        return given in links(ticket)
    value = at(ticket, name)
    return isinstance(value, str) and same(value, given)


def links(ticket: Json) -> set[str]:
    """Give the addresses that a ticket refers to."""
    rows = at(ticket, "_hyperlinks")
    return (
        {str(at(row, "_url")) for row in rows if at(row, "ref") == "refers-to"}
        if isinstance(rows, list)
        else set()
    )


def quoted(text: str) -> str:
    """Write a text into TicketSQL."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
