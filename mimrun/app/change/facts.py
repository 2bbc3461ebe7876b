"""Change records as gates ask for them: which one a run has, whether it allows what is behind a gate, and making one.

Whatever cannot be known keeps the gate closed, and says so.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Final, TypeAlias
from weakref import WeakKeyDictionary

from mimrun.app.change.file import ChangesFile
from mimrun.app.change.making import announce_record, key_of, make_record
from mimrun.app.change.reading import Reading, Readings, note_reading
from mimrun.app.change.records import RegisterView, content_of, read_registered
from mimrun.app.change.systems import changes_reader
from mimrun.app.home import Home
from mimrun.change_system import ChangeRecord, ChangeState, ChangeType
from mimrun.connector import Effect
from mimrun.errors import InventoryError, SettingsError
from mimrun.gate.approval import ChangeStanding
from mimrun.gate.change import REGISTER, ChangeNeed, change_votes, check_change, refusal_of
from mimrun.gate.change_link import RunChange, Writing, change_of
from mimrun.gate.people import People
from mimrun.gate.register import registered_in, standards_for
from mimrun.gate.terms import Terms
from mimrun.log.kinds import ChangeLinked, Kind, StepIntent
from mimrun.log.store import Store
from mimrun.run.cell.permit import ChangeAsking
from mimrun.run.record.summary import RunSummaries, RunSummary
from mimrun.run.record.transitions import TERMINAL
from mimrun.runbook.launch import covered_digest
from mimrun.runbook.pattern import Names, select_hosts
from mimrun.runbook.plan import Plan


class LinkedRuns:
    """Which runs were ever linked to which record, as far as the log was read. Threads may share it."""

    def __init__(self) -> None:
        self._lock, self._until = threading.Lock(), 0
        self._runs: dict[str, list[str]] = {}

    def runs(self, store: Store, name: str) -> tuple[str, ...]:
        """Give the runs of a record, with its system, in the order in which they were linked first."""
        with self._lock:
            # Most of a log is of something else; what was read of it is not read again.
            until = store.head().size
            for entry in store.entries(after=self._until, kinds={Kind.CHANGE_LINKED}):
                if isinstance(entry.body, ChangeLinked):
                    known = self._runs.setdefault(f"{entry.body.system}:{entry.body.ref}", [])
                    known += [entry.run] if entry.run not in known else []
            self._until = max(until, self._until)
            return tuple(self._runs.get(name, ()))


class Changes:
    """What is known of change records in one home. Threads may share it.

    Arguments:
        file: gives what `changes.yaml` says now.
        readings: keeps what was read while it is fresh.
        linked: knows which runs were ever linked to which record.
    """

    def __init__(
        self, home: Home, file: Callable[[], ChangesFile], readings: Readings, linked: LinkedRuns
    ) -> None:
        self._home, self.file, self._readings, self._linked = home, file, readings, linked

    def standard_for(self, plan: Plan, at: datetime) -> str:
        """Give the valid standard change for the runbook digest and all targets of a plan; "" where there is none."""
        found = standards_for(self._home.store, covered_digest(plan))
        people = self._home.people() if found else People()
        for was in found:
            record = self._registered(was.ref, plan, people, at)
            if record is not None and not check_change(record, _need_of(plan, people), at):
                return was.ref
        return ""

    def standing(self, asking: ChangeAsking, people: People, at: datetime) -> ChangeStanding:
        """Say how the change record for a gate stands. Where nobody can know it, that is the reason against it."""
        assert asking.kind != "none"
        try:
            file = self.file()
        except (SettingsError, ImportError) as exc:
            return ChangeStanding(reasons=(f"nobody can know how the change stands: {exc}",))
        link = change_of(self._home.store, asking.run)
        if not link.is_linked and asking.kind == "standard":
            ref = self.standard_for(asking.plan, at)
            if ref:
                return ChangeStanding(ref=f"{REGISTER}:{ref}")
        if not link.is_linked:
            return ChangeStanding(reasons=(_why_none(link, asking),))
        reading = self._read(file, link, asking.plan, people, at)
        if link.system != REGISTER:
            note_reading(self._home, link, reading)
        if reading.record is None:
            return ChangeStanding(ref=link.name, reasons=(self._unreadable(link, reading),))
        need = _need(asking, asking.kind, people, file)
        reasons = tuple(f"{link.ref}: {one}" for one in check_change(reading.record, need, at))
        votes = change_votes(reading.record, need, at)
        if used_by := self._used_by(link, reading.record):
            cure = f"cancel {used_by} before it changes anything, or have another record approved"
            used = f"{link.ref}: run is not named, so that it counts for one run alone, which is {used_by}; {cure}"
            reasons, votes = (*reasons, used), ()
        return ChangeStanding(link.name, reasons, refusal_of(reading.record), votes)

    def _used_by(self, link: RunChange, record: ChangeRecord) -> str:
        """Give the other run that a record which names none was approved for; "" where that is nobody or this one.

        It is the first one that was ever linked to it, unless that is over and has changed nothing. A standard change
        allows every run of its runbook.
        """
        if record.run or record.type == "standard":
            return ""
        runs = self._linked.runs(self._home.store, link.name)
        first = next((run for run in runs if run == link.run or self._may_have_used(run)), link.run)
        return "" if first == link.run else first

    def _may_have_used(self, run: str) -> bool:
        """Say whether a run has changed something, or may yet."""
        store = self._home.store
        if RunSummary.decode(store.projection(RunSummaries.name, run)).status not in TERMINAL:
            return True
        intents = (entry.body for entry in store.entries(run=run, kinds={Kind.STEP_INTENT}))
        return any(isinstance(one, StepIntent) and one.effect is not Effect.READ for one in intents)

    def asked(self, asking: ChangeAsking, terms: Terms) -> None:
        """A gate was asked: where it needs an emergency change and the run has none of its own, one is made.

        A record that a person has linked is left as it is; one that mimrun made for other steps gives way.
        """
        home, link = self._home, change_of(self._home.store, asking.run)
        if asking.kind != "emergency" or (link.is_linked and not link.key) or link.key == key_of(asking):
            return
        try:
            file = self.file()
        except (SettingsError, ImportError):
            return  # `standing` says so
        if link.is_linked and self._fits(file, link, asking):
            return
        announce_record(home, file, asking, terms, home.clock())
        link = change_of(home.store, asking.run)
        for writing in link.under_way:
            if writing.key == key_of(asking):
                make_record(home, file, link, writing)

    def read(self, link: RunChange, plan: Plan) -> Reading:
        """Give what a run's record says now; for people who look at it."""
        try:
            file = self.file()
        except (SettingsError, ImportError) as exc:
            return Reading(None, str(exc))
        return self._read(file, link, plan, self._home.people(), self._home.clock())

    def _fits(self, file: ChangesFile, link: RunChange, asking: ChangeAsking) -> bool:
        """Say whether the record of the run is for the very steps that are asked about."""
        people = self._home.people()
        record = self._read(file, link, asking.plan, people, self._home.clock()).record
        return record is not None and record.digest == asking.digest

    def _read(self, file: ChangesFile, link: RunChange, plan: Plan, people: People, at: datetime) -> Reading:
        if link.system == REGISTER:
            record = self._registered(link.ref, plan, people, at)
            return Reading(record) if record else Reading(None, f"the register has no {link.ref}")
        try:
            return self._readings.read(self._home, file.system(link.system), link.ref)
        except SettingsError as exc:
            return Reading(None, str(exc))

    def _registered(self, ref: str, plan: Plan, people: People, at: datetime) -> ChangeRecord | None:
        """Read a record of mimrun's own register; a standard change's pattern is held against the plan's hosts."""
        was = registered_in(self._home.store, ref)
        if not was.ref:
            return None
        view = RegisterView(was, content_of(self._home, was))
        hosts: tuple[str, ...] | None = None
        if was.type == "standard" and view.content is not None:
            hosts = hosts_within(plan, view.content.hosts)
        return read_registered(self._home, view, people, at, hosts)

    def _unreadable(self, link: RunChange, reading: Reading) -> str:
        now = change_of(self._home.store, link.run)
        since = f" since {now.problem_at[:16].replace('T', ' ')} UTC" if now.problem_at else ""
        return f"change {link.name} cannot be read{since}: {reading.problem}; it is asked again"


