"""What a step did on one host: every attempt with its arguments and what came of it, and the looks before and after."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from mimrun.app.home import Home
from mimrun.app.shown.call import shown_value
from mimrun.errors import BlobKeyError, ErasedError, InputError
from mimrun.log import kinds
from mimrun.log.entry import LogEntry

OUTPUT: Final = 16_384
"""So many characters of an output are shown at once."""
_ENTRIES: Final = 400
"""So many entries about one host are shown: the last ones."""
_ARGS: Final = 4000
_SHORT: Final = 80
"""A text of an answer that is no longer stands with the rest of it."""
STREAMS: Final = frozenset({"stdout", "stderr", "data", "evidence", "reason", "text", "instructions"})
"""What is shown of an entry as output."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of an output.

    Arguments:
        begin: where it begins, in characters; `end` where the next one does.
        total: how many characters there are.
        gone: why it cannot be shown, or "".
    """

    entry: int
    name: str
    text: str = ""
    begin: int = 0
    end: int = 0
    total: int = 0
    gone: str = ""

    @property
    def is_last(self) -> bool:
        """Say whether nothing comes behind it."""
        return self.end >= self.total


@dataclass(frozen=True, slots=True)
class Event:
    """Something that is on record about a step on a host.

    Arguments:
        look: `verify` or `capture` for a look after or before it; "" for the step itself.
        word: how it went: a status, or "".
        item: of a loop, counted from 1; 0 where there is no loop.
        says: lines about it.
    """

    seq: int
    at: datetime
    kind: str
    word: str
    title: str
    look: str = ""
    item: int = 0
    attempt: int = 0
    took_ms: int = 0
    says: tuple[str, ...] = ()
    outputs: tuple[Piece, ...] = ()


def events_of(home: Home, seqs: Sequence[int], *, looped: bool) -> tuple[tuple[Event, ...], int]:
    """Give what is on record about a step on a host, and how many earlier entries are left out.

    Arguments:
        seqs: the entries about it, in order.
        looped: the step has a loop.
    """
    shown = seqs[-_ENTRIES:]
    events = (event for seq in shown for event in _events(home, home.store.entry(seq), looped=looped))
    return tuple(events), len(seqs) - len(shown)


def piece_of(home: Home, entry: LogEntry, name: str, begin: int = 0) -> Piece:
    """Give a piece of one of an entry's outputs.

    Arguments:
        name: of the blob; `data.KEY` for a text in an answer, and `data` for what is left of it.
        begin: where it begins, in characters.

    Raises:
        InputError: the entry has no such output.
    """
    blob, dot, key = name.partition(".")
    if blob not in STREAMS or (dot and blob != "data") or not any(one.n == blob for one in entry.blobs):
        raise InputError(f"entry {entry.seq} has no {name!r}")
    try:
        text = (home.store.blob(entry, blob) or b"").decode("utf-8", "backslashreplace")
    except (ErasedError, BlobKeyError) as exc:
        return Piece(entry.seq, name, gone=str(exc))
    if blob == "data":
        texts, rest = _answer(text)
        if dot and key not in texts:
            raise InputError(f"entry {entry.seq} has no {name!r}")
        text = texts[key] if dot else rest
    text = text.replace("\r\n", "\n")
    begin = min(max(begin, 0), len(text))
    end = min(begin + OUTPUT, len(text))
    return Piece(entry.seq, name, text[begin:end], begin, end, len(text))


def _outputs(home: Home, entry: LogEntry) -> Iterator[Piece]:
    """Give the beginning of everything that an entry has as output; what is empty says nothing."""
    for blob in entry.blobs:
        if blob.n not in ("stdout", "stderr", "data", "evidence") or not blob.len:
            continue
        first = piece_of(home, entry, blob.n)
        if blob.n == "data" and not first.gone:
            texts, rest = _answer((home.store.blob(entry, "data") or b"").decode("utf-8", "backslashreplace"))
            yield from (piece_of(home, entry, f"data.{key}") for key, text in texts.items() if text)
            if not rest:
                continue
        yield first


def _answer(text: str) -> tuple[dict[str, str], str]:
    """Take the long texts out of an answer, as they are, and give what is left of it as JSON; "" where nothing is."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        return {}, text
    if not isinstance(data, dict):
        return {}, json.dumps(data, indent=1, ensure_ascii=False)
    texts = {
        key: value
        for key, value in data.items()
        if isinstance(value, str) and (key in ("stdout", "stderr") or len(value) > _SHORT or "\n" in value)
    }
    rest = {key: value for key, value in data.items() if key not in texts}
    return texts, json.dumps(rest, indent=1, ensure_ascii=False) if rest else ""


