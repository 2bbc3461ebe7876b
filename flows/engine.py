"""The warm engine: a process that waits with Prefect loaded and executes the runs it is handed.

    python -m flows.engine --home HOME [--idle-exit SECONDS]

One for each home, whoever starts it. It keeps Prefect's API server as a child, or uses the API that
PREFECT_API_URL names. A run that Prefect does not start in time, or loses on the way, goes on directly.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from flows.pulse import Health
from flows.submission import Ending, Executor, Submission
from flows.template import prefect_version
from mimrun.canonical import Json

PATIENCE_S: Final = 3.0
"""How long a run that was handed in waits for Prefect to start it."""
LINGER_S: Final = 10.0
"""How long a run that is handed in again waits for Prefect to write down how it ended before."""
WAKES_WITHIN_S: Final = 60.0
"""An engine that has not become ready by then begins to count as idle."""
SETTLE_TRIES: Final = 5
LOOK_S: Final = 2.0
"""How often it looks for what was done for a time only and is to be taken back."""
RECONCILE_S: Final = 10.0
"""How often what Prefect shows is compared with the log."""

_log = logging.getLogger("mimrun.engine")


class Api(Protocol):
    """Prefect's API, whoever serves it."""

    @property
    def url(self) -> str:
        """Its address."""

    @property
    def pid(self) -> int | None:
        """The process id of our own server."""

    @property
    def health(self) -> Health:
        """What is known of it now."""


class Prefect(Protocol):
    """What the engine asks of the part that imports Prefect."""

    def drive(self, submission: Submission) -> None:
        """Drive a submission through a flow run on this thread; sets `submission.lost` where it failed.

        Raises:
            BaseException: Prefect failed; the submission may or may not have been performed.
        """

    def settle(self, run: str, name: str, ending: Ending) -> None:
        """Tell Prefect how a run ended that it has not seen to its end."""

    def reconcile(self, active: Callable[[str], bool], standing: Callable[[str], Ending | None]) -> None:
        """Correct what Prefect shows of runs that were killed, or went on without it."""


class Anchoring(Protocol):
    """What gives the log's checkpoints to places outside."""

    def look(self, *, shown: bool) -> None:
        """Begin to give what is due, beside everything else.

        Arguments:
            shown: Prefect is there to show it.
        """


@dataclass(slots=True)
class _Active:
    """A run in the hands of the engine."""

    submission: Submission
    again: bool = False


@dataclass(slots=True)
class _Unsettled:
    """A run of which Prefect has a wrong picture."""

    ending: Ending
    after: float
    tries: int = 0


