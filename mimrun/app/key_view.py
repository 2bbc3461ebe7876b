"""The log's keys as people see them: which there are, for which sizes, on whose word, and which sign here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pydantic import JsonValue

from mimrun.app.home import Home
from mimrun.app.signing import key_keeper, pinned_root
from mimrun.errors import MimrunError, TamperError
from mimrun.log.kind import Kind
from mimrun.log.proof.key import KeyRing, RingKey, certifier
from mimrun.log.proof.note import read_vkey

KINDS: Final = frozenset({Kind.LOG_KEY, Kind.LOG_KEY_RETIRED})
"""The kinds that a ring of keys is folded from."""


@dataclass(frozen=True, slots=True)
class Last:
    """The last checkpoint that is stored.

    Arguments:
        size: how many entries it has.
        root: of its tree, hexadecimal; "" where the note cannot be read.
        signers: ids of the log's keys that vouch for it.
        fault: what is wrong with it, or "".
    """

    size: int
    root: str = ""
    signers: tuple[str, ...] = ()
    fault: str = ""

    def as_json(self) -> dict[str, JsonValue]:
        """The checkpoint for `--json`."""
        return {"size": self.size, "root": self.root, "signers": list(self.signers), "fault": self.fault}


@dataclass(frozen=True, slots=True)
class KeysView:
    """The keys of a log as they stand.

    Arguments:
        ring: as the log says, judged with the pinned root key.
        here: ids of the keys that sign here.
        unannounced: of those, the ones that the log does not know (yet): they count for nothing.
        signer: where they are: a folder, or the address of another process.
        fault: why nobody can sign here, or "".
        last: the last checkpoint; None where there is none.
        size: how many entries the log has.
    """

    ring: KeyRing
    here: tuple[str, ...]
    unannounced: tuple[str, ...]
    signer: str
    fault: str
    last: Last | None
    size: int

    def as_json(self) -> dict[str, JsonValue]:
        """The keys for `--json`."""
        last = self.last
        return {
            "log": self.ring.origin,
            "size": self.size,
            "root_key": self.ring.root.vkey if self.ring.root else None,
            "keys": [self._key(one) for one in self.ring.keys],
            "unannounced": list(self.unannounced),
            "signer": self.signer,
            "fault": self.fault,
            "checkpoint": last.as_json() if last else None,
        }

    def _key(self, one: RingKey) -> JsonValue:
        return {
            "keyid": one.key.keyid,
            "vkey": one.key.vkey,
            "from_size": one.from_size,
            "to_size": one.to_size,
            "announced": one.announced,
            "certified": one.certified,
            "certified_by": _certifier(one),
            "doubt": one.doubt if self.ring.root else "",
            "signs_here": one.key.keyid in self.here,
        }


def view_keys(home: Home) -> KeysView:
    """Give the keys of the log, who certified them, which sign here, and the last checkpoint.

    Raises:
        TamperError: an entry announces or retires a key that it cannot.
        SettingsError: the pinned root key cannot be read.
    """
    ring, here, fault = ring_of(home), tuple[str, ...](), ""
    try:
        here = tuple(read_vkey(vkey).keyid for vkey in key_keeper(home.settings, home.store.log).vkeys)
    except MimrunError as exc:
        fault = str(exc)
    unannounced = tuple(keyid for keyid in here if ring.key(keyid) is None)
    signer = home.settings.signer or str(home.settings.signer_folder)
    return KeysView(ring, here, unannounced, signer, fault, _last(home, ring), home.store.head().size)


def ring_of(home: Home) -> KeyRing:
    """Give the log's keys, judged with the root key that is pinned here if one is.

    Raises:
        TamperError: an entry announces or retires a key that it cannot.
        SettingsError: the pinned root key cannot be read.
    """
    store = home.store
    return KeyRing.fold(store.log, store.entries(kinds=KINDS), pinned_root(home.settings))


def _last(home: Home, ring: KeyRing) -> Last | None:
    stored = home.store.latest_checkpoint()
    if stored is None:
        return None
    try:
        checked = ring.check(stored.note)
    except TamperError as exc:
        return Last(stored.size, fault=str(exc))
    signers = tuple(one.key.keyid for one in checked.signers)
    return Last(stored.size, checked.checkpoint.root.hex(), signers)


def _certifier(one: RingKey) -> str:
    try:
        return certifier(one.certificate) if one.certificate else ""
    except TamperError:
        return ""
