"""What this account last saw of each log: kept apart from the log, so that a shorter or other one is noticed.

The leaf hash of an entry commits to every entry before it. So one hash and one number are enough to see, by
looking at one entry, that a log still begins with what was there before. Kept are one file for each log and one
for each place where a log was found, all of them written whole and under one lock.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final, Protocol

from mimrun.errors import SettingsError, TamperError
from mimrun.log.proof.note import read_checkpoint, read_note

PATIENCE_S: Final = 2.0
"""Seconds for which another process that writes down what it sees is waited for."""
_PAUSE_S: Final = 0.01
_LENGTH: Final = 32
"""Characters of a hash that name a file."""


class Leaves(Protocol):
    """A log, as far as it is looked at here."""

    @property
    def log(self) -> str:
        """Its origin."""

    def leaf_at(self, seq: int) -> str:
        """The leaf hash of an entry's bytes, hexadecimal; "" where there is no such entry."""

    def end(self) -> tuple[int, str]:
        """How many entries there are, and the leaf hash of the last one."""


@dataclass(frozen=True, slots=True)
class Sight:
    """What was seen of a log.

    Arguments:
        log: its origin.
        first: leaf hash of its first entry, which tells logs of one name apart.
        size: how many entries it had.
        leaf: leaf hash of the last of them.
        at: when, as RFC 3339 has it.
        note: the newest checkpoint that was seen, of this size or a smaller one, or "".
    """

    log: str
    first: str
    size: int
    leaf: str
    at: str
    note: str = ""


class Seen:
    """What was seen of all logs. Safe from several processes.

    Arguments:
        folder: where it is kept; it need not be there yet.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def last(self, log: str, first: str) -> Sight | None:
        """Give what was last seen of a log; None where it was never seen.

        Raises:
            SettingsError: it cannot be read.
        """
        return self._read(self._file(log, first))

    def at(self, place: str) -> Sight | None:
        """Give what was last seen of the log that was in a place; None where none was seen there.

        Raises:
            SettingsError: it cannot be read.
        """
        known = self._read(self._place(place))
        return known and (self.last(known.log, known.first) or known)

    def require(self) -> None:
        """See that it can be kept.

        Raises:
            SettingsError: it cannot; says why.
        """
        with self._locked():
            pass

    def see(self, place: str, sight: Sight) -> None:
        """Remember a log as it is now; never less of it than is remembered already.

        Arguments:
            place: where it is.

        Raises:
            SettingsError: it cannot be written.
        """
        with self._locked():
            known = self.last(sight.log, sight.first)
            if known is None or sight.size > known.size:
                self._write(self._file(sight.log, sight.first), sight)
            elif _size_of(sight.note) > _size_of(known.note):
                # The signature of what was seen comes a moment later.
                self._write(self._file(sight.log, sight.first), replace(known, note=sight.note))
            there = self._read(self._place(place))
            if there is None or (there.log, there.first) != (sight.log, sight.first):
                self._write(self._place(place), sight)

    def begin_anew(self, place: str, sight: Sight) -> None:
        """Remember a log as it is now, although more of it was seen, or another one here.

        Raises:
            SettingsError: it cannot be written.
        """
        with self._locked():
            self._write(self._file(sight.log, sight.first), sight)
            self._write(self._place(place), sight)

    def _file(self, log: str, first: str) -> Path:
        return self._folder / f"log-{_name(log, first)}.json"

    def _place(self, place: str) -> Path:
        return self._folder / f"place-{_name(place)}.json"

    def _read(self, path: Path) -> Sight | None:
        try:
            value = json.loads(path.read_text("utf-8"))
            sight = Sight(**value)
            if type(sight.size) is not int or not all(
                type(v) is str for k, v in value.items() if k != "size"
            ):
                raise ValueError("a value of another type")
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError, TypeError) as exc:
            raise SettingsError(
                f"{path}: what was seen of a log cannot be read ({exc}); move the file away to trust the log as it is"
            ) from exc
        return sight

    def _write(self, path: Path, sight: Sight) -> None:
        draft = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            with draft.open("w", encoding="utf-8") as file:
                json.dump(asdict(sight), file)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(path)
        except OSError as exc:
            draft.unlink(missing_ok=True)
            raise SettingsError(f"{path}: what was seen of a log cannot be written: {exc.strerror}") from exc

    @contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = os.open(self._folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as exc:
            raise SettingsError(
                f"{self._folder}: what is seen of a log cannot be kept: {exc.strerror}; set MIMRUN_SEEN to a folder"
                " that can be written"
            ) from exc
        try:
            self._wait_for(lock)
            yield
        finally:
            os.close(lock)

    def _wait_for(self, lock: int) -> None:
        """Get hold of the lock; a process that was stopped while it held it keeps nobody from their work."""
        end = time.monotonic() + PATIENCE_S
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as exc:
                if time.monotonic() >= end:
                    raise SettingsError(
                        f"{self._folder}: what is seen of a log cannot be kept: another process has held its lock for"
                        f" {PATIENCE_S:g} s; find it with `fuser {self._folder / 'lock'}`"
                    ) from exc
                time.sleep(_PAUSE_S)
            else:
                return


def _size_of(note: str) -> int:
    """Of how many entries a checkpoint is; 0 where it is none."""
    try:
        return read_checkpoint(read_note(note).text).size
    except TamperError:
        return 0


def _name(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:_LENGTH]


def look_at(log: Leaves, at: str, note: str = "") -> Sight:
    """Look at a log as it is now.

    Arguments:
        at: the present moment, as RFC 3339 has it.
        note: its newest checkpoint, or "".
    """
    size, leaf = log.end()
    return Sight(log.log, log.leaf_at(1), size, leaf, at, note)


def seen_before(seen: Seen, place: str, log: Leaves) -> Sight | None:
    """Give what this log has to begin with: what was last seen in its place, and then what was seen of it anywhere.

    The place comes first: where another log was seen since, this one has to be accepted again, although it was seen
    here before. Of the two, the one that the log does not go on from is given.
    """
    there = seen.at(place)
    if there is not None and difference(there, log):
        return there
    return seen.last(log.log, log.leaf_at(1)) or there


def difference(sight: Sight, log: Leaves) -> str:
    """Say in which way a log is not the one that was seen; "" where it goes on from it."""
    now, _ = log.end()
    if (log.log, log.leaf_at(1)) != (sight.log, sight.first):
        return f"it is another log from its first entry on, with {now} entries"
    if now < sight.size:
        one = now + 1 == sight.size
        lost = f"entry {sight.size} is" if one else f"entries {now + 1} to {sight.size} are"
        return f"it has {now} entries now: {lost} not there any more"
    if log.leaf_at(sight.size) != sight.leaf:
        return f"it has {now} entries now, and entry {sight.size} is not the one that was seen"
    return ""


def check_seen(seen: Seen, place: str, log: Leaves) -> None:
    """See that a log goes on from what was seen of it here.

    Arguments:
        place: where it is.

    Raises:
        TamperError: it does not; says what was seen, what is there now, and what next.
        SettingsError: what was seen cannot be read.
    """
    sight = seen_before(seen, place, log)
    if sight is None or not (why := difference(sight, log)):
        return
    raise TamperError(
        f"the log {place} is not the one that was seen here: at {sight.at} it was {sight.log!r} with {sight.size}"
        f" entries; {why}. Keep it, and what was there before, as they are; if an old copy was put back on purpose,"
        " say so with `mimrun log accept --reason WHY`; see docs/how-to/restore-the-log.md"
    )
