"""Where the server of a home is: its address, for everything on this machine that wants to use it.

A server holds a file locked for as long as it lives, and the kernel lets go of it however the process ends; so what
stands in `server.json` counts only while somebody holds the lock.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from mimrun.errors import RefusedError, SettingsError
from mimrun.settings import Settings

_PATIENCE_S: Final = 1.0
"""So long a server that starts waits for those who only look."""
_LOOK_S: Final = 0.05


@dataclass(frozen=True, slots=True)
class ServerPlace:
    """A server that is up.

    Arguments:
        url: its address, as this machine reaches it: `http://127.0.0.1:8420`.
        pid: its process id.
        started_at: when it began, as the log writes moments.
        public_url: as others reach it, or "".
    """

    url: str
    pid: int
    started_at: str
    public_url: str = ""


class Seat:
    """The place of the one server of a home, held.

    Arguments:
        settings: of the home.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def tell(self, place: ServerPlace) -> None:
        """Let others know where the server is."""
        file = _file(self._settings)
        draft = file.with_name(f".{file.name}.{os.getpid()}")
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as opened:
            json.dump(asdict(place), opened)
        draft.replace(file)


@contextmanager
def take_seat(settings: Settings) -> Iterator[Seat]:
    """Be the server of a home for as long as the `with` lasts.

    Raises:
        RefusedError: another process is; says where.
        SettingsError: the home cannot be used.
    """
    try:
        settings.locks.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = os.open(_lock(settings), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as exc:
        raise SettingsError(f"{settings.home} cannot be used: {exc.strerror}") from exc
    try:
        if not _take(lock):
            there = _read(settings)
            where = f" at {there.url} (process {there.pid})" if there is not None else ""
            raise RefusedError(
                f"a server of {settings.home} is up already{where}; end it first, or give this one another --home"
            )
        yield Seat(settings)
        _file(settings).unlink(missing_ok=True)
    finally:
        os.close(lock)


def find_server(settings: Settings) -> ServerPlace | None:
    """Say where the server of a home is; None where none is up on this machine."""
    try:
        lock = os.open(_lock(settings), os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return _read(settings)
    else:
        return None
    finally:
        os.close(lock)


def _take(lock: int) -> bool:
    end = time.monotonic() + _PATIENCE_S
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= end:
                return False
            time.sleep(_LOOK_S)
        else:
            return True


def _read(settings: Settings) -> ServerPlace | None:
    try:
        value = json.loads(_file(settings).read_text("utf-8"))
        return ServerPlace(
            str(value["url"]), int(value["pid"]), str(value["started_at"]), str(value["public_url"])
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None  # it is just about to be written


def _file(settings: Settings) -> Path:
    return settings.home / "server.json"


def _lock(settings: Settings) -> Path:
    return settings.locks / "server"
