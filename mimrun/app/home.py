"""mimrun's home folder: the log, the people, the locks, and how they are opened."""

from __future__ import annotations

import json
import os
import pwd
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from mimrun.app.checkpoints import Watch, begin_checkpoints, refuse_if_gone
from mimrun.app.sign_in import sign_in
from mimrun.catalog import Catalog, installed_catalog
from mimrun.errors import BlobKeyError, RefusedError, SettingsError
from mimrun.gate.change_link import ChangeLinks
from mimrun.gate.password import PasswordChanges
from mimrun.gate.people import People, SignedIn
from mimrun.gate.people_file import load_people
from mimrun.gate.priority import Priorities
from mimrun.gate.register import Register, RegisterKeys, RegisterNumbers
from mimrun.gate.rules import RulesInForce
from mimrun.gate.session import Sessions
from mimrun.gate.token import Tokens
from mimrun.incident.alert import Alerts
from mimrun.incident.episode import Episodes
from mimrun.incident.incident import Incidents
from mimrun.incident.proposal import Proposals
from mimrun.incident.refused import RefusedRules
from mimrun.incident.review_item import ReviewItems
from mimrun.incident.storm import Budgets
from mimrun.log.anchored import AnchorRecords
from mimrun.log.blob_key import BlobKeyPlace
from mimrun.log.entry import Actor
from mimrun.log.holder import this_process
from mimrun.log.moment import utc_now
from mimrun.log.redaction import Erasures
from mimrun.log.sequenced import SequencedStore
from mimrun.log.sqlite.store import SqliteStore, create_log
from mimrun.log.store import Store
from mimrun.log.tenure import LeaseTimes
from mimrun.run.hold.killswitch import KillSwitch
from mimrun.run.hold.lease import FileLeases, Leases
from mimrun.run.hold.lock import Locks
from mimrun.run.record.breaker import Breakers
from mimrun.run.record.breakglass import BrokenGlasses
from mimrun.run.record.followup import FollowUpRuns
from mimrun.run.record.notices import Notices
from mimrun.run.record.published import PublishedVersions
from mimrun.run.record.reverts import Reverts
from mimrun.run.record.segments import Segments
from mimrun.run.record.summary import RunSummaries
from mimrun.run.shell import Shells
from mimrun.settings import Settings

PROJECTORS = (
    RunSummaries(),
    PublishedVersions(),
    Locks(),
    KillSwitch(),
    Breakers(),
    FollowUpRuns(),
    Reverts(),
    Shells(),
    Erasures(),
    AnchorRecords(),
    Tokens(),
    Sessions(),
    PasswordChanges(),
    Notices(),
    Segments(),
    BrokenGlasses(),
    Register(),
    RegisterNumbers(),
    RegisterKeys(),
    ChangeLinks(),
    RulesInForce(),
    Priorities(),
    Incidents(),
    Alerts(),
    ReviewItems(),
    Episodes(),
    Proposals(),
    Budgets(),
    RefusedRules(),
)
"""Every projection of the log that mimrun keeps."""

_PEOPLE = """\
# Who may act here, and in which roles. The log records the id; `accounts` are operating-system users.
# A gate that asks for `change_manager` is opened by a person with that role who did not start the run.
# Where several people use one account, `shared: [{account}]` lets each act there in their own name, with --as.
people:
  {id}:
    name: {account}
    roles: [responder]
    accounts: [{account}]
"""


