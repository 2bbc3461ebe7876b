"""Linking a run to its change record, by a person's word."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from mimrun.app.change.facts import changes_of
from mimrun.app.change.systems import say, speaking
from mimrun.app.home import Home
from mimrun.app.identity import Identity
from mimrun.app.persons import require_known
from mimrun.app.runs import find_run
from mimrun.app.sign_in import require_scope
from mimrun.change_system import ChangeState
from mimrun.errors import ConnectorError, InputError, Refused
from mimrun.gate.change import REGISTER, refusal_of
from mimrun.gate.change_link import RunChange, change_of
from mimrun.gate.register import registered_in
from mimrun.gate.scope import VERBS
from mimrun.log.entry import Draft
from mimrun.log.kinds import ChangeLinked

_OWN: Final = re.compile(r"CHG-[0-9]+", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Found:
    """A record that a run can be linked to.

    Arguments:
        warning: why nobody has seen it; "" where it was read.
    """

    system: str
    ref: str
    url: str = ""
    warning: str = ""

    @property
    def name(self) -> str:
        """The record with its system."""
        return f"{self.system}:{self.ref}"


def find_record(home: Home, given: str) -> Found:
    """Find the record that a person means: `REF`, or `SYSTEM:REF`.

    A system that does not answer at this moment does not stand in the way: the gate asks it again.

    Raises:
        InputError: there is no such record or system, or the record allows nothing any more.
        SettingsError: `changes.yaml` cannot be used.
    """
    file = changes_of(home).file()
    system, colon, ref = given.strip().partition(":")
    if not colon or system not in file.systems:
        ref, system = given.strip(), file.new_records
        if _OWN.fullmatch(ref) and registered_in(home.store, ref.upper()).ref:
            system = REGISTER
    ref = ref.upper() if system == REGISTER else ref
    if not ref or len(ref) > 64 or not ref.isprintable():
        raise InputError(f"{given!r} names no change; give its number, or SYSTEM:NUMBER")
    try:
        with speaking(home, file.system(system)) as conversation:
            record = conversation.read(ref)
    except Refused as exc:
        raise InputError(f"no change {ref!r} can be read in {system}: {say(exc)}") from exc
    except ConnectorError as exc:
        return Found(system, ref, warning=f"{system} does not answer, so nobody has seen {ref}: {say(exc)}")
    over = refusal_of(record) or ("it is closed" if record.state is ChangeState.CLOSED else "")
    if over:
        raise InputError(f"{system}:{ref} allows nothing any more: {over}")
    return Found(system, record.ref or ref, record.url)


def link_change(home: Home, run: str, found: Found, identity: Identity) -> RunChange:
    """Record that a run is part of what a change record is about, in the place of the one before.

    Raises:
        InputError: there is no such run.
        GateError: the person is not known.
        StoreError: the log cannot be written.
    """
    require_known(home, identity, "link a run to a change")
    require_scope(home.signed_in, VERBS["change link"], "link a run to a change")
    summary = find_run(home, run).summary
    was = change_of(home.store, summary.run)
    if was.name == found.name:
        return was
    body = ChangeLinked(system=found.system, ref=found.ref, url=found.url, replaces=was.name[:64])
    home.store.append([Draft(identity.actor(), body, inc=summary.incident, run=summary.run)])
    return change_of(home.store, summary.run)
