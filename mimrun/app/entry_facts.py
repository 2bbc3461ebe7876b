"""One entry of the log with what proves it: its links, its place in the tree, the checkpoints that cover it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from mimrun.app.home import Home
from mimrun.errors import BlobKeyError, ErasedError, TamperError
from mimrun.log.anchored import AnchorRecords, anchors_in
from mimrun.log.entry import LogEntry
from mimrun.log.proof.note import read_checkpoint, read_note
from mimrun.log.proof.signed import size_said

_SHOWN: Final = 64 * 1024
"""Bytes of a blob that are shown."""
_WHOLE: Final = frozenset({"content"})
"""Blobs that are files, and are fetched, not shown."""


@dataclass(frozen=True, slots=True)
class Content:
    """A blob of an entry, as far as it can be shown.

    Arguments:
        size: of all of it, in bytes.
        text: its beginning; "" where it is a file or cannot be shown.
        why: why it is not shown; "" where it is.
        cut: there is more of it.
    """

    name: str
    cls: str
    size: int
    commit: str
    text: str = ""
    why: str = ""
    cut: bool = False


@dataclass(frozen=True, slots=True)
class Cover:
    """The first checkpoint that covers an entry.

    Arguments:
        size: of the log that it is over.
        signers: the names of the keys whose signatures it carries.
    """

    size: int
    root: str
    signers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Outside:
    """A place outside that has a checkpoint with an entry in it, as the log says."""

    place: str
    size: int
    at: str


@dataclass(frozen=True, slots=True)
class Facts:
    """An entry, and what is known about it.

    Arguments:
        body: what it says, as JSON with an indent.
        leaf: its hash, as a leaf of the log's tree.
        follows: it is linked to the entry before it, as far as both are there.
        cover: None where nobody has signed so far.
        outside: places that have a checkpoint with it.
        last: the last entry of the log.
    """

    entry: LogEntry
    body: str
    contents: tuple[Content, ...]
    leaf: str
    follows: bool
    cover: Cover | None
    outside: tuple[Outside, ...]
    last: int


def entry_facts(home: Home, seq: int) -> Facts:
    """Give an entry with what proves it.

    Raises:
        LogError: there is no such entry.
        TamperError: it is not what was recorded.
    """
    store, entry = home.store, home.store.entry(seq)
    before = store.leaf_at(seq - 1) if seq > 1 else ""
    return Facts(
        entry,
        json.dumps(entry.as_json()["body"], indent=2, ensure_ascii=False),
        tuple(_content(home, entry, ref.n) for ref in entry.blobs),
        store.leaf_at(seq),
        entry.prev == before if before else seq == 1,
        _cover(home, seq),
        tuple(_outside(home, seq)),
        store.head().size,
    )


def _content(home: Home, entry: LogEntry, name: str) -> Content:
    ref = next(one for one in entry.blobs if one.n == name)
    if name in _WHOLE:
        return Content(ref.n, ref.cls, ref.len, ref.commit, why="a file")
    try:
        data = home.store.blob(entry, name) or b""
    except (ErasedError, BlobKeyError, TamperError) as exc:
        return Content(ref.n, ref.cls, ref.len, ref.commit, why=str(exc))
    text = data[:_SHOWN].decode("utf-8", "backslashreplace")
    return Content(ref.n, ref.cls, ref.len, ref.commit, text, cut=len(data) > _SHOWN)


def _cover(home: Home, seq: int) -> Cover | None:
    """Find the first checkpoint over the log with this entry in it."""
    found = next(home.store.checkpoints(seq - 1), None)
    if found is None:
        return None
    try:
        note = read_note(found.note)
        said = read_checkpoint(note.text)
    except TamperError:
        return Cover(size_said(found.note), "", ())
    return Cover(said.size, said.root.hex(), tuple(sorted({one.name for one in note.signatures})))


def _outside(home: Home, seq: int) -> Iterator[Outside]:
    for name, place in sorted(anchors_in(home.store.projections(AnchorRecords.name)).items()):
        if place.size >= seq:
            yield Outside(name, place.size, place.at)
