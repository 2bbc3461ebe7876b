"""The Prefect flow that gives the log's checkpoints to places outside: by a schedule, or shown by the engine.

Prefect decides nothing: whether a place is due says the log, so that a schedule, an engine and workers on several
machines do not do it twice. Where Prefect is away, it is done all the same.
"""

from __future__ import annotations

import contextvars
import logging
import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, Protocol

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings
from prefect.states import Completed, Failed

from mimrun.app.anchor.giving import Tried
from mimrun.app.anchor.timer import anchor_now
from mimrun.errors import MimrunError
from mimrun.settings import load_settings

FLOW_NAME: Final = "anchor-log"

_log = logging.getLogger("mimrun.engine.anchoring")


class Giving(Protocol):
    """Gives what is due, once however often it is called; then it says again what came of it."""

    begun: bool

    def __call__(self) -> Sequence[Tried]:
        """Give what is due.

        Raises:
            MimrunError: nothing could be given.
        """


giving: Final[contextvars.ContextVar[Giving]] = contextvars.ContextVar("giving")


@flow(
    name=FLOW_NAME,
    version="1",
    description="Gives checkpoints of mimrun's incident log to places outside. What came of it stands in the log.",
    retries=0,
    persist_result=False,
    log_prints=False,
    validate_parameters=False,
)
def anchor_log(home: str = "") -> State[Any]:
    """Give a checkpoint to each place of anchors.yaml that is due.

    Arguments:
        home: mimrun's home; that of the environment where it is "".

    Returns:
        the state for Prefect to show.
    """
    give: Callable[[], Sequence[Tried]] | None = giving.get(None)
    if give is None:
        give = partial(anchor_now, load_settings(os.environ, Path(home) if home else None))
    try:
        tried = give()
    except MimrunError as exc:
        return Failed(message=str(exc))
    said = "; ".join(
        f"{one.anchor} {f'has {one.size} entries' if one.given.done else f'failed: {one.given.reason}'}"
        for one in tried
    )
    good = all(one.given.done for one in tried)
    return Completed(message=said or "nothing is due") if good else Failed(message=said)


def show(give: Giving, home: str) -> None:
    """Give what is due inside a flow run; where Prefect does not come to it, without one.

    Raises:
        MimrunError: nothing could be given.
    """
    token = giving.set(give)
    try:
        # A heartbeat thread would be waited for, up to a second, at the end of every flow.
        with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
            anchor_log(home, return_state=True)
    except Exception as exc:  # noqa: BLE001 - a failure of Prefect is not a failure of what it shows
        _log.warning("prefect does not show that the log is anchored: %s: %s", type(exc).__name__, exc)
    finally:
        giving.reset(token)
    give()
