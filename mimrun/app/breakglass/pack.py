"""A sealed pack: runbooks, inventory and rules in one file, for when there is nothing but a machine.

A pack is a bundle of the incident log that holds one incident, in which one entry says what was packed and has it as
a blob. So a pack is checked like any other evidence, with the log's signature and without the log; and what was
changed in it is found. The log that is kept while it is used says which entry of which log it goes on from, and is
merged later as a bundle of its own.
"""

from __future__ import annotations

import io
import json
import os
import secrets
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path, PurePosixPath
from typing import Final

from pydantic import JsonValue, TypeAdapter, ValidationError

from mimrun import canonical
from mimrun.app.home import Home, lay_home, open_home
from mimrun.app.identity import Identity
from mimrun.app.naming import Entropy, new_opening, new_pack
from mimrun.app.runbooks import library_folders
from mimrun.app.signing import pinned_root
from mimrun.errors import InputError, RefusedError, SettingsError, TamperError
from mimrun.log.chain import SALT_SIZE
from mimrun.log.entry import MAX_BLOB, Actor, Blob, Draft, LogEntry, decode
from mimrun.log.kinds import BreakglassPacked, BreakglassUnpacked, ExportMade, IncidentOpened
from mimrun.log.merkle import root as root_of
from mimrun.log.moment import read_moment
from mimrun.log.proof.bundle import export
from mimrun.log.proof.note import VerifyingKey
from mimrun.log.proof.opened import verify_bundle
from mimrun.log.proof.report import Report
from mimrun.log.proof.standalone.form import Bundle, Damaged
from mimrun.log.proof.verify import Trust
from mimrun.settings import Settings

EXPIRES: Final = timedelta(days=30)
"""For how long a pack is good: runbooks and people change."""
ABOUT: Final = "pack.json"
"""In the home that a pack was opened in: which pack it is."""
_RULES: Final = ("people.yaml", "policy.yaml", "allowed_signers", "notices.yaml", "changes.yaml")
_MOST_FILES: Final = 5_000
_README: Final = """\
This folder was made of a sealed mimrun pack. It needs no network, no Prefect and no other machine of yours.

    . ./env
    mimrun doctor
    mimrun run --direct --break-glass "why" runbooks/<stage>/<name>.yaml

Secrets are not in it: runbooks name them (env:, file:, keyring:, vault:), and keys for ssh are where ssh has them.
What you do is recorded in log.db. When your own log is reachable again:

    mimrun breakglass merge <this folder>
"""


@dataclass(frozen=True, slots=True)
class Packed:
    """A pack that was made.

    Arguments:
        pack: its digest.
        name: of the incident that it is, in the log.
        files: what is in it.
        expires_at: until when it is good.
        signed: whether a key of the log vouches for it.
    """

    path: Path
    pack: str
    name: str
    files: tuple[str, ...]
    expires_at: datetime
    signed: bool

    def lacks(self) -> list[str]:
        """Say what whoever needs it will miss."""
        unsigned = [] if self.signed else ["no key of the log has signed it: `mimrun key show` says why"]
        hosts = (
            []
            if "known_hosts" in self.files
            else ["no keys of hosts are in it: --known-hosts ~/.ssh/known_hosts"]
        )
        return unsigned + hosts

    def as_json(self) -> dict[str, JsonValue]:
        """The pack for `--json`."""
        shown: dict[str, JsonValue] = {"path": str(self.path), "pack": self.pack, "incident": self.name}
        return shown | {
            "files": list(self.files),
            "expires_at": self.expires_at.isoformat(),
            "signed": self.signed,
        }


@dataclass(frozen=True, slots=True)
class Contents:
    """What a pack says of itself.

    Arguments:
        log: the log that it was made from.
        entry: says what was packed.
        report: what checking it found.
    """

    log: str
    entry: LogEntry
    body: BreakglassPacked
    files: bytes
    report: Report

    def names(self) -> list[str]:
        """Give the files that are in it."""
        with zipfile.ZipFile(io.BytesIO(self.files)) as file:
            return file.namelist()


