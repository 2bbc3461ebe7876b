"""Looks: asking a target what became of an attempt, and ending what one whose worker is gone still does."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Final, assert_never

from mimrun.catalog import Catalog
from mimrun.connector import (
    Action,
    AnyConnector,
    Call,
    Effect,
    Failed,
    Finding,
    Ok,
    Outcome,
    Probed,
    Refused,
    Unknown,
)
from mimrun.output import Output
from mimrun.run.cell.connections import Connections
from mimrun.run.cell.watchdog import Left
from mimrun.run.cell.work import NOT_TOLD, Recording, Work, may_be_told
from mimrun.run.hold.stop import Stop
from mimrun.run.journal import Journal
from mimrun.run.record.key import idempotency_key
from mimrun.secret import Masker

PROBE_PAUSES_S: Final = (0.0, 1.0, 5.0)
"""How long to wait before each look of a probe."""

LOOK_REST_S: Final = 5.0
"""A look that leaves less of its time than this has waited for the target; another one would only wait again."""

END_S: Final = 15.0
"""So long a connector may take to end what a dead worker has left."""


class Looks:
    """Asks targets about attempts.

    Arguments:
        journal: where findings go.
        connections: the run's open connectors.
        recording: makes the entries.
        catalog: the action types.
        masker: takes secrets out of everything that is recorded.
        stop: ends waiting.
        clock: the present moment, UTC.
    """

    def __init__(
        self,
        journal: Journal,
        connections: Connections,
        recording: Recording,
        *,
        catalog: Catalog,
        masker: Masker,
        stop: Stop,
        clock: Callable[[], datetime],
    ) -> None:
        self._journal, self._connections, self._recording = journal, connections, recording
        self._catalog, self._masker, self._stop, self._clock = catalog, masker, stop, clock

    def end(self, work: Work) -> str:
        """End what an attempt whose worker is gone still does, before anybody asks what came of it.

        Returns:
            in words what is proven of that; "" where a look does it, nothing can be left, or an abort waits for nobody.
        """
        action = self._catalog.action(work.call.action).model_validate(work.call.args)
        if self._stop.aborted_for() or action.effect_class() is Effect.READ:
            return ""
        name, target = work.call.action, work.key.target
        try:
            connector: AnyConnector = self._connections.take(name, target)
        except Refused as exc:
            return f"whether it goes on is not known: {exc}"
        if connector.ends_in_probe and work.call.effect is Effect.PROBE:
            self._connections.give_back(name, target, connector)
            return ""
        call = self.call(work, Output(self._masker), self._journal.state.cell(work.key).attempts)
        call = replace(call, deadline=min(call.deadline, time.monotonic() + END_S))
        said = self._connections.watch(
            lambda: connector.end(action, call),
            call,
            self._stop,
            late=lambda _: connector.close(),
            ends=False,
        )
        if isinstance(said, Left):
            self._connections.leave(connector)
            return f"whether it goes on is not known: {said.reason}"
        self._connections.give_back(name, target, connector)
        return said

    def probe(self, work: Work, intent: int, lost: Unknown, *, left: bool) -> Outcome:
        """Ask the target what became of an intent.

        Arguments:
            left: the attempt may still be going on in this process, so that "not there" proves nothing.
        """
        action = self._catalog.action(work.call.action).model_validate(work.call.args)
        found = Probed(Finding.UNKNOWN, "the probe was not asked")
        for pause in PROBE_PAUSES_S:
            self._stop.wait(pause)
            if self._stop.aborted_for():
                return Unknown(f"{lost.reason}; aborted before a probe could tell")
            found, enough = self._look(work, action)
            if left and found.finding is Finding.NOT_APPLIED:
                found = replace(found, finding=Finding.UNKNOWN, reason=f"not there yet: {found.reason}")
            self._journal.write(self._recording.probed(work, intent, found))
            match found.finding:
                case Finding.APPLIED:
                    return may_be_told(work, _as_probed(lost, found))
                case Finding.NOT_APPLIED:
                    return Failed(
                        f"{lost.reason}; a probe proves that nothing happened: {found.reason}", clean=True
                    )
                case Finding.UNKNOWN:
                    if enough:
                        break
                case _:
                    assert_never(found.finding)
        return Unknown(f"{lost.reason}; a probe cannot tell: {found.reason}")

    def _look(self, work: Work, action: Action) -> tuple[Probed, bool]:
        """Ask once; say also whether that is enough, as another look would find nothing else.

        It is enough when the look was told to end the work it finds, and when it has waited for the work
        as long as the step may take.
        """
        name, target = work.call.action, work.key.target
        try:
            connector: AnyConnector = self._connections.take(name, target)
        except Refused as exc:
            return Probed(Finding.UNKNOWN, str(exc)), False
        cell = self._journal.state.cell(work.key)
        begun = self._journal.store.entry(cell.intent).ts
        age = (self._clock() - begun).total_seconds()
        call = replace(self.call(work, Output(self._masker), cell.attempts), age=age)
        # A connector that does not end what it finds is not told: it would only break off its look.
        ends = connector.ends_in_probe
        if ends and self._stop.ends_work():
            call.stop.set()
        found = self._connections.watch(
            lambda: connector.probe(action, call),
            call,
            self._stop,
            late=lambda _: connector.close(),
            ends=ends,
        )
        enough = call.stop.is_set() or call.left() < min(LOOK_REST_S, work.options.timeout_ms / 2000)
        if isinstance(found, Left):
            self._connections.leave(connector)
            return Probed(Finding.UNKNOWN, found.reason), enough
        self._connections.give_back(name, target, connector)
        return (replace(found, reason=NOT_TOLD, data={}) if work.options.no_log else found), enough

    def call(self, work: Work, output: Output, attempt: int) -> Call:
        """Give the circumstances of an attempt of a cell."""
        return Call(
            key=idempotency_key(self._journal.state.run, work.key),
            deadline=time.monotonic() + work.options.timeout_ms / 1000,
            output=output,
            become=work.options.become,
            environment=work.options.environment,
            attempt=attempt,
            effect=work.call.effect,
        )


def _as_probed(lost: Unknown, found: Probed) -> Outcome:
    """Give the outcome of an action that happened and whose answer was lost."""
    if isinstance(found.outcome, Failed):
        return replace(found.outcome, reason=f"{lost.reason}; a probe found: {found.outcome.reason}")
    return found.outcome or Ok(changed=True, data=found.data)
