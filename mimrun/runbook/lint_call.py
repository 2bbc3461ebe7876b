"""Calls: is there such an action, do its arguments fit, and can a value break out of its place."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from jinja2 import nodes
from pydantic import BaseModel, JsonValue, ValidationError, create_model

from mimrun.catalog import Catalog
from mimrun.connector import Action, Effect
from mimrun.errors import InputError, Problem
from mimrun.runbook.bounds import ExpressionError
from mimrun.runbook.document import ValuePath
from mimrun.runbook.expression import expressions_of, has_template, leading_names, names_of
from mimrun.runbook.finding import Report
from mimrun.runbook.inputs import is_confined
from mimrun.runbook.loader import LoadedRunbook
from mimrun.runbook.model import ActionCall, ActionStep, Handler, InputType, Runbook
from mimrun.runbook.render import WORD_LISTS
from mimrun.runbook.wording import problems_of

SHELL_TEXTS: Final = ("cmd",)
"""The arguments of a shell action that a shell reads."""

_HARMLESS: Final = re.compile(r"[A-Za-z0-9_./:@,=+%-]*")
_SAFE_ATOMS: Final = re.compile(r"\\[dw./:@=+-]|\[[A-Za-z0-9_./:@,=+%\\dw-]*\]")
_SAFE_REST: Final = re.compile(r"[A-Za-z0-9_/:@,=%{}()|?*+^$-]*")


@dataclass(slots=True)
class CallCheck:
    """Checks the calls of one runbook.

    Arguments:
        report: where findings go.
        catalog: the installed actions.
        runbook: whose inputs decide what is safe.
        lost: names about which nothing is known, because their part of the file could not be read.
    """

    report: Report
    catalog: Catalog
    runbook: Runbook
    lost: frozenset[str] = frozenset()

    def call(self, call: ActionCall, path: ValuePath) -> type[Action] | None:
        """Check one call; give the type of its action, or None where there is none."""
        try:
            kind = self.catalog.action(call.action)
        except InputError as exc:
            message, _, hint = str(exc).partition("; ")
            self.report.error(path, message, hint, at_key=True)
            return None
        for problem in literal_problems(kind, call.args, self.report.loaded, path):
            self.report.add(problem)
        if kind.verb == "shell":
            self._shell(call.args, path)
        self._options(call.args, path)
        return kind

    def _shell(self, args: Mapping[str, JsonValue], path: ValuePath) -> None:
        for key in SHELL_TEXTS:
            text = args.get(key)
            if not isinstance(text, str) or not has_template(text):
                continue
            try:
                found = expressions_of(text)
            except ExpressionError:
                continue  # complained about where the template is checked
            for node in found:
                if not self._is_safe(node):
                    wanted = ", ".join(sorted(names_of(node))) or "a value"
                    self.report.error(
                        (*path, key),
                        f"{wanted} stands in shell text unquoted",
                        "write `{{ value | quote }}`, or give the input a pattern of letters, digits and ._/:@=+-",
                    )

    def _is_safe(self, node: nodes.Expr) -> bool:
        """Say whether an interpolation cannot be more than one word for a shell."""
        if isinstance(node, nodes.Const) or (isinstance(node, nodes.Filter) and node.name == "quote"):
            return True
        if isinstance(node, nodes.CondExpr):
            return self._is_safe(node.expr1) and node.expr2 is not None and self._is_safe(node.expr2)
        if isinstance(node, nodes.Filter) and node.name in ("int", "length", "count"):
            return True
        return isinstance(node, nodes.Name) and self._is_harmless(node.name)

    def _is_harmless(self, name: str) -> bool:
        if name in self.runbook.vars:
            value = self.runbook.vars[name]
            return isinstance(value, int) or (isinstance(value, str) and bool(_HARMLESS.fullmatch(value)))
        spec = self.runbook.inputs.get(name)
        if spec is None:
            return name in self.lost
        if spec.type in (InputType.SECRET, InputType.LIST):
            return False
        if spec.type is not InputType.STRING:
            return True
        if spec.choices:
            return all(_HARMLESS.fullmatch(choice) for choice in spec.choices)
        return spec.pattern is not None and is_harmless_pattern(spec.pattern)

    def _options(self, args: Mapping[str, JsonValue], path: ValuePath) -> None:
        for key in WORD_LISTS & args.keys():
            words = args[key]
            for number, word in enumerate(words if isinstance(words, list) else []):
                if word == "--":
                    break
                try:
                    leading = leading_names(word) if isinstance(word, str) else frozenset()
                except ExpressionError:
                    continue
                loose = sorted(
                    n for n in leading if n in self.runbook.inputs and not is_confined(self.runbook.inputs[n])
                )
                if loose:
                    message = f"the input {loose[0]!r} could begin with a dash and become an option"
                    hint = (
                        "put '--' before it, or give the input a pattern; a plan with such a value is refused"
                    )
                    self.report.warn((*path, key, number), message, hint)


def literal_problems(
    kind: type[Action], args: Mapping[str, JsonValue], loaded: LoadedRunbook, path: ValuePath
) -> list[Problem]:
    """Check the arguments that have no template.

    Arguments:
        kind: the type of the action.
        args: as the author wrote them.
        loaded: where they stand.
        path: the place of the call in the file.
    """
    waiting = {key for key, value in args.items() if has_template(value)}
    try:
        kind.model_validate(dict(args))
    except ValidationError as exc:
        return problems_of(exc, loaded.document, path, kind, without=waiting)
    return []


def effect_of(kind: type[Action], args: Mapping[str, JsonValue], *, looking: bool = False) -> Effect:
    """Give the effect class of a call, as far as it is known from the author's text.

    Arguments:
        looking: the call stands where the language asks for a look: under verify or capture. A command that
            its author marks with `changed: false` is one.
    """
    if looking and args.get("changed") is False:
        return Effect.READ
    try:
        return _partly(kind, {key: value for key, value in args.items() if not has_template(value)}, args)
    except ValidationError:
        return kind.effect


def _partly(kind: type[Action], known: Mapping[str, JsonValue], args: Mapping[str, JsonValue]) -> Effect:
    """Give the effect class by the arguments that are known; the weakest one where it hangs on another.

    Raises:
        ValidationError: they do not fit.
    """
    if len(known) == len(args):
        return kind.model_validate(dict(args)).effect_class()
    # An action that does not say what its class hangs on may look at everything.
    if (kind.effect_fields or args.keys()) & (args.keys() - known.keys()):
        return kind.effect
    told = _telling(kind).model_validate({key: known[key] for key in kind.effect_fields & known.keys()})
    return kind.model_construct(None, **dict(told)).effect_class()


@cache
def _telling(kind: type[Action]) -> type[BaseModel]:
    """Give a model of those arguments of an action that its effect class hangs on."""
    infos = {
        name: info for name, info in kind.model_fields.items() if (info.alias or name) in kind.effect_fields
    }
    fields: dict[str, Any] = {name: (info.annotation, info) for name, info in infos.items()}
    return create_model("Telling", __config__={**kind.model_config, "defer_build": False}, **fields)


def waits(step: Handler) -> bool:
    """Say whether a step is a wait, whose action is a look."""
    return isinstance(step, ActionStep) and step.waits


def own_effect(step: Handler, kind: type[Action]) -> Effect:
    """Give the effect class of a step's action, before any claim of the author about it."""
    return effect_of(kind, step.call.args, looking=waits(step))


def only_looks(step: Handler, catalog: Catalog) -> bool:
    """Say whether a step changes nothing for sure, by its own claim or by what its action is."""
    if step.effect is not None:
        return step.effect.class_ is Effect.READ
    try:
        return own_effect(step, catalog.action(step.call.action)) is Effect.READ
    except InputError:
        return True  # there is no such action, which is complained about where it is checked


def is_harmless_pattern(pattern: str) -> bool:
    """Say whether everything that fits a pattern is one word for a shell; a doubt counts as no."""
    return bool(_SAFE_REST.fullmatch(_SAFE_ATOMS.sub("x", pattern)))
