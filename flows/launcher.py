"""How the command line wakes the engine, hands it runs, and puts it to rest.

Importing this imports nothing of Prefect: it is on the way of commands that must be quick.
"""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from flows.environment import Rooms
from flows.protocol import ask
from mimrun.canonical import Json
from mimrun.errors import RunError

LOOK_S: Final = 0.05
ENDS_WITHIN_S: Final = 15.0


@dataclass(frozen=True, slots=True)
class Status:
    """What the engine of a home is doing.

    Arguments:
        running: an engine answers.
        ready: it takes runs: Prefect is loaded and its API answers.
        pid: its process id; 0 where none runs.
        api_url: Prefect's API; the web interface is the same address without `/api`.
        version: Prefect's version.
        runs: what it executes now.
    """

    running: bool = False
    ready: bool = False
    pid: int = 0
    api_url: str = ""
    version: str = ""
    runs: tuple[str, ...] = ()


class PrefectLauncher:
    """The engine that drives runs through Prefect.

    Arguments:
        home: mimrun's home; one engine serves one home.
    """

    def __init__(self, home: Path) -> None:
        self._rooms = Rooms(home.absolute())

    def lay_template(self) -> bool:
        """Put a migrated Prefect database into the home, so that the engine wakes in seconds.

        Returns:
            False when one is there already.

        Raises:
            SettingsError: a folder cannot be used.
            RunError: Prefect could not make the database.
        """
        from flows.template import lay_template  # noqa: PLC0415 - 20 ms that only `mimrun init` needs

        return lay_template(self._rooms.home)

    def wake(self, idle_exit_s: int | None = None) -> None:
        """Start an engine if none answers; come back at once, before it is ready.

        Arguments:
            idle_exit_s: the engine ends after so many seconds without a run; None keeps it.

        Raises:
            SettingsError: the home cannot be used.
            RunError: no process can be started.
        """
        import subprocess  # noqa: PLC0415 - 10 ms that only a start needs

        if ask(self._rooms.home, {"do": "wake", "idle_exit": idle_exit_s}) is not None:
            return
        self._rooms.make()
        command = [sys.executable, "-P", "-m", "flows.engine", "--home", str(self._rooms.home)]
        command += [] if idle_exit_s is None else ["--idle-exit", str(idle_exit_s)]
        # The shell starts it in the background and ends: the engine is nobody's child who could leave a
        # zombie behind, and it is in a session of its own, out of the reach of this terminal.
        try:
            with self._rooms.log.open("ab") as words:
                self._rooms.log.chmod(0o600)
                subprocess.run(
                    ["/bin/sh", "-c", '"$@" &', "mimrun-engine", *command],
                    stdin=subprocess.DEVNULL,
                    stdout=words,
                    stderr=words,
                    cwd="/",
                    start_new_session=True,
                    check=True,
                )
        except (OSError, subprocess.CalledProcessError) as exc:
            raise RunError(f"the engine cannot be started: {exc}; run with --direct") from exc

    def ready(self) -> bool:
        """Say whether the engine takes a run now."""
        return self.status().ready

    def submit(self, run: str) -> bool:
        """Hand a run to the engine, which executes it or goes on with it.

        Returns:
            True when the engine took it; it then executes it whatever becomes of Prefect. False when no
            engine is there, or it is not ready; nothing has been done then.

        Raises:
            RunError: the engine may have taken it, but did not answer. A second execution would be
                refused by the run's lease, so asking for the run's status settles it.
        """
        if not self.ready():
            return False
        answer = ask(self._rooms.home, {"do": "execute", "run": run}, 5.0)
        if answer is None:
            raise RunError(f"the engine did not answer; see `mimrun status {run}` before going on")
        return answer.get("accepted") is True

    def up(self, wait_s: float) -> Status:
        """Start the engine if need be and wait until it is ready.

        Arguments:
            wait_s: give up after so many seconds.

        Raises:
            RunError: it is not ready by then, or ended.
        """
        self.wake(None)
        began = answered = time.monotonic()
        while True:
            status = self.status()
            now = time.monotonic()
            if status.ready:
                return status
            answered = now if status.running else answered
            if now - began > wait_s or now - answered > ENDS_WITHIN_S:
                state = "not ready" if status.running else "not running"
                raise RunError(f"the engine is {state}; see {self._rooms.log}, or run with --direct")
            time.sleep(LOOK_S)

    def down(self, *, force: bool = False) -> bool:
        """End the engine and its API server; both are proven gone when this returns.

        Arguments:
            force: end it although runs are being executed. `mimrun resume` goes on with them.

        Returns:
            False when no engine was running.

        Raises:
            RunError: runs are being executed, or it does not end.
        """
        answer = ask(self._rooms.home, {"do": "stop", "force": force}, 5.0)
        if answer is None:
            return False
        if answer.get("stopping") is not True:
            runs = ", ".join(_texts(answer.get("runs")))
            raise RunError(f"the engine is executing {runs}; wait, or `mimrun cancel` them, or force it")
        pids = [pid for pid in (answer.get("pid"), answer.get("server_pid")) if isinstance(pid, int)]
        until = time.monotonic() + ENDS_WITHIN_S
        while any(_lives(pid) for pid in pids):
            if time.monotonic() > until:
                raise RunError(f"the engine does not end (processes {pids}); see {self._rooms.log}")
            time.sleep(LOOK_S)
        return True

    def leave(self) -> bool:
        """Have the engine end as soon as it has left every run after the step that is under way; returns at once.

        Returns:
            False when no engine was running.
        """
        return ask(self._rooms.home, {"do": "leave"}, 5.0) is not None

    def status(self) -> Status:
        """Say what the engine is doing; everything is empty where none runs."""
        answer = ask(self._rooms.home, {"do": "ping"})
        if answer is None:
            return Status()
        pid = answer.get("pid")
        return Status(
            running=True,
            ready=answer.get("ready") is True,
            pid=pid if isinstance(pid, int) else 0,
            api_url=str(answer.get("prefect") or ""),
            version=str(answer.get("version") or ""),
            runs=_texts(answer.get("runs")),
        )


def _texts(value: Json) -> tuple[str, ...]:
    return tuple(str(item) for item in value) if isinstance(value, list) else ()


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return False  # the number has gone to another user's process
    return not _is_zombie(pid)


def _is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True
