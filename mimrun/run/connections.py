"""Connections: one connector for each target and outside system, kept open for the whole run."""

from __future__ import annotations

import contextlib
import threading
from types import TracebackType
from typing import Self

from mimrun.catalog import Catalog
from mimrun.connector import AnyConnector, Target
from mimrun.runbook.plan import Plan


class Connections:
    """Opens connectors when they are first needed and closes them all at the end.

    Arguments:
        catalog: the installed connectors.
        plan: whose targets are connected to.
    """

    def __init__(self, catalog: Catalog, plan: Plan) -> None:
        self._catalog, self._plan = catalog, plan
        self._open: dict[tuple[str, str], AnyConnector] = {}
        self._lock = threading.Lock()

    def connector(self, action: str, target: str) -> AnyConnector:
        """Give the connector for an action on a target. It connects when it is first used.

        Raises:
            Refused: the target's inventory variables do not fit the connector.
        """
        name = action.partition(".")[0]
        with self._lock:
            if (name, target) not in self._open:
                kind = self._catalog.connector(name)
                settings = kind.settings_type.of(Target(target, self._plan.vars_of(target)))
                self._open[name, target] = kind(settings)
            return self._open[name, target]

    def leave(self, action: str, target: str) -> None:
        """Never use a connection again: a thread that nobody waits for is still in it, and closes it."""
        with self._lock:
            self._open.pop((action.partition(".")[0], target), None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for connector in self._open.values():
            # What was done is on record; a connection that cannot even be closed changes nothing about it.
            with contextlib.suppress(Exception):
                connector.close()
