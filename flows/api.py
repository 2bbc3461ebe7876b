"""The process of Prefect's API server: `python -m flows.api serve PARENT PORT` or `python -m flows.api migrate`.

The engine starts it, with its settings in the environment. It is a process of its own because in one
process with the runs every task run takes five times as long.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import socket
import sys
from typing import Final

_PR_SET_PDEATHSIG: Final = 1  # prctl(2)


def die_with(parent: int) -> None:
    """End this process when the one that started it ends, however that one ends.

    Arguments:
        parent: process id of the one that started this one.

    Raises:
        SystemExit: it has ended already.

    Source: prctl(2), PR_SET_PDEATHSIG. It follows the parent's *thread* that started us, so the engine
    starts us from a thread that lives as long as the engine.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise SystemExit(f"prctl: {os.strerror(ctypes.get_errno())}")
    if os.getppid() != parent:
        raise SystemExit("the engine is gone")


def bind(port: int) -> socket.socket:
    """Take a port on loopback; 0 takes a free one.

    IPPROTO_TCP is said aloud: without it asyncio does not turn Nagle's algorithm off and every request
    waits 40 ms for a delayed acknowledgement.
    """
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("127.0.0.1", port))
    return sock


def serve(parent: int, port: int) -> None:
    """Serve Prefect's API and web interface until told to stop.

    Arguments:
        parent: process id of the engine.
        port: on loopback; 0 for a free one. It is written to standard output before anything slow.
    """
    die_with(parent)
    sock = bind(port)
    port = sock.getsockname()[1]
    os.write(1, f"{port}\n".encode())
    os.dup2(2, 1)
    os.environ["PREFECT_SERVER_API_PORT"] = str(port)
    os.environ["PREFECT_UI_API_URL"] = f"http://127.0.0.1:{port}/api"

    import uvicorn  # noqa: PLC0415 - the engine waits for the port, not for this
    from prefect.server.api.server import create_app  # noqa: PLC0415 - as above: 1.4 s

    from flows.database import use_patient_sqlite  # noqa: PLC0415 - it imports Prefect

    use_patient_sqlite(os.environ["PREFECT_API_DATABASE_CONNECTION_URL"])
    config = uvicorn.Config(
        create_app(final=True),
        log_level="warning",
        access_log=False,
        lifespan="on",
        timeout_keep_alive=60,
        timeout_graceful_shutdown=1,
    )
    uvicorn.Server(config).run(sockets=[sock])


def migrate() -> None:
    """Bring the database that the settings name to the shape that this Prefect wants."""
    from prefect.server.database import provide_database_interface  # noqa: PLC0415 - 2 s

    asyncio.run(provide_database_interface().create_db())


def main(argv: list[str]) -> None:
    """Serve or migrate, as the arguments say."""
    match argv:
        case ["serve", parent, port]:
            serve(int(parent), int(port))
        case ["migrate"]:
            migrate()
        case _:
            raise SystemExit("usage: python -m flows.api serve PARENT PORT | migrate")


if __name__ == "__main__":
    main(sys.argv[1:])
