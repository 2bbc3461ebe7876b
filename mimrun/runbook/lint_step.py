"""Steps: the keywords of each kind of step, and how they go together."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, assert_never

from mimrun.connector import Action, Effect
from mimrun.errors import InputError
from mimrun.runbook.bounds import ExpressionError
from mimrun.runbook.document import ValuePath
from mimrun.runbook.expression import has_template, names, whole_expression
from mimrun.runbook.finding import Report
from mimrun.runbook.inputs import is_confined
from mimrun.runbook.lint_call import CallCheck, effect_of, own_effect, waits
from mimrun.runbook.lint_names import NameCheck
from mimrun.runbook.lint_time import check_time
from mimrun.runbook.model import (
    ActionCall,
    ActionStep,
    BlockStep,
    GateStep,
    Handler,
    IncludeStep,
    ManualStep,
    ParallelStep,
    Risk,
    Runbook,
    Step,
)
from mimrun.runbook.tree import registered_in

STRICTNESS: Final = (Effect.READ, Effect.IDEMPOTENT, Effect.PROBE, Effect.ONCE)
"""Effect classes from the one that promises most to the one that promises nothing."""

_ITEM: Final = frozenset({"item"})
_NONE: Final[frozenset[str]] = frozenset()


@dataclass(slots=True)
class StepCheck:
    """Checks steps, from top to bottom.

    Arguments:
        report: where findings go.
        runbook: what is checked.
        names: knows what is known where.
        calls: checks actions and their arguments.
    """

    report: Report
    runbook: Runbook
    names: NameCheck
    calls: CallCheck
    seen: dict[str, ValuePath] = field(default_factory=dict)

    def all(self, steps: tuple[Step, ...], path: ValuePath) -> None:
        """Check a list of steps."""
        for number, step in enumerate(steps):
            self._step(step, (*path, number))

    def handlers(self, handlers: tuple[Handler, ...]) -> None:
        """Check the handlers, which know everything that the steps register."""
        for number, handler in enumerate(handlers):
            path = ("handlers", number)
            self._name(handler.name, path)
            self.names.expression(handler.when, (*path, "when"))
            self._action(handler, path)

    def _step(self, step: Step, path: ValuePath) -> None:
        self._name(step.name, path)
        self.names.expression(step.when, (*path, "when"))
        match step:
            case ActionStep():
                self._action(step, path)
            case GateStep() | IncludeStep():
                pass  # the model and `check_includes` say everything about them
            case ManualStep():
                self.names.template(step.manual.instructions, (*path, "manual", "instructions"))
                self.names.register(step.register_, (*path, "register"))
            case BlockStep():
                for key in ("block", "rescue", "always"):
                    self.all(getattr(step, key), (*path, key))
            case ParallelStep():
                self._branches(step, path)
            case _:
                assert_never(step)

    def _branches(self, step: ParallelStep, path: ValuePath) -> None:
        """Check steps that are done at the same time: none of them knows what another one registers."""
        before, after = frozenset(self.names.registered), set(self.names.registered)
        for number, branch in enumerate(step.parallel):
            place = (*path, "parallel", number)
            self.names.registered = set(before)
            self._step(branch, place)
            for name in sorted(registered_in(branch) & after):
                kind = "an earlier step" if name in before else "another branch"
                message = f"{kind} registers {name!r} too, and who reads it would see one or the other"
                self.report.error(place, message, "take another name")
            after |= self.names.registered
        self.names.registered = after

    def _name(self, name: str, path: ValuePath) -> None:
        self.names.constant_text(name, (*path, "name"), "name")
        if name in self.seen:
            line, _ = self.report.loaded.document.mark(self.seen[name])
            self.report.warn((*path, "name"), f"another step is called {name!r} too", f"it is on line {line}")
        self.seen.setdefault(name, (*path, "name"))

    def _action(self, step: Handler, path: ValuePath) -> None:
        item = _ITEM if step.loop is not None else _NONE
        answer = item | {"result"} | ({step.register_} if step.register_ else _NONE)
        self._loop(step, path)
        self._hosts(step, path)
        around = (*path, "wait") if waits(step) else path
        kind = self._call(step.call, around, item)
        for keyword in ("capture", "verify", "undo"):
            self._inner(step, keyword, path, item)
        self.names.expression(step.until, (*around, "until"), answer)
        self.names.expression(step.expect, (*path, "expect"), answer)
        if step.verify is not None:
            self.names.expression(step.verify.expect, (*path, "verify", "expect"), answer)
        self.names.register(step.register_, (*path, "register"))
        self._silence(step, path)
        self.names.constant_text(dict(step.environment), (*path, "environment"), "environment")
        if isinstance(step.become, str):
            self.names.constant_text(step.become, (*path, "become"), "become")
        if kind is not None:
            self._keywords(step, path)
            self._effect(step, kind, path)
            check_time(self.report, step, kind, path)

    def _silence(self, step: Handler, path: ValuePath) -> None:
        """Complain about what needs an answer that `no_log` does not keep; it would fail behind the effect."""
        used = {key: getattr(step, key) for key in ("until", "expect", "capture")} | {
            "register": step.register_
        }
        used["verify"] = step.verify and step.verify.expect
        for keyword, value in used.items():
            if step.no_log and value:
                self.report.error(
                    (*path, keyword),
                    f"no_log keeps the answer out of the log, and {keyword} needs it",
                    "take one of them out",
                    at_key=True,
                )

    def _call(self, call: ActionCall, path: ValuePath, known: frozenset[str]) -> type[Action] | None:
        place = (*path, call.action)
        self.names.template(dict(call.args), place, known, secrets=True)
        return self.calls.call(call, place)

    def _inner(self, step: Handler, keyword: str, path: ValuePath, item: frozenset[str]) -> None:
        call: ActionCall | None = getattr(step, keyword)
        if call is None:
            return
        known = item
        if keyword == "undo":
            known = item | ({"captured"} if step.capture else _NONE)
            known |= {step.register_} if step.register_ else _NONE
        place = (*path, keyword)
        kind = self._call(call, place, known)
        if keyword == "undo" or kind is None:
            return
        if effect_of(kind, call.args, looking=True) is not Effect.READ:
            self.report.warn(
                (*place, call.action),
                f"{keyword} is for looking, and {call.action} may change something",
                "a command that only looks says `changed: false`",
                at_key=True,
            )

    def _loop(self, step: Handler, path: ValuePath) -> None:
        place = (*path, "loop")
        self.names.template(step.loop, place)
        if isinstance(step.loop, str):
            try:
                whole = whole_expression(step.loop) if has_template(step.loop) else None
            except ExpressionError:
                return
            if whole is None:
                self.report.error(
                    place, "loop needs a list", 'write `[a, b]` or one whole `"{{ expression }}"`'
                )
        elif step.loop is not None and not isinstance(step.loop, list):
            self.report.error(place, "loop needs a list", "a mapping becomes one with `| dict2items`")

    def _hosts(self, step: Handler, path: ValuePath) -> None:
        if step.hosts is None:
            return
        place = (*path, "hosts")
        self.names.constant_text(step.hosts, place, "hosts")
        try:
            loose = [n for n in sorted(names(step.hosts)) if n in self.runbook.inputs]
        except ExpressionError:
            return
        for name in loose:
            if not is_confined(self.runbook.inputs[name]):
                message = f"the input {name!r} can widen the hosts: it takes any pattern"
                self.report.error(place, message, "give the input a pattern or choices")

    def _keywords(self, step: Handler, path: ValuePath) -> None:
        """Complain about keywords that the connector would not honour."""
        name = step.call.action.partition(".")[0]
        try:
            honoured = self.calls.catalog.connector(name).keywords
        except InputError:
            return
        for keyword in ("become", "environment"):
            if getattr(step, keyword) and keyword not in honoured:
                self.report.error(
                    (*path, keyword), f"actions of {name} do not honour {keyword}", "take it out", at_key=True
                )

    def _effect(self, step: Handler, kind: type[Action], path: ValuePath) -> None:
        own = own_effect(step, kind)
        effect = own
        if step.effect is not None:
            effect = step.effect.class_
            weaker = STRICTNESS.index(effect) < STRICTNESS.index(own)
            if weaker and not step.effect.reason.strip():
                message = f"{step.call.action} is {own}, and the step claims {effect} without a reason"
                self.report.error((*path, "effect"), message, "write `reason:`; approvers see it")
        if effect is Effect.ONCE and step.retries:
            self.report.error(
                (*path, "retries"),
                f"{step.call.action} is done once and never again, so it is not retried",
                "take `retries` out, or say with `effect:` why it may be repeated",
            )
        if step.irreversible and step.undo is not None:
            self.report.error(
                (*path, "irreversible"),
                "a step that has an undo is not irreversible",
                "take one of the two out",
            )
        unsaid = step.undo is None and not step.irreversible
        if (
            step.call.args.get("changed") is False
            and step.effect is None
            and effect is not Effect.READ
            and unsaid
        ):
            self.report.warn(
                (*path, step.call.action),
                f"{step.call.action} may change something, also where it says `changed: false`",
                "where it only looks write `effect: {class: read, reason: …}`; else give a class, or an undo",
                at_key=True,
            )
        elif self.runbook.risk is Risk.HIGH and effect is not Effect.READ and unsaid:
            self.report.warn(
                path,
                f"{step.call.action} changes something and has no undo",
                "write `undo:` where there is one, or `irreversible: true`",
            )
