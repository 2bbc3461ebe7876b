"""The journal: how a worker writes its run into the incident log, and keeps the state in step with it."""

from __future__ import annotations

import threading
from collections.abc import Iterable

from mimrun.errors import LeaseError, RefusedError
from mimrun.log.entry import Actor, Blob, Draft, LogEntry
from mimrun.log.kinds import Body, Kind, StepEvidence, StepOutcome
from mimrun.log.store import Store, View
from mimrun.run.fold import apply
from mimrun.run.lease import Lease
from mimrun.run.state import RunState
from mimrun.run.summary import check_epoch, check_not_cancelled


class Stopped(Exception):
    """Nothing new is begun: a person has asked for the run to stop. The message is the reason."""


class Journal:
    """Writes entries of one run as one worker.

    Every entry is conditional on the worker's epoch: once another worker has taken over, nothing that
    this one writes can change the run any more. An outcome that comes too late is kept as evidence.

    Arguments:
        store: the log.
        state: the run's state; every entry that is written is applied to it.
        lease: the right to execute the run.
        actor: the worker.
    """

    def __init__(self, store: Store, state: RunState, lease: Lease, actor: Actor) -> None:
        self.store = store
        self.state = state
        self.lease = lease
        self.actor = actor
        self._held: list[Draft] = []
        self._lock = threading.Lock()

    def draft(
        self, body: Body, *, step: str = "", target: str = "", attempt: int = 0, blobs: Iterable[Blob] = ()
    ) -> Draft:
        """Make a draft with everything that all entries of this worker have in common."""
        return Draft(
            actor=self.actor,
            body=body,
            inc=self.state.incident,
            run=self.state.run,
            step=step,
            target=target,
            attempt=attempt,
            epoch=self.lease.epoch,
            blobs=tuple(blobs),
        )

    def hold(self, draft: Draft) -> None:
        """Keep a draft that proves nothing by itself until the next one is written, and save an append."""
        with self._lock:
            self._held.append(draft)

    def write(self, *drafts: Draft) -> tuple[LogEntry, ...]:
        """Record drafts durably, all or none, behind those that were held, and apply them to the state.

        Raises:
            LeaseError: another worker has taken over.
            Stopped: an intent is among them, and a person has asked for the run to stop.
            StoreError: the log cannot be written.
        """
        run, epoch = self.state.run, self.lease.epoch
        if not self.lease.held():
            raise LeaseError(f"run {run}: this worker has let go of its lease")
        with self._lock:
            held, self._held = self._held, []
        begins = any(draft.kind is Kind.STEP_INTENT for draft in drafts)

        def guard(view: View) -> None:
            check_epoch(view, run, epoch)
            if begins:
                check_not_cancelled(view, run)

        try:
            entries = self.store.append([*held, *drafts], guard=guard)
        except LeaseError:
            self._keep_evidence(drafts)
            raise
        except RefusedError as exc:
            raise Stopped(str(exc)) from exc
        with self._lock:
            for entry in entries:
                apply(self.state, entry)
        return entries[len(held) :]

    def note(self, body: Body, *, step: str = "", target: str = "", blobs: Iterable[Blob] = ()) -> LogEntry:
        """Record one entry."""
        return self.write(self.draft(body, step=step, target=target, blobs=blobs))[0]

    def _keep_evidence(self, drafts: Iterable[Draft]) -> None:
        late = []
        for draft in drafts:
            if draft.kind is Kind.STEP_OUTCOME and isinstance(draft.body, StepOutcome):
                told = draft.body
                body = StepEvidence(
                    status=told.status, reason=told.reason, intent=told.intent, iteration=told.iteration
                )
                late.append(
                    self.draft(
                        body, step=draft.step, target=draft.target, attempt=draft.attempt, blobs=draft.blobs
                    )
                )
        if late:
            self.store.append(late)