def hosts_within(plan: Plan, pattern: str) -> tuple[str, ...]:
    """Give the hosts of a plan that a pattern names; none where it cannot be read."""
    hosts = [target.name for target in plan.targets]
    names = Names(hosts, {"all": hosts, **plan.groups})
    try:
        return select_hosts(names, pattern)
    except InventoryError:
        return ()


def _why_none(link: RunChange, asking: ChangeAsking) -> str:
    """Say why a run has no record: it is being made, nobody takes it, or a person has to link one."""
    cure = f"link one with `mimrun change link {asking.run} REF`"
    waiting = [one for one in link.under_way if one.what == "create"]
    refused = [one for one in link.given_up if one.what == "create"]
    if waiting:
        return f"{_tried(waiting[-1], asking)}; it is tried again"
    if refused:
        return f"{_tried(refused[-1], asking)}; it is not tried again: {cure}"
    return f"{_a(asking.kind)} change is needed, and none is linked; {cure}"


def _tried(one: Writing, asking: ChangeAsking) -> str:
    since = one.since[:16].replace("T", " ")
    why = one.reason or "nothing has come back yet"
    return f"{_a(asking.kind)} change is made in {one.system} since {since} UTC, and is not there yet: {why}"


def _a(kind: str) -> str:
    return f"an {kind}" if kind == "emergency" else f"a {kind}"


def _need(asking: ChangeAsking, kind: ChangeType, people: People, file: ChangesFile) -> ChangeNeed:
    need = _need_of(asking.plan, people)
    return replace(
        need,
        kind=kind,
        run=asking.run,
        digest=asking.digest,
        excluded=asking.excluded,
        conflicts_within=file.conflicts_within,
    )


def _need_of(plan: Plan, people: People) -> ChangeNeed:
    """Give what a standard change must say for a plan, whoever runs it and when."""
    return ChangeNeed(
        kind="standard",
        run="",
        digest=plan.digest,
        plan=plan.digest,
        runbook=covered_digest(plan),
        targets=frozenset(target.name for target in plan.targets),
        excluded=frozenset(),
        people=people,
    )


_Kept: TypeAlias = tuple[Callable[[], ChangesFile], Readings, LinkedRuns]
_KEPT: Final[WeakKeyDictionary[Store, _Kept]] = WeakKeyDictionary()
_KEEPING: Final = threading.Lock()


def changes_of(home: Home) -> Changes:
    """Give what is known of change records in an opened home; what was read is kept for as long as its log is open."""
    with _KEEPING:
        kept = _KEPT.get(home.store)
        if kept is None:
            # Nothing of it may hold on to the log, which would then never be let go.
            kept = _KEPT[home.store] = (changes_reader(home.settings.changes), Readings(), LinkedRuns())
    return Changes(home, *kept)


def linked_state(record: ChangeRecord) -> str:
    """Say for people how a record stands."""
    state = record.state or ChangeState.DRAFT
    approval = record.approval.value.replace("_", " ") if record.approval else "not said"
    return f"{state.value}, approval {approval}"
