"""Standard changes: what may be done without asking each time, for one version of a runbook, on some hosts, until a day."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from mimrun.app.change.form import read_text
from mimrun.app.change.records import find_change
from mimrun.app.change.register import move_change, open_change, submit_change
from mimrun.app.home import Home
from mimrun.app.identity import Identity
from mimrun.app.persons import require_known
from mimrun.app.runbooks import load_named
from mimrun.change_system import ChangeState
from mimrun.errors import GateError, InputError
from mimrun.gate.people import acted
from mimrun.gate.register import Content, Registered
from mimrun.gate.terms import a_change
from mimrun.log.moment import write_moment
from mimrun.runbook.launch import whole_digest
from mimrun.runbook.loader import LoadedRunbook
from mimrun.runbook.model import IncludeStep
from mimrun.runbook.pattern import Names, select_hosts, split_pattern
from mimrun.runbook.tree import walk_steps


@dataclass(frozen=True, slots=True)
class Template:
    """What somebody wants to be allowed beforehand.

    Arguments:
        runbook: its name, name@version, or file.
        hosts: the host pattern within which it counts.
        until: when it runs out.
        reason: why it is well understood.
    """

    runbook: str
    hosts: str
    until: datetime
    reason: str


def add_standard(home: Home, identity: Identity, template: Template) -> str:
    """Open a standard change for this very content of a runbook and of what it includes, and ask for it to be allowed.

    Raises:
        InputError: the runbook cannot be read, the pattern or the day is of no use, or no reason is given.
        GateError: the person is not known.
    """
    person = require_known(home, identity, "propose a standard change")
    loaded = load_named(template.runbook)
    reason = read_text(template.reason, "--reason")
    if not reason:
        raise InputError("say why this is well understood, with --reason")
    if template.until <= home.clock():
        raise InputError("--until: that moment is over; give a later one")
    _check_pattern(template.hosts)
    book, inner = loaded.runbook, _included(loaded, {})
    content = Content(
        type="standard",
        title=f"{book.title} ({book.name}@{book.version})"[:200],
        risk=book.risk.value,
        justification=reason,
        implementation="\n".join(one.source.decode() for one in (loaded, *inner.values()))[:60_000],
        runbook=f"{book.name}@{book.version}",
        owner=book.owner,
        digest=whole_digest(loaded.digest, inner),
        hosts=template.hosts,
        valid_until=write_moment(template.until),
        requested_by=person.id,
    )
    ref = open_change(home, identity.actor(), content)
    submit_change(home, ref, identity)
    return ref


def revoke_standard(home: Home, ref: str, identity: Identity, reason: str) -> Registered:
    """Take a standard change back: from now on nothing is allowed by it.

    Raises:
        InputError: it is none, or no reason is given.
        GateError: the person neither asked for it nor manages changes.
    """
    person = require_known(home, identity, "revoke a standard change")
    view = find_change(home, ref)
    if view.was.type != "standard":
        raise InputError(
            f"{view.was.ref} is {a_change(view.was.type)}; cancel it with `mimrun change cancel`"
        )
    if not reason.strip():
        raise InputError("say why, with --reason: those who counted on it will read it")
    own = not acted(person.id, identity.auth).isdisjoint(view.was.hands)
    if "change_manager" not in person.roles and not own:
        raise GateError(f"{person.id} neither asked for {view.was.ref} nor is a change_manager")
    return move_change(home, ref, identity.actor(), ChangeState.CANCELED, reason=reason)


def _included(loaded: LoadedRunbook, found: dict[str, LoadedRunbook]) -> dict[str, LoadedRunbook]:
    """Give everything that a runbook includes, by digest: what is approved is what runs, to the innermost.

    Raises:
        RunbookError: something that is included cannot be read.
    """
    for _, step in walk_steps(loaded.runbook.steps):
        if isinstance(step, IncludeStep):
            inner = load_named(step.include.runbook)
            if inner.digest not in found:
                found[inner.digest] = inner
                _included(inner, found)
    return found


def _check_pattern(pattern: str) -> None:
    """See that a pattern can be held against the hosts of any plan: one that counts hosts says something else each time."""
    for term in split_pattern(pattern):
        if term.endswith("]"):
            raise InputError(f"--hosts {pattern!r}: {term!r} counts hosts; name groups or hosts instead")
    select_hosts(Names((), {}), pattern)
