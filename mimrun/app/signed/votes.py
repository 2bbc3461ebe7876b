"""Signed votes: whether the key of a signed approval still belongs to its person, asked again at every question."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

from mimrun.app.signed.openssh import read_file
from mimrun.errors import GateError, InputError, RefusedError
from mimrun.gate.approval import SIGNED, Decision, Vote
from mimrun.gate.signature import Signers, read_signers

VotesNow = Callable[[Sequence[Vote], datetime], Sequence[Vote]]
"""Gives those of some votes that count at a moment, as far as keys are concerned."""


def votes_reader(file: Path) -> VotesNow:
    """Give a function that leaves out approvals whose key is not their person's any more.

    It reads the file of signers again whenever it has changed, and only where somebody signed. A rejection stays:
    whoever takes a key away opens no gate by that.

    The function raises `RefusedError` where the file cannot be read, so that nobody knows.
    """
    known: tuple[tuple[int, int], Signers] | None = None

    def signers() -> Signers | None:
        nonlocal known
        try:
            stat = file.stat()
        except FileNotFoundError:
            return None
        mark = (stat.st_mtime_ns, stat.st_ino)
        if known is None or known[0] != mark:
            try:
                known = (mark, read_signers(read_file(file), str(file)))
            except (InputError, GateError) as exc:
                raise RefusedError(f"no signed approval can be judged: {exc}") from exc
        return known[1]

    def counting(votes: Sequence[Vote], at: datetime) -> Sequence[Vote]:
        if not any(vote.auth.startswith(SIGNED) for vote in votes):
            return votes
        found = signers()
        return [vote for vote in votes if _counts(vote, found, at)]

    return counting


def _counts(vote: Vote, signers: Signers | None, at: datetime) -> bool:
    if not vote.auth.startswith(SIGNED) or vote.decision is not Decision.APPROVED:
        return True
    return signers is not None and signers.still_counts(vote.person, vote.auth.removeprefix(SIGNED), at)