def pack(
    home: Home,
    identity: Identity,
    path: Path,
    *,
    inventories: Sequence[Path],
    known_hosts: Path | None = None,
    reason: str = "",
    expires: timedelta = EXPIRES,
) -> Packed:
    """Seal what is needed to run anything into a file, on the record.

    1. Runbooks of the library, the inventory, the rules and the hosts' keys are read.
    2. The log records what they are, with the pack itself as a blob, and how long it was before.
    3. A bundle of that entry is written: with a checkpoint above it, so that a key of the log vouches for it.

    Arguments:
        inventories: files or folders; the settings' own where none is given.
        known_hosts: the keys of hosts, as ssh keeps them; none where it is None.

    Raises:
        InputError: the file exists, or what is to be packed is not there or is too large.
        LogError: the log cannot be written.
    """
    if path.exists():
        raise InputError(f"{path} exists; name a new file")
    members = dict(_members(home.settings, inventories, known_hosts))
    data = _zip(members)
    if len(data) > MAX_BLOB:
        raise InputError(
            f"the pack has {len(data)} bytes, and {MAX_BLOB} is the most; pack a smaller library"
        )
    head, moment = home.store.head(), home.clock()
    root = root_of(home.store.leaves(head.size)).hex()
    body = BreakglassPacked(
        pack=canonical.digest_bytes(data),
        size=head.size,
        root=root,
        expires_at=moment + expires,
        files=len(members),
        reason=reason,
    )
    name = new_pack(moment)
    blob = Blob("files", data, "plan")
    title = IncidentOpened(title=f"A sealed pack of {len(members)} files")
    home.store.append(
        [Draft(identity.actor(), title, inc=name), Draft(identity.actor(), body, inc=name, blobs=(blob,))]
    )
    manifest = export(home.store, path, inc=name)
    made = ExportMade(
        entries=manifest.entries, digest=canonical.digest_bytes(path.read_bytes()), format="pack"
    )
    home.store.append([Draft(identity.actor(), made, inc=name)])
    return Packed(path, body.pack, name, tuple(members), read_moment(body.expires_at), manifest.signed)


def inspect(path: Path, trust: Trust) -> Contents:
    """Check a pack, and say what is in it.

    Arguments:
        trust: whose signatures count.

    Raises:
        InputError: there is no such file, or it is no pack.
        TamperError: it is not what was packed; says what is wrong.
    """
    report = verify_bundle(path, trust=trust)
    if not report.ok:
        raise TamperError(f"{path}: the pack is not what was sealed: {report.flaws[0]}")
    try:
        bundle = Bundle(path.read_bytes())
    except Damaged as exc:
        raise TamperError(f"{path}: {exc}") from exc
    for line in bundle.lines("entries.jsonl"):
        entry = decode(line)
        if isinstance(entry.body, BreakglassPacked):
            (ref,) = [ref for ref in entry.blobs if ref.n == "files"]
            data = (bundle.read(f"blobs/{ref.commit}") or b"")[SALT_SIZE:]
            if canonical.digest_bytes(data) != entry.body.pack:
                raise TamperError(f"{path}: the files are not those that were packed")
            return Contents(report.log, entry, entry.body, data, report)
    raise InputError(f"{path} is a bundle of a log, and no pack; `mimrun breakglass pack` makes one")


def unpack(
    contents: Contents,
    folder: Path,
    actor: Actor,
    *,
    now: datetime,
    expired: bool = False,
    entropy: Entropy = secrets.token_bytes,
) -> tuple[Settings, list[str]]:
    """Make a home of its own of a pack, whose log says where it goes on from.

    Arguments:
        folder: is made; it must not exist.
        expired: a pack whose time is over is good enough.
        entropy: for the name of its log: one pack may be opened on several machines, and each has a log of its own.

    Returns:
        the settings of the new home, and what was made, a line each.

    Raises:
        RefusedError: the pack's time is over.
        InputError: the folder exists, or cannot be made.
    """
    until = read_moment(contents.body.expires_at)
    if now >= until and not expired:
        raise RefusedError(
            f"the pack was good until {until:%Y-%m-%d %H:%M} UTC: runbooks, hosts and people may have changed;"
            " get a newer one, or say --expired if there is none"
        )
    try:
        folder.mkdir(mode=0o700, parents=True)
        _extract(contents.files, folder)
        (folder / "seen").mkdir(mode=0o700)
        settings = Settings(home=folder.absolute(), origin=_origin(contents, new_opening(entropy)))
        about = _about(contents, settings.origin)
        for name, text in (("env", _env(settings)), ("README", _README), (ABOUT, about)):
            (folder / name).write_text(text, "utf-8")
    except FileExistsError as exc:
        raise InputError(f"{folder} exists; name a new folder") from exc
    except OSError as exc:
        raise InputError(f"{folder} cannot be made: {exc.strerror}; name another one") from exc
    made = lay_home(settings)
    body = BreakglassUnpacked(
        pack=contents.body.pack, origin=contents.log, size=contents.body.size, root=contents.body.root
    )
    with open_home(settings) as home:
        home.store.append([Draft(actor, body)])
    return settings, made


