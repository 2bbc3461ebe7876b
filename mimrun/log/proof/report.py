"""What verifying found, for a person and for a machine; what it proves, and what not."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

from mimrun.canonical import Json
from mimrun.log.proof.key import VerifyingKey
from mimrun.log.proof.stored import Flaw
from mimrun.log.states import States


@dataclass(frozen=True, slots=True)
class Known:
    """What somebody noted about the log earlier, outside of it.

    Arguments:
        size: how many entries there were.
        root: the Merkle root over them, hexadecimal.
    """

    size: int
    root: str


@dataclass(frozen=True, slots=True)
class Kept:
    """A checkpoint that a place outside has given back.

    Arguments:
        place: its name.
        note: the signed note.
    """

    place: str
    note: str


@dataclass(frozen=True, slots=True)
class Trust:
    """What somebody brings along to check a log with.

    Arguments:
        root: the offline root key that must have certified the log's keys.
        keys: the log's keys that count; none: those that the log names.
        witnesses: keys of witnesses, of whom each must have signed the last checkpoint.
        notes: checkpoints that were kept elsewhere, each a signed note.
        known: a size and a root that were noted elsewhere.
        unsigned: something that nobody has signed will do.
        kept: checkpoints that places outside have given back.
    """

    root: VerifyingKey | None = None
    keys: tuple[VerifyingKey, ...] = ()
    witnesses: tuple[VerifyingKey, ...] = ()
    notes: tuple[str, ...] = ()
    known: Known | None = None
    unsigned: bool = False
    kept: tuple[Kept, ...] = ()


@dataclass(frozen=True, slots=True)
class Findings:
    """What comes out beside the flaws.

    Arguments:
        proven: what is proven, in sentences.
        not_proven: what is not.
        signed: how many entries are under a checkpoint that is right.
        since: how many are under one that was kept elsewhere, or under a noted root.
        checkpoints: how many checkpoints were checked.
        redacted: blobs that were erased with authority, in sentences.
    """

    proven: tuple[str, ...] = ()
    not_proven: tuple[str, ...] = ()
    signed: int = 0
    since: int = 0
    checkpoints: int = 0
    redacted: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SignedDecision:
    """What came of checking a decision that a person signed with a key of their own.

    Arguments:
        seq: its entry.
        state: `verified` for its person and its moment; `foreign` where the key was not theirs, as far as was said whose
            keys count; `wrong` where the signature is not one of this decision; `unchecked` where nobody could tell.
        said: in words.
    """

    seq: int
    person: str
    state: Literal["verified", "foreign", "wrong", "unchecked"]
    said: str


@dataclass(frozen=True, slots=True)
class Report:
    """What verifying found.

    Arguments:
        log: the origin.
        scope: what was looked at: "the whole log", or one incident of it.
        size: how many entries there are.
        root: Merkle root over them; note it with the size, somewhere else, to prove these entries later.
        first_ts: moment of the first entry.
        last_ts: moment of the last entry.
        incidents: how many incidents there are.
        blobs: how many blobs were compared with what their entries say.
        flaws: what is wrong, the first entry first; empty when the log is intact.
        more: flaws that were found and are not listed.
        known: what was noted earlier and compared, if anything.
        findings: what this proves and what not.
        of: entries of the log that the root stands for, where that is more than what was looked at.
        unread: blobs that are there and could not be compared, because their key is missing or another log's.
        vouched: whether somebody whom the reader trusts has signed, or it is the reader's own log.
        states: what comparing the folded states with the entries came to; None where that was not asked for.
        decisions: what came of checking each decision that a person signed.
    """

    log: str
    scope: str
    size: int
    root: str
    first_ts: str
    last_ts: str
    incidents: int
    blobs: int
    flaws: tuple[Flaw, ...]
    more: int = 0
    known: Known | None = None
    findings: Findings = field(default_factory=Findings)
    of: int = 0
    vouched: bool = True
    unread: int = 0
    states: States | None = None
    decisions: tuple[SignedDecision, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether everything is as it was recorded. What could not be looked at is not."""
        return not self.flaws and not self.unread

    def with_states(self, states: States) -> Report:
        """The report with what comparing the folded states came to: each that is not what the log says is a flaw."""
        flaws = tuple(Flaw(0, "state", said) for said in states.flaws)
        proven = f"all {states.compared} states are what the first {states.size} entries say, byte for byte"
        findings = replace(self.findings, proven=(*self.findings.proven, proven))
        return replace(
            self,
            flaws=(*self.flaws, *flaws),
            more=self.more + states.more,
            states=states,
            findings=self.findings if flaws else findings,
        )

    def as_json(self) -> dict[str, Json]:
        """The report for a machine."""
        found = self.findings
        return {
            "ok": self.ok,
            "vouched": self.vouched,
            "log": self.log,
            "scope": self.scope,
            "size": self.size,
            "root": self.root,
            "first_ts": self.first_ts,
            "last_ts": self.last_ts,
            "incidents": self.incidents,
            "blobs": self.blobs,
            "unread": self.unread,
            "flaws": [{"seq": f.seq, "check": f.check, "detail": f.detail} for f in self.flaws],
            "more": self.more,
            "known": {"size": self.known.size, "root": self.known.root} if self.known else None,
            "checkpoints": found.checkpoints,
            "signed": found.signed,
            "since": found.since,
            "redacted": list(found.redacted),
            "proven": [] if self.flaws else list(found.proven),
            "not_proven": list(found.not_proven),
            "states": self.states.as_json() if self.states else None,
            "decisions": [
                {"seq": one.seq, "person": one.person, "state": one.state, "said": one.said}
                for one in self.decisions
            ],
        }

    def __str__(self) -> str:
        lines = [
            f"{self.scope} of {self.log}: {self.size} {'entry' if self.size == 1 else 'entries'},"
            f" {self.incidents} incident{'' if self.incidents == 1 else 's'},"
            f" {self.blobs} blob{'' if self.blobs == 1 else 's'}"
            + (f", {self.first_ts} to {self.last_ts}" if self.first_ts else "")
        ]
        if self.flaws:
            first = self.flaws[0].seq
            where = f", the first at entry {first}" if first else ""
            count = len(self.flaws) + self.more
            lines += [f"not intact: {count} flaw{'s' if count > 1 else ''}{where}"]
            lines += [f"  {flaw}" for flaw in self.flaws[:20]]
            left = len(self.flaws) + self.more - 20
            lines += [f"  and {left} more"] if left > 0 else []
            return "\n".join([*lines, f"{self._not_compared()} as well"] if self.unread else lines)
        if self.unread:
            lines += [
                f"every entry is intact, and {self._not_compared()}; size {self.size}, root {self.root}"
            ]
        elif self.vouched:
            lines += [f"intact; size {self.of or self.size}, root {self.root}"]
        else:
            lines += ["it fits together; whose key signed it, only --key or --root can tell"]
        lines += _titled("erased:", self.findings.redacted, most=20)
        lines += _titled("proven:", self.findings.proven)
        lines += _titled("not proven:", self.findings.not_proven)
        told = [f"entry {one.seq}: {one.state}: {one.said}" for one in self.decisions]
        lines += _titled("signed:", tuple(told), most=50)
        if not self.findings.since and self.scope == "the whole log":
            lines += [f"to compare later, note outside of this machine: {self.size}:{self.root}"]
        return "\n".join(lines)

    def _not_compared(self) -> str:
        blobs = "one blob" if self.unread == 1 else f"{self.unread} blobs"
        return f"the content of {blobs} was not compared, for want of the key"


def _titled(title: str, lines: tuple[str, ...], most: int = 100) -> list[str]:
    """Sentences under a title; of very many, the first."""
    shown = [f"{title if number == 0 else '':<11} {line}" for number, line in enumerate(lines[:most])]
    return [*shown, f"{'':<11} and {len(lines) - most} more"] if len(lines) > most else shown
