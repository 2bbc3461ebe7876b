"""Asking again: who brings along a key gets, for the same request, the answer that it got already.

Runs do not need this: the name of a run is made of the key, so that it holds for ever and on every machine
(`mimrun.app.launch_once`). What is kept here is kept by this server, for a day.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from pydantic import BaseModel

from mimrun.errors import RefusedError

LASTS_S: Final = 24 * 3600.0
_REMEMBERED: Final = 10_000
_Answer = TypeVar("_Answer")


@dataclass(slots=True)
class _Done:
    digest: str
    at: float
    answer: Any = None
    over: bool = False


class Repeats:
    """Remembers what was answered.

    Arguments:
        monotonic: a clock in seconds.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._done: OrderedDict[tuple[str, str, str], _Done] = OrderedDict()

    def once(
        self, whose: tuple[str, str], key: str | None, given: BaseModel, do: Callable[[], _Answer]
    ) -> _Answer:
        """Do something, unless it was done with this key.

        Arguments:
            whose: who asks, and for what: `("alex", "POST /incidents")`.
            key: None where none was brought along: it is done.
            given: what is asked for.

        Raises:
            RefusedError: the key was used for something else, or what it was used for is still being done.
        """
        if key is None:
            return do()
        place = (*whose, key)
        digest = hashlib.sha256(given.model_dump_json().encode()).hexdigest()
        with self._lock:
            self._forget()
            before = self._done.get(place)
            if before is None:
                self._done[place] = mine = _Done(digest, self._monotonic())
            elif before.digest != digest:
                raise RefusedError("this Idempotency-Key was used for something else; take another")
            elif not before.over:
                raise RefusedError("what this Idempotency-Key was used for is still being done; ask again")
            else:
                answer: _Answer = before.answer
                return answer
        try:
            mine.answer = done = do()
        except BaseException:
            # Nothing came of it: it may be asked for again.
            with self._lock:
                self._done.pop(place, None)
            raise
        mine.over = True
        return done

    def _forget(self) -> None:
        now = self._monotonic()
        while self._done:
            oldest = next(iter(self._done.values()))
            if len(self._done) < _REMEMBERED and now - oldest.at < LASTS_S:
                return
            self._done.popitem(last=False)
