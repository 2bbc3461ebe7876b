"""Launching once: a form that is sent twice, or a program that asks again, gets the run that it has got already.

Who asks brings along a key of their own. The name of the run is made of it, and the log has each name only once:
so it holds also for two requests at the same moment, and for one that comes again after the server was restarted.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from typing import Final

from mimrun.app.home import Home
from mimrun.app.identity import Identity
from mimrun.app.naming import new_run
from mimrun.app.runs import create_run
from mimrun.errors import InputError, RefusedError
from mimrun.log.entry import Draft
from mimrun.run.record.summary import RunSummaries, RunSummary
from mimrun.runbook.plan import Plan

_KEY: Final = re.compile(r"[A-Za-z0-9._:-]{16,128}")


def run_of_key(identity: Identity, key: str) -> str:
    """Give the name of the run that a person launches under a key.

    Arguments:
        key: made at random by whoever asks: 16 to 128 letters, digits and . _ : -

    Raises:
        InputError: it is none.
    """
    if not _KEY.fullmatch(key):
        raise InputError("the key of a launch has 16 to 128 letters, digits and . _ : -; load the form again")
    digest = hashlib.sha256(f"mimrun launch\n{identity.person.id}\n{key}".encode()).digest()
    return new_run(lambda length: digest[:length])


def launched_before(home: Home, identity: Identity, key: str) -> str:
    """Give the run that a person has launched under a key; "" where there is none.

    Raises:
        InputError: it is no key.
    """
    return RunSummary.decode(home.store.projection(RunSummaries.name, run_of_key(identity, key))).run


def launch_once(
    home: Home,
    plan: Plan,
    identity: Identity,
    key: str,
    *,
    incident: str | None = None,
    more: Callable[[str, str], Sequence[Draft]] | None = None,
) -> tuple[str, bool]:
    """Ask for a plan to be executed, once for each key; see `create_run`.

    Returns:
        the run's name, and whether it was made just now.

    Raises:
        InputError: it is no key.
    """
    name = run_of_key(identity, key)
    try:
        return create_run(home, plan, identity, incident=incident, more=more, named=name), True
    except RefusedError:
        # Refused for that, or for what it holds itself by now: its lock, an open proposal.
        if launched_before(home, identity, key):
            return name, False
        raise
