"""How changes are shown: a list of them, one with everything that is known, and what to do next."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from mimrun.app.change.reading import record_json
from mimrun.app.change.records import RegisterView
from mimrun.canonical import Json
from mimrun.change_system import ChangeRecord, ChangeState, Conflict
from mimrun.cli.terminal import safe, safe_line
from mimrun.gate.change_link import RunChange
from mimrun.gate.register import Content, Registered
from mimrun.gate.register_rules import conflict_name, is_overdue, missing

STYLES: Final = {
    ChangeState.DRAFT: "cyan",
    ChangeState.ASSESS: "cyan",
    ChangeState.AUTHORIZE: "yellow",
    ChangeState.SCHEDULED: "green",
    ChangeState.IMPLEMENT: "bold blue",
    ChangeState.REVIEW: "magenta",
    ChangeState.CLOSED: "dim",
    ChangeState.CANCELED: "dim",
}

_NEXT: Final = {
    ChangeState.DRAFT: "mimrun change submit {ref}",
    ChangeState.ASSESS: "mimrun change submit {ref}, when it was assessed",
    ChangeState.AUTHORIZE: "mimrun change approve {ref}, by {who}",
    ChangeState.SCHEDULED: "its run may go on in its time",
    ChangeState.IMPLEMENT: "mimrun change review {ref}, when the work is done",
    ChangeState.REVIEW: "mimrun change close {ref} --result successful --reason ...",
    ChangeState.CLOSED: "",
    ChangeState.CANCELED: "",
}


def print_changes(out: Console, views: Sequence[RegisterView], now: datetime) -> None:
    """Print a list of changes; those that are overdue stand out."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for head in ("CHANGE", "TYPE", "STATE", "RISK", "PLANNED (UTC)", "TITLE"):
        table.add_column(head, overflow="fold")
    for view in views:
        was, overdue = view.was, is_overdue(view.was, now)
        state = Text(was.state.value, "bold red" if overdue else STYLES[was.state])
        if overdue:
            state.append(" overdue")
        table.add_row(
            Text(was.ref, "bold cyan"), was.type, state, was.risk, planned(view.content), safe_line(was.title)
        )
    out.print(table)


def planned(content: Content | None) -> str:
    """Give the planned time of a change, or until when a standard one counts."""
    if content is None:
        return "(erased)"
    if content.type == "standard":
        return f"until {_short(content.valid_until)}" if content.valid_until else ""
    if not (content.window_start and content.window_end):
        return ""
    return f"{_short(content.window_start)} to {_short(content.window_end)}"


def print_change(out: Console, view: RegisterView, conflicts: Sequence[Conflict], now: datetime) -> None:
    """Print a change of the register with everything that decides about it."""
    was, content = view.was, view.content
    head = Text(f"{was.ref}  ", "bold cyan").append(safe_line(was.title), "bold")
    out.print(head)
    state = Text(f"{was.type} change, risk {was.risk}, ").append(was.state.value, STYLES[was.state])
    out.print(state.append(f": {safe_line(was.reason)}" if was.reason else ""))
    if was.retrospective:
        overdue = is_overdue(was, now)
        due = f", to be complete by {_short(was.due_at)} UTC" if was.due_at else ""
        text = f"written after the fact{due}{'; overdue' if overdue else ''}"
        out.print(Text(text, "bold red" if overdue else "yellow"))
    for name, value in _facts(was, content):
        out.print(Text(f"  {name:<15}", "dim").append(safe_line(value, 500)))
    if content is not None:
        for name, text in _texts(content):
            out.print(Text(f"\n{name}", "bold"))
            out.print(Text(safe(text)))
    _print_decisions(out, was)
    for one in conflicts:
        out.print(Text(f"conflict: {safe_line(conflict_name(one))}", "red"))
    _print_next(out, was, content)


def _facts(was: Registered, content: Content | None) -> list[tuple[str, str]]:
    facts = [("text", f"{was.record[:19]}, entry {was.seq}"), ("planned", planned(content))]
    if content is not None:
        facts += [
            ("hosts", content.hosts or ", ".join(content.targets)),
            ("runbook", content.runbook),
            ("for digest", content.digest[:19]),
            ("for run", content.run),
            ("requested by", content.requested_by),
        ]
    facts += [("incident", was.incident), ("runs", ", ".join(was.runs)), ("result", was.result)]
    return [(name, value) for name, value in facts if value]


