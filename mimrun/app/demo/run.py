"""A run of the demo: asked for, decided about and followed by the same use cases as on the command line."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Final, Protocol

from mimrun.app.decisions import PendingGate, attest, decide, pending_gate
from mimrun.app.demo.console import ConsoleDoor
from mimrun.app.demo.stage import CHANGE_MANAGER, SERVICE_DESK, Stage
from mimrun.app.execution import execute_run
from mimrun.app.following import RESTING, Follower, Seen
from mimrun.app.home import Home
from mimrun.app.identity import identify
from mimrun.app.launching import Launcher, hand_over
from mimrun.app.runs import create_run
from mimrun.errors import GateError, RunError
from mimrun.log.entry import LogEntry
from mimrun.run.record.state import RunState
from mimrun.run.record.transitions import RunStatus
from mimrun.runbook.plan import Plan

_LOOK_S: Final = 0.1
_GRACE_LOOKS: Final = 50
"""So many looks at a run that nobody executes, until this process takes it over."""
_TRIES: Final = 3


class Narrator(Protocol):
    """Whoever tells the story: a terminal, or nobody."""

    def scene(self, title: str) -> None:
        """A new part of the story begins."""

    def tell(self, text: str) -> None:
        """Say a few sentences."""

    def command(self, who: str, words: str) -> None:
        """Show what a person would type at this point."""

    def plan(self, plan: Plan) -> None:
        """Show a plan, as the responder sees it."""

    def gate(self, pending: PendingGate) -> None:
        """Show what a gate would let through, as the approver sees it."""

    def seen(self, seen: Seen) -> None:
        """Show an entry of the log as it is written."""

    def answer(self, text: str, *, ok: bool) -> None:
        """Show what a program answered, and whether that is as it should be."""

    def busy(self, text: str) -> AbstractContextManager[object]:
        """Say that something takes a moment."""


def launch(home: Home, stage: Stage, narrator: Narrator, plan: Plan, incident: str | None = None) -> DemoRun:
    """Ask for a run as the responder.

    Arguments:
        incident: the incident it belongs to; without one it opens its own.
    """
    identity = identify(home.people(), None)
    direct = stage.engine.launcher is None
    name = create_run(home, plan, identity, incident=incident, direct=direct)
    return DemoRun(home, stage, narrator, plan, name)


class DemoRun:
    """One run on the demo's stage.

    Arguments:
        home: the demo's home, opened.
        stage: gives the engine.
        narrator: shows the run.
        plan: what it does.
        name: the run's.
    """

    def __init__(self, home: Home, stage: Stage, narrator: Narrator, plan: Plan, name: str) -> None:
        self.home, self.plan, self.name = home, plan, name
        self._engine, self._narrator = stage.engine, narrator
        self._follower = Follower(home, name)
        self._epoch = 0

    @property
    def state(self) -> RunState:
        """Where the run stands, as far as it was followed."""
        return self._follower.state

    def entries(self) -> list[LogEntry]:
        """Give everything that the log has about the run."""
        return list(self.home.store.entries(run=self.name))

    def go_on(self) -> RunState:
        """Have the run executed and show it, until it ends or waits for a person."""
        launcher: Launcher | None = self._engine.launcher if self._engine.wait(5) else None
        launched = hand_over(launcher, self.name, direct=launcher is None, patience_ms=5000)
        if launched.mode == "prefect" and self._watch(self._is_held):
            return self._rest()
        reason = self._engine.why_not if launcher is None else launched.reason
        for _ in range(_TRIES):
            self._execute(reason or "the engine let go of the run")
            # The server's worker may have been quicker: then it is watched as well.
            if self._is_at_rest() or self._watch(self._is_held):
                return self._rest()
        raise RunError(f"{self.name} was left {self.state.status}; go on with `mimrun resume`")

    def pass_gate(self, door: ConsoleDoor | None = None, *, interactive: bool = False) -> None:
        """Have the change manager decide, and go on; where the run does not wait at a gate, do nothing.

        Arguments:
            door: of the console, where somebody else may decide there.
            interactive: somebody else decides, in another terminal.
        """
        if self.state.waits_on != "gate":
            return
        tell = self._narrator
        tell.scene("The change manager decides")
        command = f"mimrun approve {self.name} --as {CHANGE_MANAGER} --home {self.home.settings.home}"
        if interactive:
            tell.tell("The run waits in the log. Be the change manager: in a second terminal, type")
            tell.command(CHANGE_MANAGER, command)
            if door is not None:
                tell.tell(
                    f"or open {door.url}/runs/{self.name} in a browser, and sign in as {CHANGE_MANAGER} with the"
                    f" password {door.password.reveal()}"
                )
            self._await_decision()
        else:
            tell.tell(f"The responder may not approve what they asked for; mimrun says: {self._refused()}.")
            tell.command(CHANGE_MANAGER, command)
            tell.gate(self._approve())
            tell.tell(
                "One person at this keyboard plays both, and the log says so: the responder is who the operating"
                " system knows, the change manager is only claimed."
            )
        self.go_on()

    def _refused(self) -> str:
        """Try to approve as the responder; gives the words of the refusal.

        Raises:
            RunError: it was not refused.
        """
        pending = pending_gate(self.home, self.name)
        identity = identify(self.home.people(), None)
        try:
            decide(self.home, pending, identity, "approved", digest=pending.request.digest)
        except GateError as exc:
            return str(exc)
        raise RunError(f"{self.name}: {identity.person.id} could approve a run of their own")

    def _approve(self) -> PendingGate:
        """Agree at the gate, as the change manager, to exactly what was shown."""
        pending = pending_gate(self.home, self.name)
        identity = identify(self.home.people(), CHANGE_MANAGER)
        decide(self.home, pending, identity, "approved", digest=pending.request.digest)
        return pending

    def _await_decision(self) -> None:
        """Wait until a person has decided at the gate from another terminal."""
        with self._narrator.busy("waiting for the change manager; Ctrl-C ends the demo"):
            while self.state.status is RunStatus.WAITING:
                for seen in self._follower.news(_LOOK_S):
                    self._narrator.seen(seen)
                    if seen.entry.kind == "gate.decided":
                        return

    def sign(self, evidence: dict[str, str]) -> str:
        """Attest the manual step as the service desk; gives the step's name."""
        identity = identify(self.home.people(), SERVICE_DESK)
        return attest(self.home, self.name, identity, evidence).name

    def _rest(self) -> RunState:
        self._epoch = self.state.epoch
        return self.state

    def _execute(self, reason: str) -> None:
        errors: list[BaseException] = []

        def work() -> None:
            try:
                execute_run(self.home.settings, self.name, reason=reason)
            except BaseException as exc:  # noqa: BLE001 - raised again below, in the thread that is watched
                errors.append(exc)

        worker = threading.Thread(target=work, name="executor")
        worker.start()
        self._watch(worker.is_alive, grace=1)
        worker.join()
        for seen in self._follower.news(0.0):
            self._narrator.seen(seen)
        if errors:
            raise errors[0]

    def _watch(self, executing: Callable[[], bool], *, grace: int = _GRACE_LOOKS) -> bool:
        """Show the run until it rests under a worker that came after the last rest.

        Returns:
            False when nobody has been executing it for a while.
        """
        idle = 0
        while True:
            held = executing()
            found = self._follower.news(_LOOK_S)
            for seen in found:
                self._narrator.seen(seen)
            if self._is_at_rest():
                return True
            idle = 0 if held or found else idle + 1
            if idle > grace:
                return False

    def _is_at_rest(self) -> bool:
        """Say whether it rests, under somebody who took it after its last rest."""
        return self.state.epoch > self._epoch and self.state.status in RESTING

    def _is_held(self) -> bool:
        return self.home.leases.is_held(self.name)