def settings_of_pack(folder: Path) -> Settings:
    """Give the settings of a home that a pack was opened in.

    Raises:
        SettingsError: it is none.
    """
    try:
        known = TypeAdapter(dict[str, str]).validate_json((folder / ABOUT).read_bytes())
        return Settings(home=folder.absolute(), origin=known["log"])
    except (OSError, ValidationError, KeyError) as exc:
        raise SettingsError(f"{folder} is not a folder that `mimrun breakglass open` has made") from exc


def trusted(
    settings: Settings, roots: Sequence[VerifyingKey], keys: Sequence[VerifyingKey], *, unvouched: bool
) -> Trust:
    """Say whose signatures count for a pack.

    Arguments:
        roots, keys: what the person names; without any, the root key that is pinned in the home.
        unvouched: a pack for which nobody vouches whom we know is good enough.

    Raises:
        RefusedError: nobody is known who could vouch for it.
    """
    root = roots[0] if roots else pinned_root(settings)
    if root is None and not keys and not unvouched:
        raise RefusedError(
            "nobody is known here who could vouch for a pack: name the log's root key with --root, or one of its keys"
            " with --key; or say --unvouched, and look at what is in it"
        )
    return Trust(root=root, keys=tuple(keys), unsigned=unvouched)


def _members(
    settings: Settings, inventories: Sequence[Path], known_hosts: Path | None
) -> Iterator[tuple[str, bytes]]:
    # Where two libraries have a file of one name, the first one counts, as when a runbook is looked for.
    for folder in reversed(library_folders()):
        for path in sorted(folder.rglob("*.y*ml")):
            yield f"runbooks/{path.relative_to(folder).as_posix()}", _read(path)
    for number, place in enumerate(inventories or ([settings.inventory] if settings.inventory else [])):
        for name, path in _inventory(place):
            yield f"inventory/{number}/{name}", _read(path)
    for name in _RULES:
        if (settings.home / name).is_file():
            yield name, _read(settings.home / name)
    for path in sorted(settings.calendars.glob("*")) if settings.calendars.is_dir() else []:
        yield f"calendars/{path.name}", _read(path)
    if known_hosts is not None:
        yield "known_hosts", _read(known_hosts)


def _inventory(place: Path) -> Iterator[tuple[str, Path]]:
    """Give the files of an inventory: a folder whole, a file with the variables beside it."""
    if place.is_dir():
        folders, base = [place], place
    else:
        yield place.name, place
        folders, base = [place.parent / "group_vars", place.parent / "host_vars"], place.parent
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                yield path.relative_to(base).as_posix(), path


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as exc:
        raise InputError(f"{path} cannot be packed: {exc.strerror}") from exc


def _zip(members: Mapping[str, bytes]) -> bytes:
    """Give the same bytes for the same files: no times, no permissions, in the order of their names."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as file:
        for name in sorted(members):
            file.writestr(zipfile.ZipInfo(name), members[name], zipfile.ZIP_DEFLATED)
    return out.getvalue()


def _extract(data: bytes, folder: Path) -> None:
    """Write the files of a pack; nothing outside of the folder, and no more than a pack has.

    Raises:
        InputError: a name leads out of the folder, or there is more in it than a pack has.
    """
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        infos = file.infolist()
        if len(infos) > _MOST_FILES or sum(info.file_size for info in infos) > 4 * MAX_BLOB:
            raise InputError("the pack holds more than a pack has")
        for info in infos:
            name = PurePosixPath(info.filename)
            if name.is_absolute() or ".." in name.parts or not name.parts or "\\" in info.filename:
                raise InputError(f"the pack holds {info.filename!r}, which would lie outside of the folder")
            place = folder.joinpath(*name.parts)
            place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            handle = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
            with os.fdopen(handle, "wb") as out:
                out.write(file.read(info))


def _origin(contents: Contents, opening: str) -> str:
    return f"{contents.log[:60]}/pack-{contents.body.pack.removeprefix('sha256:')[:12]}-{opening}"


def _about(contents: Contents, origin: str) -> str:
    known = {"log": origin, "pack": contents.body.pack, "origin": contents.log}
    return json.dumps(known, indent=1) + "\n"


def _env(settings: Settings) -> str:
    home = settings.home
    lines = [f"export MIMRUN_HOME='{home}'", f"export MIMRUN_ORIGIN='{settings.origin}'"]
    lines.append(f"export MIMRUN_RUNBOOKS='{home}/runbooks'")
    first = home / "inventory" / "0"
    if first.is_dir():
        files = [path for path in sorted(first.iterdir()) if path.is_file()]
        lines.append(f"export MIMRUN_INVENTORY='{files[0] if len(files) == 1 else first}'")
    return "\n".join(lines) + "\n"
