"""Keeping up what a server needs beside itself: the warm engine and a worker, each started again when it ends."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from mimrun.app.launching import Launcher
from mimrun.app.program_log import Event, program_log
from mimrun.app.server.child import MODULE
from mimrun.errors import MimrunError
from mimrun.settings import Settings

LOOK_S: Final = 2.0
ENGINE_STAYS_S: Final = 60
"""So long an engine stays that no server looks after any more, for lack of anything to do."""
FIRST_PAUSE_S: Final = 1.0
LONGEST_PAUSE_S: Final = 60.0
LIVED_WELL_S: Final = 300.0
"""What lived for so long is started again at once when it ends."""

Part: TypeAlias = Literal["up", "starting", "down", "left out"]


@dataclass(slots=True)
class Pause:
    """How long is waited before something is started again: twice as long each time, unless it lived well.

    Arguments:
        monotonic: a clock in seconds.
    """

    monotonic: Callable[[], float] = time.monotonic
    began: float = 0.0
    next: float = 0.0
    length: float = FIRST_PAUSE_S

    def due(self) -> bool:
        """Say whether it is time to start it."""
        return self.monotonic() >= self.next

    def started(self) -> None:
        """Take note that it was started now."""
        self.began = self.monotonic()
        self.next = self.began + self.length
        self.length = min(self.length * 2, LONGEST_PAUSE_S)

    def lives(self) -> None:
        """Take note that it is there."""
        if self.monotonic() - self.began > LIVED_WELL_S:
            self.length = FIRST_PAUSE_S


class WorkerKeeper:
    """Keeps a worker process.

    Arguments:
        settings: of the home.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._process: subprocess.Popen[bytes] | None = None
        self._pause = Pause()

    @property
    def state(self) -> Part:
        """Whether it is there."""
        if self._process is None:
            return "starting"
        return "up" if self._process.poll() is None else "down"

    @property
    def pid(self) -> int:
        """Its process id; 0 where there is none."""
        return self._process.pid if self._process is not None and self._process.poll() is None else 0

    def look(self) -> None:
        """Start it where it is not there and the pause is over."""
        process = self._process
        if process is not None and process.poll() is None:
            self._pause.lives()
            return
        if not self._pause.due():
            return
        if process is not None:
            status = process.returncode
            program_log(self._settings).warning(Event.SERVER_CHILD_ENDED, child="worker", status=status)
            self._close(process)
        self._pause.started()
        command = [sys.executable, "-P", "-m", MODULE, "work", str(self._settings.home)]
        # What it writes there goes nowhere: it tells the program log. Its standard input tells it that we are gone.
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True
        )

    def leave(self) -> None:
        """Ask it to end after the steps that are under way."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()

    def wait(self, patience_s: float | None = None) -> bool:
        """Wait for its end; says whether it has ended."""
        if self._process is None:
            return True
        try:
            self._process.wait(patience_s)
        except subprocess.TimeoutExpired:
            return False
        self._close(self._process)
        return True

    def kill(self) -> None:
        """End it as a crash would."""
        if self._process is not None:
            self._process.kill()
            self.wait()

    @staticmethod
    def _close(process: subprocess.Popen[bytes]) -> None:
        if process.stdin is not None:
            process.stdin.close()


class EngineKeeper:
    """Keeps the warm engine: whoever finds one leaves it, and an own one ends when no server looks after it.

    Arguments:
        launcher: starts it.
    """

    def __init__(self, settings: Settings, launcher: Launcher) -> None:
        self._settings, self._launcher = settings, launcher
        self._pause = Pause()
        self._own = False
        self._state: Part = "starting"

    @property
    def state(self) -> Part:
        """Whether it takes runs, as it was seen last."""
        return self._state

    def look(self) -> None:
        """Start it where none answers and the pause is over; else let it know that it is needed."""
        try:
            status = self._launcher.status()
            self._state = "up" if status.ready else "starting" if status.running else "down"
            if status.running:
                self._pause.lives()
            elif not self._pause.due():
                return
            else:
                self._pause.started()
                self._own = True
                self._state = "starting"
            self._launcher.wake(ENGINE_STAYS_S)
        except (MimrunError, OSError) as exc:
            self._state = "down"
            program_log(self._settings).warning(Event.SERVER_ENGINE_FAILED, reason=str(exc))

    def leave(self) -> None:
        """Ask an own engine to end after the steps that are under way; one that was there before stays."""
        if self._own:
            self._try(self._launcher.leave)

    def gone(self) -> bool:
        """Say whether an own engine has ended."""
        return not self._own or not self._launcher.status().running

    def kill(self) -> None:
        """End an own engine although it executes runs."""
        if self._own:
            self._try(lambda: self._launcher.down(force=True))

    def _try(self, do: Callable[[], object]) -> None:
        try:
            do()
        except (MimrunError, OSError) as exc:
            program_log(self._settings).warning(Event.SERVER_ENGINE_FAILED, reason=str(exc))


class Household:
    """Everything that is kept up beside a server, looked after on a thread.

    Arguments:
        worker, engine: None where it is left out.
    """

    def __init__(self, worker: WorkerKeeper | None, engine: EngineKeeper | None) -> None:
        self.worker, self.engine = worker, engine
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._stay, name="household", daemon=True)

    def states(self) -> dict[str, Part]:
        """Say of each part how it stands."""
        return {
            "engine": self.engine.state if self.engine is not None else "left out",
            "worker": self.worker.state if self.worker is not None else "left out",
        }

    def begin(self) -> None:
        """Start everything, and look after it from here on."""
        self._thread.start()

    def end(self, hurry: Callable[[], bool]) -> None:
        """End everything in order: each run is left after the step that is under way.

        Arguments:
            hurry: says whether to wait no longer; what is cut off then is settled when the runs go on.
        """
        self._stop.set()
        self._thread.join(LOOK_S * 4)
        if self.worker is not None:
            self.worker.leave()
        if self.engine is not None:
            self.engine.leave()
        self._await(hurry)

    def _await(self, hurry: Callable[[], bool]) -> None:
        worker, engine = self.worker, self.engine
        while True:
            left = [
                part
                for part, gone in (
                    (worker, worker is None or worker.wait(0.1)),
                    (engine, engine is None or engine.gone()),
                )
                if part is not None and not gone
            ]
            if not left:
                return
            if hurry():
                for part in left:
                    part.kill()
                return
            time.sleep(0.05)

    def _stay(self) -> None:
        while True:
            for part in (self.worker, self.engine):
                if part is not None:
                    part.look()
            if self._stop.wait(LOOK_S):
                return
