"""The journal: how a worker writes its run into the incident log, and keeps the state in step with it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence

from mimrun.connector import Effect
from mimrun.errors import LeaseError, RefusedError
from mimrun.log.entry import Actor, Blob, Draft, LogEntry
from mimrun.log.kinds import Body, Kind, LockReleased, RunWaiting, StepEvidence, StepIntent, StepOutcome
from mimrun.log.store import RunStore, View
from mimrun.run.hold.killswitch import pulled_in
from mimrun.run.hold.lease import Lease
from mimrun.run.hold.lock import locks_of_change, lost_lock
from mimrun.run.hold.stop import Halt, halt_of
from mimrun.run.record.fold import apply
from mimrun.run.record.state import RunState
from mimrun.run.record.summary import check_epoch, summary_in
from mimrun.run.record.wish import Level, Wish


class Journal:
    """Writes entries of one run as one worker.

    Every entry is conditional on the worker's epoch: once another worker has taken over, nothing that
    this one writes can change the run any more. An outcome that comes too late is kept as evidence.

    Arguments:
        store: the log.
        state: the run's state; every entry that is written is applied to it.
        lease: the right to execute the run.
        actor: the worker.
        locks: what the run must hold to change anything.
        keep: records what comes when this worker, and its log, are gone.
    """

    def __init__(
        self,
        store: RunStore,
        state: RunState,
        lease: Lease,
        actor: Actor,
        *,
        locks: Sequence[str] = (),
        keep: Callable[[Draft], object] | None = None,
    ) -> None:
        self.store = store
        self.state = state
        self.lease = lease
        self.actor = actor
        self._locks = tuple(locks)
        self._keep = keep or (lambda draft: store.append([draft]))
        self._held: dict[int, list[Draft]] = {}
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
        """Keep a draft that proves nothing by itself until this thread writes the next one, and save an append."""
        with self._lock:
            self._held.setdefault(threading.get_ident(), []).append(draft)

    def write(self, *drafts: Draft) -> tuple[LogEntry, ...]:
        """Record drafts durably, all or none, behind those that were held, and apply them to the state.

        The same transaction refuses what does not hold any more, however shortly before that came about:

        1. No other worker has taken over.
        2. An intent: nobody asked for the run to stop, and the kill switch is not pulled.
        3. The intent of a change: nobody has said something at a gate that this worker does not know yet, and the
           run holds its locks, with the generations that it took.
        4. A rest, other than in doubt: nobody asked for the end; of a pause: nobody took it back.

        What ends the run lets go of its locks with it.

        Raises:
            LeaseError: (1) does not hold.
            Halt: (2), (3) or (4) does not hold.
            StoreError: the log cannot be written.
        """
        run, epoch = self.state.run, self.lease.epoch
        if not self.lease.held():
            self._keep_evidence(drafts)
            raise LeaseError(f"run {run}: this worker has let go of its lease, or has lost it")
        with self._lock:
            held = self._held.pop(threading.get_ident(), [])
        ends = [self.draft(body) for body in self._releases()] if _is_among(Kind.RUN_ENDED, drafts) else []
        halts: list[Halt] = []

        def guard(view: View) -> None:
            check_epoch(view, run, epoch)
            for draft in drafts:
                halt = self._against(view, draft)
                if halt is not None:
                    halts.append(halt)
                    raise RefusedError(halt.reason)

        try:
            entries = self.store.append([*held, *drafts, *ends], guard=guard)
        except LeaseError:
            self._keep_evidence(drafts)
            raise
        except RefusedError as exc:
            if halts and halts[0].waits == "again":
                self._hear()
            raise (halts[0] if halts else exc) from exc
        with self._lock:
            for entry in entries:
                apply(self.state, entry)
        return entries[len(held) :]

    def _hear(self) -> None:
        """Take up what people have said at gates while this worker was at work."""
        found = self.store.entries(run=self.state.run, after=self.state.decided, kinds={Kind.GATE_DECIDED})
        with self._lock:
            for entry in found:
                if entry.seq > self.state.decided:
                    apply(self.state, entry)

    def _against(self, view: View, draft: Draft) -> Halt | None:
        """Say what stands against an entry at this very moment; None where nothing does."""
        match draft.body:
            case StepIntent() as body:
                now = summary_in(view, self.state.run)
                wish = now.wish
                if wish.level < Level.CANCEL and (pulled := pulled_in(view)):
                    wish = Wish(Level.KILL_SWITCH, pulled)
                if wish.level:
                    return halt_of(wish)
                if body.effect is Effect.READ:
                    return None
                if now.decided > self.state.decided:
                    return Halt("somebody has taken an approval back", waits="again")
                needed = locks_of_change(self._locks, draft.target)
                if not needed:
                    return None
                lost = lost_lock(view, self.state.run, self.state.locks, needed)
                return Halt(lost, waits="lock") if lost else None
            case RunWaiting(on=on) if on != "doubt":
                wish = summary_in(view, self.state.run).wish
                if on == "pause" and wish.level is Level.NONE:
                    return Halt("somebody asked for the run to go on")
                # Somebody has just asked for the end: what waits for people would not come to it by itself.
                return halt_of(wish) if wish.level >= Level.CANCEL else None
            case _:
                return None

    def _releases(self) -> list[LockReleased]:
        """Give what lets go of every lock that is still ours."""
        locks = sorted(self.state.locks.items())
        lost = [name for name, _ in locks if lost_lock(self.store, self.state.run, self.state.locks, [name])]
        return [LockReleased(resource=name, generation=n) for name, n in locks if name not in lost]

    def keep_late(self, draft: Draft) -> None:
        """Keep what a connector said when nobody waited for it any longer, also when this worker is gone."""
        self._keep(draft)

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


def _is_among(kind: Kind, drafts: Iterable[Draft]) -> bool:
    return any(draft.kind is kind for draft in drafts)
