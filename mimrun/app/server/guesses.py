"""Guesses: how often a password may be tried, and how many are tried at once."""

from __future__ import annotations

import ipaddress
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Final

from mimrun.errors import TooManyGuessesError

TRIES: Final = 5
WITHIN_S: Final = 60.0
"""So many tries in so long, for each person and address."""
TRIES_EACH: Final = 60
"""So many in so long for an address, whoever it tries to be."""
REMEMBERED: Final = 10_000


class Guesses:
    """Counts tries.

    Arguments:
        monotonic: a clock in seconds.
        each: so many tries in a minute, for each person and address.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic, *, each: int = TRIES) -> None:
        self._monotonic, self._each = monotonic, each
        self._lock = threading.Lock()
        self._tried: OrderedDict[tuple[str, str], deque[float]] = OrderedDict()

    def count(self, person: str, address: str) -> None:
        """Count a try, before anything is looked at: it is all the same whether there is such a person.

        Raises:
            TooManyGuessesError: there were too many.
        """
        whole, each = _keys(person, address)
        with self._lock:
            now = self._monotonic()
            # The address first: one that tries many names is not to fill the memory with them.
            for key, most in ((whole, TRIES_EACH), (each, self._each)):
                tried = self._tried.setdefault(key, deque())
                self._tried.move_to_end(key)
                while tried and now - tried[0] >= WITHIN_S:
                    tried.popleft()
                if len(tried) >= most:
                    raise TooManyGuessesError("too many tries; wait a minute")
                tried.append(now)
            while len(self._tried) > REMEMBERED:
                self._tried.popitem(last=False)

    def forgive(self, person: str, address: str) -> None:
        """Forget the tries of somebody who has got in."""
        with self._lock:
            self._tried.pop(_keys(person, address)[1], None)


def _keys(person: str, address: str) -> tuple[tuple[str, str], tuple[str, str]]:
    """Give what is counted: an address with anybody, and with one person, however their name is typed."""
    place = _place(address)
    return ("", place), (person.strip().casefold()[:64], place)


def _place(address: str) -> str:
    """Give from where somebody asks; who has a line of IPv6 has the 2^64 addresses of its network, and is one place."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    return str(ipaddress.ip_network((found, 64), strict=False)) if found.version == 6 else address
