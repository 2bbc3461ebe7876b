"""The catalog: which connectors are installed, and which actions they have.

Connectors are found by the entry-point group `mimrun.connectors`; one is imported when its first action
is looked up, so that a command pays only for the systems its runbook touches.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points

from mimrun.connector import Action, AnyConnector
from mimrun.errors import InputError

GROUP = "mimrun.connectors"


class Catalog:
    """Connectors by name.

    Arguments:
        connectors: already imported classes; tests and other programs give their own here.
        installed: entry points that are imported on first use.
    """

    def __init__(
        self,
        connectors: Mapping[str, type[AnyConnector]] | None = None,
        installed: Mapping[str, EntryPoint] | None = None,
    ) -> None:
        self._connectors = dict(connectors or {})
        self._installed = dict(installed or {})

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all connectors, sorted."""
        return tuple(sorted({*self._connectors, *self._installed}))

    def connector(self, name: str) -> type[AnyConnector]:
        """Give a connector's class, importing it when it is needed for the first time.

        Raises:
            InputError: there is no connector of this name, or it cannot be imported here.
        """
        if name not in self._connectors:
            if name not in self._installed:
                raise InputError(_unknown(f"connector {name!r}", name, self.names))
            self._connectors[name] = _load(self._installed[name])
        return self._connectors[name]

    def action(self, full_name: str) -> type[Action]:
        """Give the action type of `<connector>.<verb>`.

        Raises:
            InputError: there is no such connector, or it has no such verb.
        """
        name, _, verb = full_name.partition(".")
        actions = self.connector(name).actions
        for action in actions:
            if action.verb == verb:
                return action
        verbs = tuple(action.verb for action in actions)
        raise InputError(_unknown(f"action {full_name!r}", verb, verbs, prefix=f"{name}."))


def installed_catalog() -> Catalog:
    """Give the catalog of what is installed in this environment."""
    return Catalog(installed={point.name: point for point in entry_points(group=GROUP)})


def _load(point: EntryPoint) -> type[AnyConnector]:
    try:
        loaded: type[AnyConnector] = point.load()
    except (ImportError, AttributeError) as exc:
        raise InputError(
            f"connector {point.name!r} is installed but {point.value} cannot be imported: {exc}; "
            "install what it needs, or remove it"
        ) from exc
    return loaded


def _unknown(what: str, given: str, known: tuple[str, ...], prefix: str = "") -> str:
    close = difflib.get_close_matches(given, known, n=1)
    if close:
        return f"no {what}; did you mean {prefix + close[0]!r}?"
    return f"no {what}; there are: {', '.join(prefix + k for k in sorted(known))}"
