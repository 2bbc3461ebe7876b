"""Who signs the log: a signer keeps what it has signed, and signs nothing that does not go on from there.

A folder holds, for each key, `<keyid>.pem` (the private key) and `<keyid>.json` (the size and the Merkle frontier of
the largest tree that it has signed). Whoever may write the log cannot make a signer forget: to show two people two
different logs, one would need the key itself.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, Protocol

from mimrun.errors import RefusedError, SettingsError
from mimrun.log.durable import sync_folder
from mimrun.log.kinds_proof import LogKey
from mimrun.log.merkle import Frontier
from mimrun.log.proof.key import Certificate
from mimrun.log.proof.key_file import make_key, read_key
from mimrun.log.proof.note import Checkpoint, VerifyingKey, read_vkey, sign_note

MAX_KEYS: Final = 4
"""Keys that sign at the same time; two are enough while one takes the other's place."""
_FORMAT: Final = "mimrun/signer/v1"


class Signer(Protocol):
    """Signs checkpoints of one log."""

    @property
    def vkeys(self) -> tuple[str, ...]:
        """The keys that it signs with, the oldest first.

        Raises:
            SettingsError: the signer cannot be read or reached.
        """

    @property
    def vkey(self) -> str:
        """The newest of its keys.

        Raises:
            SettingsError: it has none, or cannot be read or reached.
        """

    def signed_size(self) -> int:
        """Up to which size all of its keys have signed: `sign` wants the leaves behind it.

        Raises:
            SettingsError: the signer cannot be read or reached.
        """

    def sign(self, size: int, root: bytes, leaves: Iterable[bytes]) -> str:
        """Sign a tree that goes on from everything that was signed before.

        Arguments:
            size: how many entries it has.
            root: its Merkle root, 32 bytes.
            leaves: the leaf hashes behind `signed_size()`, up to `size`.

        Returns:
            the signed note: a line for each key that could sign it, at least one.

        Raises:
            RefusedError: it is smaller than, or has another history than, what every key has signed.
            SettingsError: the signer cannot be read or reached.
        """


class KeyKeeper(Signer, Protocol):
    """A signer whose keys can be changed from here."""

    def add_key(self, *, anew: bool = False) -> str:
        """Make a further key and sign with it as well.

        Arguments:
            anew: it does not go on from what the newest key has signed, but will be given the log from its beginning:
                for a log that was restored from a backup, which the old key refuses to sign.

        Returns:
            its vkey.

        Raises:
            RefusedError: there are too many keys already.
        """

    def signed_trees(self) -> dict[str, tuple[int, str]]:
        """Give size and root (hexadecimal) of the largest tree that each key has signed, by the key's id.

        Raises:
            SettingsError: the signer cannot be read or reached.
        """

    def drop_key(self, keyid: str) -> None:
        """Sign no longer with this key, and delete it.

        Raises:
            RefusedError: it is the only one, or not here.
        """

    def request(self, keyid: str, from_size: int) -> str:
        """Give the request that a root key certifies this key from a size on; signed by the key itself.

        Raises:
            RefusedError: this key is not here.
        """


@dataclass(frozen=True, slots=True)
class Memory:
    """What a key has signed.

    Arguments:
        key: which key.
        nth: keys are counted as they are made, from 1.
        frontier: of the largest tree that it has signed.
    """

    key: VerifyingKey
    nth: int
    frontier: Frontier = field(default_factory=Frontier)


