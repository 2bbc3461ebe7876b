"""Facts: everything that a template or an expression of a running plan may refer to.

All of it is data. It comes from the frozen plan and from recorded answers, so that a resumed run sees
exactly what the first worker saw.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import cached_property
from typing import NamedTuple

from pydantic import JsonValue

from mimrun import canonical
from mimrun.errors import SettingsError
from mimrun.run.cell.scopes import Answer, Answers, Scope, scopes_of
from mimrun.run.cell.secrets import RunSecrets, secret_references
from mimrun.runbook.expression import truth
from mimrun.runbook.node import PlannedAction
from mimrun.runbook.plan import Plan
from mimrun.secret import MASK, Masker, Secret


class Condition(NamedTuple):
    """A `when`, with the node that it stands at: its names mean what they mean there."""

    path: str
    text: str


class Facts:
    """The variables of one run.

    Arguments:
        plan: the frozen plan.
        read: fetches a secret by its reference; None for how it is done everywhere.
    """

    def __init__(self, plan: Plan, *, read: Callable[[str], Secret] | None = None) -> None:
        self.plan = plan
        self._scopes = scopes_of(plan)
        self._answers: dict[str, Answers] = {}
        self._lock = threading.Lock()
        self._references = secret_references(plan)
        references = self._references.values()
        self._secrets = RunSecrets(references, read=read) if read else RunSecrets(references)

    @property
    def masker(self) -> Masker:
        """Takes the secrets of this run out of what is captured; it learns those that are fetched later."""
        return self._secrets.masker

    def unreadable(self) -> list[str]:
        """Fetch every secret input, and name those that cannot be fetched on this machine, and why."""
        return [why for name in self._references if (why := self._why_unreadable(name))]

    def _named(self, path: str, names: Collection[str]) -> list[tuple[str, str]]:
        """Give the secret inputs among the names that a step uses, each with the name that the plan has for it."""
        runbook = self._scope(path).runbook
        full = {name: f"{runbook}.{name}" if runbook else name for name in sorted(names)}
        return [(name, known) for name, known in full.items() if known in self._references]

    def fetch(self, names: Collection[str], *, path: str = "") -> None:
        """Fetch the secret inputs among some names, so that they are there when they are needed.

        Arguments:
            path: the step that uses them.

        Raises:
            SettingsError: one cannot be fetched on this machine.
        """
        for _, name in self._named(path, names):
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
            for name in self._references:
                if name.rpartition(".")[2] in late:
                    self._reveal(name)
        except SettingsError as exc:
            raise SettingsError(f"{exc}; this run has used it, and could not mask it any more") from exc

    def hidden(self, names: Collection[str], *, path: str = "") -> dict[str, JsonValue]:
        """Give, for the secret inputs among some names, what stands for their values where people read.

        Where a store says which version it gave, the version stands there too.

        Arguments:
            path: the step that uses them.
        """
        return {name: self._shown(known) for name, known in self._named(path, names)}

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

    def register(self, name: str, target: str, value: JsonValue, *, source: int, path: str = "") -> None:
        """Keep an answer under its name.

        Arguments:
            target: the host that gave it; "" for a manual step.
            source: the sequence number of the entry that recorded it.
            path: the step that asked.
        """
        with self._lock:
            self._known(self._scope(path)).register(Answer(name, target, value, source))

    def fork(self, branch: str) -> None:
        """Begin a branch with what is known around it by now.

        Arguments:
            branch: its path.
        """
        scope = self._scope(branch)
        with self._lock:
            self._answers[branch] = self._known(self._scopes_by_path[scope.outer or ""]).fork()

    def join(self, branches: Iterable[str]) -> None:
        """Take up what branches have learned, in the order in which they are written.

        Arguments:
            branches: their paths.
        """
        with self._lock:
            for branch in branches:
                outer = self._known(self._scopes_by_path[self._scope(branch).outer or ""])
                for answer in self._answers.pop(branch).learned:
                    outer.register(answer)

    def runbook_of(self, path: str) -> str:
        """Give the path of the include that a step stands in; "" for a step of the runbook itself."""
        return self._scope(path).runbook

    def _scope(self, path: str) -> Scope:
        return self._scopes.get(path) or self._scopes_by_path[""]

    @cached_property
    def _scopes_by_path(self) -> dict[str, Scope]:
        return {"": Scope()} | {scope.path: scope for scope in self._scopes.values()}

    def _known(self, scope: Scope) -> Answers:
        """Give the answers of a scope; a branch that nobody has begun knows nothing yet."""
        if scope.path not in self._answers:
            self._answers[scope.path] = Answers(self._hostvars_at_first())
        return self._answers[scope.path]

    @cached_property
    def _groups(self) -> dict[str, JsonValue]:
        return {name: list(hosts) for name, hosts in self.plan.groups.items()}

    def forget(self) -> None:
        """Forget every answer: the walk over the plan begins anew and takes them up again from the log."""
        with self._lock:
            self._answers.clear()

    def _hostvars_at_first(self) -> dict[str, JsonValue]:
        # A host's entry is replaced and never changed, so whoever reads an older one is not disturbed.
        return {t.name: {**t.vars, "inventory_hostname": t.name} for t in self.plan.targets}

    def digest(self) -> str:
        """A digest over which answers are known by now, by the entries that recorded them."""
        with self._lock:
            known = [
                one
                for path, answers in self._answers.items()
                for one in answers.listed(f"{path}:" if path else "")
            ]
        return canonical.digest([[*one] for one in sorted(known)])

    def variables(
        self, target: str, *, path: str = "", secrets: Collection[str] = ()
    ) -> dict[str, JsonValue]:
        """Give the variables that hold for a target ("" for a step without one).

        Arguments:
            path: the step that asks; in an included runbook its constants, inputs and answers hold.
            secrets: names that the step waits for; the secret inputs among them are revealed.

        In order of weight: the runbook's constants, the target's inventory variables, registered
        answers, inputs. A registered name means the target's own answer; where just one target has
        given it, everybody sees that one.

        Raises:
            SettingsError: a secret that is asked for cannot be read on this machine.
        """
        scope = self._scope(path)
        runbook = scope.include or self.plan
        known: dict[str, JsonValue] = {**runbook.vars}
        with self._lock:
            answers = self._known(scope)
            of_target = self.plan.vars_of(target) if target in answers.hostvars else {}
            # In a retry a host's own answers of before are handed on among its variables: where only one
            # host is asked again, its answer is not that of the others.
            apart = of_target.keys() if self.plan.retry_of else ()
            known |= {**of_target, **answers.seen_by(target, apart=apart)}
        known |= {k: v for k, v in runbook.inputs.items() if not _is_reference(v)}
        for name, full in self._named(path, secrets):
            known[name] = self._reveal(full)
        known["inventory_hostname"] = target
        known["groups"] = self._groups
        known["hostvars"] = answers.hostvars
        return known

    def unmet(self, conditions: Sequence[Condition], target: str) -> Condition | None:
        """Give the first condition that does not hold for a target ("" for a step without one), or None.

        Raises:
            InputError: a condition has no value.
        """
        known: dict[str, dict[str, JsonValue]] = {}
        for condition in conditions:
            scope = self._scope(condition.path).path
            if scope not in known:
                known[scope] = self.variables(target, path=condition.path)
            if not truth(condition.text, known[scope]):
                return condition
        return None


def _late(node: PlannedAction) -> set[str]:
    """Name everything that the calls of a step wait for."""
    calls = (call for t in node.targets for part in (t.calls, t.verify, t.undo, t.capture) for call in part)
    return {name for call in calls for name in call.late}


def _is_reference(value: JsonValue) -> bool:
    return isinstance(value, dict) and set(value) == {"secret"}