class Engine:
    """Executes runs on threads, each through Prefect as long as Prefect is there.

    Arguments:
        idle_exit_s: it is idle for long enough after so many seconds without a run; None: never.
        clock: seconds, monotonic.
    """

    def __init__(self, idle_exit_s: int | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._idle_exit_s = idle_exit_s
        self._clock = clock
        self._executor: Executor | None = None
        self._lock = threading.Lock()
        self._active: dict[str, _Active] = {}
        self._tellers: dict[str, threading.Thread] = {}
        self._unsettled: dict[str, _Unsettled] = {}
        self._api: Api | None = None
        self._prefect: Prefect | None = None
        self._anchoring: Anchoring | None = None
        self._reconcile_after = self._look_after = 0.0
        self._idle_since = clock() + WAKES_WITHIN_S
        self._leaving = False
        self.stopping = threading.Event()

    # -- what it is asked

    def answer(self, question: Mapping[str, Json]) -> dict[str, Json]:
        """Answer one question of the command line."""
        match question.get("do"):
            case "ping":
                return self._describe()
            case "wake":
                self._stay_for(question.get("idle_exit"))
                return self._describe()
            case "execute":
                run = question.get("run")
                return self.accept(run) if isinstance(run, str) and run else _no("which run?")
            case "stop":
                return self.stop(force=question.get("force") is True)
            case "leave":
                return self.leave()
            case other:
                return _no(f"this engine does not know {other!r}; `mimrun down`, then try again")

    def accept(self, run: str) -> dict[str, Json]:
        """Take a run for execution and come back at once."""
        with self._lock:
            if self.stopping.is_set() or self._leaving:
                return _no("the engine is stopping")
            if not self._ready():
                return _no("prefect's api is not ready")
            active = self._active.get(run)
            if active is not None:
                # It may be about to wait for just what has happened now: it is looked at once more.
                active.again = True
                return {"accepted": True}
            self._begin(run)
        return {"accepted": True}

    def attach(self, api: Api) -> None:
        """Take note of the API before Prefect itself is loaded, to show its address."""
        with self._lock:
            self._api = api

    def connect(self, prefect: Prefect, executor: Executor) -> None:
        """Take Prefect into use: from now on, runs are accepted while the API answers."""
        with self._lock:
            self._prefect = prefect
            self._executor = executor
            self._idle_since = self._clock()
            self._reconcile_after = self._clock()

    def anchor_with(self, anchoring: Anchoring) -> None:
        """From now on, look whether checkpoints of the log are due outside."""
        self._anchoring = anchoring

    @property
    def busy(self) -> bool:
        """Whether a run is being executed."""
        return bool(self._active)

    @property
    def idle_enough(self) -> bool:
        """Whether nobody has needed it for as long as it was told to wait."""
        with self._lock:
            if self._active:
                return False
            if self._leaving:
                return True
            if self._idle_exit_s is None:
                return False
            return self._clock() - self._idle_since > self._idle_exit_s

    @property
    def stays(self) -> bool:
        """Whether it is kept: it does not end for having nothing to do."""
        return self._idle_exit_s is None

    def _stay_for(self, idle_exit_s: Json) -> None:
        """Somebody is about to need it: count anew, and never stay for less time than was promised."""
        with self._lock:
            self._idle_since = max(self._idle_since, self._clock())
            if not isinstance(idle_exit_s, int) or self._idle_exit_s is None:
                self._idle_exit_s = None
            else:
                self._idle_exit_s = max(self._idle_exit_s, idle_exit_s)

    def _describe(self) -> dict[str, Json]:
        api = self._api
        return {
            "ready": self._ready(),
            "prefect": api.url if api is not None else "",
            "pid": os.getpid(),
            "server_pid": api.pid if api is not None else None,
            "version": prefect_version(),
            "runs": sorted(self._active),
        }

    def _ready(self) -> bool:
        connected = self._prefect is not None and self._executor is not None
        return connected and self._api is not None and self._api.health.up

    def stop(self, *, force: bool) -> dict[str, Json]:
        """Begin to end, unless runs are being executed and force is not asked for."""
        with self._lock:
            if self._active and not force:
                return {"stopping": False, "runs": sorted(self._active)}
            self.stopping.set()
        return self._describe() | {"stopping": True}

    def leave(self) -> dict[str, Json]:
        """Take nothing new, leave each run after the step that is under way, and end then."""
        with self._lock:
            self._leaving = True
            executor = self._executor
        if executor is not None:
            executor.leave()
        return self._describe() | {"stopping": True}

    # -- what it does

    def _begin(self, run: str) -> None:
        self._active[run] = self._take(run)
        threading.Thread(target=self._see_through, args=(run,), name=f"run-{run}", daemon=True).start()

    def _take(self, run: str) -> _Active:
        assert self._executor is not None
        return _Active(Submission(run, self._executor))

    def _see_through(self, run: str) -> None:
        """Execute a run, once more if it was handed in again meanwhile, and let go of it."""
        while True:
            active = self._active[run]
            self._execute(active)
            ending = active.submission.ending
            with self._lock:
                waits = ending is not None and ending.status in {"waiting", "in_doubt"}
                if not (active.again and waits) or self.stopping.is_set() or self._leaving:
                    del self._active[run]
                    self._idle_since = self._clock()
                    return
                self._active[run] = self._take(run)

    def _execute(self, active: _Active) -> None:
        submission = active.submission
        before = self._tellers.pop(submission.run, None)
        if before is not None:
            before.join(LINGER_S)
        self._unsettled.pop(submission.run, None)
        teller = threading.Thread(
            target=self._drive, args=(submission,), name=f"prefect-{submission.run}", daemon=True
        )
        self._tellers[submission.run] = teller
        teller.start()
        if not submission.claimed.wait(PATIENCE_S):
            self._directly(submission, f"prefect did not start the run within {PATIENCE_S:.0f} s")
        submission.done.wait()

    def _drive(self, submission: Submission) -> None:
        """Drive a run through Prefect; whatever Prefect does, the run is done and done once."""
        try:
            assert self._prefect is not None
            self._prefect.drive(submission)
            reason = "prefect did not start the run"
        except BaseException as exc:  # noqa: BLE001 - a failure of Prefect is not a failure of the run
            reason = f"prefect failed: {type(exc).__name__}"
            submission.lost = submission.lost or reason
            _log.warning("run %s: %s: %s", submission.run, reason, exc)
        self._directly(submission, reason)
        submission.done.wait()
        if submission.error is not None:
            _log.error("run %s could not be executed", submission.run, exc_info=submission.error)
        if submission.lost and submission.ending is not None:
            self._unsettled[submission.run] = _Unsettled(submission.ending, self._clock())

    def _directly(self, submission: Submission, reason: str) -> None:
        try:
            if submission.perform(None, "direct", reason):
                submission.lost = submission.lost or reason
        except BaseException as exc:  # noqa: BLE001 - kept in submission.error and logged by the teller
            _log.debug("run %s: %s", submission.run, type(exc).__name__)

    # -- what it tells Prefect later

    def settle(self) -> None:
        """Tell Prefect, now that it is back, how the runs ended that it lost sight of."""
        if not self._ready() or self._prefect is None or self._executor is None:
            return
        for run, unsettled in list(self._unsettled.items()):
            if run in self._active or self._clock() < unsettled.after:
                continue
            unsettled.tries += 1
            unsettled.after = self._clock() + 2.0**unsettled.tries
            try:
                self._prefect.settle(run, self._executor.name(run), unsettled.ending)
            except Exception as exc:  # noqa: BLE001 - it is a courtesy to whoever looks at Prefect
                _log.warning("run %s: prefect cannot be told how it ended: %s", run, exc)
                if unsettled.tries < SETTLE_TRIES:
                    continue
            self._unsettled.pop(run, None)
        if self._clock() >= self._reconcile_after:
            self._reconcile_after = self._clock() + RECONCILE_S
            try:
                self._prefect.reconcile(self._is_told, self._executor.standing)
            except Exception as exc:  # noqa: BLE001 - as above
                _log.warning("what Prefect shows could not be compared with the log: %s", exc)

    def take_due(self) -> None:
        """Execute what is to be taken back by now."""
        if not self._ready() or self._executor is None or self._clock() < self._look_after or self._leaving:
            return
        self._look_after = self._clock() + LOOK_S
        try:
            for run in self._executor.due():
                self.accept(run)
        except Exception as exc:  # noqa: BLE001 - a worker does it, or this engine when it looks again
            _log.warning("what is to be taken back cannot be looked for: %s", exc)

    def anchor(self) -> None:
        """Give checkpoints of the log to places outside, where they are due; also while Prefect is away."""
        if self._anchoring is None or self.stopping.is_set():
            return
        try:
            self._anchoring.look(shown=self._ready())
        except Exception as exc:  # noqa: BLE001 - it is tried again, and a worker does it as well
            _log.warning("whether the log is to be anchored cannot be looked for: %s", exc)

    def _is_told(self, run: str) -> bool:
        """Whether Prefect is being told of a run anyway."""
        teller = self._tellers.get(run)
        return run in self._active or run in self._unsettled or (teller is not None and teller.is_alive())


def _no(reason: str) -> dict[str, Json]:
    return {"accepted": False, "reason": reason}


def main() -> None:
    """Run the engine until it is told to stop, is idle for too long, or its home is gone."""
    from flows import process  # noqa: PLC0415 - it imports this module

    process.end_now(process.main(sys.argv[1:]))


if __name__ == "__main__":
    main()
