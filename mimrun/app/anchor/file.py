"""The file `anchors.yaml`: places outside that are given the log's checkpoints, read strictly.

anchors:
  - name: vault-host
    host: anchor1
    ssh.command: {argv: [keep], stdin: "{{ note }}"}
    read: {ssh.command: {argv: [show]}}
  - name: other-disk
    file: /mnt/other/checkpoints
  - name: witness
    witness: {url: https://witness.example.org, vkey: "..."}
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

from pydantic import JsonValue, ValidationError

from mimrun.canonical import Json
from mimrun.catalog import Catalog
from mimrun.errors import InputError, Problem, SettingsError
from mimrun.log.proof.note import Checkpoint, VerifyingKey, read_vkey
from mimrun.log.proof.witness import check_key
from mimrun.runbook.bounds import ExpressionError
from mimrun.runbook.document import Document, ValuePath, load_document
from mimrun.runbook.duration import parse_duration
from mimrun.runbook.expression import names
from mimrun.runbook.model import ActionCall
from mimrun.runbook.render import fill, validate
from mimrun.runbook.suggestion import suggest
from mimrun.runbook.wording import problems_of

TIMEOUT_MS: Final = 30_000
"""How long an anchor may take, unless it says otherwise."""
LONGEST_TIMEOUT_MS: Final = 10 * 60_000
HERE: Final = "localhost"
"""Where an action is done that names no host."""
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
_URL: Final = re.compile(r"https?://[^\s/?#]+(/[^\s?#]*)?")
_KEYS: Final = ("name", "host", "timeout", "file", "witness", "read")
_WITNESS: Final = ("url", "vkey")


@dataclass(frozen=True, slots=True)
class FilePlace:
    """A file that checkpoints are appended to."""

    path: Path


@dataclass(frozen=True, slots=True)
class WitnessPlace:
    """A witness of the C2SP protocol.

    Arguments:
        url: what `/add-checkpoint` is appended to.
        key: what it signs with.
    """

    url: str
    key: VerifyingKey


@dataclass(frozen=True, slots=True)
class ActionPlace:
    """Whatever an action of a connector reaches.

    Arguments:
        call: gives it a checkpoint.
        read: gives back what it has; None where it cannot.
    """

    call: ActionCall
    read: ActionCall | None = None


AnchorPlace: TypeAlias = FilePlace | WitnessPlace | ActionPlace


@dataclass(frozen=True, slots=True)
class Anchor:
    """A place outside that is given checkpoints.

    Arguments:
        name: what the log calls it.
        host: the inventory's name of the host that the action is done on, or whose variables say how to get there.
        timeout_ms: how long it may take.
    """

    name: str
    place: AnchorPlace
    host: str = HERE
    timeout_ms: int = TIMEOUT_MS


def variables(checkpoint: Checkpoint, note: str) -> dict[str, JsonValue]:
    """Give all that a template in an anchor may use."""
    return {
        "note": note,
        "size": checkpoint.size,
        "root": checkpoint.root.hex(),
        "origin": checkpoint.origin,
    }


_EXAMPLE: Final = variables(
    Checkpoint("example.org/log", 1, bytes(32)),
    Checkpoint("example.org/log", 1, bytes(32)).text() + "\n— example.org/log AAAA\n",
)


def load_anchors(path: Path, catalog: Catalog) -> tuple[Anchor, ...]:
    """Read the file; none where it is not there.

    Arguments:
        catalog: the actions that there are.

    Raises:
        SettingsError: it is not what it should be; every problem is named with its place.
    """
    if not path.exists():
        return ()
    return parse_anchors(load_document(path, error=SettingsError), catalog)


def parse_anchors(document: Document, catalog: Catalog) -> tuple[Anchor, ...]:
    """Make the anchors of a document.

    Raises:
        SettingsError: as for `load_anchors`.
    """
    reader = _Reader(document, catalog)
    anchors = reader.anchors()
    if reader.problems:
        raise SettingsError(problems=reader.problems)
    return tuple(anchors)


class _Reader:
    """Collects the anchors and everything that is wrong with them."""

    def __init__(self, document: Document, catalog: Catalog) -> None:
        self.document, self.catalog = document, catalog
        self.problems: list[Problem] = []

    def anchors(self) -> list[Anchor]:
        top = self.document.value
        given = top.get("anchors") if isinstance(top, dict) else None
        if not isinstance(top, dict) or not isinstance(given, list):
            self._wrong((), "a file of anchors has a key 'anchors', with a list")
            return []
        self._known((), top, ("anchors",))
        found = [self._anchor(("anchors", number), one) for number, one in enumerate(given)]
        anchors = [one for one in found if one is not None]
        seen: set[str] = set()
        for number, one in enumerate(found):
            if one is not None and one.name in seen:
                self._wrong(("anchors", number, "name"), f"the name {one.name!r} is here twice")
            seen |= {one.name} if one is not None else set()
        return anchors

    def _anchor(self, where: ValuePath, given: Json) -> Anchor | None:
        if not isinstance(given, dict):
            self._wrong(where, "an anchor is a mapping with a name and what is done")
            return None
        name = self._text(where, given, "name", required=True)
        if name and not _NAME.fullmatch(name):
            self._wrong(
                (*where, "name"), f"name {name!r} must be lower case letters, digits, '.', '_' or '-'"
            )
        place = self._place(where, given)
        host = self._text(where, given, "host") or HERE
        timeout = self._timeout(where, given)
        return None if place is None or not name else Anchor(name, place, host, timeout)

    def _place(self, where: ValuePath, given: Mapping[str, Json]) -> AnchorPlace | None:
        kinds = [key for key in given if key in ("file", "witness") or "." in key]
        self._known(where, given, (*_KEYS, *kinds))
        if len(kinds) != 1:
            said = f"this one has {' and '.join(kinds)}" if kinds else "this one has none"
            hint = "file, witness, or an action such as ssh.command"
            self._wrong(where, f"an anchor does one thing: {said}", hint)
            return None
        (kind,) = kinds
        if "read" in given and "." not in kind:
            self._wrong(
                (*where, "read"), f"read goes with an action; a {kind} is read without it", at_key=True
            )
        match kind:
            case "file":
                return self._file(where, given)
            case "witness":
                return self._witness((*where, "witness"), given["witness"])
            case _:
                call = self._call((*where, kind), kind, given[kind], needs_checkpoint=True)
                read = self._read((*where, "read"), given["read"]) if "read" in given else None
                return ActionPlace(call, read) if call is not None else None

    def _file(self, where: ValuePath, given: Mapping[str, Json]) -> FilePlace | None:
        path = self._text(where, given, "file")
        if not path.startswith("/"):
            self._wrong((*where, "file"), "file: give a path that begins with /")
            return None
        return FilePlace(Path(path))

    def _witness(self, where: ValuePath, given: Json) -> WitnessPlace | None:
        if not isinstance(given, dict):
            self._wrong(where, "a witness is a mapping with url and vkey")
            return None
        self._known(where, given, _WITNESS)
        url = self._text(where, given, "url", required=True)
        vkey = self._text(where, given, "vkey", required=True)
        if url and (not _URL.fullmatch(url) or "@" in url):
            self._wrong((*where, "url"), "url: write https://..., without user, ? and #")
        try:
            key = check_key(read_vkey(vkey)) if vkey else None
        except ValueError as exc:
            self._wrong((*where, "vkey"), f"vkey: {exc}")
            return None
        return WitnessPlace(url.rstrip("/"), key) if key is not None else None

    def _read(self, where: ValuePath, given: Json) -> ActionCall | None:
        if not isinstance(given, dict) or len(given) != 1:
            self._wrong(where, "read has one action", "such as `ssh.command: {argv: [...]}`")
            return None
        ((action, args),) = given.items()
        return self._call((*where, action), action, args, needs_checkpoint=False)

    def _call(
        self, where: ValuePath, action: str, args: Json, *, needs_checkpoint: bool
    ) -> ActionCall | None:
        try:
            kind = self.catalog.action(action)
        except InputError as exc:
            self._wrong(where, str(exc), at_key=True)
            return None
        if not isinstance(args, dict):
            self._wrong(where, f"{action} has a mapping with its arguments")
            return None
        filled, faults = fill(args, _EXAMPLE)
        for fault in faults:
            self._wrong((*where, *fault.path), fault.message, fault.hint)
        if faults:
            return None
        assert isinstance(filled, dict)
        if needs_checkpoint and not _used(args) & {"note", "root"}:
            self._wrong(
                where, "nothing of the checkpoint is in it", "use {{ note }}, or {{ size }} and {{ root }}"
            )
        try:
            validate(kind, filled)
        except ValidationError as exc:
            self.problems += problems_of(exc, self.document, where, kind)
        except ValueError as exc:
            self._wrong(where, str(exc))
        return ActionCall(action=action, args=dict(args))

    def _timeout(self, where: ValuePath, given: Mapping[str, Json]) -> int:
        if given.get("timeout") is None:
            return TIMEOUT_MS
        try:
            found = parse_duration(given["timeout"])
        except ValueError as exc:
            self._wrong((*where, "timeout"), f"timeout: {exc}")
            return TIMEOUT_MS
        if not 1000 <= found <= LONGEST_TIMEOUT_MS:
            self._wrong((*where, "timeout"), "timeout: give 1s to 10m")
        return found

    def _text(self, where: ValuePath, given: Mapping[str, Json], key: str, *, required: bool = False) -> str:
        value = given.get(key)
        if key not in given:
            if required:
                self._wrong(where, f"the key {key!r} is missing")
            return ""
        if not isinstance(value, str) or not value:
            self._wrong((*where, key), f"{key} is a text")
            return ""
        return value

    def _known(self, where: ValuePath, given: Mapping[str, Json], allowed: Collection[str]) -> None:
        for key in given:
            if key not in allowed:
                self._wrong((*where, key), f"unknown key {key!r}", suggest(key, allowed), at_key=True)

    def _wrong(self, where: ValuePath, message: str, hint: str = "", *, at_key: bool = False) -> None:
        self.problems.append(self.document.problem(where, message, hint, at_key=at_key))


def _used(args: dict[str, JsonValue]) -> frozenset[str]:
    try:
        return names(args)
    except ExpressionError:
        return frozenset()
