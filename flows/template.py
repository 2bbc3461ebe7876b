"""A migrated database for Prefect's API server, made once for each version of Prefect and copied after.

Migrations take four to seven seconds, a copy takes none; nobody should wait for them in an incident.
"""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from flows.environment import Rooms, own_folder, server_environment
from mimrun.errors import RunError

MIGRATION_LIMIT_S: Final = 180


def prefect_version() -> str:
    """Give the installed version of Prefect without importing it."""
    return importlib.metadata.version("prefect")


def cache_folder(environ: Mapping[str, str]) -> Path:
    """Give the folder for what can be made again: $XDG_CACHE_HOME/mimrun, else ~/.cache/mimrun."""
    cache = environ.get("XDG_CACHE_HOME", "")
    return (Path(cache) if cache.startswith("/") else Path.home() / ".cache") / "mimrun"


def interface_folder(cache: Path) -> Path:
    """Give the folder for the static files of Prefect's web interface, which the server lays there."""
    return cache / f"prefect-{prefect_version()}-ui"


def lay_template(home: Path, cache: Path | None = None) -> bool:
    """Put a migrated Prefect database into mimrun's home, so that the engine wakes in seconds.

    Arguments:
        home: mimrun's home.
        cache: where the template of this Prefect version is kept; the user's cache folder by default.

    Returns:
        False when the home has one already.

    Raises:
        SettingsError: a folder cannot be used.
        RunError: Prefect could not make the database.
    """
    rooms = Rooms(home)
    rooms.make()
    if rooms.database.exists():
        return False
    kept = cache if cache is not None else cache_folder(os.environ)
    own_folder(kept)
    template = kept / f"prefect-{prefect_version()}.db"
    if not template.exists():
        _make(template, rooms)
    fresh = rooms.database.with_suffix(f".{os.urandom(8).hex()}")
    shutil.copyfile(template, fresh)
    fresh.chmod(0o600)
    fresh.replace(rooms.database)
    rooms.schema.write_text(prefect_version() + "\n", "utf-8")
    return True


def is_migrated(rooms: Rooms) -> bool:
    """Say whether the database has been laid or migrated by the Prefect that is installed."""
    try:
        return rooms.schema.read_text("utf-8").strip() == prefect_version() and rooms.database.exists()
    except FileNotFoundError:
        return False


def _make(template: Path, rooms: Rooms) -> None:
    fresh = template.with_suffix(f".{os.urandom(8).hex()}")
    environment = server_environment(rooms, os.environ, template.parent)
    environment["PREFECT_API_DATABASE_CONNECTION_URL"] = f"sqlite+aiosqlite:///{fresh}"
    command = [sys.executable, "-P", "-m", "flows.api", "migrate"]
    try:
        subprocess.run(
            command,
            env=environment,
            cwd="/",
            check=True,
            capture_output=True,
            text=True,
            timeout=MIGRATION_LIMIT_S,
        )
        _fold(fresh)
        fresh.replace(template)
    except subprocess.TimeoutExpired as exc:
        raise RunError(f"prefect's database was not made within {MIGRATION_LIMIT_S} s; try again") from exc
    except subprocess.CalledProcessError as exc:
        said = exc.stderr.strip().splitlines()[-1:] or ["no word why"]
        raise RunError(f"prefect cannot make its database: {said[0]}; run with --direct meanwhile") from exc
    finally:
        for rest in (fresh, *(fresh.with_name(fresh.name + end) for end in ("-wal", "-shm"))):
            rest.unlink(missing_ok=True)


def _fold(database: Path) -> None:
    """Bring what is in the write-ahead log into the one file that is copied."""
    connection = sqlite3.connect(database, isolation_level=None)
    try:
        connection.execute("PRAGMA journal_mode = DELETE")
    finally:
        connection.close()
