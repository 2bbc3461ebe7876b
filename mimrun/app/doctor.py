"""The doctor: what this machine has, what is missing, and what to type about it."""

from __future__ import annotations

import shlex
import shutil
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version

from mimrun.app.anchor.giving import list_anchors
from mimrun.app.checkpoints import failure_of
from mimrun.app.doctor_check import Check
from mimrun.app.doctor_rules import examine_rules
from mimrun.app.home import Home, blob_key_of, open_home
from mimrun.app.killswitch import standing_of
from mimrun.app.launching import find_launcher
from mimrun.app.presence import nobody_stays
from mimrun.app.reverts import OPEN, WAITING, list_reverts
from mimrun.app.server.place import find_server
from mimrun.app.shells import open_shells
from mimrun.app.signing import open_signer
from mimrun.catalog import installed_catalog
from mimrun.errors import InputError, MimrunError, SettingsError
from mimrun.log.chain import StoredCheckpoint
from mimrun.log.proof.note import read_note
from mimrun.log.proof.seen import Seen
from mimrun.secret import keyring_name, vault_name
from mimrun.settings import Settings


def examine(settings: Settings) -> list[Check]:
    """Look at everything that a run may need."""
    return [
        Check("python", sys.version.split()[0], ok=sys.version_info >= (3, 11)),
        Check("sqlite", _sqlite(), ok=None if sqlite3.sqlite_version_info < (3, 44, 6) else True),
        _log(settings),
        *_blob_key(settings),
        *_open_keys(settings),
        *_checkpoints(settings),
        *examine_rules(settings),
        *_kill_switch(settings),
        *_anchors(settings),
        *_shells(settings),
        *_worker(settings),
        *_server(settings),
        *_connectors(),
        _prefect(settings),
        *_programs(),
        *_secrets(),
    ]


def _sqlite() -> str:
    note = "one connection writes, as versions before 3.44.6 need"
    old = sqlite3.sqlite_version_info < (3, 44, 6)
    return f"{sqlite3.sqlite_version} ({note})" if old else sqlite3.sqlite_version


def _log(settings: Settings) -> Check:
    try:
        with open_home(settings) as home:
            head, faults = home.store.head(), home.store.faults() if settings.store else ()
            moved = home.store.moved()
    except MimrunError as exc:
        # What is wrong with a log says itself what to do.
        cure = "mimrun init" if isinstance(exc, SettingsError) else ""
        cure = "see docs/how-to/several-machines.md" if settings.store else cure
        return Check("log", str(exc), cure, ok=False)
    if moved:
        cure = "set MIMRUN_STORE to it, or unset it where that is a file"
        return Check("log", f"it goes on at {moved}; nothing is added to this one", cure, ok=False)
    if faults:
        return Check("log", "; ".join(faults), "mimrun log verify", ok=False)
    where = settings.store.partition("?")[0] or settings.log
    return Check("log", f"{where}, {head.size} entries", ok=True)


def _blob_key(settings: Settings) -> Iterator[Check]:
    """Say that output, plans and texts cannot be read, and nothing be recorded, where that is so."""
    with suppress(MimrunError), open_home(settings) as home:
        if home.keyless:
            cure = "see docs/how-to/restore-the-log.md"
            yield Check("blob key", f"{home.keyless}; until then nothing is recorded here", cure, ok=False)


def _open_keys(settings: Settings) -> Iterator[Check]:
    """Name the secret keys that others than their owner can get at. Nobody is kept from working by that."""
    blob_key = blob_key_of(settings).path
    for path in ([blob_key] if blob_key else []) + sorted(settings.signer_folder.glob("*.pem")):
        try:
            mode = path.stat().st_mode & 0o777
        except OSError:
            continue  # not there, or not for us to see: others say so
        if mode & 0o077:
            found = f"others than its owner have rights to {path} (mode {mode:04o})"
            yield Check(f"rights to {path.name}", found, f"chmod 600 {shlex.quote(str(path))}", ok=False)


def _checkpoints(settings: Settings) -> Iterator[Check]:
    """Say how far the log is signed, by which key, how long ago, and why it is not signed further."""
    try:
        with open_home(settings) as home:
            store, latest = home.store, home.store.latest_checkpoint()
            signs = open_signer(settings, store.log) is not None
            if latest is None:
                none = (
                    "none yet"
                    if signs
                    else "none, and this machine has no key: nobody can prove this log later"
                )
                yield Check("checkpoints", none, "" if signs else "mimrun init", ok=None)
            else:
                yield Check("checkpoints", _age(home, latest, signs=signs), ok=True)
    except MimrunError:
        return
    try:
        Seen(settings.seen_folder).require()
    except MimrunError as exc:
        yield Check("seen logs", str(exc), "see docs/how-to/restore-the-log.md", ok=False)
    failure = failure_of(settings)
    if failure is not None:
        yield Check("signer", f"failed at {failure.at}: {failure.why}", "mimrun key show", ok=False)