def _events(home: Home, entry: LogEntry, *, looped: bool) -> Iterator[Event]:
    told = _told(home, entry)
    if told is None:
        return
    word, title, says = told
    look = entry.step.rpartition(".")[2]
    yield Event(
        entry.seq,
        entry.ts,
        entry.kind.value,
        word,
        title,
        look if look in ("verify", "capture") else "",
        getattr(entry.body, "iteration", 0) + 1 if looped else 0,
        entry.attempt,
        getattr(entry.body, "dur_ms", 0),
        says,
        tuple(_outputs(home, entry)),
    )


def _told(home: Home, entry: LogEntry) -> tuple[str, str, tuple[str, ...]] | None:
    """Give how an entry went, in a word, what it is, and what it says; None where it is nothing to look at."""
    match entry.body:
        case kinds.StepIntent() as body:
            mode = " (only checked)" if body.check_mode else ""
            return "", f"{body.action}{mode}, effect {body.effect.value}", _args(home, entry)
        case kinds.StepOutcome() as body:
            word: str = "changed" if body.status == "ok" and body.changed else body.status
            if body.status == "failed":
                word = "unreachable" if body.unreachable else "failed"
            clean = "; provably without effect" if body.status == "failed" and body.clean else ""
            title = "what came of it" if body.performed else "not performed"
            return word, title, _lines(f"{body.reason}{clean}".removeprefix("; "))
        case kinds.StepVerified() as body:
            return (
                "ok" if body.passed else "failed",
                "as expected" if body.passed else "not as expected",
                _lines(body.reason),
            )
        case kinds.StepProbed() as body:
            return "", f"asked afterwards: {body.finding.value.replace('_', ' ')}", _lines(body.reason)
        case kinds.StepInDoubt() as body:
            return "in_doubt", "a person must say", _lines(body.reason)
        case kinds.StepEvidence() as body:
            return "", f"came too late: {body.status}", _lines(body.reason)
        case _:
            return _by_people(entry)


def _by_people(entry: LogEntry) -> tuple[str, str, tuple[str, ...]] | None:
    match entry.body:
        case kinds.StepResolved() as body:
            said = f"{entry.actor.id} settled it: {body.resolution.replace('_', ' ')}"
            return "", said, _lines(body.reason)
        case kinds.StepResolutionProposed() as body:
            said = f"{entry.actor.id} proposed: {body.resolution.replace('_', ' ')}"
            return "", said, _lines(body.reason)
        case kinds.StepSkipped() as body:
            return "skipped", "left out", _lines(body.reason)
        case kinds.StepCaptured() as body:
            when = "before it" if body.when == "before" else "after it"
            return "", f"the state {when}", _lines(body.reason)
        case kinds.GuardTripped() as body:
            return "failed", f"stopped by a guard: {body.guard}", _lines(body.reason)
        case _:
            return None


def _lines(text: str) -> tuple[str, ...]:
    return tuple(text.splitlines()[:50])


def _args(home: Home, entry: LogEntry) -> tuple[str, ...]:
    """Give the arguments of an attempt, a line each."""
    if not any(blob.n == "args" for blob in entry.blobs):
        return ()
    try:
        given = json.loads(home.store.blob(entry, "args") or b"{}")
    except (ErasedError, BlobKeyError) as exc:
        return (str(exc),)
    except ValueError:
        return ()
    if not isinstance(given, dict):
        return (shown_value(given)[:_ARGS],)
    # What was left empty says nothing.
    said = ((name, value) for name, value in given.items() if value not in ("", None, [], {}))
    return tuple(f"{name}: {shown_value(value)}"[:_ARGS] for name, value in said)
