"""Giving a checkpoint to a place outside, and reading back what is there.

A place is another's: it may be away, slow, full, or lie. What comes of a try is a value and never an exception,
and no try takes longer than it was allowed to.
"""

from __future__ import annotations

import hashlib
import json
import os
import queue
import stat
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final, TypeVar, assert_never

from pydantic import JsonValue, ValidationError

from mimrun.app.anchor.file import ActionPlace, Anchor, FilePlace, WitnessPlace, variables
from mimrun.app.anchor.text import find_notes, of_log
from mimrun.canonical import Json
from mimrun.catalog import Catalog
from mimrun.connector import Call, Failed, Ok, Outcome, Output, Target, Unknown
from mimrun.errors import MimrunError
from mimrun.log.durable import sync_folder
from mimrun.log.merkle import prove_consistency
from mimrun.log.proof.note import Checkpoint
from mimrun.log.proof.witness import PATH, STATUSES, Asked, Behind, Cosigned, Denied, write_request
from mimrun.runbook.inventory import Inventory
from mimrun.runbook.model import ActionCall
from mimrun.runbook.render import fill, validate
from mimrun.secret import Masker

GRACE_S: Final = 5.0
"""Seconds behind its time for which a place is waited for; then it is left, whatever it does."""
MOST_RECEIPT: Final = 64 * 1024
"""Bytes of an answer that are kept."""
MOST_FILE: Final = 64 * 1024 * 1024
"""Bytes of an anchor file that are read, from its end."""
LOOKED_AT: Final = 64 * 1024
"""Bytes at the end of an anchor file that are looked at before something is added."""
TRIES: Final = 4
"""How often a witness is asked that says each time that it knows another size."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Point:
    """A checkpoint that is given away.

    Arguments:
        checkpoint: what it says.
        note: as it is signed.
    """

    checkpoint: Checkpoint
    note: str


@dataclass(frozen=True, slots=True)
class Given:
    """What came of giving a checkpoint to a place.

    Arguments:
        done: the place has it.
        reason: why not, or what there is to say.
        receipt: what the place answered.
        against: what the place has contradicts the log.
    """

    done: bool
    reason: str = ""
    receipt: bytes = b""
    against: bool = False


@dataclass(frozen=True, slots=True)
class Back:
    """What a place has.

    Arguments:
        notes: checkpoints of this log, the oldest first, unchecked.
        trouble: why it could not be read, or "".
        against: what it says contradicts the log.
    """

    notes: tuple[str, ...] = ()
    trouble: str = ""
    against: str = ""


@dataclass(frozen=True, slots=True)
class Means:
    """What places are reached with.

    Arguments:
        catalog: the actions.
        inventory: the hosts.
        masker: takes known secrets out of what is kept.
        leaves: gives the leaf hashes of the first so many entries.
        origin: the log.
    """

    catalog: Catalog
    inventory: Inventory
    masker: Masker
    leaves: Callable[[int], Iterator[bytes]]
    origin: str


def give_all(anchors: Sequence[Anchor], point: Point, means: Means, known: Mapping[str, int]) -> list[Given]:
    """Give a checkpoint to all of these places at once; each has its own time.

    Arguments:
        known: by name, the size that a place was given last; 0 where none.

    Returns:
        what came of each, in their order.
    """
    return _at_once(
        anchors,
        lambda anchor, end: give(anchor, point, means, known[anchor.name], end),
        lambda reason: Given(done=False, reason=reason),
    )


def read_all(anchors: Sequence[Anchor], point: Point | None, means: Means) -> list[Back]:
    """Read what these places have, all at once.

    Arguments:
        point: the newest checkpoint, for those that cannot be read but asked whether it is right.

    Returns:
        what each has, in their order.
    """
    return _at_once(
        anchors, lambda anchor, end: read(anchor, point, means, end), lambda reason: Back(trouble=reason)
    )


def give(anchor: Anchor, point: Point, means: Means, known: int, end: float) -> Given:
    """Give a checkpoint to one place.

    Arguments:
        known: the size that it was given last.
        end: when it must be over, on the monotonic clock.
    """
    match anchor.place:
        case FilePlace(path):
            return _append(path, point)
        case WitnessPlace() as place:
            return _cosign(anchor, place, point, means, known=known, end=end)
        case ActionPlace(call):
            filled, _ = fill(call.args, variables(point.checkpoint, point.note))
            assert isinstance(filled, dict)
            key = f"{point.checkpoint.origin}\n{anchor.name}\n{point.checkpoint.size}"
            outcome, output = _perform(anchor, call.action, filled, means, end, key=key)
            return _judged(outcome, output, means.masker)
        case _:
            assert_never(anchor.place)


def read(anchor: Anchor, point: Point | None, means: Means, end: float) -> Back:
    """Read what one place has; a witness is asked to sign, which it does only where it knows no other history."""
    match anchor.place:
        case FilePlace(path):
            return _read_file(path, means.origin)
        case WitnessPlace() as place:
            if point is None:
                return Back(trouble="there is no checkpoint that it could be asked about")
            given = _cosign(anchor, place, point, means, known=0, end=end)
            if given.against:
                return Back(against=given.reason)
            return Back((given.receipt.decode(),)) if given.done else Back(trouble=given.reason)
        case ActionPlace():
            return _read_by_action(anchor, anchor.place.read, means, end)
        case _:
            assert_never(anchor.place)


def _read_by_action(anchor: Anchor, call: ActionCall | None, means: Means, end: float) -> Back:
    if call is None:
        return Back(trouble="it cannot be read back: anchors.yaml has no `read` for it")
    outcome, output = _perform(anchor, call.action, call.args, means, end, key="read")
    if not isinstance(outcome, Ok):
        return Back(trouble=_judged(outcome, output, means.masker).reason)
    return _notes([text for value in outcome.data.values() for text in _texts(value)], means.origin)


def _append(path: Path, point: Point) -> Given:
    """Append a checkpoint to a file, so that it is on disk, or leave the file as it is.

    1. What is there does not contradict it: no larger size, and no other root at this one.
    2. Where it is there already, nothing is added.
    3. It is written in one piece at the end, behind a whole line, and reaches the disk.
    """
    try:
        existed = path.exists()
        file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC, 0o644)
        try:
            tail = _tail(file, LOOKED_AT)
            # 1.
            for note in of_log(find_notes(tail), point.checkpoint.origin):
                why = _contradiction(note, point.checkpoint)
                if why:
                    return Given(done=False, reason=f"{path}: {why}", against=True)
            # 2.
            if point.note in tail:
                return Given(done=True, reason="it has it already")
            # 3.
            data = ("" if tail.endswith("\n") or not tail else "\n") + point.note
            if os.write(file, data.encode()) != len(data.encode()):
                return Given(
                    done=False, reason=f"{path}: not all of it could be written; the disk may be full"
                )
            os.fsync(file)
        finally:
            os.close(file)
        if not existed:
            sync_folder(path.parent)
    except OSError as exc:
        return Given(done=False, reason=f"{path}: cannot be written: {exc.strerror}")
    return Given(done=True)


def _contradiction(note: str, checkpoint: Checkpoint) -> str:
    _, size, root, *_ = note.split("\n")
    if int(size) > checkpoint.size:
        return (
            f"it has a checkpoint of {size} entries, and this log had {checkpoint.size} when its own was made: it was"
            " cut, or an old copy was put in its place"
        )
    ours = checkpoint.text().split("\n")[2]
    if int(size) == checkpoint.size and root != ours:
        return f"it has a checkpoint of {size} entries with another root"
    return ""


def _tail(file: int, most: int) -> str:
    """Read the end of an open file."""
    found = os.fstat(file)
    if not stat.S_ISREG(found.st_mode):
        raise OSError(0, "it is not a regular file")
    data = bytearray()
    at = max(found.st_size - most, 0)
    while piece := os.pread(file, 1024 * 1024, at + len(data)):
        data += piece
        if len(data) > most + 1024 * 1024:
            break
    return data.decode("utf-8", "replace")


def _read_file(path: Path, origin: str) -> Back:
    try:
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            text = _tail(file, MOST_FILE)
        finally:
            os.close(file)
    except OSError as exc:
        return Back(trouble=f"{path}: cannot be read: {exc.strerror}")
    return _notes([text], origin)


def _notes(texts: Sequence[str], origin: str) -> Back:
    found = of_log((note for text in texts for note in find_notes(text)), origin)
    return Back(tuple(dict.fromkeys(found)))


def _cosign(
    anchor: Anchor, place: WitnessPlace, point: Point, means: Means, *, known: int, end: float
) -> Given:
    """Have a witness sign, with a proof from the size that it says it knows."""
    old, size = (known if known <= point.checkpoint.size else 0), point.checkpoint.size
    for _ in range(TRIES):
        proof = prove_consistency(means.leaves(size), old, size)
        request: dict[str, JsonValue] = {
            "url": place.url + PATH,
            "method": "POST",
            "body": write_request(old, proof, point.note),
            "headers": {"Content-Type": "text/plain; charset=utf-8"},
            "expect": list(STATUSES),
            "timeout": max(1, anchor.timeout_ms // 1000),
        }
        outcome, output = _perform(anchor, "http.request", request, means, end, key=f"{anchor.name} {size}")
        if not isinstance(outcome, Ok):
            return _judged(outcome, output, means.masker)
        data, headers = outcome.data, outcome.data.get("headers")
        media_type = headers.get("content-type") if isinstance(headers, dict) else ""
        status, text = data.get("status"), data.get("text")
        assert isinstance(status, int)
        match Asked(old, point.note, place.key).read(status, str(media_type or ""), str(text)):
            case Cosigned(note):
                return Given(done=True, receipt=note.encode())
            case Denied(reason, against):
                return Given(done=False, reason=reason, against=against)
            case Behind(there):
                old = there
    return Given(done=False, reason=f"it said {TRIES} times that it knows another size, the last time {old}")


def _perform(
    anchor: Anchor, action: str, args: Mapping[str, JsonValue], means: Means, end: float, *, key: str
) -> tuple[Outcome, Output]:
    """Do an action as a run would, once; whatever is wrong is said as its outcome."""
    output = Output(means.masker)
    try:
        kind = means.catalog.connector(action.partition(".")[0])
        target = Target(anchor.host, means.inventory.vars(anchor.host))
        connector = kind(kind.settings_type.of(target))
        act = validate(means.catalog.action(action), args)
    except (MimrunError, ValidationError, ValueError) as exc:
        return Failed(str(exc), clean=True), output
    try:
        # The same checkpoint has the same key: a service that knows keys takes it once.
        name = hashlib.sha256(key.encode()).hexdigest()[:32]
        return connector.perform(act, Call(name, end, output)), output
    finally:
        connector.close()


def _judged(outcome: Outcome, output: Output, masker: Masker) -> Given:
    match outcome:
        case Ok(data=data):
            text = json.dumps(data, ensure_ascii=False, default=str)
            return Given(done=True, receipt=masker.mask_text(text).encode()[:MOST_RECEIPT])
        case Failed(reason=reason):
            return Given(done=False, reason=masker.mask_text(reason))
        case Unknown(reason=reason):
            said = output.stderr.text().strip()
            return Given(done=False, reason=masker.mask_text(f"{reason}: {said}" if said else reason))
        case _:
            assert_never(outcome)


def _texts(value: Json) -> Iterator[str]:
    """Give each text in an answer: checkpoints may stand anywhere in a ticket's JSON."""
    match value:
        case str():
            yield value
        case dict():
            for item in value.values():
                yield from _texts(item)
        case list() | tuple():
            for item in value:
                yield from _texts(item)
        case _:
            return


