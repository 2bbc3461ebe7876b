"""Prefect's API server as a child process of the engine: started, watched, started again, and ended.

It listens on loopback behind a random password and keeps its SQLite database in mimrun's home.
"""

from __future__ import annotations

import http.client
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Final

from flows.environment import Rooms, server_environment
from flows.pulse import Health, Pulse
from flows.template import interface_folder, is_migrated, lay_template, prefect_version
from mimrun.errors import RunError

__all__ = ["ApiServer", "lay_template"]

PORT_WITHIN_S: Final = 20.0
RESTARTS: Final = 5
LIVED_WELL_S: Final = 600.0
"""A server that lived this long has its restarts back."""
HANGS_S: Final = 30.0
"""A server that was up and has not answered for so long is ended and started again."""
GRACE_S: Final = 3.0

_log = logging.getLogger("mimrun.engine.server")


class ApiServer:
    """The API server of one home.

    Arguments:
        rooms: where its database and password are.
        cache: folder for the database template and the web interface's files.
        busy: whether a run is being shown now.
    """

    def __init__(self, rooms: Rooms, cache: Path, busy: Callable[[], bool] = lambda: True) -> None:
        self._environ = dict(os.environ)
        self._rooms = rooms
        self._cache = cache
        self._process: subprocess.Popen[str] | None = None
        self._port = 0
        self._port_known = threading.Event()
        self._stop = threading.Event()
        # It must outlive every child: PR_SET_PDEATHSIG follows the thread that starts the process.
        self._keeper = threading.Thread(target=self._keep, name="prefect-server", daemon=True)
        self.pulse = Pulse(self._probe, busy)

    @property
    def url(self) -> str:
        """The API's address; the port stays the same when the server is started again."""
        return f"http://127.0.0.1:{self._port}/api"

    @property
    def health(self) -> Health:
        """What is known of it now."""
        return self.pulse.health

    @property
    def pid(self) -> int | None:
        """The server's process id, or None when there is none now."""
        process = self._process
        return process.pid if process is not None and process.returncode is None else None

    def start(self) -> None:
        """Start the server and learn its port; it answers a few seconds later (`pulse.wait_up`).

        Raises:
            RunError: it did not get as far as taking a port.
        """
        if not is_migrated(self._rooms):
            lay_template(self._rooms.home, self._cache)
        self._keeper.start()
        if not self._port_known.wait(PORT_WITHIN_S):
            self.stop()
            raise RunError(f"prefect's api server does not start; see {self._rooms.log}")
        self.pulse.start()

    def stop(self) -> None:
        """End the server; it is gone when this returns."""
        self._stop.set()
        self.pulse.stop()
        process = self._process
        if process is not None and process.returncode is None:
            process.terminate()
        if self._keeper.is_alive():
            self._keeper.join(GRACE_S)
        if process is not None and self._keeper.is_alive():
            process.kill()
            self._keeper.join()

    def _keep(self) -> None:
        left = RESTARTS
        while not self._stop.is_set():
            began = time.monotonic()
            code = self._live()
            if self._stop.is_set():
                return
            self.pulse.lost(f"prefect's api server ended with status {code}")
            left = RESTARTS if time.monotonic() - began > LIVED_WELL_S else left - 1
            if left < 0:
                _log.error("the api server ended %d times; not started again", RESTARTS + 1)
                return
            _log.warning("the api server ended with status %d; starting it again", code)
            self._stop.wait(min(2.0 ** (RESTARTS - left - 1) - 1, 30.0))

    def _live(self) -> int:
        """Start the process, see it through, and give its exit status."""
        migrated = is_migrated(self._rooms)
        environment = server_environment(self._rooms, self._environ, interface_folder(self._cache))
        environment["PREFECT_API_DATABASE_MIGRATE_ON_START"] = "false" if migrated else "true"
        command = [sys.executable, "-P", "-m", "flows.api", "serve", str(os.getpid()), str(self._port)]
        pipe = subprocess.PIPE
        with subprocess.Popen(
            command, env=environment, cwd="/", stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, text=True
        ) as process:
            if self._stop.is_set():
                process.kill()
            assert process.stdout is not None
            assert process.stderr is not None
            pump = threading.Thread(target=_pump, args=(process.stderr,), name="prefect-words", daemon=True)
            pump.start()
            line = process.stdout.readline().strip()
            if line.isdecimal():
                self._port = int(line)
                self._process = process
                self._port_known.set()
            code = self._see_through(process, migrated=migrated)
            pump.join(1)
        return code

    def _see_through(self, process: subprocess.Popen[str], *, migrated: bool) -> int:
        """Wait for the process's end; make the end when it was up and answers no more."""
        answered = time.monotonic()
        was_up = False
        while True:
            try:
                return process.wait(1)
            except subprocess.TimeoutExpired:
                pass
            if self.pulse.health.up:
                answered = time.monotonic()
                if not was_up and not migrated:
                    self._rooms.schema.write_text(prefect_version() + "\n", "utf-8")
                was_up = True
            elif was_up and time.monotonic() - answered > HANGS_S:
                _log.warning("the api server has not answered for %d s; ending it", HANGS_S)
                process.kill()

    def _probe(self) -> bool:
        """Ask for health, but never a stranger who has taken our port."""
        if self.pid is None:
            return False
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=1)
        try:
            connection.request("GET", "/api/health")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


def _pump(words: IO[str]) -> None:
    """Bring the server's complaints into the engine's log, which is bounded."""
    for line in words:
        _log.info("%s", line.rstrip()[:2000])
