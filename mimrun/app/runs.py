"""Runs: asked for, listed, looked at."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import JsonValue

from mimrun.app.home import Home
from mimrun.app.identity import Identity
from mimrun.app.naming import new_incident, new_run
from mimrun.errors import InputError, RunError, TamperError
from mimrun.log.entry import Blob, Draft
from mimrun.log.kinds import IncidentOpened, Kind, PlanFrozen, RunCreated
from mimrun.log.store import Store, View
from mimrun.run.lease import is_held
from mimrun.run.published import PublishedVersions
from mimrun.run.state import RunState, fold
from mimrun.run.summary import RunSummaries, RunSummary
from mimrun.run.transitions import RunStatus
from mimrun.runbook import library
from mimrun.runbook.plan import Plan


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
        shown: dict[str, JsonValue] = self.summary.model_dump(mode="json", exclude={"plan_seq", "first_seq"})
        return {**shown, "status": self.status}


def create_run(
    home: Home, plan: Plan, identity: Identity, *, incident: str | None = None, direct: bool = False
) -> str:
    """Freeze a plan into the log and ask for it to be executed.

    Arguments:
        incident: the incident it belongs to; without one it opens its own.
        direct: Prefect is left out by wish.

    Returns:
        the run's name.

    Raises:
        RunbookError: this version of the runbook ran before with other content.
        StoreError: the log cannot be written.
    """
    run, actor = new_run(), identity.actor()
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
    created = RunCreated(plan=plan.digest, title=ref.title, launched_by=identity.person.id, direct=direct)
    drafts.append(Draft(actor, frozen, inc=name, run=run, blobs=(Blob("plan", plan.encode(), "plan"),)))
    drafts.append(Draft(actor, created, inc=name, run=run))
    home.store.append(drafts, guard=lambda view: _check_published(view, plan))
    return run


def check_published(home: Home, plan: Plan) -> None:
    """Refuse a runbook version that ran before with other content.

    Raises:
        RunbookError: it did.
    """
    _check_published(home.store, plan)


def _check_published(view: Store | View, plan: Plan) -> None:
    ref = plan.runbook
    key = f"{ref.name}@{ref.version}"
    known = view.projection(PublishedVersions.name, key).decode()
    library.check_published(ref.name, ref.version, ref.digest, {key: known} if known else {})


def list_runs(home: Home) -> list[RunView]:
    """Give every run, the newest first."""
    summaries = (RunSummary.decode(state) for _, state in home.store.projections(RunSummaries.name))
    newest = sorted(summaries, key=lambda summary: summary.first_seq, reverse=True)
    return [RunView(summary, is_held(home.settings.locks, summary.run)) for summary in newest if summary.run]


def find_run(home: Home, name: str) -> RunView:
    """Give one run by its name, the beginning of its name, or `latest`.

    Raises:
        InputError: there is none, or more than one begins so.
    """
    runs = list_runs(home)
    if name == "latest" and runs:
        return runs[0]
    wanted = name if name.startswith("run-") else f"run-{name}"
    found = [view for view in runs if view.summary.run.startswith(wanted)]
    exact = [view for view in found if view.summary.run == wanted]
    if len(found) == 1 or exact:
        return (exact or found)[0]
    if found:
        raise InputError(
            f"{name!r} is the beginning of {', '.join(v.summary.run for v in found[:5])}; write more"
        )
    known = ", ".join(view.summary.run for view in runs[:5]) or "none yet"
    raise InputError(f"no run {name!r}; the last ones are: {known}")


def load_state(home: Home, run: str) -> RunState:
    """Fold a run's entries into its state."""
    return fold(home.store.entries(run=run))


def load_plan(home: Home, run: str) -> Plan:
    """Read a run's frozen plan, and check that it is the one that was frozen.

    Raises:
        TamperError: it is not.
    """
    for entry in home.store.entries(run=run, kinds={Kind.PLAN_FROZEN}):
        plan = Plan.decode(home.store.blob(entry, "plan") or b"{}")
        if not isinstance(entry.body, PlanFrozen) or plan.digest != entry.body.digest:
            raise TamperError(
                f"entry {entry.seq}: the stored plan is not the one that was frozen; nothing was done"
            )
        return plan
    raise RunError(f"run {run} has no plan in the log")
