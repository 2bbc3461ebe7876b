"""The real command line in processes of its own, with a home and a library of its own."""

from __future__ import annotations

import atexit
import functools
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from mimrun.app.home import lay_home, operating_system_user
from mimrun.settings import Settings

ENTRY = "import sys; from mimrun.cli import main; sys.exit(main())"
PATIENCE_S = 30.0

PEOPLE = """\
shared: ['{user}']
people:
  responder: {{roles: [responder], accounts: ['{user}']}}
  alex: {{roles: [change_manager, service_desk]}}
  billie: {{roles: [change_manager]}}
"""


@dataclass(frozen=True, slots=True)
class Said:
    """What a command said and ended with."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Its standard output, as one JSON document."""
        return json.loads(self.out)


class Running:
    """A command that was started.

    Arguments:
        connection: to the process that forked it.
        out, err: what it says.
    """

    def __init__(self, connection: socket.socket, out: IO[str], err: IO[str]) -> None:
        self._connection, self._answers = connection, connection.makefile("r")
        self.out, self.err = out, err
        self.pid = int(self._answers.readline())

    def signal(self, number: int) -> None:
        """Send a signal to it alone."""
        os.kill(self.pid, number)

    def wait(self) -> Said:
        """Wait for its end; a signal that ended it is a negative code, as in `subprocess`."""
        said = ["", ""]
        readers = [
            threading.Thread(target=lambda n=n, f=f: said.__setitem__(n, f.read()))
            for n, f in enumerate((self.out, self.err))
            if not f.closed
        ]
        for reader in readers:
            reader.start()
        code = os.waitstatus_to_exitcode(int(self._answers.readline()))
        for reader in readers:
            reader.join()
        self._answers.close()
        self._connection.close()
        self.out.close()
        self.err.close()
        return Said(code, *said)


class Desk:
    """A folder to work in, as a responder would.

    Arguments:
        folder: empty; it gets the home, the runbooks and whatever steps write.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.home = folder, folder / "home"
        self.env = {**os.environ, "MIMRUN_HOME": str(self.home), "MIMRUN_RUNBOOKS": str(folder)}
        lay_home(Settings(home=self.home))
        (self.home / "people.yaml").write_text(PEOPLE.format(user=operating_system_user()))

    def cold(self, *words: str) -> list[str]:
        """The words that start a command as a person does, in a new interpreter."""
        return [sys.executable, "-c", ENTRY, *words]

    def __call__(self, *words: str, stdin: str = "", **env: str) -> Said:
        """Run a command to its end."""
        return self.begin(*words, stdin=stdin, **env).wait()

    def begin(self, *words: str, stdin: str = "", **env: str) -> Running:
        """Start a command in a session of its own."""
        request = {"words": words, "folder": str(self.folder), "env": {**self.env, **env}}
        (out, says), (err, complains) = os.pipe(), os.pipe()
        with tempfile.TemporaryFile() as given:
            given.write(stdin.encode())
            given.seek(0)
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            connection.settimeout(2 * PATIENCE_S)
            connection.connect(_zygote())
            data = json.dumps(request).encode()
            socket.send_fds(connection, [data], [given.fileno(), says, complains])
        os.close(says)
        os.close(complains)
        return Running(connection, open(out), open(err))  # noqa: PTH123 - `Running.wait` closes them

    def write(self, name: str, text: str) -> Path:
        """Write a file into the folder."""
        path = self.folder / name
        path.write_text(text)
        return path

    def runbook(self, steps: str, *, name: str = "test", version: str = "1.0.0", more: str = "") -> str:
        """Write a runbook whose steps are given; gives its path."""
        head = f"schema: mimrun/1\nname: {name}\nversion: {version}\ntitle: A test of the command line\n"
        head += f"stage: containment\nowner: testers\nrisk: low\n{more}"
        return str(self.write(f"{name}@{version}.yaml", f"{head}steps:\n{steps}"))

    def run(self, book: str, *words: str, **env: str) -> Said:
        """Run a runbook directly, without a question."""
        return self("run", "--direct", "--yes", book, *words, **env)

    def marks(self) -> list[str]:
        """What steps have written, a line each."""
        file = self.folder / "marks"
        return file.read_text().splitlines() if file.exists() else []

    def size(self) -> int:
        """How many entries the log has."""
        return len(self("log", "show", "--json").out.splitlines())

    def status(self, run: str = "latest") -> Any:
        """How a run stands."""
        return self("status", run, "--json").json


@functools.cache
def _zygote() -> str:
    """Start the process that forks commands, once for this process; gives the path of its socket."""
    folder = tempfile.mkdtemp(prefix="mimrun-zygote-")
    path = str(Path(folder) / "socket")
    process = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("zygote.py")), path],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    with process.stdout:
        assert process.stdout.readline() == "ready\n"

    def end() -> None:
        process.kill()
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)

    atexit.register(end)
    return path


def mark(word: str, name: str | None = None) -> str:
    """Give a step that writes a word down."""
    return f"  - {{name: {name or f'Write {word}'}, local.shell: {{cmd: 'echo {word} >> marks'}}}}\n"


GATE = "  - {name: People agree, gate: {approvals: [{role: change_manager}], expires: 30m}}\n"
MANUAL = (
    "  - name: Tell the desk\n"
    "    manual: {role: service_desk, instructions: Call them, evidence: {link: {type: url}}}\n"
)


def until(condition: Callable[[], object], what: str = "", *, patience: float = PATIENCE_S) -> None:
    """Wait until something is so.

    Raises:
        AssertionError: it is not so in time.
    """
    end = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < end, f"never came about: {what or condition}"
        time.sleep(0.02)
