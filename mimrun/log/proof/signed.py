"""Who has signed the log, up to where, and what that is worth to whoever asks."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from mimrun.errors import TamperError
from mimrun.log.chain import StoredCheckpoint
from mimrun.log.entry import LogEntry
from mimrun.log.kinds_proof import LogAnchored
from mimrun.log.proof.key import CheckedCheckpoint, KeyRing
from mimrun.log.proof.report import Findings, Trust
from mimrun.log.proof.stored import Check

Complain = Callable[[int, Check, str], None]
_NOTE = re.compile(r"[^\n]+\n[^\n]+\n[^\n]+\n\n(?:— [^\n]+\n)+")
_SIZE = re.compile(r"[^\n]*\n([1-9][0-9]{0,15})\n")


def split_notes(text: str) -> tuple[str, ...]:
    """Give the signed checkpoints that a file holds, one behind the other.

    Raises:
        ValueError: it holds something else.
    """
    notes = tuple(_NOTE.findall(text))
    if not notes or "".join(notes) != text.replace("\r\n", "\n").strip("\n") + "\n":
        raise ValueError("it holds something else than signed checkpoints")
    return notes


def size_said(note: str) -> int:
    """The size that a checkpoint says, unchecked; 0 where it says none."""
    found = _SIZE.match(note)
    return int(found[1]) if found else 0


@dataclass
class Signed:
    """Checks keys and checkpoints of a log, and remembers what they show.

    Arguments:
        log: the origin.
        trust: what whoever asks brings along.
        complain: is told what is wrong.
        roots: the root of the log at each size that is known.
        changed: the first entry that is known to be changed: other roots above it say no more.
    """

    log: str
    trust: Trust
    complain: Complain
    roots: dict[int, str]
    changed: int = 2**53
    ring: KeyRing = field(init=False)
    last: CheckedCheckpoint | None = None
    count: int = 0
    since: int = 0
    proven: list[str] = field(default_factory=list)
    not_proven: list[str] = field(default_factory=list)
    _apart: int = 0

    def __post_init__(self) -> None:
        self.ring = KeyRing(self.log, (), self.trust.root)

    def take_keys(self, entries: Iterable[LogEntry]) -> None:
        """Read the keys that the log announces; what cannot be announced is a flaw of that entry."""
        for entry in entries:
            try:
                self.ring = self.ring.after(entry)
            except TamperError as exc:
                self.complain(entry.seq, "key", str(exc).removeprefix(f"entry {entry.seq} "))

    def check(self, note: str) -> CheckedCheckpoint:
        """Check a note: signed by a key of the log, in its range, and by one that counts.

        Raises:
            TamperError: it is not.
        """
        checked = self.ring.check(note, self.trust.witnesses)
        if self.trust.keys and not any(one.key in self.trust.keys for one in checked.signers):
            signers = ", ".join(str(one.key) for one in checked.signers)
            raise TamperError(f"it is signed by {signers}, which is not the key that you trust")
        return checked

    def check_stored(
        self, stored: Sequence[StoredCheckpoint], heads: Callable[[int], bool], size: int, *, whole: bool
    ) -> None:
        """Check the checkpoints that are stored with a log.

        Arguments:
            stored: as they are stored, the smallest first.
            heads: says whether the entry at a place is about the heads of the incidents.
            size: how many entries there are.
            whole: all checkpoints are here, so that each key has one before it that vouches for it.
        """
        checked: list[CheckedCheckpoint] = []
        for one in stored:
            what = f"the checkpoint of size {one.size}"
            if one.size > size:
                self.complain(
                    size + 1, "missing", f"the log had {one.size} entries when a checkpoint was made"
                )
                continue
            try:
                found = self.check(one.note)
            except TamperError as exc:
                self.complain(0, "checkpoint", f"{what} is not right: {exc}")
                continue
            if found.checkpoint.size != one.size:
                self.complain(0, "checkpoint", f"{what} is one of size {found.checkpoint.size}")
            elif self.changed <= one.size:
                continue
            elif self.roots.get(one.size) not in (None, found.checkpoint.root.hex()):
                # Where every link holds, either the last entry was changed, or all from some entry on.
                first = (checked[-1].checkpoint.size if checked else 0) + 1
                detail = f"{what} was not made of these entries: one from {first} to {one.size} was changed"
                self.complain(size if one.size == size else first, "checkpoint", detail)
            elif not heads(one.size):
                self.complain(
                    one.size, "checkpoint", "it was signed, and says nothing of the incidents' ends"
                )
            else:
                checked.append(found)
        self.count += len(checked)
        for key in self.ring.unconfirmed(checked) if whole and checked else ():
            detail = f"no key before {key.key}, and no root key, vouches for it"
            self.complain(key.announced, "key", detail)
        self._take_last(checked, size)

    def _take_last(self, checked: Sequence[CheckedCheckpoint], size: int) -> None:
        if not checked:
            self.not_proven.append("who wrote this: nobody has signed it")
            return
        self.last = checked[-1]
        signed = self.last.checkpoint.size
        key = self.last.signers[0]
        words = f"entries up to {signed} are signed by {key.key}"
        if self.trust.root is not None:
            words += f", which the root key {self.trust.root} has certified"
        elif not self.trust.keys:
            self.not_proven.append(
                f"that {key.key} is the right key: say with --root or --key whom you trust"
            )
        self.proven.append(words)
        if signed < size:
            self.not_proven.append(f"entries {signed + 1} to {size}: no checkpoint is above them yet")
        seen = {one.key for one in self.last.witnesses}
        for witness in self.trust.witnesses:
            if witness in seen:
                self.proven.append(f"the witness {witness} has seen the checkpoint of size {signed}")
            else:
                self.complain(0, "checkpoint", f"the witness {witness} has not signed that of size {signed}")

    def check_unsigned(self, about: Iterable[LogEntry], ends: int, stored: Callable[[], bool]) -> None:
        """Judge a whole log with which no checkpoint is stored, by what it says of its keys and checkpoints itself.

        A signer that never answered leaves a key and ends behind as well: that alone is no flaw. A checkpoint that
        was given to a place outside had been signed.

        Arguments:
            about: the log's entries about itself.
            ends: how many ends were recorded for checkpoints.
            stored: looks whether one is stored by now: another process may have made the first one meanwhile.
        """
        if not self.ring.keys or not ends or stored():
            return
        given = [e for e in about if isinstance(e.body, LogAnchored) and e.body.done]
        if given and not self.trust.unsigned and isinstance(body := given[-1].body, LogAnchored):
            detail = (
                f"{body.anchor} was given the checkpoint of size {body.size} (entry {given[-1].seq}), and no"
                " checkpoint is stored here: they were removed"
            )
            self.complain(0, "checkpoint", detail)
        recorded = "one end was" if ends == 1 else f"{ends} ends were"
        self.not_proven.append(
            f"that it was never signed: a key was announced at entry {self.ring.keys[0].announced} and {recorded}"
            " recorded for checkpoints, and no checkpoint is stored: they were removed, or the signer never answered"
        )

    def check_kept(self, size: int, *, whole: bool) -> None:
        """Compare with what was kept elsewhere: signed checkpoints, or a size and root.

        Arguments:
            size: how many entries the log has here.
            whole: all of them are here, so that any earlier root can be worked out.
        """
        kept = []
        for note in self.trust.notes:
            try:
                found = self.check(note).checkpoint
                kept.append((found.size, found.root.hex()))
            except TamperError as exc:
                self.complain(0, "anchor", f"a checkpoint that was given is not right: {exc}")
        if self.trust.known is not None:
            kept.append((self.trust.known.size, self.trust.known.root))
        for number, root in kept:
            self._compare(number, root, size, whole=whole)
        for place in dict.fromkeys(one.place for one in self.trust.kept):
            self._check_place(place, [one.note for one in self.trust.kept if one.place == place], size)
        if self.since:
            self.proven.append(f"entries up to {self.since} are those that were noted earlier, elsewhere")
        elif kept and self._apart == len(kept):
            self.complain(0, "anchor", "nothing that was kept elsewhere can be compared with this bundle")
        else:
            self.not_proven.append(
                "that whoever may write it has not written it anew, nor cut it at its end:"
                " it was compared with no checkpoint that was kept elsewhere"
            )

    def _check_place(self, place: str, notes: Sequence[str], size: int) -> None:
        """Compare with all that one place outside has; say once what is wrong, at the smallest size where it is."""
        found: dict[int, str] = {}
        for note in notes:
            try:
                said = self.check(note).checkpoint
                found[said.size] = said.root.hex()
            except TamperError as exc:
                self.complain(0, "anchor", f"a checkpoint that {place} has is not one of this log: {exc}")
                return
        good = 0
        for number, root in sorted(found.items()):
            if self.changed <= number:
                break
            if number > size:
                words = f"the log had {max(found)} entries when {place} was given a checkpoint"
                self.complain(size + 1, "missing", words)
                break
            if self.roots.get(number) != root:
                words = f"the first {number} entries are not those whose checkpoint {place} has"
                self.complain(0, "anchor", words)
                break
            good = number
        if good:
            self.since = max(self.since, good)
            self.proven.append(f"entries up to {good} are those whose checkpoint {place} has")

    def _compare(self, number: int, root: str, size: int, *, whole: bool) -> None:
        here = self.roots.get(number)
        if self.changed <= number:
            return
        if here == root:
            self.since = max(self.since, number)
        elif here is not None:
            self.complain(0, "anchor", f"the first {number} entries are not those whose root was noted")
        elif whole and number > size:
            self.complain(size + 1, "missing", f"the log had {number} entries when its root was noted")
        elif not whole:
            self._apart += 1
            self.not_proven.append(
                f"that it goes on from the checkpoint of size {number}: no proof of that is here"
            )

    def findings(self, erased: Iterable[str]) -> Findings:
        """What comes out.

        Arguments:
            erased: blobs that were erased with authority, in sentences.
        """
        signed = self.last.checkpoint.size if self.last else 0
        return Findings(
            tuple(self.proven), tuple(self.not_proven), signed, self.since, self.count, tuple(erased)
        )

    def say_limits(self, entries: Iterable[LogEntry], size: int) -> None:
        """Say where the last copy outside is, and what is behind it."""
        done = [e for e in entries if isinstance(e.body, LogAnchored) and e.body.done]
        if done and isinstance(body := done[-1].body, LogAnchored):
            where = f"{body.anchor} has the checkpoint of size {body.size} (entry {done[-1].seq})"
            if self.since < body.size:
                self.not_proven.append(f"against the outside: {where}; compare with it by --checkpoint")
        if 0 < self.since < size:
            self.not_proven.append(
                f"that nothing behind entry {self.since} was changed by somebody who has the log's key"
            )
