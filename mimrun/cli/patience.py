"""Waiting for locks that other runs hold: for how long, and what is shown meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Annotated, Final, TypeAlias, TypeVar

import typer
from rich.console import Console
from rich.text import Text

from mimrun.cli.terminal import safe_line
from mimrun.errors import InputError, LockError
from mimrun.runbook.duration import format_duration, parse_duration
from mimrun.settings import Settings

WaitForLocksOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--wait-for-locks",
        metavar="DURATION",
        show_default=False,
        help="How long to wait for resources that other runs hold, such as 10m; without it the run is refused.",
    ),
]

_LOOK_S: Final = 0.5

T = TypeVar("T")


def lock_patience(settings: Settings, given: str | None) -> int:
    """Say for how many milliseconds a run waits for locks: as asked for, else as usual here.

    Raises:
        InputError: it is not a duration.
    """
    if given is None:
        return settings.lock_patience_ms
    try:
        return parse_duration(given)
    except ValueError as exc:
        raise InputError(f"--wait-for-locks: {exc}") from exc


def when_free(
    do: Callable[[], T],
    patience_ms: int,
    out: Console,
    *,
    heed: Callable[[], None] = lambda: None,
    monotonic: Callable[[], float] = time.monotonic,
) -> T:
    """Do what needs locks as soon as they are free, and show meanwhile who holds them.

    Arguments:
        do: raises `LockError` while they are not.
        patience_ms: how long to try; 0 for once.
        heed: called while waiting; raises to leave.

    Raises:
        LockError: they are not free, and the time is up.
    """
    end, shown = monotonic() + patience_ms / 1000, ""
    with out.status("waiting for locks") as status:
        while True:
            try:
                return do()
            except LockError as exc:
                if not patience_ms:
                    raise
                left = end - monotonic()
                if left <= 0:
                    waited = format_duration(patience_ms)
                    raise LockError(f"after {waited} of waiting: {exc}") from exc
                if str(exc) != shown:
                    shown = str(exc)
                    out.print(Text(f"waiting: {safe_line(shown)}", "yellow"))
                status.update(
                    f"waiting for locks, {format_duration(max(int(left), 1) * 1000)} left; Ctrl-C leaves"
                )
            heed()
            time.sleep(min(_LOOK_S, max(left, 0.01)))
