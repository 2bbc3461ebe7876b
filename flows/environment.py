"""Where Prefect lives under mimrun's home, and the settings that keep it quiet there.

Nothing here imports Prefect: the command line asks this module where things are.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mimrun.errors import SettingsError

QUIET: Final[Mapping[str, str]] = {
    # nothing leaves the machine: no usage figures, no version check, no advertisements
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    "PREFECT_CLIENT_SERVER_VERSION_CHECK_ENABLED": "false",
    "PREFECT_CLOUD_ENABLE_ORCHESTRATION_TELEMETRY": "false",
    # nobody starts a second server behind our back
    "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "false",
    # short patience with an API that is gone
    "PREFECT_CLIENT_MAX_RETRIES": "1",
    "PREFECT_API_REQUEST_TIMEOUT": "5",
    "PREFECT_EVENTS_WORKER_MAX_QUEUE_SIZE": "10000",
    # what happened is in mimrun's log; Prefect shows states
    "PREFECT_LOGGING_TO_API_ENABLED": "false",
    "PREFECT_LOGGING_LEVEL": "WARNING",
    "PREFECT_LOGGING_COLORS": "false",
    "PREFECT_LOGGING_MARKUP": "false",
    # a step runs once: nothing of Prefect's retries it or answers from a cache
    "PREFECT_TASKS_DEFAULT_RETRIES": "0",
    "PREFECT_FLOWS_DEFAULT_RETRIES": "0",
    "PREFECT_TASKS_DISABLE_CACHING": "true",
    "PREFECT_RESULTS_PERSIST_BY_DEFAULT": "false",
}
"""Settings for every process of mimrun that imports Prefect."""

SERVER_ONLY: Final[Mapping[str, str]] = {
    "PREFECT_SERVER_LOGGING_LEVEL": "WARNING",
    "PREFECT_API_BLOCKS_REGISTER_ON_START": "false",
    "PREFECT_SERVER_EVENTS_STREAM_OUT_ENABLED": "false",
    # mimrun starts its runs itself; services for deployments, workers and automations have nothing to do
    "PREFECT_SERVER_SERVICES_SCHEDULER_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_LATE_RUNS_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_PAUSE_EXPIRATIONS_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_FOREMAN_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_REPOSSESSOR_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_CANCELLATION_CLEANUP_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_CLEANUP_RECONCILER_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_TRIGGERS_ENABLED": "false",
}
"""More settings for the API server that the engine keeps for itself."""

_CONNECTION: Final = ("PREFECT_API_", "PREFECT_CLIENT_CUSTOM_HEADERS", "PREFECT_CLIENT_CSRF_SUPPORT_ENABLED")
_NOT_CONNECTION: Final = ("PREFECT_API_REQUEST_TIMEOUT", "PREFECT_API_DATABASE", "PREFECT_API_SERVICES")


@dataclass(frozen=True, slots=True)
class Rooms:
    """Where the engine keeps its things.

    Arguments:
        home: mimrun's home folder.
    """

    home: Path

    @property
    def prefect(self) -> Path:
        """Prefect's own home: never the user's profile."""
        return self.home / "prefect"

    @property
    def database(self) -> Path:
        """The SQLite database of the API server."""
        return self.prefect / "prefect.db"

    @property
    def schema(self) -> Path:
        """Names the Prefect version that laid or migrated the database."""
        return self.prefect / "schema"

    @property
    def password(self) -> Path:
        """`user:password` of the API server, for mimrun and for a person's browser."""
        return self.prefect / "password"

    @property
    def lock(self) -> Path:
        """Held by the one engine of this home."""
        return self.prefect / "engine.lock"

    @property
    def log(self) -> Path:
        """What engine and server complain about."""
        return self.prefect / "engine.log"

    @property
    def socket(self) -> Path:
        """Where the engine listens."""
        return self.home / "engine.sock"

    def make(self) -> None:
        """Make the folders, open to nobody else.

        Raises:
            SettingsError: a folder cannot be made, or is another user's.
        """
        for folder in (self.home, self.prefect):
            own_folder(folder)


def own_folder(folder: Path) -> None:
    """Make a folder that only this user can look into, or see that it is one.

    Raises:
        SettingsError: it cannot be made, or belongs to someone else.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.stat()
        if found.st_uid != os.geteuid():
            raise SettingsError(f"{folder} belongs to user {found.st_uid}; choose another place with --home")
        if stat.S_IMODE(found.st_mode) & 0o077:
            folder.chmod(0o700)
    except OSError as exc:
        raise SettingsError(f"{folder} cannot be used: {exc.strerror}; choose another with --home") from exc


def own_api(environ: Mapping[str, str]) -> bool:
    """Say whether the engine has to bring its own API server: nobody named one in PREFECT_API_URL."""
    return not environ.get("PREFECT_API_URL")


def quiet_environment(rooms: Rooms, environ: Mapping[str, str]) -> dict[str, str]:
    """Give the environment in which mimrun imports Prefect.

    The user's Prefect settings are left out, except for how to reach the API when PREFECT_API_URL is
    set: a profile made for other work must not change how an incident is handled.

    Arguments:
        rooms: where Prefect's home is.
        environ: the environment as the user has it.

    Returns:
        the whole environment; API URL and password of an own server are still missing.
    """
    kept = {name: value for name, value in environ.items() if not name.startswith("PREFECT_")}
    if not own_api(environ):
        kept |= {
            name: value
            for name, value in environ.items()
            if name.startswith(_CONNECTION) and not name.startswith(_NOT_CONNECTION)
        }
    return kept | dict(QUIET) | {"PREFECT_HOME": str(rooms.prefect)}


def server_environment(rooms: Rooms, environ: Mapping[str, str], interface: Path) -> dict[str, str]:
    """Give the environment of the API server that the engine keeps.

    Arguments:
        rooms: where the database and the password are.
        environ: the environment as the user has it.
        interface: folder for the static files of Prefect's web interface.
    """
    own = {name: value for name, value in environ.items() if not name.startswith("PREFECT_")}
    return (
        quiet_environment(rooms, own)
        | dict(SERVER_ONLY)
        | {
            "PREFECT_API_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{rooms.database}",
            "PREFECT_SERVER_API_AUTH_STRING": password(rooms),
            "PREFECT_UI_STATIC_DIRECTORY": str(interface),
        }
    )


def password(rooms: Rooms) -> str:
    """Give `user:password` of the API server, made at random the first time.

    The server listens on loopback, where every user of the machine can knock.
    """
    with contextlib.suppress(FileNotFoundError):
        return _read_password(rooms.password)
    fresh = rooms.password.with_name(f"password.{os.urandom(8).hex()}")
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "w") as file:
        file.write(f"mimrun:{os.urandom(24).hex()}\n")
    try:
        with contextlib.suppress(FileExistsError):  # another process was first; its password is the one
            rooms.password.hardlink_to(fresh)
    finally:
        fresh.unlink()
    return _read_password(rooms.password)


def _read_password(file: Path) -> str:
    with os.fdopen(os.open(file, os.O_RDONLY | os.O_NOFOLLOW), encoding="utf-8") as opened:
        return opened.readline().strip()
