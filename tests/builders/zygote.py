"""A process with mimrun loaded, that forks one child for each command: the real command line without its imports.

Started as a program with the path of a socket. Each connection carries one command: its words, folder and
environment as JSON, and its three standard files. The answers are lines: the child's process id, then how it
ended, as `waitpid` says.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import socket
import sys
from pathlib import Path

FILES = 3
REQUEST = 1 << 16


def serve(path: str) -> None:
    """Take commands until nobody wants any more: the parent has ended."""
    _load()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(path)
        listener.listen(16)
        listener.settimeout(1.0)
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        parent = os.getppid()
        while os.getppid() == parent:
            try:
                connection, _ = listener.accept()
            except TimeoutError:
                continue
            if os.fork() == 0:
                listener.close()
                _attend(connection)
            connection.close()


def _load() -> None:
    from mimrun.catalog import installed_catalog  # noqa: PLC0415 - only this process is to load it
    from mimrun.cli.commands import BY_NAME  # noqa: PLC0415 - likewise

    for module in sorted({command.module for command in BY_NAME.values()} - {"demo"}):
        importlib.import_module(f"mimrun.cli.{module}")
    importlib.import_module("flows.launcher")
    installed_catalog().connector("local")


def _attend(connection: socket.socket) -> None:
    """Fork the command, tell its process id, wait for it, tell how it ended."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    data, files, _, _ = socket.recv_fds(connection, REQUEST, FILES)
    request = json.loads(data)
    child = os.fork()
    if child == 0:
        connection.close()
        _become(request, files)
    for file in files:
        os.close(file)
    connection.sendall(f"{child}\n".encode())
    _, status = os.waitpid(child, 0)
    connection.sendall(f"{status}\n".encode())
    os._exit(0)


def _become(request: dict[str, object], files: list[int]) -> None:
    from mimrun.cli import main  # noqa: PLC0415 - loaded by now

    code: object = 99
    try:
        os.setsid()
        for standard, file in enumerate(files):
            os.dup2(file, standard)
            os.close(file)
        os.chdir(str(request["folder"]))
        os.environ.clear()
        os.environ.update(request["env"])  # type: ignore[call-overload]  # made by `commands`
        sys.argv = ["mimrun", *request["words"]]  # type: ignore[misc]  # likewise
        main()
    except SystemExit as exc:
        code = exc.code
    finally:
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except OSError:
                code = 120
        os._exit(code if isinstance(code, int) else 0)


if __name__ == "__main__":
    sys.path.remove(str(Path(__file__).parent))
    serve(sys.argv[1])
