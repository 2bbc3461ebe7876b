"""Planned calls: what one step does on one target, filled in as far as it is known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import JsonValue, ValidationError

from mimrun.catalog import Catalog
from mimrun.connector import Action, Effect
from mimrun.errors import InputError
from mimrun.runbook.bounds import ExpressionError
from mimrun.runbook.document import ValuePath
from mimrun.runbook.expression import has_template, names, truth
from mimrun.runbook.lint_call import effect_of, waits
from mimrun.runbook.lint_names import texts_at
from mimrun.runbook.model import ActionCall, Handler
from mimrun.runbook.node import PlannedCall, PlannedCheck, TargetCalls
from mimrun.runbook.render import WORD_LISTS, fill, loop_items, option_faults, validate
from mimrun.runbook.scope import Scope
from mimrun.runbook.suggestion import suggest
from mimrun.runbook.wording import problems_of

_NONE: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class _Place:
    """A call on its way into the plan.

    Arguments:
        path: where its arguments stand in the file.
        more: names that it will know later.
        skipped: the step's condition is false already, so nothing has to be known.
        waits: names that it waits for in any case: those of its loop.
        trusted: `item`, where the author wrote the items out.
    """

    target: str
    path: ValuePath
    more: frozenset[str]
    skipped: bool
    waits: tuple[str, ...]
    trusted: frozenset[str]


class CallPlanner:
    """Plans the calls of action steps.

    Arguments:
        scope: what is known.
        catalog: the installed actions.
    """

    def __init__(self, scope: Scope, catalog: Catalog) -> None:
        self._scope = scope
        self._catalog = catalog

    def on_target(self, step: Handler, path: str, target: str) -> TargetCalls:
        """Give what a step does on a target."""
        variables = self._scope.variables(target)
        skipped = self._is_skipped(step, path, target, variables)
        items, waits = self._items(step, path, target, variables)
        trusted = _NONE if has_template(step.loop) else frozenset({"item"})
        known = [variables] if items is None else [{**variables, "item": item} for item in items]
        lists: dict[str, list[PlannedCall]] = {"": [], "verify": [], "undo": [], "capture": []}
        for keyword, calls in lists.items():
            call = step.call if not keyword else getattr(step, keyword)
            if call is None:
                continue
            more = self._more(step, keyword, looping=items is None)
            source = self._scope.loaded.call_path(path, keyword)
            place = _Place(target, source, more, skipped, waits, trusted)
            calls += [self._call(step, keyword, call, place, values) for values in known]
        return TargetCalls(
            target=target,
            calls=tuple(lists[""]),
            items=items,
            verify=tuple(call for call in lists["verify"] if isinstance(call, PlannedCheck)),
            undo=tuple(lists["undo"]),
            capture=tuple(lists["capture"]),
        )

    def _more(self, step: Handler, keyword: str, *, looping: bool) -> frozenset[str]:
        more = {"item"} if looping and step.loop is not None else set()
        if keyword == "undo":
            more |= {"captured"} if step.capture is not None else set()
            more |= {step.register_} if step.register_ else set()
        return frozenset(more)

    def _is_skipped(self, step: Handler, path: str, target: str, variables: Mapping[str, JsonValue]) -> bool:
        """Check the condition of a step where its names are known, and say whether it is false."""
        if step.when is None:
            return False
        known = known_truth(step.when, variables, self._scope)
        if isinstance(known, ExpressionError):
            place = self._scope.loaded.step_path(path, "when")
            self._scope.complaints.add(place, known.message, known.hint, target)
        return known is False

    def _items(
        self, step: Handler, path: str, target: str, variables: Mapping[str, JsonValue]
    ) -> tuple[tuple[JsonValue, ...] | None, tuple[str, ...]]:
        """Give the items of a step's loop, or None with the names that they wait for."""
        if step.loop is None:
            return None, ()
        late = self._scope.late(step.loop, variables, _NONE)
        if late:
            return None, late
        try:
            return loop_items(step.loop, variables), ()
        except InputError as exc:
            self._scope.complaints.add(self._scope.loaded.step_path(path, "loop"), str(exc), target=target)
            return None, ()

    def _call(
        self,
        step: Handler,
        keyword: str,
        call: ActionCall,
        place: _Place,
        variables: Mapping[str, JsonValue],
    ) -> PlannedCall:
        kind = self._catalog.action(call.action)
        args = dict(call.args)
        late = self._scope.late(args, variables, place.more)
        if "item" in late:
            late = tuple(sorted({*late, *place.waits}))
        if place.skipped:
            late = tuple(sorted({*late, *self._scope.undefined(args, variables, late)}))
        looking = keyword in ("verify", "capture") or (not keyword and waits(step))
        filled, effect = args, effect_of(kind, args, looking=looking)
        if late:
            self._check_late(args, late, place, variables)
        else:
            filled, action = self._filled(kind, args, place, variables)
            if action is not None and not looking:
                effect = action.effect_class()
        if not keyword and step.effect is not None:
            effect = Effect(step.effect.class_)
        planned = {"action": call.action, "args": filled, "late": late, "effect": effect}
        if keyword != "verify" or step.verify is None:
            return PlannedCall.model_validate(planned)
        check = {"expect": step.verify.expect, "retries": step.verify.retries, "delay_ms": step.verify.delay}
        return PlannedCheck.model_validate({**planned, **check})

    def _check_late(
        self,
        args: dict[str, JsonValue],
        late: tuple[str, ...],
        place: _Place,
        variables: Mapping[str, JsonValue],
    ) -> None:
        """Complain about names that nobody will ever know, and about words that would become options."""
        for text, path in texts_at(args, ()):
            for name in sorted(self._scope.undefined(text, variables, late)):
                hint = suggest(name, variables.keys() | set(late))
                self._complain(place, path, f"{name!r} is undefined", hint)
        for key in WORD_LISTS & args.keys():
            words = args[key]
            if not isinstance(words, list):
                continue
            # A word that is known already is looked at now: when the call is due, only what it waited for is.
            known = [word if names(word) - variables.keys() else fill(word, variables)[0] for word in words]
            for fault in option_faults({key: words}, {key: known}, self._distrusted(args, place)):
                self._complain(place, fault.path, fault.message, fault.hint)

    def _distrusted(self, args: dict[str, JsonValue], place: _Place) -> frozenset[str]:
        return names(args) - self._scope.trusted - place.trusted

    def _filled(
        self,
        kind: type[Action],
        args: dict[str, JsonValue],
        place: _Place,
        variables: Mapping[str, JsonValue],
    ) -> tuple[dict[str, JsonValue], Action | None]:
        filled, faults = fill(args, variables)
        assert isinstance(filled, dict)
        faults += option_faults(args, filled, self._distrusted(args, place))
        for fault in faults:
            self._complain(place, fault.path, fault.message, fault.hint)
        if faults:
            return filled, None
        try:
            return filled, validate(kind, filled)
        except ValidationError as exc:
            for problem in problems_of(exc, self._scope.loaded.document, place.path, kind):
                self._scope.complaints.add_problem(problem, place.target)
        except ValueError as exc:
            self._complain(place, (), str(exc).replace("$", kind.verb), "")
        return filled, None

    def _complain(self, place: _Place, inner: tuple[str | int, ...], message: str, hint: str) -> None:
        self._scope.complaints.add((*place.path, *inner), message, hint, place.target)


def known_truth(
    expression: str, variables: Mapping[str, JsonValue], scope: Scope
) -> bool | ExpressionError | None:
    """Give the value of a condition when it is known already; None when it is not, or what is wrong with it."""
    late = scope.late("{{ " + expression + " }}", variables, _NONE)
    if late:
        return None
    try:
        return truth(expression, variables)
    except ExpressionError as exc:
        return exc
