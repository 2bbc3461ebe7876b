"""Replaying: a run told again, done again over what was recorded, and tried with a changed runbook.

Nothing outside is touched and nothing is written: no connector is loaded, and the log is only read.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from mimrun.app.checkpoints import see_that_it_goes_on
from mimrun.app.home import Home, open_home
from mimrun.app.inventories import read_inventory
from mimrun.app.runbooks import library_folders
from mimrun.app.runs import find_run, load_plan
from mimrun.catalog import Catalog
from mimrun.errors import BlobKeyError, ErasedError, InputError, RunbookError
from mimrun.log.entry import LogEntry
from mimrun.log.kinds import Kind
from mimrun.log.sequenced import SequencedStore
from mimrun.replay.against import Trial
from mimrun.replay.comparison import Comparison
from mimrun.replay.narration import Narration, narration_of
from mimrun.replay.premise import Includes, Premise
from mimrun.replay.redecide import redecide as decide_again
from mimrun.replay.verdict import judge
from mimrun.replay.weighing import weigh
from mimrun.runbook.library import find_runbook, includes_from
from mimrun.runbook.loader import LoadedRunbook, parse_runbook
from mimrun.runbook.plan import Plan
from mimrun.settings import Settings

_SWITCH = frozenset({Kind.KILLSWITCH_PULLED, Kind.KILLSWITCH_LIFT_AGREED})


def narrate(home: Home, run: str) -> Narration:
    """Tell a run again from its log.

    Arguments:
        run: its name, the beginning of it, or `latest`.

    Raises:
        InputError: there is no such run.
        TamperError: the log is not what was recorded.
    """
    name = find_run(home, run).summary.run
    plan, missing = _plan_if_there(home, name)
    return narration_of(entries_of(home, name), plan, missing=missing)


def redecide(home: Home, run: str) -> Comparison:
    """Let today's executor decide a run again, over what its record says happened around it.

    Arguments:
        run: its name, the beginning of it, or `latest`.

    Raises:
        InputError: there is no such run.
        ErasedError: two people had its plan erased, without which nothing can be decided.
        TamperError: the log is not what was recorded.
    """
    name = find_run(home, run).summary.run
    entries, plan = entries_of(home, name), load_plan(home, name)
    return judge(name, entries, plan, decide_again(name, entries, plan, home.store))


@dataclass(frozen=True, slots=True)
class Given:
    """What a changed runbook is planned with that does not come from the record.

    Arguments:
        inputs: as on the command line; they win over those of the record.
        inventories: where hosts come from; without one, from the record.
    """

    inputs: tuple[str, ...] = ()
    inventories: tuple[Path, ...] = ()


def against(
    home: Home,
    run: str,
    runbook: str,
    given: Given = Given(),
    *,
    assume_approved: bool = False,
    any_arguments: bool = False,
) -> Comparison:
    """Try a runbook on the record of a run: it is planned with what the record has, and executed over its answers.

    Arguments:
        run: its name, the beginning of it, or `latest`.
        runbook: its name, name@version, or the path of its file.
        given: what does not come from the record.
        assume_approved: where nobody decided at a gate then, everybody who is asked agrees.
        any_arguments: a step that asks otherwise than then is answered as then.

    Raises:
        InputError: there is no such run, or runbook, inputs and hosts do not go together.
        ErasedError: two people had the plan of the run erased.
        TamperError: the log is not what was recorded.
    """
    name = find_run(home, run).summary.run
    entries, then = entries_of(home, name), load_plan(home, name)
    if then.undo_of:
        raise InputError(
            f"{name} takes back what {then.undo_of} did, and no runbook says how; replay {then.undo_of} against one"
        )
    folders = library_folders()
    premise = Premise(
        then,
        _or_recorded(home, entries, lambda name: find_runbook(name, folders))(runbook),
        given.inputs,
        read_inventory(home.settings, given.inventories) if given.inventories else None,
        _or_recorded(home, entries, includes_from(folders)),
    )
    now = premise.plan()
    trial = Trial(name, entries, then, now, home.store)
    tried = trial.play(assume_approved=assume_approved, any_arguments=any_arguments)
    return weigh(name, entries, tried, taken=premise.taken(now))


def _or_recorded(home: Home, entries: Sequence[LogEntry], library: Includes) -> Includes:
    """Give what finds runbooks: in the library, else, by name@version, among those that the run was made of."""

    def find(reference: str) -> LoadedRunbook:
        try:
            return library(reference)
        except RunbookError:
            for source in _sources(home, entries):
                loaded = parse_runbook(source, f"{reference} of the record")
                if f"{loaded.runbook.name}@{loaded.runbook.version}" == reference:
                    return loaded
            raise

    return find


def _sources(home: Home, entries: Sequence[LogEntry]) -> list[str]:
    """Give the runbooks that a run was made of; none where they were erased."""
    frozen = next((entry for entry in entries if entry.kind is Kind.PLAN_FROZEN), None)
    with suppress(ErasedError):
        data = home.store.blob(frozen, "runbooks") if frozen is not None else None
        return list(json.loads(data or b"{}").values())
    return []


@contextmanager
def open_record(settings: Settings) -> Iterator[Home]:
    """Open the home folder to read what is on record: nothing is signed, and nothing can be executed.

    Raises:
        SettingsError: there is no home folder yet.
        StoreError: the log cannot be opened.
        TamperError: it is not the log that was seen before.
    """
    with open_home(settings, watched=False, catalog=Catalog()) as home:
        if isinstance(home.store, SequencedStore):
            see_that_it_goes_on(settings, home.store)
        yield home


def entries_of(home: Home, run: str) -> list[LogEntry]:
    """Give the entries of a run, and those of the kill switch that were recorded meanwhile, in order."""
    own = list(home.store.entries(run=run))
    if not own:
        return own
    return sorted([*own, *_switch(home, own[0].seq, own[-1].seq)], key=lambda entry: entry.seq)


def _switch(home: Home, first: int, last: int) -> Iterator[LogEntry]:
    for entry in home.store.entries(after=first, kinds=_SWITCH):
        if entry.seq > last:
            return
        yield entry


def _plan_if_there(home: Home, run: str) -> tuple[Plan | None, tuple[str, ...]]:
    """Read the frozen plan; where it cannot be read any more, say why."""
    try:
        return load_plan(home, run), ()
    except (ErasedError, BlobKeyError) as exc:
        return None, (f"the plan: {exc}",)