def _age(home: Home, latest: StoredCheckpoint, *, signs: bool) -> str:
    signers = ", ".join(f"{one.name}+{one.keyid}" for one in read_note(latest.note).signatures)
    minutes = int((home.clock() - home.store.entry(latest.size).ts).total_seconds() // 60)
    ago = f"{minutes} min ago" if minutes < 120 else f"{minutes // 60} h ago"
    behind = home.store.end()[0] - latest.size
    where = "" if signs else "; not signed from this machine"
    return f"{latest.size} entries signed by {signers}, {ago}, {behind} since{where}"


def _anchors(settings: Settings) -> Iterator[Check]:
    """Say whether somebody outside has checkpoints of the log, how new they are, and what fails since when."""
    try:
        with open_home(settings) as home:
            views = list_anchors(home)
    except InputError as exc:
        yield Check("anchors", str(exc), f"mend {settings.anchors}", ok=False)
        return
    except MimrunError:
        return
    if not views:
        none = "none: nothing outside shows it where this log is written anew with its own key"
        yield Check("anchors", none, "see docs/how-to/anchor-the-log.md", ok=None)
    for view in views:
        known, name = view.known, f"anchor {view.anchor.name}"
        has = (
            f"has {known.size} entries since {known.at}, {view.behind} came after it"
            if known.size
            else "has none"
        )
        if known.failures:
            found = f"{has}; failing since {known.failing_since}, {known.failures} times: {known.reason}"
            yield Check(name, found, f"mimrun log anchor {view.anchor.name}", ok=False)
        elif not known.size:
            yield Check(name, has, f"mimrun log anchor {view.anchor.name}", ok=None)
        else:
            yield Check(name, has, ok=True)


def _kill_switch(settings: Settings) -> Iterator[Check]:
    """Say that everything stands still, where it does, and what to do where log and file disagree."""
    try:
        with open_home(settings) as home:
            standing = standing_of(home)
    except MimrunError:
        return
    if standing.pulled:
        yield Check("kill switch", standing.why, standing.advice, ok=False)


def _server(settings: Settings) -> Iterator[Check]:
    """Say where the server of this home is, where one is up."""
    place = find_server(settings)
    if place is not None:
        public = f", {place.public_url} for others" if place.public_url else ""
        yield Check("server", f"{place.url}{public}, process {place.pid}", ok=True)


def _worker(settings: Settings) -> Iterator[Check]:
    """Say whether somebody is there for dead runs, and for what is to be taken back at its time."""
    alone = nobody_stays(settings)
    try:
        with open_home(settings) as home:
            views = list_reverts(home)
    except MimrunError:
        return
    due = sum(view.status in WAITING for view in views)
    found = f"{due} changes are to be taken back at their time; " if due else ""
    if alone:
        # With the log in PostgreSQL it may be another machine's to do, which nobody can see from here.
        bad = bool(due) and not settings.store
        yield Check(
            "worker", f"{found}none stays on this machine", "mimrun worker", ok=False if bad else None
        )
    else:
        yield Check("worker", f"{found}one stays on this machine", ok=True)
    for why in dict.fromkeys(view.why for view in views if view.why and view.status in OPEN):
        yield Check("reverts", why, "mimrun reverts list", ok=False)


def _shells(settings: Settings) -> Iterator[Check]:
    """Say which recorded sessions have no end on record."""
    try:
        with open_home(settings) as home:
            found = open_shells(home)
    except MimrunError:
        return
    for one in found:
        cure = "" if one.here else f"mimrun shell --settle {one.shell.seq}"
        yield Check(f"shell {one.shell.seq}", one.describe(), cure, ok=None)


def _connectors() -> Iterator[Check]:
    catalog = installed_catalog()
    for name in catalog.names:
        try:
            actions = catalog.connector(name).actions
        except Exception as exc:  # noqa: BLE001 - a broken third-party connector must not stop the doctor
            yield Check(f"connector {name}", f"cannot be loaded: {exc}", "install it again", ok=False)
        else:
            yield Check(f"connector {name}", ", ".join(action.verb for action in actions), ok=True)


def _prefect(settings: Settings) -> Check:
    try:
        number = version("prefect")
    except PackageNotFoundError:
        return Check("prefect", "not installed; runs are executed directly", ok=None)
    launcher = find_launcher(settings)
    status = launcher.status() if launcher else None
    state = "engine up" if status and status.ready else "no engine; `mimrun up` keeps one warm"
    return Check("prefect", f"{number}, {state}", ok=True)


def _secrets() -> Iterator[Check]:
    """Where secrets can be kept besides variables and files, which are always there. Nothing is asked for."""
    try:
        keyring = keyring_name()
    except SettingsError as exc:
        yield Check("keyring", str(exc), "install it again", ok=False)
    else:
        none = "none on this machine; keyring: cannot be used"
        yield Check("keyring", keyring or none, ok=True if keyring else None)
    try:
        yield Check("vault", vault_name(), ok=True)
    except SettingsError as exc:
        yield Check("vault", str(exc), ok=None)


def _programs() -> Iterator[Check]:
    for name, cure in (("ssh-keygen", "apt-get install openssh-client"), ("sudo", "apt-get install sudo")):
        found = shutil.which(name)
        yield Check(name, found or "not there", "" if found else cure, ok=bool(found) or None)
