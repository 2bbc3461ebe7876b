"""What somebody may do to a signed log who may write the file, and what has to be found. Fifty kinds, without a store.

Each kind takes a log as it was (entries 1 to 20, signed at 9, 15 and 20, of which the checkpoint at 15 lies outside, too) and
gives it as a forger leaves it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from builders.case_log import flipped_line
from builders.written import OTHER, PERSON, START, SYSTEM, Written, key_of

from mimrun import canonical
from mimrun.log.chain import Head, IncidentHead, StoredCheckpoint, StoredRow
from mimrun.log.entry import NOTHING
from mimrun.log.kinds import LogHeads, LogKey, RedactApplied, RedactProposed, RunCancelRequested
from mimrun.log.merkle import leaf_hash
from mimrun.log.moment import read_moment
from mimrun.log.proof.note import COSIGNATURE

LOG: Final = "mim.example.org/forged"
FIRST, SECOND, FOREIGN = key_of(LOG, 1), key_of(LOG, 2), key_of(LOG, 3)
ROOT, OTHER_ROOT = key_of("mim.example.org/root", 4), key_of("mim.example.org/root", 5)
WITNESS = key_of("witness.example.org", 6, COSIGNATURE)

Value = dict[str, Any]
Forger = Callable[[Written], Written]


@dataclass(frozen=True)
class Kind:
    """One kind of tampering.

    Arguments:
        name: in words.
        forge: does it.
        found: place and check of the first thing that has to be named, without anything from outside.
        outside: the same with the checkpoint at 15 that lies outside; the same as `found` where it is not given.
        given: what else the verifier has: `root`, `witness`.
    """

    name: str
    forge: Forger
    found: tuple[int, str] | None
    outside: tuple[int, str] | None = None
    given: frozenset[str] = field(default=frozenset())


def say(log: Written, text: str, inc: str = "INC-1") -> int:
    """Record something that has no blob."""
    return log.add(RunCancelRequested(reason=text), inc, run="run-1")


def honest() -> Written:
    """The log before anybody touched it."""
    log = Written(LOG)
    log.announce(FIRST, ROOT)
    for number in range(6):
        say(log, f"step {number}", f"INC-{number % 2 + 1}")
    log.sign(FIRST)
    for number in range(5):
        say(log, f"step {number + 6}", f"INC-{number % 2 + 1}")
    log.sign(FIRST, witnesses=[WITNESS])
    for number in range(4):
        say(log, f"step {number + 11}", f"INC-{number % 2 + 1}")
    log.sign(FIRST, witnesses=[WITNESS])
    return log


def values(log: Written) -> list[Value]:
    """The entries as they can be changed."""
    return [json.loads(row.data) for row in log.rows_]


def row_of(seq: int, value: Value) -> StoredRow:
    data = canonical.encode(value)
    return StoredRow(seq, data, leaf_hash(data), value["kind"], value["inc"], value["run"])


def linked_anew(log: Written, entries: list[Value]) -> Written:
    """Every place, link and hash made anew, and the notes of the end; what the checkpoints say stays."""
    made, leaf, ends, head = list[StoredRow](), NOTHING, dict[str, IncidentHead](), Head()
    for seq, value in enumerate(entries, 1):
        end = ends.get(value["inc"], IncidentHead())
        value.update(seq=seq, prev=leaf)
        if value["inc"]:
            value.update(iseq=end.iseq + 1, iprev=end.leaf)
        row = row_of(seq, value)
        leaf = row.leaf.hex()
        head = Head(leaf, read_moment(value["ts"]), head.frontier.append(row.leaf))
        if value["inc"]:
            ends[value["inc"]] = IncidentHead(value["iseq"], leaf)
        made.append(row)
    return Written(log.log, made, log.blobs, log.notes, ends, head)


def with_rows(log: Written, rows: list[StoredRow]) -> Written:
    return Written(log.log, rows, log.blobs, log.notes, log.ends, log.head_)


def with_notes(log: Written, notes: dict[int, str]) -> Written:
    kept = {one.size: one.note for one in log.notes} | notes
    stored = [StoredCheckpoint(size, note) for size, note in sorted(kept.items()) if note]
    return Written(log.log, log.rows_, log.blobs, stored, log.ends, log.head_)


def at(seq: int, change: Callable[[Value], object], *, anew: bool = False) -> Forger:
    """Change one entry, with the hash that belongs to it; and all links behind it, where that is said."""

    def forge(log: Written) -> Written:
        entries = values(log)
        change(entries[seq - 1])
        if anew:
            return linked_anew(log, entries)
        rows = [*log.rows_]
        rows[seq - 1] = row_of(seq, entries[seq - 1])
        return with_rows(log, rows)

    return forge


def raw(seq: int, change: Callable[[StoredRow], StoredRow]) -> Forger:
    """Change what is stored of an entry, and nothing else."""

    def forge(log: Written) -> Written:
        return with_rows(log, [change(row) if row.seq == seq else row for row in log.rows_])

    return forge


def cut(size: int, *, notes: bool, ends: bool = True) -> Forger:
    """Cut the log behind `size`; checkpoints stay, or go; the note of the end is made to fit, or not."""

    def forge(log: Written) -> Written:
        short = linked_anew(log, values(log)[:size])
        kept = [one for one in log.notes if notes or one.size <= size]
        if not ends:
            return Written(log.log, short.rows_, log.blobs, kept, log.ends, log.head_)
        return Written(log.log, short.rows_, log.blobs, kept, short.ends, short.head_)

    return forge


def entries(change: Callable[[list[Value]], list[Value]], *, anew: bool) -> Forger:
    """Take out, put in or move entries."""

    def forge(log: Written) -> Written:
        changed = change(values(log))
        if anew:
            return linked_anew(log, changed)
        data = {row.seq: row for row in log.rows_}
        return with_rows(log, [data[v["seq"]]._replace(seq=n) for n, v in enumerate(changed, 1)])

    return forge


def note(size: int, change: Callable[[str], str]) -> Forger:
    """Change a stored checkpoint."""
    return lambda log: with_notes(
        log, {size: change(next(one.note for one in log.notes if one.size == size))}
    )


def signed_anew(change: Callable[[Value], object], key: Any = FIRST) -> Forger:
    """Everything from entry 5 on made anew, and every checkpoint signed anew by whoever has the key."""

    def forge(log: Written) -> Written:
        made = Written(LOG)
        made.announce(key, ROOT if key is FIRST else None)
        for value in values(log)[2:]:
            if value["kind"] == "log.heads":
                made.sign(key)
                continue
            if made.head_.size == 4:
                change(value)
            made.add(RunCancelRequested(reason=value["body"]["reason"]), value["inc"], run="run-1")
        return made

    return forge


def goes_on(change: Callable[[Written], object]) -> Forger:
    """The log goes on in a way that it must not."""

    def forge(log: Written) -> Written:
        longer = log.copy()
        change(longer)
        return longer

    return forge


def lying_heads(log: Written) -> None:
    say(log, "more")
    log.add(LogHeads(incidents=2, root="ab" * 32), actor=SYSTEM)
    log.sign(FIRST, heads=False)


def taken_over(log: Written) -> None:
    """Somebody announces a key of their own and signs with it alone."""
    log.announce(FOREIGN)
    log.sign(FOREIGN)


def used_after_retirement(log: Written) -> None:
    log.announce(SECOND)
    log.sign(FIRST, SECOND)
    log.retire(FIRST, log.head().size)
    say(log, "more")
    log.sign(FIRST)


def announced_twice(log: Written) -> None:
    log.announce(SECOND)
    log.sign(FIRST, SECOND)
    log.retire(SECOND, log.head().size)
    log.announce(SECOND)
    log.sign(FIRST)


def key_of_another_log(log: Written) -> None:
    other = key_of("another.example.org", 9).verifying()
    log.add(LogKey(keyid=other.keyid, vkey=other.vkey, from_size=1), actor=SYSTEM)
    log.sign(FIRST)


def erased(*, asked: bool, other: bool) -> Callable[[Written], None]:
    def forge(log: Written) -> None:
        proposal = 3
        if asked:
            proposal = log.add(RedactProposed(entry=3, names=("text",), reason="why"), "INC-1")
        body = RedactApplied(entry=3, name="text", commit="ab" * 32, proposal=proposal, reason="why")
        log.add(body, "INC-1", actor=OTHER if other else PERSON)
        log.sign(FIRST)

    return forge


def earlier(value: Value) -> None:
    value["ts"] = START.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def spaced(row: StoredRow) -> StoredRow:
    data = row.data.replace(b":", b": ", 1)
    return row._replace(data=data, leaf=leaf_hash(data))


def other_person(value: Value) -> None:
    value["actor"]["id"] = "u:8"


def swapped(found: list[Value]) -> list[Value]:
    return [*found[:4], found[5], found[4], *found[6:]]


def spliced(log: Written) -> Written:
    """An entry of another log in the place of the one here."""
    other = Written("another.example.org/log")
    for number in range(6):
        say(other, f"other {number}")
    return with_rows(log, [other.rows_[4] if row.seq == 5 else row for row in log.rows_])


def replaced(log: Written) -> Written:
    """Another log altogether, under the same name and with a key of its own."""
    return signed_anew(lambda _: None, FOREIGN)(log)


def heads_cut(log: Written) -> Written:
    """The last entry of an incident goes, and all is linked and signed anew; what the heads say stays."""
    made = linked_anew(log, [v for v in values(log) if v["seq"] != 19])
    return with_notes(Written(LOG, made.rows_, made.blobs, log.notes[:2], made.ends, made.head_), {})


KINDS: Final = (
    Kind(
        "an entry is edited and its hash is not",
        raw(5, lambda r: r._replace(data=r.data.replace(b"u:7", b"u:8"))),
        (5, "leaf"),
    ),
    Kind("an entry's hash is zeroed", raw(5, lambda r: r._replace(leaf=bytes(32))), (5, "leaf")),
    Kind("an entry is edited with its hash", at(5, other_person), (5, "link")),
    Kind("the last entry is edited with its hash", at(20, other_person), (20, "link")),
    Kind("an entry is edited with every hash behind it", at(5, other_person, anew=True), (1, "checkpoint")),
    Kind(
        "an entry above a checkpoint is edited with every hash behind it",
        at(12, other_person, anew=True),
        (10, "checkpoint"),
    ),
    Kind(
        "an entry after the outside checkpoint likewise", at(17, other_person, anew=True), (20, "checkpoint")
    ),
    Kind("bytes are not canonical", raw(5, spaced), (5, "canonical")),
    Kind("bytes are no entry", raw(5, lambda r: r._replace(data=b"{}", leaf=leaf_hash(b"{}"))), (5, "bytes")),
    Kind("an entry is empty", raw(5, lambda r: r._replace(data=b"", leaf=leaf_hash(b""))), (5, "bytes")),
    Kind("a moment goes back, with every hash", at(12, earlier, anew=True), (12, "time")),
    Kind("a link is another one", at(5, lambda v: v.update(prev="ab" * 32)), (5, "link")),
    Kind("a link in the incident is another one", at(5, lambda v: v.update(iprev="ab" * 32)), (5, "link")),
    Kind("a number in the incident is another one", at(20, lambda v: v.update(iseq=7)), (20, "incident")),
    Kind("an entry is of another incident", at(5, lambda v: v.update(inc="INC-2")), (5, "link")),
    Kind("an entry has a key more", at(5, lambda v: v.update(more=1)), (5, "bytes")),
    Kind("a body has a key more", at(5, lambda v: v["body"].update(more=1)), (5, "body")),
    Kind("an unknown kind", at(5, lambda v: v.update(kind="no.such")), (5, "body")),
    Kind("an entry is of another log", spliced, (5, "origin")),
    Kind("two entries are swapped", entries(swapped, anew=False), (5, "place")),
    Kind("two entries are swapped with every hash", entries(swapped, anew=True), (6, "time")),
    Kind(
        "an entry is removed with every hash",
        entries(lambda f: [*f[:4], *f[5:]], anew=True),
        (1, "checkpoint"),
    ),
    Kind(
        "an entry is put in with every hash",
        entries(lambda f: [*f[:4], dict(f[4]), *f[4:]], anew=True),
        (1, "checkpoint"),
    ),
    Kind("an entry is repeated", entries(lambda f: [*f[:5], f[4], *f[5:]], anew=False), (6, "place")),
    Kind("the end is cut off, and the note of it stays", cut(18, notes=True, ends=False), (19, "missing")),
    Kind("the end is cut off below a checkpoint", cut(18, notes=True), (19, "missing")),
    Kind("the end is cut off together with its checkpoint", cut(18, notes=False), None),
    Kind(
        "all above the first checkpoint is cut off, checkpoints too",
        cut(9, notes=False),
        None,
        (10, "missing"),
    ),
    Kind("the whole log but its first entry is gone", cut(1, notes=False), None, (0, "anchor")),
    Kind(
        "a checkpoint says another size", note(15, lambda t: t.replace("\n15\n", "\n14\n")), (0, "checkpoint")
    ),
    Kind("a checkpoint says another root", note(15, lambda t: flipped_line(t, 2)), (0, "checkpoint")),
    Kind(
        "a checkpoint's signature is another one",
        note(15, lambda t: flipped_line(t, 4, 50)),
        (0, "checkpoint"),
    ),
    Kind("a checkpoint is of another log", note(15, lambda t: t.replace(LOG, LOG + "2")), (0, "checkpoint")),
    Kind("a checkpoint is no note", note(15, lambda _: "nonsense"), (0, "checkpoint")),
    Kind(
        "a checkpoint is spelt in another way",
        note(15, lambda t: t.replace("\n15\n", "\n015\n")),
        (0, "checkpoint"),
    ),
    Kind(
        "an old checkpoint stands in a new one's place",
        lambda log: with_notes(log, {20: log.notes[0].note}),
        (0, "checkpoint"),
    ),
    Kind(
        "a checkpoint is of an entry without heads",
        goes_on(lambda log: (say(log, "x"), log.sign(FIRST, heads=False))),
        (21, "checkpoint"),
    ),
    Kind("a key signs that the log does not know", goes_on(lambda log: log.sign(FOREIGN)), (0, "checkpoint")),
    Kind("a key signs that was retired before", goes_on(used_after_retirement), (0, "checkpoint")),
    Kind(
        "a key signs below the size that it is good for",
        goes_on(lambda log: (log.announce(SECOND, from_size=99), log.sign(SECOND))),
        (21, "key"),
    ),
    Kind("somebody takes the log over with a key of their own", goes_on(taken_over), (21, "key")),
    Kind("a retired key is announced again", goes_on(announced_twice), (24, "key")),
    Kind("a key of another log is announced", goes_on(key_of_another_log), (21, "key")),
    Kind(
        "another root key has certified the key",
        goes_on(lambda log: (log.announce(SECOND, OTHER_ROOT), log.sign(SECOND))),
        (21, "key"),
        given=frozenset({"root"}),
    ),
    Kind(
        "a witness's signature is another one",
        note(20, lambda t: flipped_line(t, 5, 40)),
        (0, "checkpoint"),
        given=frozenset({"witness"}),
    ),
    Kind(
        "a witness's signature is taken away",
        note(20, lambda t: "\n".join(t.split("\n")[:5]) + "\n"),
        (0, "checkpoint"),
        given=frozenset({"witness"}),
    ),
    Kind("the log lies about its incidents' ends", goes_on(lying_heads), (22, "heads")),
    Kind("an incident's end is taken away, and the heads stay", heads_cut, (19, "heads")),
    Kind("content is erased by one person", goes_on(erased(asked=True, other=False)), (22, "redaction")),
    Kind(
        "content is erased, and nobody had asked for it",
        goes_on(erased(asked=False, other=True)),
        (21, "redaction"),
    ),
    Kind("another log altogether, with another key", replaced, None, (0, "anchor")),
    Kind(
        "everything anew by whoever has the key",
        signed_anew(lambda v: v["body"].update(reason="other")),
        None,
        (0, "anchor"),
    ),
)
