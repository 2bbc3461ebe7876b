"""Going on: having a run executed by whatever executes runs here, once somebody has decided or lets it.

Where there is a terminal, whoever sits at it executes the run. Elsewhere, as at the server, it is handed on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from mimrun.app.decisions import gate_verdict
from mimrun.app.home import Home
from mimrun.app.identity import Identity
from mimrun.app.killswitch import refuse_while_pulled
from mimrun.app.plans import require_secrets
from mimrun.app.resolving import doubts
from mimrun.app.runs import find_run, load_plan, load_state
from mimrun.app.stopping import goes_on, request_resume
from mimrun.errors import LeaseError, MimrunError
from mimrun.gate.approval import Verdict, Waiting
from mimrun.run.record.transitions import TERMINAL, RunStatus
from mimrun.run.record.wish import Level

Start: TypeAlias = Callable[[Home, str], object]
"""Has a run executed, and comes back at once; asking twice does no harm."""


def carry_on(home: Home, run: str, start: Start) -> str:
    """Have a run go on, now that it can.

    Returns:
        why it does not, and what to do; "" where it does. What was decided stays on record in any case.
    """
    try:
        if find_run(home, run).summary.wish.level < Level.CANCEL:
            refuse_while_pulled(home)
            require_secrets(load_plan(home, run))
        start(home, run)
    except MimrunError as exc:
        return f"{run} does not go on yet: {exc}"
    return ""


def carry_on_from_gate(home: Home, run: str, start: Start) -> tuple[Verdict, str]:
    """Have a run go on, or end, where its gate is decided.

    Returns:
        how the gate stands, and why the run does not go on (see `carry_on`).
    """
    verdict = gate_verdict(home, load_state(home, run), load_plan(home, run))
    return verdict, "" if isinstance(verdict, Waiting) else carry_on(home, run, start)


def carry_on_from_doubt(home: Home, run: str, start: Start) -> tuple[int, str]:
    """Have a run go on where no doubt is left.

    Returns:
        how many are left, and why the run does not go on (see `carry_on`).
    """
    left = len(doubts(load_state(home, run)))
    return left, "" if left else carry_on(home, run, start)


def end_if_idle(home: Home, run: str, level: Level, start: Start) -> str:
    """After somebody wanted a run to stop: where nobody executes it, have that settle what is open, and end it.

    Returns:
        why that cannot be done now (see `carry_on`).
    """
    view = find_run(home, run)
    interrupted = view.summary.status is RunStatus.RUNNING
    if view.held or view.summary.status in TERMINAL or not (level > Level.PAUSE or interrupted):
        return ""
    return carry_on(home, run, start)


def resume_run(home: Home, run: str, identity: Identity, start: Start) -> None:
    """Go on with a run where the log ends: after a pause, a crash, an approval or a settled doubt.

    Raises:
        LeaseError: it is over, or is being executed.
        KillSwitchError: the kill switch is pulled.
        GateError: it was paused, and the people file does not know the person.
        SettingsError: a secret that it needs cannot be read here.
        RunError: nothing can execute it now.
    """
    view = find_run(home, run)
    name = view.summary.run
    if view.summary.status in TERMINAL:
        raise LeaseError(f"{name} is over already: {view.status}; nothing is left to do")
    home.require_key()
    if view.summary.wish.level < Level.CANCEL:
        refuse_while_pulled(home)
    paused = request_resume(home, name, identity)
    if view.held and not paused:
        raise LeaseError(f"{name} is being executed already")
    if paused and view.held and goes_on(home, name):
        return
    require_secrets(load_plan(home, name))
    start(home, name)
