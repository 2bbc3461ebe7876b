"""Runs of small plans in a real home folder with a real log."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from builders.world import WORLD

from mimrun.app.decisions import decide, pending_gate, request_cancel, resolve
from mimrun.app.execution import Verdict, execute_run
from mimrun.app.home import Home, lay_home, open_home
from mimrun.app.identity import Identity
from mimrun.app.runs import create_run, load_state
from mimrun.catalog import Catalog
from mimrun.gate.people import Person
from mimrun.log.proof.verify import verify
from mimrun.run.record.state import CellKey, RunState
from mimrun.runbook.plan import Plan
from mimrun.settings import Settings

PEOPLE = """\
people:
  responder: {roles: [responder]}
  alex: {roles: [change_manager, service_desk]}
  billie: {roles: [change_manager]}
"""


def person(name: str, *roles: str) -> Identity:
    """Give somebody who acts."""
    return Identity(Person(name, name, frozenset(roles)), "os-user")


RESPONDER = person("responder", "responder")
ALEX = person("alex", "change_manager", "service_desk")
BILLIE = person("billie", "change_manager")


class Bench:
    """A home folder, a world, and the runs made in them.

    Arguments:
        folder: where both are; it exists.
        catalog: the connectors that runs have.
    """

    def __init__(self, folder: Path, catalog: Catalog = WORLD) -> None:
        self.catalog = catalog
        self.settings = Settings(home=folder / "home")
        self.world = folder / "world"
        lay_home(self.settings)
        # Whole at once: several processes may make a bench of one folder, and read what the others write.
        draft = self.settings.people.with_name(f".people.{os.getpid()}")
        draft.write_text(PEOPLE)
        draft.replace(self.settings.people)

    @contextmanager
    def home(self) -> Iterator[Home]:
        """Open the home with the world as its only connector."""
        with open_home(self.settings, catalog=self.catalog) as home:
            yield home

    def create(self, plan: Plan) -> str:
        """Ask for a plan to be executed, as the responder."""
        with self.home() as home:
            return create_run(home, plan, RESPONDER)

    def execute(self, run: str) -> Verdict:
        """Execute a run, or go on with it."""
        return execute_run(self.settings, run, catalog=self.catalog)

    def run(self, plan: Plan) -> tuple[str, Verdict]:
        """Create and execute."""
        run = self.create(plan)
        return run, self.execute(run)

    def state(self, run: str) -> RunState:
        """Fold the run's log."""
        with self.home() as home:
            return load_state(home, run)

    def approve(self, run: str, who: Identity = ALEX) -> None:
        """Approve the gate that the run waits at."""
        with self.home() as home:
            pending = pending_gate(home, run)
            decide(home, pending, who, "approved", digest=pending.request.digest)

    def settle(self, run: str, key: CellKey, *, applied: bool) -> None:
        """Say, as the responder, what became of a cell in doubt."""
        with self.home() as home:
            resolve(
                home,
                run,
                RESPONDER,
                step=key.step,
                target=key.target,
                resolution="applied" if applied else "not_applied",
                reason="looked",
            )

    def cancel(self, run: str) -> None:
        """Ask for the run to stop, as the responder."""
        with self.home() as home:
            request_cancel(home, run, RESPONDER, "enough")

    def is_intact(self) -> bool:
        """Verify the whole log."""
        with self.home() as home:
            return verify(home.store).ok

    def kinds(self, run: str) -> list[str]:
        """Give the kinds of the run's entries, in order."""
        with self.home() as home:
            return [entry.kind.value for entry in home.store.entries(run=run)]
