"""The log's keys: which there are, certifying, changing and retiring them. Every change is an entry of the log."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mimrun.app.home import Home
from mimrun.app.identity import Identity
from mimrun.app.key_view import KINDS, ring_of
from mimrun.app.persons import require_known
from mimrun.app.signing import key_keeper, pinned_root
from mimrun.errors import InputError, RefusedError, SettingsError, TamperError
from mimrun.log.entry import Draft
from mimrun.log.kind import Body
from mimrun.log.kinds_proof import LogKey, LogKeyRetired
from mimrun.log.merkle import Frontier
from mimrun.log.proof.key import (
    Certificate,
    KeyRing,
    RingKey,
    certifier,
    claimed_certificate,
    open_certificate,
    open_request,
)
from mimrun.log.proof.key_file import read_key, read_public
from mimrun.log.proof.note import SigningKey, VerifyingKey, read_vkey
from mimrun.log.proof.signer import KeyKeeper
from mimrun.settings import Settings

CHANGE_OVER_S: Final = 15.0
"""How long a change waits for the checkpoint that the old and the new key sign both."""
MAX_FILE: Final = 64 * 1024
"""Bytes of a request or a certificate."""


def request_certificate(home: Home, keyid: str = "", *, new: bool = False) -> str:
    """Give what a root key is asked to sign, for a key that signs here.

    Arguments:
        keyid: which key; the newest where none is given.
        new: make a further key first; it counts when its certificate is installed.

    Raises:
        RefusedError: there is no such key here, or too many.
    """
    keeper, ring = key_keeper(home.settings, home.store.log), ring_of(home)
    wanted = keyid or read_vkey(keeper.add_key() if new else keeper.vkey).keyid
    known = ring.key(wanted)
    return keeper.request(wanted, known.from_size if known else home.store.head().size + 1)


def read_request(path: Path) -> Certificate:
    """Read a request, on a machine that has nothing but it and the root key.

    Raises:
        InputError: it is none, or was changed.
    """
    try:
        return open_request(_read(path))
    except TamperError as exc:
        raise InputError(f"{path}: {exc}; make it with `mimrun key request`") from exc


def install(home: Home, identity: Identity, certificate: str) -> RingKey:
    """Record a root key's certificate: for a key in use, or to bring in a new one that waits here for it.

    Raises:
        InputError: it is no certificate for a key of this log.
        RefusedError: it is not of the root key that is pinned here, or the key is retired.
        GateError: the person is not known.
    """
    require_known(home, identity, "change the log's keys")
    ring = ring_of(home)
    # 1. it is a certificate for a key of this log
    try:
        given, by = claimed_certificate(certificate), certifier(certificate)
    except TamperError as exc:
        raise InputError(f"this is no certificate: {exc}; `mimrun key certify` makes them") from exc
    key = given.key
    if key.name != ring.origin:
        raise InputError(f"this certificate is for the log {key.name!r}, and this one is {ring.origin!r}")
    # 2. by the pinned root key, if one is pinned
    if ring.root is not None:
        try:
            open_certificate(certificate, ring.root)
        except TamperError as exc:
            raise RefusedError(f"this certificate is not of the pinned root key {ring.root}: {exc}") from exc
    # 3. for a key that is in use, or that signs here and waits to be announced
    known = ring.key(key.keyid)
    if known is None and key.vkey not in key_keeper(home.settings, ring.origin).vkeys:
        raise RefusedError(f"key {key} neither signs here nor is in the log; see `mimrun key show`")
    start = known.from_size if known else max(given.from_size, home.store.head().size + 1)
    _announce(home, identity, LogKey(keyid=key.keyid, vkey=key.vkey, from_size=start), certificate, by)
    found = ring_of(home).key(key.keyid)
    assert found is not None
    return found


@dataclass(frozen=True, slots=True)
class Rotated:
    """What came of a change of keys.

    Arguments:
        new: the new key.
        retired: ids of the keys whose place it took.
        size: of the checkpoint that both signed; 0 where there was no old key, or none came.
        waiting: ids of keys that still sign, because no such checkpoint came.
    """

    new: RingKey
    retired: tuple[str, ...]
    size: int
    waiting: tuple[str, ...] = ()


def rotate(
    home: Home, identity: Identity, reason: str, root: SigningKey | None = None, *, anew: bool = False
) -> Rotated:
    """Let a new key take the place of those that sign here.

    The steps, in order:

    1. The person is known; where a root key is pinned, it certifies the new key.
    2. The new key is made; from now on it signs beside the old ones, which counts for nothing yet.
    3. It is announced in the log, with its certificate.
    4. A checkpoint that the old and the new keys sign hands over.
    5. The old keys are retired at the size of that checkpoint, and deleted here.

    Where it breaks off, nothing is lost: both keys sign, `mimrun key show` says so, and it can be done again.

    Arguments:
        reason: why, for the log.
        root: the root key, where it may be used on this machine.
        anew: the new key does not go on from what the old ones have signed: the log was restored from a backup. The
            old ones cannot sign it, and are retired without handing over.

    Raises:
        RefusedError: a root key is pinned and does not certify this.
        GateError: the person is not known.
    """
    # 1.
    require_known(home, identity, "change the log's keys")
    ring, keeper = ring_of(home), key_keeper(home.settings, home.store.log)
    _require_root(ring, root)
    # 2. a key that an earlier try or `mimrun signer --anew` made is taken up; anew, only if it can sign this log
    here = [read_vkey(vkey) for vkey in keeper.vkeys]
    waiting = [key for key in here if ring.key(key.keyid) is None]
    lost = _of_lost_log(home, keeper, waiting) if anew else []
    fit = [key for key in waiting if key not in lost]
    key = fit[-1] if fit else read_vkey(keeper.add_key(anew=anew))
    # 3.
    start = home.store.head().size + 1
    certificate = Certificate(key, start).certify(root) if root else ""
    by = str(root.verifying()) if root else ""
    _announce(home, identity, LogKey(keyid=key.keyid, vkey=key.vkey, from_size=start), certificate, by)
    ring = ring_of(home)
    new = ring.key(key.keyid)
    assert new is not None
    old = [one for one in ring.open_keys() if one.key in here and one.key != key]
    # 4.
    size = _handed_over(home, ring, new, [] if anew else old) if old else 0
    if old and not size and not anew:
        return Rotated(new, (), 0, tuple(one.key.keyid for one in old))
    # 5.
    for one in old:
        _retire(home, identity, one, size or home.store.head().size, reason)
        keeper.drop_key(one.key.keyid)
    for gone in lost:
        keeper.drop_key(gone.keyid)
    return Rotated(new, tuple(one.key.keyid for one in old), size)


def retire(home: Home, identity: Identity, keyid: str, reason: str) -> RingKey:
    """Let a key sign no larger tree than the present one; where it signs here, it is deleted.

    Raises:
        InputError: there is no reason, or no such key.
        RefusedError: it is the only key in use, or retired already.
        GateError: the person is not known.
    """
    if not reason.strip():
        raise InputError("say why, with --reason: it is what a reviewer will read")
    require_known(home, identity, "change the log's keys")
    ring = ring_of(home)
    one = ring.key(keyid)
    if one is None:
        known = ", ".join(k.key.keyid for k in ring.keys) or "none"
        raise InputError(f"the log has no key {keyid!r}; it has {known}")
    if one.to_size is not None:
        raise RefusedError(f"key {one.key} was retired at size {one.to_size} already")
    if len(ring.open_keys()) == 1:
        raise RefusedError(f"{one.key} is the only key of the log; change it with `mimrun key rotate`")
    keeper = key_keeper(home.settings, ring.origin)
    _retire(home, identity, one, home.store.head().size, reason)
    if one.key.vkey in keeper.vkeys:
        keeper.drop_key(keyid)
    found = ring_of(home).key(keyid)
    assert found is not None
    return found


def trust(home: Home, vkey: str, *, force: bool = False) -> VerifyingKey:
    """Pin the root key: from now on this home believes only keys that it certified.

    Arguments:
        vkey: the root key, or a file that holds it.
        force: also where it has certified no key in use, or another one is pinned.

    Raises:
        InputError: that is no key.
        RefusedError: another root key is pinned, or it has certified no key in use.
    """
    root = _root_of(vkey)
    present = pinned_root(home.settings)
    if present is not None and present != root and not force:
        raise RefusedError(f"the root key {present} is pinned already; insist with --force to change it")
    ring = KeyRing.fold(home.store.log, home.store.entries(kinds=KINDS), root)
    if not any(one.certified for one in ring.open_keys()) and not force:
        raise RefusedError(
            f"the root key {root} has certified no key in use, so every checkpoint would be refused; first `mimrun key "
            "request`, `mimrun key certify` where the root key is, and `mimrun key install`; or insist with --force"
        )
    _pin(home.settings, root)
    return root


def _announce(home: Home, identity: Identity, body: LogKey, certificate: str, by: str) -> None:
    whole = body.model_copy(update={"certificate": certificate, "certified_by": by[-8:]})
    home.store.append([Draft(identity.actor(), LogKey.model_validate(whole.model_dump()))])


def _retire(home: Home, identity: Identity, one: RingKey, size: int, reason: str) -> None:
    body: Body = LogKeyRetired(keyid=one.key.keyid, to_size=size, reason=reason)
    home.store.append([Draft(identity.actor(), body)])


def _of_lost_log(home: Home, keeper: KeyKeeper, waiting: list[VerifyingKey]) -> list[VerifyingKey]:
    """Give those of the keys that have signed another log than this one, as it was before it was restored."""
    trees, end = keeper.signed_trees() if waiting else {}, home.store.head().size
    found = []
    for key in waiting:
        size, root = trees.get(key.keyid, (0, ""))
        if size > end or (size and Frontier().extend(home.store.leaves(size)).root().hex() != root):
            found.append(key)
    return found


def _handed_over(home: Home, ring: KeyRing, new: RingKey, old: list[RingKey]) -> int:
    """Wait for a checkpoint that the new and an old key have signed; give its size, or 0."""
    if not old:
        return 0
    end = time.monotonic() + CHANGE_OVER_S
    while True:
        for stored in home.store.checkpoints(new.announced - 1):
            try:
                signers = {one.key for one in ring.check(stored.note).signers}
            except TamperError:
                continue
            if new.key in signers and any(one.key in signers for one in old):
                return stored.size
        if time.monotonic() >= end:
            return 0
        time.sleep(0.05)


def _require_root(ring: KeyRing, root: SigningKey | None) -> None:
    if ring.root is None:
        return
    if root is None:
        raise RefusedError(
            f"the root key {ring.root} is pinned here and must certify a new key: give it with --root, or do it apart:"
            " `mimrun key request --new`, `mimrun key certify` where the root key is, `mimrun key install`, and"
            " `mimrun key retire` for the old one"
        )
    if root.verifying() != ring.root:
        raise RefusedError(f"{root.verifying()} is not the root key that is pinned here: {ring.root}")


def read_certificate(path: Path) -> str:
    """Read the file of a certificate.

    Raises:
        InputError: it cannot be read.
    """
    return _read(path)


def root_key(path: Path, passphrase: str) -> SigningKey:
    """Open the root key.

    Raises:
        SettingsError: it is none, or the passphrase is wrong.
    """
    return read_key(path, passphrase)


def _root_of(given: str) -> VerifyingKey:
    try:
        return read_vkey(given)
    except ValueError as exc:
        if not Path(given).is_file():
            raise InputError(f"{exc}; or name the file of a root key") from exc
        return read_public(Path(given))


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(MAX_FILE).decode()
    except (OSError, ValueError) as exc:
        raise InputError(f"{path}: cannot be read: {exc}") from exc


def _pin(settings: Settings, root: VerifyingKey) -> None:
    draft = settings.root_key.with_name(f".{settings.root_key.name}")
    try:
        draft.write_text(root.vkey + "\n", "ascii")
        draft.replace(settings.root_key)
    except OSError as exc:
        raise SettingsError(f"{settings.root_key}: the root key cannot be pinned: {exc.strerror}") from exc
