"""A log entry: one fact, who caused it, and what it is linked to.

A caller makes a `Draft`; the log gives it a place, a moment and links, and it becomes a `LogEntry`,
whose canonical bytes are what everything else is proven about. Format: docs/reference/log-format.md.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Literal, TypeAlias

import orjson

from mimrun import canonical
from mimrun.errors import LogError, TamperError
from mimrun.log.body import read_body
from mimrun.log.kinds import BODIES, Body, Kind
from mimrun.log.merkle import leaf_hash
from mimrun.log.moment import read_moment, write_moment

VERSION: Final = 1
FORMAT: Final = "mimlog/1"
MAX_ENTRY: Final = 16 * 1024
"""Bytes of one entry. What may be longer belongs into a blob."""
MAX_BLOB: Final = 16 * 1024 * 1024
"""Bytes of one blob."""
NOTHING: Final = "0" * 64
"""What the first entry of a log, or of an incident, is linked to."""

FIELDS: Final = frozenset(
    {"v", "log", "seq", "ts", "inc", "iseq", "iprev", "kind", "actor"}
    | {"run", "step", "target", "attempt", "epoch", "body", "blobs", "prev"}
)
"""The keys of an entry; every entry has all of them and no other."""
TYPES: Final = {
    **dict.fromkeys(["log", "ts", "inc", "iprev", "kind", "run", "step", "target", "prev"], str),
    **dict.fromkeys(["seq", "iseq", "attempt", "epoch"], int),
    "actor": dict,
    "body": dict,
    "blobs": list,
}
"""What the values of an entry are in JSON; `v` is compared with what it has to be."""

BlobClass: TypeAlias = Literal["plan", "output", "data", "text"]
"""What a blob holds, for rules on how long it is kept: what was to be done, what a target said, facts,
or what a person wrote."""

_IDENTIFIER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,127}")
_LONGEST: Final = {"step": 200, "target": 255}


@dataclass(frozen=True, slots=True)
class Actor:
    """Who caused an entry.

    Arguments:
        kind: a person, a worker that executes runs, or a system such as an alert pipeline.
        id: a pseudonym or account, never a display name.
        via: the door it came through: `cli`, `web`, `engine`, `flow`, ...
        auth: how it is known who it was: `local`, `lease`, `ssh-signature`, ... or "".
    """

    kind: Literal["person", "worker", "system"]
    id: str
    via: str = ""
    auth: str = ""

    def __post_init__(self) -> None:
        if self.kind not in ("person", "worker", "system"):
            raise ValueError(f"an actor is a person, a worker or a system, not {self.kind!r}")
        if not self.id or max(len(self.id), len(self.via), len(self.auth)) > 128:
            raise ValueError(f"actor {self.id!r}: an id has 1 to 128 characters, via and auth at most 128")

    def as_json(self) -> dict[str, canonical.Json]:
        """The actor as the entry holds it."""
        return {"kind": self.kind, "id": self.id, "via": self.via, "auth": self.auth}


@dataclass(frozen=True, slots=True)
class Blob:
    """Long or personal content that belongs to an entry.

    Arguments:
        n: its name within the entry: `stdout`, `plan`, `text`, ... as the kind allows.
        data: the content, with secrets already masked.
        cls: what it holds.
    """

    n: str
    data: bytes = field(repr=False)
    cls: BlobClass = "data"

    def __post_init__(self) -> None:
        if len(self.data) > MAX_BLOB:
            raise ValueError(f"blob {self.n!r} has {len(self.data)} bytes; {MAX_BLOB} is the most")


@dataclass(frozen=True, slots=True)
class BlobRef:
    """What an entry says about one of its blobs.

    Arguments:
        n: its name within the entry.
        commit: hexadecimal SHA-256 over a prefix, a random salt and the content; see `chain.seal`.
        len: bytes of the content.
        cls: what it holds.
    """

    n: str
    commit: str
    len: int
    cls: str

    def as_json(self) -> dict[str, canonical.Json]:
        """The reference as the entry holds it."""
        return {"n": self.n, "commit": self.commit, "len": self.len, "cls": self.cls}


@dataclass(frozen=True, slots=True)
class Draft:
    """What a caller wants appended. The kind of the entry is the kind of its body.

    Arguments:
        actor: who caused it.
        body: the facts.
        inc: the incident, or "" for what belongs to none.
        run: the run, or "".
        step: the step's path in the plan ("3.block.1"), or "".
        target: the inventory name of the host, or "".
        attempt: 1 for the first attempt; 0 where there is none.
        epoch: the lease's epoch of the worker that writes; 0 where there is none.
        blobs: long or personal content; each name as the kind allows, and at most once.

    Raises:
        ValueError: a name is too long or has characters that names do not have.
    """

    actor: Actor
    body: Body
    inc: str = ""
    run: str = ""
    step: str = ""
    target: str = ""
    attempt: int = 0
    epoch: int = 0
    blobs: tuple[Blob, ...] = ()

    def __post_init__(self) -> None:
        for name in ("inc", "run"):
            value = getattr(self, name)
            if value and not _IDENTIFIER.fullmatch(value):
                raise ValueError(f"{name} {value!r} is not a name: 1 to 128 of A-Z a-z 0-9 . _ : / @ + -")
        for name, longest in _LONGEST.items():
            if len(getattr(self, name)) > longest:
                raise ValueError(f"{name} has {len(getattr(self, name))} characters; {longest} is the most")
        if self.attempt < 0 or self.epoch < 0:
            raise ValueError("attempt and epoch count from 0")
        names = [blob.n for blob in self.blobs]
        if len(set(names)) < len(names) or not self.body.blobs.issuperset(names):
            allowed = ", ".join(sorted(self.body.blobs)) or "none"
            raise ValueError(f"blobs {names} of {self.kind}: allowed are, once each: {allowed}")

    @property
    def kind(self) -> Kind:
        """What the entry will be about."""
        return self.body.kind


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One entry of the log, as it is on record.

    Arguments:
        log: the origin: which log this is.
        seq: its place in the log, from 1.
        ts: when it was recorded, in UTC; never before the entry before it.
        iseq: its place within the incident, from 1; 0 for an entry of no incident.
        iprev: leaf hash (hexadecimal) of the incident's entry before; 64 zeros for the first.
        prev: leaf hash (hexadecimal) of entry `seq - 1`; 64 zeros for the first.
        blobs: what it commits to; `Store.blob` gives the content.

    The other fields are those of the `Draft`.
    """

    log: str
    seq: int
    ts: datetime
    inc: str
    iseq: int
    iprev: str
    actor: Actor
    run: str
    step: str
    target: str
    attempt: int
    epoch: int
    body: Body
    blobs: tuple[BlobRef, ...]
    prev: str

    @property
    def kind(self) -> Kind:
        """What the entry is about."""
        return self.body.kind

    def as_json(self) -> dict[str, Any]:
        """The entry as a JSON object with exactly the keys `FIELDS`."""
        return {
            "v": VERSION,
            "log": self.log,
            "seq": self.seq,
            "ts": write_moment(self.ts),
            "inc": self.inc,
            "iseq": self.iseq,
            "iprev": self.iprev,
            "kind": self.kind.value,
            "actor": self.actor.as_json(),
            "run": self.run,
            "step": self.step,
            "target": self.target,
            "attempt": self.attempt,
            "epoch": self.epoch,
            # What was set is what is on record: a body read from an old log keeps its old fields.
            "body": self.body.model_dump(mode="json", exclude_unset=True),
            "blobs": [ref.as_json() for ref in self.blobs],
            "prev": self.prev,
        }

    def encode(self) -> bytes:
        """Give the canonical bytes.

        Raises:
            LogError: the entry is larger than 16 KiB, or has a value without a canonical form.
        """
        try:
            data = canonical.encode(self.as_json())
        except ValueError as exc:
            raise LogError(f"log entry {self.seq} ({self.kind}) has no canonical form: {exc}") from exc
        if len(data) > MAX_ENTRY:
            raise LogError(
                f"log entry {self.seq} ({self.kind}) has {len(data)} bytes and {MAX_ENTRY} is the most; "
                "put what is long into a blob"
            )
        return data

    def leaf(self) -> bytes:
        """Give the leaf hash: SHA-256(0x00 || canonical bytes)."""
        return leaf_hash(self.encode())


