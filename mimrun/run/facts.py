"""Facts: everything that a template or an expression of a running plan may refer to.

All of it is data. It comes from the frozen plan and from recorded answers, so that a resumed run sees
exactly what the first worker saw.
"""

from __future__ import annotations

import threading
from collections.abc import Collection
from functools import cached_property

from pydantic import JsonValue

from mimrun import canonical
from mimrun.errors import SettingsError
from mimrun.run.secrets import RunSecrets, secret_references
from mimrun.runbook.node import PlannedAction
from mimrun.runbook.plan import Plan
from mimrun.secret import MASK, Masker


class Facts:
    """The variables of one run.

    Arguments:
        plan: the frozen plan.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._registers: dict[str, dict[str, JsonValue]] = {}
        self._sources: dict[tuple[str, str], int] = {}
        self._hostvars = self._hostvars_at_first()
        self._lock = threading.Lock()
        self._references = secret_references(plan)
        self._secrets = RunSecrets(self._references.values())

    @property
    def masker(self) -> Masker:
        """Takes the secrets of this run out of what is captured; it learns those that are fetched later."""
        return self._secrets.masker

    def unreadable(self) -> list[str]:
        """Fetch every secret input, and name those that cannot be fetched on this machine, and why."""
        return [why for name in self._references if (why := self._why_unreadable(name))]

    def fetch(self, names: Collection[str]) -> None:
        """Fetch the secret inputs among some names, so that they are there when they are needed.

        Raises:
            SettingsError: one cannot be fetched on this machine.
        """
        for name in sorted(self._references.keys() & set(names)):
            self._reveal(name)

    def remember(self, used: Collection[str]) -> None:
        """Learn the secrets again that an earlier worker of this run has used: they may still be shown.

        Arguments:
            used: paths of the steps that were begun.

        Raises:
            SettingsError: one cannot be fetched on this machine, and so could not be masked any more.
        """
        nodes = (node for node in self.plan.walk() if isinstance(node, PlannedAction) and node.path in used)
        late = {name for node in nodes for name in _late(node)}
        try:
            # An included runbook's input is called by its bare name there.
            self.fetch([name for name in self._references if name.rpartition(".")[2] in late])
        except SettingsError as exc:
            raise SettingsError(f"{exc}; this run has used it, and could not mask it any more") from exc

    def hidden(self, names: Collection[str]) -> dict[str, JsonValue]:
        """Give, for the secret inputs among some names, what stands for their values where people read.

        Where a store says which version it gave, the version stands there too.
        """
        return {name: self._shown(name) for name in self._references.keys() & set(names)}

    def _shown(self, name: str) -> str:
        reference = self._references[name]
        version = self._secrets.version(reference)
        pinned = reference.endswith(f"@{version}")
        return f"{MASK}({reference}{'' if pinned else f'@{version}'})" if version else MASK

    def _reveal(self, name: str) -> str:
        try:
            return self._secrets.reveal(self._references[name]).reveal()
        except SettingsError as exc:
            raise SettingsError(f"input {name}: {exc}") from exc

    def _why_unreadable(self, name: str) -> str:
        try:
            self._reveal(name)
        except SettingsError as exc:
            return str(exc)
        return ""

    def register(self, name: str, target: str, value: JsonValue, *, source: int) -> None:
        """Keep an answer under its name.

        Arguments:
            target: the host that gave it; "" for a manual step.
            source: the sequence number of the entry that recorded it.
        """
        with self._lock:
            self._registers.setdefault(name, {})[target] = value
            self._sources[name, target] = source
            known = self._hostvars.get(target)
            if isinstance(known, dict):
                self._hostvars[target] = {**known, name: value}

    @cached_property
    def _groups(self) -> dict[str, JsonValue]:
        return {name: list(hosts) for name, hosts in self.plan.groups.items()}

    def forget(self) -> None:
        """Forget every answer: the walk over the plan begins anew and takes them up again from the log."""
        with self._lock:
            self._registers.clear()
            self._sources.clear()
            self._hostvars = self._hostvars_at_first()

    def _hostvars_at_first(self) -> dict[str, JsonValue]:
        # A host's entry is replaced and never changed, so whoever reads an older one is not disturbed.
        return {t.name: {**t.vars, "inventory_hostname": t.name} for t in self.plan.targets}

    def digest(self) -> str:
        """A digest over which answers are known by now, by the entries that recorded them."""
        with self._lock:
            return canonical.digest([[*key, seq] for key, seq in sorted(self._sources.items())])

    def variables(self, target: str, *, secrets: Collection[str] = ()) -> dict[str, JsonValue]:
        """Give the variables that hold for a target ("" for a step without one).

        Arguments:
            secrets: names that the step waits for; the secret inputs among them are revealed.

        In order of weight: the runbook's constants, the target's inventory variables, registered
        answers, inputs. A registered name means the target's own answer; where just one target has
        given it, everybody sees that one.

        Raises:
            SettingsError: a secret that is asked for cannot be read on this machine.
        """
        known: dict[str, JsonValue] = {**self.plan.vars}
        if target in self._hostvars:
            known |= self.plan.vars_of(target)
        known |= self._registered(target)
        known |= {k: v for k, v in self.plan.inputs.items() if not _is_reference(v)}
        for name in sorted(self._references.keys() & set(secrets)):
            known[name] = self._reveal(name)
        known["inventory_hostname"] = target
        known["groups"] = self._groups
        known["hostvars"] = self._hostvars
        return known

    def _registered(self, target: str) -> dict[str, JsonValue]:
        with self._lock:
            known: dict[str, JsonValue] = {}
            for name, answers in self._registers.items():
                if target in answers:
                    known[name] = answers[target]
                elif len(answers) == 1:
                    known[name] = next(iter(answers.values()))
            return known


def _late(node: PlannedAction) -> set[str]:
    """Name everything that the calls of a step wait for."""
    calls = (call for t in node.targets for part in (t.calls, t.verify, t.undo, t.capture) for call in part)
    return {name for call in calls for name in call.late}


def _is_reference(value: JsonValue) -> bool:
    return isinstance(value, dict) and set(value) == {"secret"}