class FileSigner:
    """A signer whose keys and whose memory are files in a folder.

    Several processes may use the folder at once: each call holds its lock and reads it anew.

    Arguments:
        folder: where they are; it need not be there yet.
        origin: the log that is signed.
    """

    def __init__(self, folder: Path, origin: str) -> None:
        self._folder, self._origin = folder, origin

    @property
    def vkeys(self) -> tuple[str, ...]:
        """The keys in the folder, the oldest first; see `Signer`."""
        if not self._folder.exists():
            return ()
        with self._locked():
            return tuple(one.key.vkey for one in self._load())

    @property
    def vkey(self) -> str:
        """The newest key; see `Signer`."""
        keys = self.vkeys
        if not keys:
            raise SettingsError(f"{self._folder} holds no key of the log; make one with `mimrun key rotate`")
        return keys[-1]

    def signed_size(self) -> int:
        """Up to which size all keys have signed; see `Signer`."""
        with self._locked():
            return min((one.frontier.size for one in self._load()), default=0)

    def sizes(self) -> dict[str, int]:
        """Up to which size each key remembers to have signed, by its id.

        Raises:
            SettingsError: the folder cannot be read.
        """
        if not self._folder.exists():
            return {}
        with self._locked():
            return {one.key.keyid: one.frontier.size for one in self._load()}

    def signed_trees(self) -> dict[str, tuple[int, str]]:
        """The largest tree that each key has signed; see `KeyKeeper`."""
        if not self._folder.exists():
            return {}
        with self._locked():
            return {one.key.keyid: (one.frontier.size, one.frontier.root().hex()) for one in self._load()}

    def sign(self, size: int, root: bytes, leaves: Iterable[bytes]) -> str:
        """Sign a tree that goes on from everything that was signed before; see `Signer`."""
        given = leaves if isinstance(leaves, Sequence) else list(leaves)
        text = Checkpoint(self._origin, size, root).text()
        # 1. nobody else signs meanwhile, and what was signed is read from disk, not remembered
        with self._locked():
            known = self._load()
            if not known:
                raise SettingsError(
                    f"{self._folder} holds no key of the log; make one with `mimrun key rotate`"
                )
            able, refusals = [], []
            for one in known:
                # 2. the tree goes on from what this key has signed
                try:
                    able.append(replace(one, frontier=_extended(one, size, root, given)))
                except RefusedError as exc:
                    refusals.append(exc)
            if not able:
                raise refusals[0]
            # 3. the keys are whole
            private = [read_key(self._pem(one.key)) for one in able]
            # 4. what is about to be signed is on disk, for good, before anybody can see a signature
            for one in able:
                self._store(one)
            # 5. sign
            return sign_note(text, private)

    def add_key(self, *, anew: bool = False) -> str:
        """Make a further key and sign with it as well; see `KeyKeeper`."""
        with self._locked():
            known = self._load()
            if len(known) >= MAX_KEYS:
                raise RefusedError(
                    f"{len(known)} keys sign this log already; retire one with `mimrun key retire`"
                )
            frontier = known[-1].frontier if known and not anew else Frontier()
            nth = 1 + max((self._read(path).nth for path in self._folder.glob("*.json")), default=0)
            # The key has its name only when its memory is there: a key without one must never sign.
            draft = self._folder / f".new-{os.getpid()}.pem"
            draft.unlink(missing_ok=True)
            key = make_key(draft, self._origin)
            self._store(Memory(key, nth, frontier))
            draft.rename(self._pem(key))
            sync_folder(self._folder)
            return key.vkey

    def drop_key(self, keyid: str) -> None:
        """Sign no longer with this key, and delete it; see `KeyKeeper`."""
        with self._locked():
            known = self._load()
            one = self._find(known, keyid)
            if len(known) == 1:
                raise RefusedError(
                    f"{one.key} is the only key that signs here; change it with `mimrun key rotate`"
                )
            # What it has signed stays known, so that the count of keys only grows.
            self._pem(one.key).unlink()
            sync_folder(self._folder)

    def request(self, keyid: str, from_size: int) -> str:
        """Ask a root key to certify this key; see `KeyKeeper`."""
        with self._locked():
            one = self._find(self._load(), keyid)
            return Certificate(one.key, from_size).request(read_key(self._pem(one.key)))

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the folder's lock; the kernel frees it when this process ends."""
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(self._folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as exc:
            raise SettingsError(f"{self._folder}: the log's keys cannot be used: {exc.strerror}") from exc
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        except OSError as exc:
            raise SettingsError(
                f"{self._folder}: the log's keys cannot be used: {exc.strerror or exc}"
            ) from exc
        finally:
            os.close(descriptor)

    def _load(self) -> list[Memory]:
        """Read the keys that sign here, the oldest first."""
        found = []
        for path in self._folder.glob("[0-9a-f]*.pem"):
            memory = path.with_suffix(".json")
            if not memory.exists():
                raise SettingsError(
                    f"{path}: what this key has signed is not known any more ({memory.name} is gone), so it may not "
                    "sign; restore that file, or move the key away and run `mimrun key rotate`"
                )
            found.append(self._read(memory))
        return sorted(found, key=lambda one: one.nth)

    def _read(self, path: Path) -> Memory:
        try:
            value = json.loads(path.read_text("utf-8"))
            if value["format"] != _FORMAT:
                raise ValueError("another format")
            key = read_vkey(value["vkey"])
            frontier = Frontier.decode(value["size"], bytes.fromhex(value["peaks"]))
            nth = int(value["nth"])
        except (ValueError, KeyError, TypeError) as exc:
            raise SettingsError(f"{path}: what the key has signed cannot be read: {exc}") from exc
        if key.name != self._origin or path.stem != key.keyid:
            raise SettingsError(f"{path}: this is of key {key}, which does not sign the log {self._origin!r}")
        return Memory(key, nth, frontier)

    def _store(self, one: Memory) -> None:
        """Put what a key has signed on disk: a whole new file, its bytes, then its name."""
        path = self._folder / f"{one.key.keyid}.json"
        value = {"format": _FORMAT, "vkey": one.key.vkey, "nth": one.nth}
        value |= {"size": one.frontier.size, "peaks": one.frontier.encode().hex()}
        draft = path.with_name(f".{path.name}")
        with draft.open("w", encoding="utf-8") as file:
            json.dump(value, file)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
        sync_folder(self._folder)

    def _find(self, known: Sequence[Memory], keyid: str) -> Memory:
        for one in known:
            if one.key.keyid == keyid:
                return one
        here = ", ".join(one.key.keyid for one in known) or "none"
        raise RefusedError(f"key {keyid} does not sign here; these do: {here}")

    def _pem(self, key: VerifyingKey) -> Path:
        return self._folder / f"{key.keyid}.pem"


def begin_key(keeper: KeyKeeper, *, size: int = 0) -> LogKey:
    """Give the body of the entry that announces the signer's newest key; one is made where there is none.

    Arguments:
        keeper: who will sign.
        size: of the log before that entry.

    Raises:
        SettingsError: the signer cannot be used or reached.
    """
    vkeys = keeper.vkeys
    vkey = vkeys[-1] if vkeys else keeper.add_key()
    return LogKey(keyid=read_vkey(vkey).keyid, vkey=vkey, from_size=size + 1)


def _extended(one: Memory, size: int, root: bytes, leaves: Sequence[bytes]) -> Frontier:
    """Give the frontier of the tree, if it goes on from what the key has signed.

    Raises:
        RefusedError: it does not; says why.
    """
    own = one.frontier
    # 1. nothing that was signed is missing
    if size < own.size:
        raise RefusedError(
            f"key {one.key} has signed a log of {own.size} entries, and this one has {size}: it was cut or restored; "
            "see `mimrun log accept`, then `mimrun key rotate --anew`"
        )
    # 2. no entry between is left out
    if size - len(leaves) > own.size:
        raise RefusedError(
            f"key {one.key} has signed up to entry {own.size}; the leaves behind it are not all given"
        )
    # 3. its own leaves, and those behind them, make the very root
    frontier = own.extend(leaves[len(leaves) - (size - own.size) :] if size > own.size else ())
    if frontier.root() != root:
        raise RefusedError(
            f"the log of {size} entries does not go on from the {own.size} that key {one.key} has signed: entries were "
            "changed, or this is another log; look at it with `mimrun log verify`"
        )
    return frontier
