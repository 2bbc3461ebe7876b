"""A stored entry by itself: what its bytes are, and whether an entry may look like that.

Pure. What is stored is hostile until shown otherwise: it may be of any type, and forged.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, Literal, TypeAlias

from pydantic_core import from_json

from mimrun import canonical
from mimrun.canonical import MAX_DEPTH, MAX_INTEGER
from mimrun.log.body import wrong_body
from mimrun.log.chain import StoredRow
from mimrun.log.entry import FIELDS, MAX_ENTRY, VERSION, Actor
from mimrun.log.kinds import BODIES
from mimrun.log.merkle import leaf_hash

Check: TypeAlias = Literal[
    "anchor",  # the log is not the one whose size and root somebody wrote down
    "blob",  # the content of a blob is not what the entry commits to
    "body",  # the body does not say what its kind has to say
    "bytes",  # not an entry at all
    "checkpoint",  # a signed head of the log is not right, or not of this log
    "canonical",  # an entry, but not in canonical form
    "column",  # the store finds it under another kind, incident or run than it says
    "file",  # the database file is damaged
    "heads",  # what it says of the incidents' ends is not so
    "head",  # the store's own note of its end does not fit the entries
    "incident",  # not the next entry of its incident's chain
    "key",  # what is said of the log's keys cannot be
    "leaf",  # the bytes and the hash stored beside them do not fit
    "link",  # the next entry was linked to something else
    "missing",  # there is no such entry any more
    "moved",  # it is marked as one that goes on elsewhere, and no entry says so
    "origin",  # an entry of another log
    "place",  # the entry says that it belongs elsewhere
    "proof",  # the proof that it was in the log does not hold
    "redaction",  # content was erased without the word of two people, or was to be and is there
    "runbook",  # no plan was made of this runbook
    "state",  # a folded state is not what the entries say
    "time",  # recorded before the entry before it, or at no moment at all
]
"""What can be wrong."""


@dataclass(frozen=True, slots=True, order=True)
class Flaw:
    """One thing that is not as it was recorded.

    Arguments:
        seq: the entry; 0 where the log or the file as a whole is meant.
        check: what did not hold.
        detail: for a person.
    """

    seq: int
    check: Check
    detail: str

    def __str__(self) -> str:
        return f"entry {self.seq}: {self.detail}" if self.seq else self.detail


@dataclass(frozen=True, slots=True)
class BlobClaim:
    """An entry's word about one of its blobs."""

    seq: int
    name: str
    commit: str
    length: int
    cls: str


def stored_leaf(data: object) -> bytes:
    """The leaf hash of stored bytes; of something that is not bytes at all, none."""
    return leaf_hash(data) if isinstance(data, bytes) else b""


def parse(data: bytes) -> dict[str, Any] | None:
    """The object that the bytes are, if it has the keys of an entry and its names and numbers are such."""
    if type(data) is not bytes:
        return None
    try:
        value = from_json(data)
    except ValueError:
        return None
    if type(value) is not dict or (list(value) != _ORDER and value.keys() != FIELDS) or value["v"] != VERSION:
        return None
    texts = type(value["ts"]) is type(value["inc"]) is type(value["run"]) is type(value["kind"]) is str
    return value if texts and type(value["seq"]) is type(value["iseq"]) is int else None


def wrong_entry(
    row: StoredRow,
    value: dict[str, Any] | None,
    leaf: bytes,
    log: str | None,
) -> tuple[Check, str] | None:
    """What is wrong with an entry by itself, whatever it is linked to; None when nothing is.

    Arguments:
        row: the entry as it is stored.
        value: what `parse` made of its bytes.
        leaf: the leaf hash of its bytes.
        log: the origin that it must name, if that is known.
    """
    if value is None:
        return "bytes", f"these bytes are not an entry: {row.data!r:.80}"
    if leaf != row.leaf:
        return "leaf", "its bytes and the hash stored beside them do not fit: one was changed"
    if value["seq"] != row.seq:
        return "place", f"it says that it is entry {value['seq']}"
    if not _is_canonical(row.data, value):
        return "canonical", "it is not in canonical form"
    if log is not None and value["log"] != log:
        return "origin", f"it belongs to the log {value['log']!r}"
    if row.kind is not None and row[3:] != (value["kind"], value["inc"], value["run"]):
        return "column", f"it is stored as {row[3:]}, which is not what it says"
    if why := _wrong_body(value):
        return "body", why
    return None if MOMENT.fullmatch(value["ts"]) else ("time", f"{value['ts']!r} is no moment")