def _at_once(
    anchors: Sequence[Anchor], do: Callable[[Anchor, float], T], failed: Callable[[str], T]
) -> list[T]:
    """Do something for each anchor on a thread of its own, and wait for none longer than it may take."""
    began, answers = time.monotonic(), queue.Queue[tuple[int, T]]()

    def work(number: int, anchor: Anchor) -> None:
        try:
            answers.put((number, do(anchor, began + anchor.timeout_ms / 1000)))
        except Exception as exc:  # noqa: BLE001 - one place that breaks is no reason to leave out the others
            answers.put((number, failed(f"{type(exc).__name__}: {exc}")))

    for number, anchor in enumerate(anchors):
        # A place that hangs, such as a dead network file system, must not keep the process from ending.
        threading.Thread(
            target=work, args=(number, anchor), name=f"anchor-{anchor.name}", daemon=True
        ).start()
    found: dict[int, T] = {}
    ends = {number: began + anchor.timeout_ms / 1000 + GRACE_S for number, anchor in enumerate(anchors)}
    while waiting := ends.keys() - found.keys():
        left = max(ends[number] for number in waiting) - time.monotonic()
        try:
            number, answer = answers.get(timeout=max(left, 0.0))
        except queue.Empty:
            break
        found[number] = answer
    late = [f"it did not come back within {timedelta(milliseconds=a.timeout_ms)}" for a in anchors]
    return [found[n] if n in found else failed(late[n]) for n in range(len(anchors))]
