"""A real `mimrun serve` in a process of its own, and people who are signed in at it.

with serving(desk.home) as server:
    page = open_page(PHONE, base_url=server.url)
    server.sign_in(page, "alex")
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from mimrun.app.home import open_home
from mimrun.app.server.sessions import open_session
from mimrun.gate.people import SignedIn
from mimrun.settings import Settings
from mimrun.web.form_key import COOKIE

ENTRY = "import sys; from mimrun.cli import main; sys.exit(main())"
UP_S = 30.0
END_S = 30.0


class HasContext(Protocol):
    """A page of Playwright, which this does not import: it is for tests without a browser as well."""

    @property
    def context(self) -> Any: ...


class Server:
    """A server that is up.

    Arguments:
        home: its home.
        process: what runs.
        said: the line that it said when it was up.
    """

    def __init__(self, home: Path, process: subprocess.Popen[str], said: dict[str, Any]) -> None:
        self.home, self.process, self.said = home, process, said

    @property
    def url(self) -> str:
        """Where it answers."""
        return str(self.said["url"])

    def cookie(self, person: str, auth: str = "password") -> str:
        """Open a session for somebody beside the server, and give its cookie."""
        with open_home(Settings(home=self.home)) as home:
            return open_session(home, SignedIn(person, auth)).reveal()

    def sign_in(self, page: HasContext, person: str) -> None:
        """Give a page of Playwright somebody's session."""
        page.context.add_cookies([{"name": COOKIE, "value": self.cookie(person), "url": self.url}])

    def end(self) -> int:
        """Ask it to end, and wait for that; gives its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(END_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise


@contextmanager
def serving(home: Path, *words: str, **env: str) -> Iterator[Server]:
    """Serve a home for the length of a `with`, at any free port; without engine and worker unless they are asked for.

    Arguments:
        words: further words of the command, such as `--worker`.
        env: of its environment.
    """
    given = [word for word in ("--no-engine", "--no-worker") if word.replace("no-", "") not in words]
    argv = [sys.executable, "-c", ENTRY, "serve", "--port", "0", "--json", *given, *words]
    log = home.parent / f"{home.name}.server"
    with log.open("wb") as errors:
        process = subprocess.Popen(
            argv,
            env={**os.environ, "MIMRUN_HOME": str(home), **env},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
    with process:
        try:
            yield (server := Server(home, process, json.loads(_first_line(process, log))))
            server.end()
        finally:
            if process.poll() is None:
                process.kill()


def _first_line(process: subprocess.Popen[str], log: Path) -> str:
    assert process.stdout is not None
    end = time.monotonic() + UP_S
    ready, _, _ = select.select([process.stdout], [], [], max(0.0, end - time.monotonic()))
    line = process.stdout.readline() if ready else ""
    assert line, f"the server is not up: {log.read_text(errors='replace')[-2000:]}"
    return line