@dataclass(frozen=True, slots=True)
class Home:
    """An opened home folder.

    Arguments:
        settings: where everything is.
        store: the incident log.
        catalog: the connectors.
        clock: the present moment, UTC.
        row_leases: the leases of the runs, where the log is in PostgreSQL.
        signed_in: whoever acts here, where they have signed in otherwise than as an account of the operating system.
        keyless: why blobs cannot be read and nothing be added to the log, and what to do; "" where that can be done.
    """

    settings: Settings
    store: Store
    catalog: Catalog
    clock: Callable[[], datetime] = utc_now
    row_leases: Leases | None = None
    keyless: str = ""
    signed_in: SignedIn | None = None

    @property
    def leases(self) -> Leases:
        """Who executes which run."""
        return self.row_leases or FileLeases(self.settings.locks)

    def people(self, team: str = "") -> People:
        """Everybody this installation knows, as the file says now, in the roles that count now.

        Arguments:
            team: which keeps the runbook that it is about; roles for some teams count for these only.
        """
        found = load_people(self.settings.people).at(self.clock(), team)
        return found if self.signed_in is None else replace(found, signed_in=self.signed_in)

    def require_key(self) -> None:
        """See that entries can be added, before something is begun that needs it.

        Raises:
            BlobKeyError: the key of the log's blobs is missing, or is another log's.
        """
        if self.keyless:
            raise BlobKeyError(f"nothing can be added to the log: {self.keyless}")


def lay_home(settings: Settings, *, anew: bool = False) -> list[str]:
    """Make the home folder with an empty log and a people file; what is there already is left alone.

    Arguments:
        anew: make a log also where another one was seen that is gone, and give a key to one that has none.

    Returns:
        what was made, a line each.

    Raises:
        SettingsError: the folder cannot be made.
        StoreError: the log cannot be made.
        TamperError: a log that was seen here is gone.
    """
    made = []
    if not anew and not settings.store and not settings.log.exists():
        refuse_if_gone(settings)
    try:
        if not settings.home.exists():
            settings.home.mkdir(parents=True, exist_ok=True, mode=0o700)
            made.append(f"home folder {settings.home}")
        settings.locks.mkdir(exist_ok=True, mode=0o700)
        if not settings.people.exists():
            _write_whole(settings.people, _first_people(operating_system_user()))
            made.append(f"people file {settings.people}")
    except OSError as exc:
        raise SettingsError(
            f"{settings.home}: cannot be made: {exc.strerror}; choose another with --home"
        ) from exc
    # Also where the file is there: another process may be about to make a log of it.
    actor = Actor("person", operating_system_user(), "cli", "os-user")
    if settings.store:
        from mimrun.log.postgres import store as postgres  # noqa: PLC0415 - the driver is slow to load, and seldom needed
        from mimrun.log.postgres.database import Database  # noqa: PLC0415 - likewise

        database = Database.of(settings.store, settings.store_password)
        fresh = postgres.create_log(database, blob_key_of(settings), settings.origin, actor)
        name = database.name
    else:
        fresh = create_log(settings.log, settings.origin, actor, blob_key=blob_key_of(settings))
        name = str(settings.log)
    if fresh:
        made += [f"incident log {name}", *_tell_key(settings)]
    if fresh or anew:
        store, _ = _open_store(settings)
        with store:
            if store.keyless:
                # There is a log, and a key that is made now would not be its own.
                return [*made, f"nothing can be added to the log {name} from here: {store.keyless}"]
            made += begin_checkpoints(settings, store, actor, fresh=fresh)
    return made


def blob_key_of(settings: Settings) -> BlobKeyPlace:
    """Say where the key of the log's blobs is."""
    return BlobKeyPlace(settings.blob_key_file, settings.blob_key)


def _tell_key(settings: Settings) -> list[str]:
    """Say what to do about a key that was made with a log: without it no output or text can be read again."""
    if settings.blob_key:
        return []
    shared = "copy it to each machine that uses this log, and keep" if settings.store else "keep"
    return [f"key of its blobs {settings.blob_key_file}: {shared} a copy of it apart from the log's"]


def _first_people(account: str) -> str:
    """Give the people file for somebody who begins; an account may be called what an id may not."""
    id_ = re.sub(r"[^a-z0-9._-]", "-", account.lower()).lstrip("0123456789._-")[:63] or "somebody"
    return _PEOPLE.format(id=id_, account=json.dumps(account))


