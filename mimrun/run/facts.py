"""Facts: everything that a template or an expression of a running plan may refer to.

All of it is data. It comes from the frozen plan and from recorded answers, so that a resumed run sees
exactly what the first worker saw.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping
from functools import cached_property

from pydantic import JsonValue

from mimrun import canonical
from mimrun.errors import SettingsError
from mimrun.runbook.plan import Plan
from mimrun.secret import MASK, Masker, Secret, read_secret


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

    @cached_property
    def _secrets(self) -> Mapping[str, Secret | SettingsError]:
        """The secret inputs, each read once; where one cannot be read, why not."""
        return {
            name: _read(str(value["secret"]))
            for name, value in self.plan.inputs.items()
            if isinstance(value, dict) and _is_reference(value)
        }

    @cached_property
    def masker(self) -> Masker:
        """Takes every secret of this run out of what is captured. One that cannot be read cannot be used."""
        return Masker(secret for secret in self._secrets.values() if isinstance(secret, Secret))

    def unreadable(self) -> list[str]:
        """Name the secret inputs that cannot be read on this machine, and why."""
        return [
            f"input {name}: {secret}"
            for name, secret in self._secrets.items()
            if isinstance(secret, SettingsError)
        ]

    def hidden(self, names: Collection[str]) -> dict[str, JsonValue]:
        """Give, for the secret inputs among some names, what stands for their values where people read."""
        return dict.fromkeys(self._secrets.keys() & set(names), MASK)

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
        for name in self._secrets.keys() & set(secrets):
            secret = self._secrets[name]
            if isinstance(secret, SettingsError):
                raise SettingsError(f"input {name}: {secret}")
            known[name] = secret.reveal()
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


def _read(reference: str) -> Secret | SettingsError:
    try:
        return read_secret(reference)
    except SettingsError as exc:
        return exc


def _is_reference(value: JsonValue) -> bool:
    return isinstance(value, dict) and set(value) == {"secret"}
