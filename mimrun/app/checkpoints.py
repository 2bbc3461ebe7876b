"""Checkpoints of this home's log: who signs them from here, why one could not be made, and what was seen of the log."""

from __future__ import annotations

import json
import os
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl, urlencode

from mimrun.app.signing import key_keeper, open_signer
from mimrun.errors import LogError, MimrunError, TamperError
from mimrun.log.checkpointing import Point
from mimrun.log.entry import Actor, Draft
from mimrun.log.kinds import Kind
from mimrun.log.moment import utc_now, write_moment
from mimrun.log.proof.note import read_vkey
from mimrun.log.proof.seen import Leaves, Seen, Sight, check_seen, look_at
from mimrun.log.proof.signer import begin_key
from mimrun.log.sequenced import SequencedStore
from mimrun.settings import Settings

EVERY_S: Final = 1.0
"""Seconds between two times that a process writes down what it sees while it works."""

_WHERE: Final = frozenset({"schema", "host", "hostaddr", "port", "user", "dbname", "service"})
"""Parameters of an address in PostgreSQL that say which log is meant; the others say how to get there."""
_USUAL: Final = {"schema": "mimrun"}
"""What counts where nothing is said; that is the same place."""


def place_of(settings: Settings) -> str:
    """Name the place where the log of a home is, the same for every process of this machine.

    Of the parameters of an address those count that say which log it is, in whatever order they stand: two schemas of
    one database are two places.
    """
    if not settings.store:
        return str(settings.log.resolve())
    front, _, query = settings.store.partition("?")
    told = dict(parse_qsl(query, keep_blank_values=True))
    where = {name: told[name] for name in sorted(_WHERE & told.keys()) if told[name] != _USUAL.get(name)}
    return front + (f"?{urlencode(where)}" if where else "")


def refuse_if_gone(settings: Settings) -> None:
    """See that no log was in the place where there is none now.

    Raises:
        TamperError: there was one; says when it was seen.
    """
    sight = Seen(settings.seen_folder).at(place_of(settings))
    if sight is not None:
        raise TamperError(
            f"the log {place_of(settings)} is gone: at {sight.at} it had {sight.size} entries. Put it back from a"
            " backup (docs/how-to/restore-the-log.md), or begin another one with `mimrun init`"
        )


def see_that_it_goes_on(settings: Settings, log: Leaves) -> None:
    """See that a log goes on from what was seen of it here.

    Raises:
        TamperError: it does not.
        SettingsError: what was seen of it cannot be read.
    """
    check_seen(Seen(settings.seen_folder), place_of(settings), log)


@dataclass(frozen=True, slots=True)
class Failure:
    """Why the last checkpoint that was tried here could not be made.

    Arguments:
        at: when.
        why: what the signer, or the way to it, said.
    """

    at: str
    why: str


def failure_of(settings: Settings) -> Failure | None:
    """Give what went wrong with the last checkpoint; None where it was made."""
    try:
        value = json.loads(_failure_file(settings).read_text("utf-8"))
        return Failure(str(value["at"]), str(value["why"]))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as exc:
        return Failure("", f"{_failure_file(settings)} cannot be read: {exc}")


class Watch:
    """Keeps an eye on a log for as long as it is open: what it was, and that it is signed.

    Arguments:
        settings: of the home.
        store: the log, just opened.
    """

    def __init__(self, settings: Settings, store: SequencedStore) -> None:
        self._settings, self._store = settings, store
        self._seen, self._place = Seen(settings.seen_folder), place_of(settings)
        self._first = ""
        self._latest: Sight | None = None
        self._written = 0.0

    def begin(self) -> None:
        """See that the log goes on from what was seen of it, and have it signed from here on.

        Raises:
            TamperError: it does not.
            SettingsError: what was seen of it cannot be read.
        """
        see_that_it_goes_on(self._settings, self._store)
        self._first = self._store.leaf_at(1)
        signer = open_signer(self._settings, self._store.log)
        if signer is not None:
            self._store.sign_with(signer, self._told)

    def look(self) -> None:
        """Write down what the log is now. A folder that cannot be written is the doctor's to tell of."""
        with suppress(MimrunError):
            now = look_at(self._store, write_moment(utc_now()))
            known = self._seen.last(now.log, now.first)
            here = self._seen.at(self._place)
            if known is not None and known.size >= now.size and here == known:
                return
            latest = self._store.latest_checkpoint()
            note = latest.note if latest is not None and latest.size <= now.size else ""
            self._seen.see(self._place, Sight(now.log, now.first, now.size, now.leaf, now.at, note))

    def end(self) -> None:
        """Write down the checkpoint that closing the log has made."""
        if self._latest is not None:
            with suppress(MimrunError):
                self._seen.see(self._place, self._latest)

    def _told(self, point: Point, what: str | Exception) -> None:
        """Remember a checkpoint, or why there is none. Called in the thread that has it signed."""
        now = write_moment(utc_now())
        file = _failure_file(self._settings)
        with suppress(OSError, MimrunError):
            if isinstance(what, Exception):
                draft = file.with_name(f".{file.name}.{os.getpid()}")
                draft.write_text(json.dumps({"at": now, "why": str(what)}), "utf-8")
                draft.replace(file)
                return
            file.unlink(missing_ok=True)
            self._latest = Sight(self._store.log, self._first, point.size, point.leaf, now, what)
            if time.monotonic() - self._written >= EVERY_S:
                self._seen.see(self._place, self._latest)
                self._latest, self._written = None, time.monotonic()


def begin_checkpoints(settings: Settings, store: SequencedStore, actor: Actor, *, fresh: bool) -> list[str]:
    """Give a log its first key and its first checkpoint; one that has a key is left alone.

    Arguments:
        settings: of the home.
        store: the log, not signed from here yet.
        actor: who begins it.
        fresh: it was made just now.

    Returns:
        what was done, or why it could not be, a line each.
    """
    seen, place = Seen(settings.seen_folder), place_of(settings)
    made = []
    if fresh:
        before = seen.at(place)
        if before is not None:
            made.append(
                f"before it, another log was here: at {before.at} it had {before.size} entries; keep its backup"
            )
    elif store.latest_checkpoint() or next(store.entries(kinds={Kind.LOG_KEY}), None):
        return []
    try:
        keeper = key_keeper(settings, store.log)
        if fresh and keeper.vkeys and keeper.signed_size():
            # What these keys have signed was another log of the same name.
            keeper.add_key(anew=True)
        key = begin_key(keeper, size=store.head().size)
        store.sign_with(keeper)
        store.append([Draft(actor, key)])
        store.checkpoint()
        made.append(f"key of its checkpoints {read_vkey(key.vkey)}")
    except (LogError, MimrunError, OSError) as exc:
        made.append(f"no key for its checkpoints: {exc}; then `mimrun init` again")
    with suppress(MimrunError):
        note = store.latest_checkpoint()
        seen.begin_anew(place, look_at(store, write_moment(utc_now()), note.note if note else ""))
    return made


def _failure_file(settings: Settings) -> Path:
    return settings.home / "checkpoint-failed.json"
