"""mimrun's home folder: the log, the people, the locks, and how they are opened."""

from __future__ import annotations

import os
import pwd
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from mimrun.catalog import Catalog, installed_catalog
from mimrun.errors import RefusedError, SettingsError
from mimrun.gate.people import People, load_people
from mimrun.log.entry import Actor
from mimrun.log.moment import utc_now
from mimrun.log.sqlite import SqliteStore, create_log
from mimrun.run.published import PublishedVersions
from mimrun.run.summary import RunSummaries
from mimrun.settings import Settings

PROJECTORS = (RunSummaries(), PublishedVersions())
"""Every projection of the log that mimrun keeps."""

_PEOPLE = """\
# Who may act here, and in which roles. The log records the id; `accounts` are operating-system users.
# A gate that asks for `change_manager` is opened by a person with that role who did not start the run.
people:
  {user}:
    name: {user}
    roles: [responder]
    accounts: ['{user}']
"""


@dataclass(frozen=True, slots=True)
class Home:
    """An opened home folder.

    Arguments:
        settings: where everything is.
        store: the incident log.
        catalog: the connectors.
        clock: the present moment, UTC.
    """

    settings: Settings
    store: SqliteStore
    catalog: Catalog
    clock: Callable[[], datetime] = utc_now

    def people(self) -> People:
        """Everybody this installation knows, as the file says now."""
        return load_people(self.settings.people)


def lay_home(settings: Settings) -> list[str]:
    """Make the home folder with an empty log and a people file; what is there already is left alone.

    Returns:
        what was made, a line each.

    Raises:
        SettingsError: the folder cannot be made.
        StoreError: the log cannot be made.
    """
    made = []
    try:
        if not settings.home.exists():
            settings.home.mkdir(parents=True, mode=0o700)
            made.append(f"home folder {settings.home}")
        settings.locks.mkdir(exist_ok=True, mode=0o700)
        if not settings.people.exists():
            settings.people.write_text(_PEOPLE.format(user=operating_system_user()), "utf-8")
            made.append(f"people file {settings.people}")
    except OSError as exc:
        raise SettingsError(
            f"{settings.home}: cannot be made: {exc.strerror}; choose another with --home"
        ) from exc
    if not settings.log.exists():
        create_log(settings.log, settings.origin, Actor("person", operating_system_user(), "cli", "os-user"))
        made.append(f"incident log {settings.log}")
    return made


@contextmanager
def open_home(settings: Settings, *, catalog: Catalog | None = None) -> Iterator[Home]:
    """Open the home folder for as long as the `with` lasts.

    Arguments:
        catalog: the connectors; the installed ones where none is given.

    Raises:
        SettingsError: there is no home folder yet.
        StoreError: the log cannot be opened.
    """
    if not settings.log.exists():
        raise SettingsError(f"{settings.home} has no incident log yet; make it with `mimrun init`")
    store = SqliteStore(settings.log, projectors=PROJECTORS)
    try:
        yield Home(settings, store, catalog or installed_catalog())
    finally:
        store.close()


def operating_system_user() -> str:
    """Give the account that this process runs under, by the kernel's word: USER and LOGNAME prove nothing."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"uid-{os.getuid()}"


def people_reader(path: Path) -> Callable[[], People]:
    """Give a function that reads the people file again whenever it has changed.

    The function raises `RefusedError` where the file cannot be read.
    """
    known: tuple[tuple[int, int] | None, People] = (None, People(file=str(path)))

    def read() -> People:
        nonlocal known
        try:
            stat = path.stat()
            mark = (stat.st_mtime_ns, stat.st_ino)
        except FileNotFoundError:
            mark = None
        if mark is None or mark != known[0]:
            try:
                known = (mark, load_people(path))
            except SettingsError as exc:
                # Not the run's failure: it stops where it is, and goes on when the file is mended.
                raise RefusedError(f"nobody's vote can be judged: {exc}") from exc
        return known[1]

    return read
