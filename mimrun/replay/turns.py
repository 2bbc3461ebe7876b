"""Turns: the threads of a replayed run go on one at a time, and time passes only while all of them wait.

A run works on many hosts at once. Replayed, it must take the same course each time, and an hour of waiting must take
no time at all. So a thread goes on until it waits for something (its place in the log, a moment, its own
threads), and then gives the turn to one that need not wait any longer.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

T = TypeVar("T")

_NEVER: Final = float("inf")


class TapeOver(BaseException):
    """Nothing more is replayed: the record ends here, or another course was taken. Ends every thread of the run."""


@dataclass(slots=True, eq=False)
class _Waiting:
    """A thread that waits for its turn."""

    ready: Callable[[], bool]
    due: float
    go: threading.Event = field(default_factory=threading.Event)


class Turns:
    """Gives turns.

    Arguments:
        stuck: called when nobody can go on and nothing is waited for but time, or nothing at all; it may let
            somebody go on. Says whether it did.
        late: says of a task, by the arguments that it is handed in with, whether it begins only when nobody else
            can go on; see `begin_late`.
    """

    def __init__(
        self, stuck: Callable[[bool], bool], *, late: Callable[[tuple[Any, ...]], bool] = lambda _: False
    ) -> None:
        self._stuck, self.is_late = stuck, late
        self._waiting: list[_Waiting] = []
        self._new: deque[_Waiting] = deque()
        """Threads that have not begun yet: they do before any other goes on, as if all had begun at once."""
        self._late: list[tuple[tuple[Any, ...], Callable[[], None]]] = []
        self.seconds = 0.0
        """The clock: it stands still while somebody is at work."""
        self.over = False
        """Nothing more is replayed."""

    def wait(self, ready: Callable[[], bool], due: float = _NEVER) -> None:
        """Give up the turn until something is so, or until a moment has come.

        Arguments:
            ready: asked whenever somebody else gives up the turn; decides, and changes nothing.
            due: in seconds of the clock.
        """
        if self.over or (not self._new and (ready() or due <= self.seconds)):
            return
        if due < _NEVER and not (self._new or self._waiting or self._late):
            self.advance(due)  # nobody else is there who could do anything meanwhile
            return
        self.give_up(ready, due)

    def give_up(self, ready: Callable[[], bool], due: float = _NEVER) -> None:
        """Give up the turn at least once; see `wait`. When all is over, whoever waited longest comes first."""
        me = _Waiting(ready, due)
        self._waiting.append(me)
        self._pass_on()
        me.go.wait()

    def sleep(self, seconds: float, ready: Callable[[], bool] = lambda: False) -> None:
        """Let time pass.

        Arguments:
            ready: ends it before.
        """
        self.wait(ready, self.seconds + seconds)

    def advance(self, to: float) -> None:
        """Set the clock forward; it never goes back."""
        self.seconds = max(self.seconds, to)

    def enter(self) -> threading.Event:
        """Let a new thread have a turn; it begins when the event is set."""
        me = _Waiting(lambda: True, _NEVER)
        self._new.append(me)
        return me.go

    def leave(self) -> None:
        """Give up the turn for good: this thread is over."""
        self._pass_on()

    def put_off(self, arguments: tuple[Any, ...], begin: Callable[[], None]) -> None:
        """Let a task wait for `begin_late`."""
        self._late.append((arguments, begin))

    def begin_late(self, rank: Callable[[tuple[Any, ...]], int], *, below: float = _NEVER) -> bool:
        """Begin one of the tasks that were put off; says whether there was one.

        Arguments:
            rank: the task with the least begins; of several the one that was handed in first.
            below: it must be less than that.
        """
        first = min(self._late, key=lambda task: rank(task[0]), default=None)
        if first is None or rank(first[0]) >= below:
            return False
        self._late.remove(first)
        first[1]()
        return True

    def _pass_on(self) -> None:
        while True:
            while self.over and self.begin_late(lambda _: 0):
                pass  # whoever waits for these tasks waits until they are over
            if self._new:
                self._new.popleft().go.set()
                return
            for one in self._waiting:
                if self.over or one.due <= self.seconds or one.ready():
                    self._waiting.remove(one)
                    one.go.set()
                    return
            sleeps = min((one.due for one in self._waiting), default=_NEVER)
            if self._stuck(sleeps < _NEVER):
                continue
            if sleeps < _NEVER:
                self.advance(sleeps)
            else:
                self.over = True

    def pool(self, max_workers: int, thread_name_prefix: str = "") -> Executor:
        """Make the threads of a step, or of branches, in the place of Python's own pool."""
        return _Pool(self, max_workers, thread_name_prefix)


class _Pool(Executor):
    """A pool of threads that take turns. Tasks begin in the order in which they are handed in, but for late ones."""

    def __init__(self, turns: Turns, max_workers: int, name: str) -> None:
        self._turns, self._most, self._name = turns, max_workers, name
        self._tasks: deque[tuple[Future[Any], Callable[[], Any]]] = deque()
        self._alive = self._workers = 0

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Hand in a task; it begins when this thread waits."""
        future: Future[T] = Future()
        task = (future, lambda: fn(*args, **kwargs))
        if self._turns.is_late(args):
            self._alive += 1
            self._turns.put_off(args, lambda: self._start([task]))
            return future
        self._tasks.append(task)
        if self._workers < self._most:
            self._workers += 1
            self._alive += 1
            self._start(self._tasks)
        return future

    def _start(self, tasks: deque[Any] | list[Any]) -> None:
        go = self._turns.enter()
        threading.Thread(target=self._work, args=(go, tasks), name=self._name, daemon=True).start()

    def _work(self, go: threading.Event, tasks: deque[Any] | list[Any]) -> None:
        go.wait()
        while tasks:
            future, task = tasks.pop() if isinstance(tasks, list) else tasks.popleft()
            try:
                future.set_result(task())
            except BaseException as exc:  # noqa: BLE001 - whoever waits for it raises it
                future.set_exception(exc)
        self._alive -= 1
        self._turns.leave()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002 - as `Executor` has it
        """Wait until every task is over."""
        while self._alive:
            self._turns.give_up(lambda: not self._alive)