def decode(data: bytes) -> LogEntry:
    """Read an entry from its canonical bytes. Does not check what it is linked to.

    Raises:
        TamperError: the bytes are not an entry of this format.
        LogError: the entry is of a kind that this version of mimrun does not know.
    """
    try:
        value = orjson.loads(data)
        if not isinstance(value, dict) or value.keys() != FIELDS or value["v"] != VERSION:
            raise TamperError(f"these bytes are not an entry of {FORMAT}: {data[:80]!r}")
        if any(type(value[name]) is not known for name, known in TYPES.items()):
            raise ValueError("a value in it is of another type than it should be")
        if value["kind"] not in BODIES:
            raise LogError(
                f"log entry {value['seq']} is of kind {value['kind']!r}, which this mimrun does not know; "
                "use the version that wrote it, or a newer one"
            )
        return _entry_of(value)
    except (ValueError, TypeError) as exc:
        raise TamperError(f"these bytes are not an entry of {FORMAT} ({exc}): {data[:80]!r}") from exc


def _entry_of(value: dict[str, Any]) -> LogEntry:
    """Make an entry of what its bytes say.

    Raises:
        ValueError, TypeError: it cannot be one.
    """
    refs = tuple(BlobRef(**ref) for ref in value["blobs"])
    named = [value["actor"].values(), *((ref.n, ref.commit, ref.cls) for ref in refs)]
    if not all(type(text) is str for texts in named for text in texts) or not all(
        type(ref.len) is int for ref in refs
    ):
        raise ValueError("its actor, or what it says of its blobs, is of another type than it should be")
    return LogEntry(
        log=value["log"],
        seq=value["seq"],
        ts=read_moment(value["ts"]),
        inc=value["inc"],
        iseq=value["iseq"],
        iprev=value["iprev"],
        actor=Actor(**value["actor"]),
        run=value["run"],
        step=value["step"],
        target=value["target"],
        attempt=value["attempt"],
        epoch=value["epoch"],
        body=read_body(value["kind"], value["body"]),
        blobs=refs,
        prev=value["prev"],
    )
