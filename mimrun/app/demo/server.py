"""The demo's server: `mimrun serve` for the demo's home, which takes alerts, heeds rules and has the console."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Final

from mimrun.app.runbooks import LIBRARY_VARIABLE, library_folders
from mimrun.app.server.place import find_server
from mimrun.errors import LabError
from mimrun.lab import loopback
from mimrun.lab.asking import ask
from mimrun.lab.part import Program
from mimrun.settings import Settings

HOST: Final = "127.0.0.1"
PORT: Final = 8420
"""Where a person expects it; another one is taken where somebody else has it."""
READY: Final = 60.0
_ENTRY: Final = "from mimrun.cli import main; main()"


class DemoServer(Program):
    """A server of a home, with a worker; the engine is the demo's own.

    Arguments:
        folder: where its log and its records are.
        settings: of the home.
    """

    def __init__(self, folder: Path, settings: Settings) -> None:
        super().__init__(folder, "server")
        self._settings = settings
        self.port = 0

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://{HOST}:{self.port}"

    def start(self) -> None:
        """Start it and wait until it takes alerts; at the port that people expect, unless somebody else has that.

        Raises:
            LabError: it does not come up.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        self.folder = self.folder.resolve()
        if not loopback.accepts(HOST, PORT) and self._starts_at(PORT):
            return
        # Somebody else has it, or was quicker.
        (free,) = loopback.free_ports([HOST])
        if not self._starts_at(free):
            raise LabError(f"mimrun's server did not come up at {self.url}: {self._said()}")

    def is_ready(self) -> bool:
        """Say whether this very server takes alerts and can write the log."""
        place = find_server(self._settings)
        if place is None or place.url != self.url:
            return False
        try:
            ask(HOST, self.port, "/ready")
        except LabError:
            return False
        return True

    def _starts_at(self, port: int) -> bool:
        """Start it at a port; says whether it is ready there, and leaves nothing where it is not."""
        self.port = port
        words = ["serve", "--port", str(port), "--no-engine", "--home", str(self._settings.home)]
        environment = {
            "PYTHONPATH": str(Path(__file__).parents[3]),
            # The library of whoever plays: the rule is to propose what they would run.
            LIBRARY_VARIABLE: os.pathsep.join(str(folder.absolute()) for folder in library_folders()),
        }
        child = self._launch([sys.executable, "-P", "-c", _ENTRY, *words], environment=environment)
        try:
            self._await(child, self.is_ready, seconds=READY, where=self.url)
        except LabError:
            self.stop()
            return False
        except BaseException:
            self.stop()
            raise
        return True
