"""When a lease with a time to live ends: for its holder early, for everybody else late. Pure.

The holder counts on its own clock, which nobody sets and which goes on while the machine is suspended, and
from before the renewal was sent. Others count on the database's clock, from when the renewal was written. As
long as the two clocks go equally fast, and the database's is not set forward, there are `fence_s + grace_s`
seconds between the last moment at which the holder may begin something, and the first at which another may.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import inf


@dataclass(frozen=True, slots=True)
class LeaseTimes:
    """How long things take with a row lease, in seconds.

    Arguments:
        ttl_s: a renewal is good for so long, by the database's clock.
        beat_s: how often it is renewed.
        fence_s: so long before its end the holder begins nothing any more.
        grace_s: so long after its end another one may take it.
    """

    ttl_s: float = 30.0
    beat_s: float = 10.0
    fence_s: float = 5.0
    grace_s: float = 5.0

    @classmethod
    def of(cls, ttl_s: float) -> LeaseTimes:
        """Give times in the usual proportions."""
        return cls(ttl_s, ttl_s / 3, ttl_s / 6, ttl_s / 6)


class Tenure:
    """The holder's side: whether it may begin something. No I/O, and what has ended never begins again.

    Arguments:
        times: as the lease was taken with.
        clock: seconds that only grow, also while the machine is suspended.
    """

    def __init__(self, times: LeaseTimes, clock: Callable[[], float]) -> None:
        self._times, self._clock = times, clock
        self._until, self._over = -inf, False

    def renewed(self, sent: float) -> None:
        """Take note of a renewal that was written.

        Arguments:
            sent: the moment before it was sent.
        """
        if not self._over:
            self._until = max(self._until, sent + self._times.ttl_s - self._times.fence_s)

    def held(self) -> bool:
        """Whether the holder may begin something."""
        if self._clock() >= self._until:
            self._over = True
        return not self._over

    def end(self) -> None:
        """Begin nothing any more."""
        self._over = True


@dataclass(frozen=True, slots=True)
class Row:
    """The others' side: what the database says of a lease.

    Arguments:
        held: nobody let go of it.
        expires_at: when it ends, by the database's clock.
        gone: the holder provably does not run any more.
    """

    held: bool
    expires_at: datetime
    gone: bool

    def is_free(self, now: datetime, times: LeaseTimes) -> bool:
        """Whether another one may take it.

        Arguments:
            now: by the database's clock.
        """
        return not self.held or self.gone or now >= self.expires_at + timedelta(seconds=times.grace_s)
