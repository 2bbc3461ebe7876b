"""The kill switch: one handle that stops everything, and stays pulled until two people lift it.

It is kept twice. The latch is a file in the home folder: it is written first, works while the log does
not, and is looked at right before every effect. The log says who pulled and who lifted. Where the two
disagree, everything stands still: what stops must not depend on both being in order.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Protocol

from pydantic import BaseModel, ConfigDict, ValidationError

from mimrun.errors import StoreError
from mimrun.gate.people import acted
from mimrun.log import kinds
from mimrun.log.entry import LogEntry
from mimrun.log.moment import write_moment

NEEDED: Final = 2
"""So many people lift it."""

_KEY: Final = "switch"


class Agreement(BaseModel):
    """One person's word that the switch may be lifted, with every id and account behind it."""

    model_config = ConfigDict(frozen=True)

    person: str
    names: tuple[str, ...]


class Switch(BaseModel):
    """What the log says of the kill switch.

    Arguments:
        pulled: the entry that pulled it, 0 where it is not pulled.
        latch: names the latch file that was written with it, or the one that was lifted last.
        agreed: who agrees by now to lift it.
    """

    model_config = ConfigDict(frozen=True)

    pulled: int = 0
    latch: str = ""
    by: str = ""
    at: str = ""
    reason: str = ""
    agreed: tuple[Agreement, ...] = ()

    def encode(self) -> bytes:
        """Give the bytes that the store keeps."""
        return json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":")).encode()


class KillSwitch:
    """The projector: the one switch of this log."""

    name: Final = "killswitch/1"

    def empty(self) -> bytes:
        """A switch that nobody ever pulled."""
        return Switch().encode()

    def key(self, entry: LogEntry) -> str | None:
        """Whoever pulls or lifts touches the one state."""
        pulls = isinstance(entry.body, kinds.KillswitchPulled | kinds.KillswitchLiftAgreed)
        return _KEY if pulls else None

    def apply(self, state: bytes, entry: LogEntry, blobs: Mapping[str, bytes]) -> bytes:
        """Give the switch after an entry. The second person who agrees lifts it."""
        return _follow(Switch.model_validate_json(state), entry).encode()


def _follow(was: Switch, entry: LogEntry) -> Switch:
    match entry.body:
        case kinds.KillswitchPulled() as body if not was.pulled:
            return Switch(
                pulled=entry.seq,
                latch=body.latch,
                by=entry.actor.id,
                at=write_moment(entry.ts),
                reason=body.reason,
            )
        case kinds.KillswitchLiftAgreed() as body if was.pulled == body.pulled:
            if entry.actor.id in {one.person for one in was.agreed}:
                return was
            names = tuple(sorted(acted(entry.actor.id, entry.actor.auth)))
            agreed = (*was.agreed, Agreement(person=entry.actor.id, names=names))
            return was.model_copy(
                update={"agreed": agreed, "pulled": was.pulled if len(agreed) < NEEDED else 0}
            )
        case _:
            return was


class Projections(Protocol):
    """What reads folded states: the store, or its view inside a transaction."""

    def projection(self, name: str, key: str) -> bytes:
        """The state of a key."""


def switch_in(view: Projections) -> Switch:
    """Say what the log says of the kill switch."""
    return Switch.model_validate_json(view.projection(KillSwitch.name, _KEY))


def pulled_in(view: Projections) -> str:
    """Say why the log says that nothing may begin; "" where it does not say so."""
    switch = switch_in(view)
    return _words(switch.by, switch.at, switch.reason) if switch.pulled else ""


class Latch:
    """The kill switch of this machine: a file that is there, or not.

    Arguments:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        self.path, self._name = path, os.fspath(path)

    def reason(self) -> str:
        """Say why nothing may begin, "" where the file is not there. What cannot be looked at is pulled."""
        try:
            os.stat(self._name)  # noqa: PTH116 - asked before every effect, and a Path takes as long as the kernel
        except (FileNotFoundError, NotADirectoryError):
            return ""
        except OSError as exc:
            return f"the kill switch {self.path} cannot be looked at: {exc.strerror}"
        told = self.read()
        return _words(told.by, told.at, told.reason) if told.by else f"the kill switch {self.path} is there"

    def read(self) -> Switch:
        """Give what the file says; an empty switch where it is not there, or says nothing one could read."""
        try:
            return Switch.model_validate_json(self.path.read_bytes())
        except (OSError, ValidationError):
            return Switch()

    def there(self) -> bool:
        """Say whether the file is there."""
        return bool(self.reason())

    def pull(self, by: str, at: str, reason: str) -> str:
        """Write the file, so that it is on disk when this returns; gives the name of the latch.

        Raises:
            StoreError: it cannot be written.
        """
        told = Switch(latch=secrets.token_hex(8), by=by, at=at, reason=reason)
        draft = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        try:
            with draft.open("wb") as file:
                file.write(told.encode())
                file.flush()
                os.fsync(file.fileno())
            draft.replace(self.path)
            folder = os.open(self.path.parent, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as exc:
            raise StoreError(
                f"{self.path}: cannot be written: {exc.strerror}; the log still can stop it"
            ) from exc
        return told.latch

    def remove(self, name: str) -> None:
        """Remove the file, if it is there and still the latch of this name: another one was pulled since."""
        if self.read().latch == name:
            self.path.unlink(missing_ok=True)


def _words(by: str, at: str, reason: str) -> str:
    return f"the kill switch was pulled by {by} at {at[:19].replace('T', ' ')} UTC: {reason}"
