"""The program log: what mimrun's processes did, for whoever keeps them running.

It is not the incident log: nothing in it proves anything, it is cut when it grows, and a run goes on when
it cannot be written. Each line of `program.log` in mimrun's home is one JSON object: `event`, one of the
names below, `level`, `timestamp`, `pid`, the run, incident and step it belongs to, and a few plain facts.
Never a secret, never a target's output, never on standard output.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from enum import StrEnum
from pathlib import Path
from typing import Final

import structlog
from structlog.contextvars import bound_contextvars, merge_contextvars
from structlog.processors import JSONRenderer, TimeStamper, add_log_level, format_exc_info
from structlog.typing import EventDict, FilteringBoundLogger, Processor

from mimrun.secret import Masker
from mimrun.settings import Settings

LOG_BYTES: Final = 1_000_000
"""Bytes after which the log is put aside as `program.log.1`; the one put aside before is then gone."""
PATIENCE_S: Final = 0.5
"""How long a line waits for another process that writes. One that is frozen must not stop this one."""
VALUE_CHARACTERS: Final = 4_000
"""Characters that one value keeps."""


class Event(StrEnum):
    """Everything that the program log tells of. Names stay as they are: other programs look for them."""

    RUN_TAKEN = "run_taken"  #: this process has the run's lease and goes on with it
    RUN_LEFT = "run_left"  #: it let go of the run: `status` says how the run stands
    RUN_REFUSED = "run_refused"  #: it did not act: the run is over, or another process holds it
    RUN_BROKE = "run_broke"  #: an error came out of the run, which is interrupted and can be resumed
    RUN_MODE_CHANGED = "run_mode_changed"  #: it is driven differently from here on
    WORKER_STARTED = "worker_started"  #: a worker stays and goes on with what nobody is there for
    WORKER_TOOK = "worker_took"  #: it goes on with a run: `reason` says why
    WORKER_STOPPED = "worker_stopped"  #: it has left every run in order
    REVERT_STARTED = "revert_started"  #: a run was made that takes back what was done for a time only
    REVERT_REFUSED = "revert_refused"  #: no such run could be made: `reason` says why; a person must
    SPANS_NOT_SENT = (
        "spans_not_sent"  #: a collector is named, and took not all spans; the run is not concerned
    )
    ANCHORED = "anchored"  #: a place outside was given a checkpoint of the incident log
    ANCHOR_FAILED = "anchor_failed"  #: one did not take it, or anchors.yaml cannot be used: `reason` says why; tried again
    NOTICED = "noticed"  #: people were told something over a channel
    NOTICE_FAILED = "notice_failed"  #: a channel did not take it, or notices.yaml cannot be used: `reason` says why; tried again
    CHANGE_WRITTEN = "change_written"  #: a fact about a run stands in its change record
    CHANGE_NOT_WRITTEN = "change_not_written"  #: a change system did not take one, or changes.yaml cannot be used: `reason` says why; tried again
    SERVER_STARTED = "server_started"  #: a server answers at an address
    SERVER_CHILD_ENDED = "server_child_ended"  #: a process that it keeps up has ended; it is started again
    SERVER_ENGINE_FAILED = (
        "server_engine_failed"  #: the engine that it keeps up cannot be had: `reason` says why
    )
    SERVER_BROKE = "server_broke"  #: a request ended with an error that is a bug
    SERVER_STOPPED = "server_stopped"  #: it has ended, and left every run in order
    ALERTS_UNREADABLE = "alerts_unreadable"  #: alerts.yaml, or a secret of it, cannot be used: `reason` says why, and what counts instead
    RULE_FIRED = "rule_fired"  #: a rule has heeded alerts: `outcome` says what it did, `reason` why it did less than it is for
    RULES_REFUSED = "rules_refused"  #: a file of rules is wrong; what was good of it last stays in force
    RULES_BROKE = "rules_broke"  #: no rule could be followed: `reason` says why; it is tried again
    WATCH_STARTED = "watch_started"  #: a process asks the queries of watches.yaml
    WATCH_FAILED = (
        "watch_failed"  #: a query got no answer, or what it answered could not be recorded; it is asked again
    )
    WATCH_STOPPED = "watch_stopped"  #: it asks no more
    STORM_BEGAN = "storm_began"  #: rules launch nothing any more until somebody says that they may
    STEP_FAILED = "step_failed"  #: a step failed; what it answered stands in the incident log


_maskers: ContextVar[list[Masker] | None] = ContextVar("maskers", default=None)


def program_log(settings: Settings) -> FilteringBoundLogger:
    """Give the program log of a home.

    Arguments:
        settings: say where it is, and from which level on something is written.
    """
    processors: list[Processor] = [
        merge_contextvars,
        add_log_level,
        TimeStamper(fmt="iso", utc=True),
        format_exc_info,
        _finish,
        JSONRenderer(sort_keys=True),
    ]
    log: FilteringBoundLogger = structlog.wrap_logger(
        _Sink(settings.program_log),
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(settings.log_level),
        cache_logger_on_first_use=False,
        pid=os.getpid(),
    )
    return log


@contextmanager
def about(**facts: str) -> Iterator[None]:
    """Bind the run, incident or step that everything told inside belongs to.

    The secrets that `mask_with` names inside are masked until the outermost of these ends, so that an
    error is told without them too.
    """
    outermost = _maskers.set([]) if _maskers.get() is None else None
    try:
        with bound_contextvars(**facts):
            yield
    finally:
        if outermost is not None:
            _maskers.reset(outermost)


def mask_with(masker: Masker) -> None:
    """From here on, take these secrets out of everything that is told of the run.

    Raises:
        LookupError: nothing is being told about; bind the run first.
    """
    maskers = _maskers.get()
    if maskers is None:
        raise LookupError("secrets belong to a run: bind it with `about` first")
    maskers.append(masker)


def _finish(_logger: object, _method: str, event: EventDict) -> EventDict:
    """Take care that nothing is written that should not be:

    1. Only plain facts: text, whole numbers, true, false, nothing. A `Secret`, and any object that might
       show one, is refused: it is a mistake of the caller.
    2. The run's secrets are masked, before anything is cut.
    3. A value has a bounded length.
    """
    return {name: _plain(name, value) for name, value in event.items()}


def _plain(name: str, value: object) -> str | int | None:
    if value is None or isinstance(value, int):
        return value
    if not isinstance(value, str):
        raise TypeError(f"the program log takes plain facts; {name!r} is {type(value).__name__}")
    text = str(value)
    for masker in _maskers.get() or ():
        text = masker.mask_text(text)
    if len(text) <= VALUE_CHARACTERS:
        return text
    # Of a trace the end says what went wrong and where; what it begins with is the same for all of them.
    return "…" + text[1 - VALUE_CHARACTERS :] if name == "exception" else text[: VALUE_CHARACTERS - 1] + "…"


class _Sink:
    """Appends lines to a file that several processes write to. Opened for each line: there are few.

    Arguments:
        path: the file; its folder exists.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def debug(self, line: str) -> None:
        """Write a line. A run is worth more than this log: where it cannot be written, it is not."""
        with contextlib.suppress(OSError):
            self._append(line.encode("utf-8", "backslashreplace") + b"\n")

    info = warning = error = critical = debug

    def _append(self, line: bytes) -> None:
        with self._locked() as file:
            os.write(file, line)

    @contextmanager
    def _locked(self) -> Iterator[int]:
        """Open the file for one writer at a time, with room in it."""
        while True:
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
            file = os.open(self._path, flags, 0o600)
            try:
                _lock(file)
                if not os.path.samestat(os.fstat(file), self._path.stat()):
                    continue  # another process has put it aside while we waited
                if os.fstat(file).st_size >= LOG_BYTES:
                    self._path.replace(self._path.with_name(self._path.name + ".1"))
                    continue
                yield file
                return
            finally:
                os.close(file)


def _lock(file: int) -> None:
    """Take the file for one writer.

    Raises:
        BlockingIOError: another process has had it for too long.
    """
    until = time.monotonic() + PATIENCE_S
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > until:
                raise
            time.sleep(0.005)
        else:
            return
