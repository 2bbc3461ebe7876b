"""Runs of the library's runbooks on real parts, with a responder, a change manager and a service desk."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from mimrun.app.decisions import attest, decide, pending_gate
from mimrun.app.execution import Verdict, execute_run
from mimrun.app.home import Home, lay_home, open_home
from mimrun.app.identity import Identity
from mimrun.app.plans import prepare_plan
from mimrun.app.replaying import against, redecide
from mimrun.app.runs import create_run, list_runs, load_plan, load_state
from mimrun.app.undo import plan_undo
from mimrun.gate.people import Person
from mimrun.log.entry import LogEntry
from mimrun.run.record.state import RunState
from mimrun.runbook.plan import Plan
from mimrun.settings import Settings

PEOPLE = """\
people:
  responder: {roles: [responder]}
  alex: {roles: [change_manager, service_desk]}
"""

RESPONDER = Identity(Person("responder", "responder", frozenset({"responder"})), "os-user")
ALEX = Identity(Person("alex", "alex", frozenset({"change_manager", "service_desk"})), "os-user")


class Rehearsal:
    """One home folder in which runbooks run on a real inventory.

    Arguments:
        home: opened.
        inventory: of the parts.
    """

    def __init__(self, home: Home, inventory: Path) -> None:
        self.home, self.inventory = home, inventory
        self.run = ""
        self.verdict = Verdict("refused", "nothing was executed yet", 5)

    def plan(self, runbook: str, *inputs: str) -> Plan:
        """Make the plan of a runbook of the library."""
        return prepare_plan(self.home, runbook, inputs, [self.inventory])

    def start(self, runbook: str, *inputs: str) -> RunState:
        """Run until it waits or ends."""
        return self.launch(self.plan(runbook, *inputs))

    def launch(self, plan: Plan) -> RunState:
        """Run a plan until it waits or ends."""
        self.run = create_run(self.home, plan, RESPONDER, direct=True)
        return self.go_on()

    def go_on(self) -> RunState:
        """Go on with the run until it waits or ends."""
        self.verdict = execute_run(self.home.settings, self.run, reason="a rehearsal")
        return self.state

    def approve(self) -> RunState:
        """Agree at the gate and go on."""
        pending = pending_gate(self.home, self.run)
        decide(self.home, pending, ALEX, "approved", digest=pending.request.digest)
        return self.go_on()

    def sign(self, who: Identity = ALEX, **evidence: str) -> RunState:
        """Attest the manual step and go on."""
        attest(self.home, self.run, who, evidence)
        return self.go_on()

    def undo(self) -> RunState:
        """Take the run back."""
        return self.launch(plan_undo(self.home, self.run))

    @property
    def state(self) -> RunState:
        """Where the run stands."""
        return load_state(self.home, self.run)

    def entries(self) -> list[LogEntry]:
        """Give what the log has about the run."""
        return list(self.home.store.entries(run=self.run))

    def finished(self) -> Mapping[str, str]:
        """Give how each step ended, by its name."""
        names = {node.path: node.name for node in self._plan_of_run().walk()}
        return {names[path]: word for path, word in self.state.finished.items()}

    def _plan_of_run(self) -> Plan:
        entry = next(e for e in self.entries() if e.kind == "plan.frozen")
        return Plan.decode(self.home.store.blob(entry, "plan") or b"{}")


@contextmanager
def rehearsal(folder: Path, inventory: Path) -> Iterator[Rehearsal]:
    """Open a fresh home in a folder."""
    settings = Settings(home=folder / "home", origin="rehearsal")
    lay_home(settings)
    settings.people.write_text(PEOPLE, "utf-8")
    with open_home(settings) as home:
        yield Rehearsal(home, inventory)
        for view in list_runs(home):
            replays_to_itself(home, view.summary.run)


def replays_to_itself(home: Home, run: str) -> None:
    """See that a run comes to the same again: decided by today's code, and by its own runbook of the library."""
    again = redecide(home, run)
    assert again.verdict == "same", (again.divergence, again.missing)
    plan = load_plan(home, run)
    if plan.undo_of or plan.retry_of:
        return
    tried = against(home, run, f"{plan.runbook.name}@{plan.runbook.version}")
    assert tried.verdict == "same", (tried.divergence, tried.changes)
    assert tried.changes is not None
    assert not tried.changes.changed, tried.changes.changed