def _write_whole(path: Path, text: str) -> None:
    """Write a file so that nobody ever reads half of it."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(text, "utf-8")
    draft.replace(path)


@contextmanager
def open_home(settings: Settings, *, catalog: Catalog | None = None, watched: bool = True) -> Iterator[Home]:
    """Open the home folder for as long as the `with` lasts.

    Arguments:
        catalog: the connectors; the installed ones where none is given.
        watched: refuse a log that is not the one that was seen before, have it signed, and see it. Without, it is
            only looked at, or added to in spite of that.

    Raises:
        SettingsError: there is no home folder yet.
        StoreError: the log cannot be opened.
        TamperError: it is not the log that was seen before.
        SignInError: somebody signs in with what is not good, or not for what they do.
    """
    with ExitStack() as last:
        store, leases = _open_store(settings)
        last.callback(store.close)
        if watched:
            watch = Watch(settings, store)
            watch.begin()
            last.pop_all()
            last.callback(watch.end)
            last.callback(store.close)
        signed_in = sign_in(settings, store, utc_now)
        known = catalog or installed_catalog()
        yield Home(settings, store, known, row_leases=leases, keyless=store.keyless, signed_in=signed_in)
        if watched:
            watch.look()


def _open_store(settings: Settings) -> tuple[SequencedStore, Leases | None]:
    """Open the log, and the leases of the runs where they are beside it."""
    if not settings.store:
        if not settings.log.exists():
            refuse_if_gone(settings)
            raise SettingsError(f"{settings.home} has no incident log yet; make it with `mimrun init`")
        return SqliteStore(settings.log, projectors=PROJECTORS, blob_key=blob_key_of(settings)), None
    from mimrun.log.postgres.database import Database  # noqa: PLC0415 - likewise
    from mimrun.log.postgres.lease import RowLeases  # noqa: PLC0415 - likewise
    from mimrun.log.postgres.store import PostgresStore  # noqa: PLC0415 - the driver is slow to load

    database = Database.of(settings.store, settings.store_password)
    times = LeaseTimes.of(settings.lease_ttl_ms / 1000)
    store = PostgresStore(database, blob_key_of(settings), projectors=PROJECTORS)
    try:
        return store, RowLeases(database, store.reader, this_process(), times=times)
    except BaseException:
        store.close()
        raise


def operating_system_user() -> str:
    """Give the account that this process runs under, by the kernel's word: USER and LOGNAME prove nothing."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"uid-{os.getuid()}"


def people_reader(
    path: Path, clock: Callable[[], datetime] = utc_now, team: str = ""
) -> Callable[[], People]:
    """Give a function that reads the people file, and who is on call, again whenever one has changed.

    Each time it gives the people in the roles that count at that moment. It raises `RefusedError` where a file
    cannot be read.

    Arguments:
        team: which keeps the runbook that it is about; roles for some teams count for these only.
    """
    known: tuple[tuple[tuple[int, int], ...], People] = ((), People(file=str(path)))
    # Dates are whole seconds, so that within one nobody's roles change; a run asks many times in each.
    then: tuple[People | None, datetime | None, People] = (None, None, known[1])

    def read() -> People:
        nonlocal known, then
        marks = _marks(path)
        if not marks or marks != known[0]:
            try:
                known = (marks, load_people(path))
            except SettingsError as exc:
                # Not the run's failure: it stops where it is, and goes on when the file is mended.
                raise RefusedError(f"nobody's vote can be judged: {exc}") from exc
        now = clock()
        whose, second, people = then
        if whose is not known[1] or second != now.replace(microsecond=0):
            people = known[1].at(now, team)
            then = (known[1], now.replace(microsecond=0), people)
        return people

    return read


def _marks(path: Path) -> tuple[tuple[int, int], ...]:
    """Tell a people file, and the plans of who is on call, from what they were; nothing where there is none."""
    try:
        stats = [path.stat(), *(plan.stat() for plan in sorted((path.parent / "oncall").glob("*.yaml")))]
    except FileNotFoundError:
        return ()
    return tuple((stat.st_mtime_ns, stat.st_ino) for stat in stats)
