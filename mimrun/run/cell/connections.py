"""Connections: connectors for each target and outside system, kept open for the whole run.

A connector is used by one thread at a time. There is one for each target, unless two branches of a run work
on the same target at once: then there are two.
"""

from __future__ import annotations

import contextlib
import threading
from types import TracebackType
from typing import Self

from mimrun.catalog import Catalog
from mimrun.connector import AnyConnector, Target
from mimrun.run.cell.watchdog import Watch, watched
from mimrun.runbook.plan import Plan


class Connections:
    """Opens connectors when they are first needed and closes them all at the end.

    Arguments:
        catalog: the installed connectors.
        plan: whose targets are connected to.
        watch: lets a connector work, and waits for it.
    """

    def __init__(self, catalog: Catalog, plan: Plan, *, watch: Watch | None = None) -> None:
        self._catalog, self._plan = catalog, plan
        self.watch: Watch = watch or watched
        self._idle: dict[tuple[str, str], list[AnyConnector]] = {}
        self._taken: list[AnyConnector] = []
        self._lock = threading.Lock()

    def take(self, action: str, target: str) -> AnyConnector:
        """Give a connector for an action on a target, which nobody else has until it is given back.

        It connects when it is first used.

        Raises:
            Refused: the target's inventory variables do not fit the connector.
        """
        name = action.partition(".")[0]
        with self._lock:
            idle = self._idle.setdefault((name, target), [])
            if idle:
                connector = idle.pop()
            else:
                kind = self._catalog.connector(name)
                connector = kind(kind.settings_type.of(Target(target, self._plan.vars_of(target))))
            self._taken.append(connector)
            return connector

    def give_back(self, action: str, target: str, connector: AnyConnector) -> None:
        """Let others use a connector again."""
        with self._lock:
            self._taken.remove(connector)
            self._idle[action.partition(".")[0], target].append(connector)

    def connector(self, action: str, target: str) -> AnyConnector:
        """Give the connector for an action on a target, where just one thread works on it.

        Raises:
            Refused: the target's inventory variables do not fit the connector.
        """
        connector = self.take(action, target)
        self.give_back(action, target, connector)
        return connector

    def leave(self, connector: AnyConnector) -> None:
        """Never use a connector again: a thread that nobody waits for is still in it, and closes it."""
        with self._lock:
            self._taken.remove(connector)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for connector in [*self._taken, *(one for idle in self._idle.values() for one in idle)]:
            # What was done is on record; a connection that cannot even be closed changes nothing about it.
            with contextlib.suppress(Exception):
                connector.close()