def _texts(content: Content) -> list[tuple[str, str]]:
    texts = [
        ("Why", content.justification),
        ("What is done", content.implementation),
        ("How it is taken back", content.backout),
        ("How one sees that it worked", content.test),
    ]
    return [(name, text) for name, text in texts if text]


def _print_decisions(out: Console, was: Registered) -> None:
    if was.said:
        out.print()
    for one in was.said:
        style = "green" if one.decision == "approved" else "red"
        line = Text(f"{one.decision} by {safe_line(one.person)} as {one.role}, {_short(one.at)} UTC", style)
        claim = f" ({one.auth})" if one.auth.startswith("claimed:") else ""
        line.append(claim).append(f": {safe_line(one.reason)}" if one.reason else "")
        out.print(line.append(f"; answers for {', '.join(one.despite)}" if one.despite else ""))


def _print_next(out: Console, was: Registered, content: Content | None) -> None:
    if content is None:
        out.print(Text("its text was erased; it allows nothing", "red"))
        return
    before = was.state in (ChangeState.DRAFT, ChangeState.ASSESS, ChangeState.AUTHORIZE)
    lacks = missing(content, closing=not before, retrospective=was.retrospective)
    if lacks and was.state not in (ChangeState.CLOSED, ChangeState.CANCELED):
        when = "before it is asked for" if before else "before it is closed"
        out.print(Text(f"it lacks {', '.join(lacks)}; that must be there {when}", "yellow"))
    who = "a change_manager" + (" or an emergency_board member" if was.type == "emergency" else "")
    step = _NEXT[was.state].format(ref=was.ref, who=who)
    if step:
        out.print(Text(f"next: {step}", "dim"))


def change_json(view: RegisterView, conflicts: Sequence[Conflict], now: datetime) -> dict[str, Json]:
    """Give a change of the register for `--json`."""
    was = view.was
    told: dict[str, Json] = was.model_dump(mode="json", exclude={"hands"})
    content: Json = view.content.model_dump(mode="json") if view.content else None
    return {
        **told,
        "content": content,
        "conflicts": [{"type": one.type, "with": one.with_} for one in conflicts],
        "missing": [*missing(view.content, retrospective=was.retrospective)] if view.content else [],
        "overdue": is_overdue(was, now),
    }


def print_record(out: Console, record: ChangeRecord) -> None:
    """Print a record of another system as it was read."""
    out.print(
        Text(f"{record.system}:{record.ref}  ", "bold cyan").append(safe_line(record.title or ""), "bold")
    )
    for name, value in record_json(record).items():
        if value in (None, "", [], {}, False) or name in ("system", "ref", "title"):
            continue
        out.print(Text(f"  {name:<15}", "dim").append(safe_line(str(value), 500)))


def link_lines(link: RunChange) -> list[Text]:
    """Say under which record a run is done, and what is not written to it; nothing where it has none."""
    lines: list[tuple[str, str]] = []
    if link.is_linked:
        lines.append((f"change {link.name} {link.url}".strip(), "dim"))
    if link.problem:
        since = _short(link.problem_at)
        lines.append((f"{link.name} cannot be read since {since} UTC: {link.problem}", "yellow"))
    tried = [one for one in link.under_way if one.attempts]
    for one in tried[:1]:
        more = f" and {len(link.under_way) - 1} more" if len(link.under_way) > 1 else ""
        text = f"not written to {one.system} yet: {one.what}{more}: {one.reason}; it is tried again"
        lines.append((text, "yellow"))
    for one in link.given_up[-3:]:
        text = f"not taken by {one.system}, and not tried again: {one.what}: {one.reason}"
        lines.append((text, "red"))
    return [Text(f"  {safe_line(text, 500)}", style) for text, style in lines]


def link_json(link: RunChange) -> dict[str, Json]:
    """Give the link of a run to its record for `--json`."""
    told: dict[str, Json] = link.model_dump(mode="json", exclude={"told", "notes", "began"})
    return {**told, "change": link.name}


def _short(moment: str) -> str:
    return moment[:16].replace("T", " ")
