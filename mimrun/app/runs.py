"""Runs: asked for, listed, looked at."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple

from pydantic import JsonValue

from mimrun import canonical
from mimrun.app.home import Home
from mimrun.app.identity import Identity
from mimrun.app.killswitch import refuse_while_pulled
from mimrun.app.naming import new_incident, new_run
from mimrun.app.persons import why_not
from mimrun.app.rules import note_rules
from mimrun.errors import (
    ErasedError,
    GateError,
    InputError,
    KillSwitchError,
    RefusedError,
    RunError,
    TamperError,
)
from mimrun.incident.incident import incident_in
from mimrun.log.entry import Blob, Draft
from mimrun.log.kinds import IncidentOpened, Kind, PlanFrozen, RunCreated
from mimrun.log.redaction import Erasure, Erasures, key_of
from mimrun.log.store import Store, View
from mimrun.run.hold.killswitch import pulled_in
from mimrun.run.hold.lock import missing_locks
from mimrun.run.record.breaker import check_breaker
from mimrun.run.record.fold import fold
from mimrun.run.record.published import PublishedVersions
from mimrun.run.record.state import RunState
from mimrun.run.record.summary import RunSummaries, RunSummary, summary_in
from mimrun.run.record.transitions import TERMINAL, RunStatus
from mimrun.runbook import library
from mimrun.runbook.node import PlannedInclude
from mimrun.runbook.plan import Plan


class Known(NamedTuple):
    """What is known of a run already, so that its log need not be read again: for whoever only looks."""

    state: RunState
    plan: Plan


@dataclass(frozen=True, slots=True)
class RunView:
    """A run as a person sees it.

    Arguments:
        summary: what the log says.
        held: a process is executing it now.
    """

    summary: RunSummary
    held: bool

    @property
    def status(self) -> str:
        """The status, and `interrupted` for a run that says it is running while no process holds it."""
        if self.summary.status is RunStatus.RUNNING and not self.held:
            return "interrupted"
        return self.summary.status.value

    def as_json(self) -> dict[str, JsonValue]:
        """The run for `--json`."""
        shown: dict[str, JsonValue] = self.summary.model_dump(
            mode="json", exclude={"plan_seq", "first_seq", "decided", "unused", "way_back"}
        )
        return {**shown, "status": self.status, "stop": self.summary.wish.level.name.lower()}


def create_run(  # noqa: PLR0913 - everything that is recorded with a run is recorded in one append
    home: Home,
    plan: Plan,
    identity: Identity,
    *,
    incident: str | None = None,
    direct: bool = False,
    guard: Callable[[View], object] | None = None,
    first: Sequence[Draft] = (),
    more: Callable[[str, str], Sequence[Draft]] | None = None,
    named: str = "",
) -> str:
    """Freeze a plan into the log and ask for it to be executed.

    Arguments:
        incident: the incident it belongs to, by its full name; without one it opens its own.
        direct: Prefect is left out by wish.
        guard: looked at in the same transaction; what it raises comes out here, and nothing is created.
        first: what is recorded in front of it, such as what opens the incident that it belongs to.
        more: gives what is recorded behind it, from the names of its incident and of itself.
        named: the run's name, where it was given one before (`mimrun.app.launch_once`); it is made only once.

    Returns:
        the run's name.

    Raises:
        RunbookError: this version of the runbook ran before with other content.
        LockError: another run holds a resource that the plan needs.
        KillSwitchError: the kill switch is pulled.
        BreakerError: the last runs of the runbook failed.
        GateError: this person decides nothing: an auditor, or somebody who has left.
        RefusedError: the incident is closed; what takes a run of it back may still be launched.
        StoreError: the log cannot be written.
    """
    _check_launcher(home, identity)
    run = named or new_run()
    drafts = [*first, *_drafts(home, plan, identity, run, incident=incident, direct=direct)]
    check_launch(home, plan)

    def check(view: View) -> None:
        if named and summary_in(view, named).run:
            raise RefusedError(f"{named} was made already")
        _check_published(view, plan)
        _check_launch(view, plan)
        if incident and not plan.undo_of:
            check_open(view, incident)
        missing_locks(view, run, plan.locks)
        if guard is not None:
            guard(view)

    if more is not None:
        drafts += more(drafts[-1].inc, run)
    note_rules(home, identity.actor())
    home.store.append(drafts, guard=check)
    return run


def _check_launcher(home: Home, identity: Identity) -> None:
    """Refuse a launch by somebody of whom the people file says that they decide nothing."""
    if identity.actor().kind != "person":
        return  # the timer, which goes on also where nobody can read that file
    person = home.people().by_id.get(identity.person.id)
    if person is not None and (gone := why_not(person, home.clock())):
        raise GateError(f"{person.id} {gone}, and cannot launch a run; another person must")


def _drafts(
    home: Home, plan: Plan, identity: Identity, run: str, *, incident: str | None, direct: bool
) -> list[Draft]:
    """Give what a new run begins with: its incident where it opens one, its plan, and who asked for it."""
    actor = identity.actor()
    name = incident or new_incident(home.clock())
    ref = plan.runbook
    drafts = [] if incident else [Draft(actor, IncidentOpened(title=ref.title), inc=name)]
    frozen = PlanFrozen(
        digest=plan.digest,
        runbook=ref.name,
        version=ref.version,
        runbook_digest=ref.digest,
        title=ref.title,
        stage=ref.stage,
        risk=ref.risk,
    )
    of = "undo of " if plan.undo_of else "retry of " if plan.retry_of else ""
    created = RunCreated(
        plan=plan.digest,
        title=f"{of}{ref.title}",
        launched_by=identity.person.id,
        direct=direct,
        undo_of=plan.undo_of or "",
        retry_of=plan.retry_of or "",
        behalf=tuple(sorted(identity.behalf)),
    )
    blobs = [Blob("plan", plan.encode(), "plan")]
    if sources := plan.sources or _earlier_sources(home, plan):
        blobs.append(Blob("runbooks", canonical.encode(sources), "plan"))
    drafts.append(Draft(actor, frozen, inc=name, run=run, blobs=tuple(blobs)))
    drafts.append(Draft(actor, created, inc=name, run=run))
    return drafts


def _earlier_sources(home: Home, plan: Plan) -> Mapping[str, str]:
    """Give the runbooks of the run that a plan takes back or repeats; none where they were erased."""
    run = plan.undo_of or plan.retry_of
    for entry in home.store.entries(run=run, kinds={Kind.PLAN_FROZEN}) if run else ():
        with suppress(ErasedError):
            sources: Mapping[str, str] = json.loads(home.store.blob(entry, "runbooks") or b"{}")
            return sources
    return {}


def check_launch(home: Home, plan: Plan, *, locks: bool = True) -> None:
    """Refuse a launch that would be refused, before anybody reads a plan.

    Arguments:
        locks: also where another run holds a lock; else that is waited for.

    Raises:
        KillSwitchError: the kill switch is pulled.
        BreakerError: the last runs of the runbook failed.
        LockError: another run holds a resource that the plan needs.
    """
    refuse_while_pulled(home)
    _check_launch(home.store, plan)
    if locks:
        missing_locks(home.store, "", plan.locks)


def check_published(home: Home, plan: Plan) -> None:
    """Refuse a runbook version that ran before with other content.

    Raises:
        RunbookError: it did.
    """
    _check_published(home.store, plan)


def _check_published(view: Store | View, plan: Plan) -> None:
    for ref in (plan.runbook, *(node.runbook for node in plan.walk() if isinstance(node, PlannedInclude))):
        key = f"{ref.name}@{ref.version}"
        known = view.projection(PublishedVersions.name, key).decode()
        library.check_published(ref.name, ref.version, ref.digest, {key: known} if known else {})


def _check_launch(view: Store | View, plan: Plan) -> None:
    pulled = pulled_in(view)
    if pulled:
        raise KillSwitchError(f"{pulled}; `mimrun kill-switch show` says how it is lifted")
    check_breaker(view, plan)


def check_open(view: Store | View, incident: str) -> None:
    """Refuse a launch in an incident that is closed.

    Raises:
        RefusedError: it is.
    """
    if incident_in(view, incident).status == "closed":
        raise RefusedError(
            f"{incident} is closed: open it again with `mimrun incident reopen {incident} --reason …`, or launch"
            " without --incident, which opens another"
        )


def describe(view: RunView) -> str:
    """Say in one line where a run stands and what it needs."""
    summary = view.summary
    at = f" at step {summary.waits_at}" if summary.waits_at else ""
    why = f": {summary.reason}" if summary.reason else ""
    return f"it is {view.status}{at}{why}"


def require_incident(home: Home, incident: str) -> None:
    """See that an incident is on record.

    Raises:
        InputError: it is not.
    """
    if next(home.store.entries(inc=incident), None) is None:
        raise InputError(f"the log has no incident {incident!r}; `mimrun incident list` shows them")


def list_runs(home: Home) -> list[RunView]:
    """Give every run, the newest first."""
    newest = sorted(_summaries(home), key=lambda summary: summary.first_seq, reverse=True)
    return [_view(home, summary) for summary in newest]


def find_run(home: Home, name: str) -> RunView:
    """Give one run by its name, the beginning of its name, or `latest`.

    Raises:
        InputError: there is none, or more than one begins so.
    """
    if name == "latest":
        newest = max(_summaries(home), key=lambda summary: summary.first_seq, default=None)
        found = [newest] if newest else []
    else:
        wanted = name if name.startswith("run-") else f"run-{name}"
        exact = RunSummary.decode(home.store.projection(RunSummaries.name, wanted))
        found = [exact] if exact.run else list(_summaries(home, wanted))
    if len(found) == 1:
        return _view(home, found[0])
    if found:
        raise InputError(f"{name!r} is the beginning of {', '.join(s.run for s in found[:5])}; write more")
    known = ", ".join(view.summary.run for view in list_runs(home)[:5]) or "none yet"
    raise InputError(f"no run {name!r}; the last ones are: {known}")


def _summaries(home: Home, prefix: str = "") -> Iterator[RunSummary]:
    for _, state in home.store.projections(RunSummaries.name, prefix):
        summary = RunSummary.decode(state)
        if summary.run:
            yield summary


def _view(home: Home, summary: RunSummary) -> RunView:
    """Look whether somebody executes a run; nobody executes one that is over."""
    return RunView(summary, summary.status not in TERMINAL and home.leases.is_held(summary.run))


def known_run(home: Home, run: str, known: Known | None = None) -> Known:
    """Give the state and the plan of a run: what is known already, else as the log has them."""
    return known or Known(load_state(home, run), load_plan(home, run))


def load_state(home: Home, run: str) -> RunState:
    """Fold a run's entries into its state."""
    return fold(home.store.entries(run=run))


def plan_erased(home: Home, summary: RunSummary) -> int:
    """Give the entry that says that a run's frozen plan was erased; 0 where it was not."""
    key = key_of(summary.incident, summary.plan_seq)
    return Erasure.decode(home.store.projection(Erasures.name, key)).applied.get("plan", 0)


def load_plan(home: Home, run: str) -> Plan:
    """Read a run's frozen plan, and check that it is the one that was frozen.

    Raises:
        ErasedError: two people had it erased.
        TamperError: it is not.
    """
    for entry in home.store.entries(run=run, kinds={Kind.PLAN_FROZEN}):
        assert isinstance(entry.body, PlanFrozen)
        plan = Plan.frozen(home.store.blob(entry, "plan") or b"", entry.body.digest)
        if plan is None:
            raise TamperError(
                f"entry {entry.seq}: the stored plan is not the one that was frozen; nothing was done"
            )
        return plan
    raise RunError(f"run {run} has no plan in the log")