def blob_claims(seq: int, refs: object) -> list[BlobClaim] | None:
    """What an entry says of its blobs; None when that cannot be read."""
    if not isinstance(refs, list) or not all(_is_blob_ref(ref) for ref in refs):
        return None
    return [BlobClaim(seq, ref["n"], ref["commit"], ref["len"], ref["cls"]) for ref in refs]


def seq_of(data: bytes) -> int | None:
    """The place that an entry says it has, from a look at its bytes; they need not be intact."""
    found = _SEQ.search(data)
    return int(found[1]) if found else None


MOMENT: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z")
"""How the moment of an entry is written."""
_ORDER: Final = sorted(FIELDS)
_TYPES: Final = (dict, int, list, dict, int, str, str, int, str, str, str, str, int, str, str, str, int)
_ACTOR: Final = ["auth", "id", "kind", "via"]
_BLOB: Final = ["cls", "commit", "len", "n"]
_SEQ: Final = re.compile(rb'"seq":([1-9][0-9]{0,15}),"step":')
_HEX: Final = re.compile(r"[0-9a-f]{64}")


def are_orderly(whole: object, depth: int = MAX_DEPTH - 1) -> bool:
    """Whether all keys inside an object or a list are sorted ASCII, and all numbers integers within bounds."""
    if depth == 0:
        return False
    if type(whole) is dict:
        keys = list(whole)
        if keys != sorted(keys) or not "".join(keys).isascii():
            return False
        parts: Iterable[object] = whole.values()
    elif type(whole) is list:
        parts = whole
    else:
        return whole is None or type(whole) is bool
    for part in parts:
        kind = type(part)
        if kind is str or kind is bool:
            continue
        if not (
            are_orderly(part, depth - 1) if type(part) is not int else -MAX_INTEGER <= part <= MAX_INTEGER
        ):
            return False
    return True


def _is_canonical(data: bytes, value: dict[str, Any]) -> bool:
    try:
        return len(data) <= MAX_ENTRY and canonical.encode(value) == data
    except ValueError:
        return False


def _can_be(value: dict[str, Any]) -> bool:
    """Whether hashes and numbers of an entry are some."""
    hashes = all(_HEX.fullmatch(value[name]) for name in ("iprev", "prev"))
    counts = min(value["seq"] - 1, value["iseq"], value["attempt"], value["epoch"]) >= 0
    return hashes and counts


def _wrong_body(value: dict[str, Any]) -> str:
    """Why the entry is not what its kind has to say, or ""."""
    if tuple(type(value[name]) for name in _ORDER) != _TYPES or not _can_be(value):
        return "a value in it is of another type than it should be, or cannot be"
    actor, body, kind = value["actor"], value["body"], value["kind"]
    if sorted(actor) != _ACTOR or not is_actor(actor):
        return "it does not say who caused it"
    return wrong_keys(kind, tuple(body)) or wrong_body(kind, body)


def is_actor(actor: Mapping[str, object]) -> bool:
    """Whether somebody is named who can cause an entry; the keys are known to be those of an actor."""
    try:
        return _is_somebody(actor["kind"], actor["id"], actor["via"], actor["auth"])
    except TypeError:  # a value that is a list or an object
        return False


@lru_cache(maxsize=1024)
def _is_somebody(*said: object) -> bool:
    if not all(type(one) is str for one in said):
        return False
    try:
        Actor(*said)  # type: ignore[arg-type]  # they are texts
    except ValueError:
        return False
    return True


@lru_cache(maxsize=1024)
def wrong_keys(kind: str, keys: tuple[str, ...]) -> str:
    """Why a body with these keys is not one of its kind, or ""."""
    body = BODIES.get(kind)  # type: ignore[call-overload]  # a kind is a str, and may be any
    if body is None:
        return f"this version does not know the kind {kind!r}"
    needed = {name for name, field in body.model_fields.items() if field.is_required()}
    if not needed <= set(keys) <= set(body.model_fields):
        return f"its body is not one of {kind}: {', '.join(sorted(needed.symmetric_difference(keys)))}"
    return ""


def _is_blob_ref(ref: object) -> bool:
    if not isinstance(ref, dict) or sorted(ref) != _BLOB or type(ref["len"]) is not int:
        return False
    texts = type(ref["commit"]) is type(ref["n"]) is type(ref["cls"]) is str
    return texts and 0 <= ref["len"] <= MAX_INTEGER and bool(_HEX.fullmatch(ref["commit"]))
