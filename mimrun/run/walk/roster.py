"""The roster: which hosts take part, and how many of them may fail before it is enough.

It is a value that the walk over the plan hands from step to step. A branch gets the one of this moment, and
what it loses is known to the others when all branches have come together again; so a resumed run, which
walks the same way, sees the same hosts.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from mimrun.runbook.allowance import exceeded


@dataclass(frozen=True, slots=True)
class Allowance:
    """How many hosts may fail in a part of the plan.

    Arguments:
        where: the part, in words that follow "of": "the run", "step 3".
        allowed: so many may fail; with one more it is over.
        before: the hosts that had failed before this part began, which it does not answer for.
    """

    where: str
    allowed: int
    before: frozenset[str] = frozenset()

    def is_exceeded(self, failed: frozenset[str]) -> bool:
        """Say whether more hosts have failed here than may."""
        return exceeded(len(failed - self.before), self.allowed)

    def told(self, failed: frozenset[str]) -> str:
        """Say in words how many have failed, and how many may."""
        count = len(failed - self.before)
        return f"{count} {'host' if count == 1 else 'hosts'} of {self.where} failed and {self.allowed} may"


@dataclass(frozen=True, slots=True)
class Roster:
    """Which hosts take part.

    Arguments:
        failed: the hosts that have failed, and take no part any more.
        allowances: what holds here, that of the run first. All of them hold at once: what a step may
            lose does not widen what the run may lose.
    """

    failed: frozenset[str] = frozenset()
    allowances: tuple[Allowance, ...] = ()

    @classmethod
    def of_run(cls, max_failures: int) -> Roster:
        """Give the roster that a run begins with: everybody takes part."""
        return cls(allowances=(Allowance("the run", max_failures),))

    def takes_part(self, host: str) -> bool:
        """Say whether a host has not failed yet."""
        return host not in self.failed

    def without(self, hosts: Iterable[str]) -> Roster:
        """Give the roster after hosts have failed."""
        return replace(self, failed=self.failed | frozenset(hosts))

    def within(self, where: str, allowed: int | None) -> Roster:
        """Give the roster for a part with an allowance of its own; None gives it none."""
        if allowed is None:
            return self
        return replace(self, allowances=(*self.allowances, Allowance(where, allowed, self.failed)))

    def behind(self, *parts: Roster) -> Roster:
        """Give the roster after parts of the plan: who failed in any of them is out; what holds is what held."""
        return replace(self, failed=self.failed.union(*(part.failed for part in parts)))

    def overdrawn(self, more: frozenset[str] = frozenset()) -> Allowance | None:
        """Give the first allowance that is exceeded, or None.

        Arguments:
            more: hosts that have failed just now.
        """
        failed = self.failed | more
        return next((one for one in self.allowances if one.is_exceeded(failed)), None)

    def left(self) -> int:
        """Say how many more hosts may fail; 0 also where more have failed than may."""
        spent = (one.allowed - len(self.failed - one.before) for one in self.allowances)
        return max(0, min(spent, default=0))
