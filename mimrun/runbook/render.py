"""Rendering: filling in the arguments of calls, when the plan is made, at a gate, and just before the act.

A call is filled in whole or not at all: what is rendered is data from then on and is never parsed again,
and what still waits is the author's own text. `late` tells the two apart.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from pydantic import JsonValue, ValidationError

from mimrun import canonical
from mimrun.catalog import Catalog
from mimrun.connector import Action
from mimrun.errors import InputError, PlanError
from mimrun.runbook.bounds import ExpressionError
from mimrun.runbook.expression import has_template, leading_names, names, render
from mimrun.runbook.node import Node, PlannedAction, PlannedCall, PlannedManual, TargetCalls

MAX_ITEMS: Final = 10_000
"""Items of one loop on one target."""

WORD_LISTS: Final = frozenset({"argv", "args"})
"""Arguments that are lists of words for a program, in which a word with a leading dash is an option."""

Calls = TypeVar("Calls", bound=PlannedCall)


@dataclass(frozen=True, slots=True)
class Fault:
    """Something wrong in a value: where in it, and what."""

    path: tuple[str | int, ...]
    message: str
    hint: str = ""


def fill(
    value: JsonValue, variables: Mapping[str, JsonValue], path: tuple[str | int, ...] = ()
) -> tuple[JsonValue, list[Fault]]:
    """Render a value, and say for each text that cannot be rendered where it stands and why."""
    match value:
        case dict():
            parts = {key: fill(part, variables, (*path, key)) for key, part in value.items()}
            return {key: part for key, (part, _) in parts.items()}, [
                f for _, fs in parts.values() for f in fs
            ]
        case list():
            items = [fill(part, variables, (*path, n)) for n, part in enumerate(value)]
            return [item for item, _ in items], [f for _, faults in items for f in faults]
        case str():
            try:
                return render(value, variables), []
            except ExpressionError as exc:
                return value, [Fault(path, exc.message, exc.hint)]
        case _:
            return value, []


def validate(kind: type[Action], args: Mapping[str, JsonValue]) -> Action:
    """Give the action that the arguments make.

    Raises:
        ValidationError: they do not fit.
        ValueError: they hold something that has no canonical form.
    """
    for value in args.values():
        if not _is_canonical(value):
            canonical.encode(args)  # says what is wrong, and where
    return kind.model_validate(dict(args))


def _is_canonical(value: JsonValue) -> bool:
    """Say quickly whether a value has a canonical form for sure."""
    match value:
        case None | bool():
            return True
        case str():
            return value.isascii()
        case int():
            return abs(value) <= canonical.MAX_INTEGER
        case list():
            return all(_is_canonical(part) for part in value)
        case _:
            return False


def option_faults(
    source: JsonValue, filled: JsonValue, distrusted: frozenset[str], path: tuple[str | int, ...] = ()
) -> list[Fault]:
    """Find words that would become options of a program though nobody who wrote the runbook meant that.

    Arguments:
        source: the author's arguments.
        filled: the same, rendered.
        distrusted: names whose values the author does not limit.
        path: where the arguments stand.
    """
    faults: list[Fault] = []
    if isinstance(source, dict) and isinstance(filled, dict):
        for key, part in source.items():
            inner = filled.get(key)
            if key in WORD_LISTS and isinstance(part, list) and isinstance(inner, list):
                faults += _words(part, inner, distrusted, (*path, key))
            else:
                faults += option_faults(part, inner, distrusted, (*path, key))
    return faults


def _words(
    source: list[JsonValue], filled: list[JsonValue], distrusted: frozenset[str], path: tuple[str | int, ...]
) -> list[Fault]:
    faults = []
    for number, (text, word) in enumerate(zip(source, filled, strict=True)):
        if text == "--":
            break
        if isinstance(text, str) and isinstance(word, str) and word.startswith("-"):
            guilty = leading_names(text) & distrusted
            if guilty:
                message = f"{word!r} begins with a dash and would be an option; it comes from {_list(guilty)}"
                faults.append(
                    Fault((*path, number), message, "put '--' before it, or give the input a pattern")
                )
    return faults


def render_call(call: Calls, catalog: Catalog, variables: Mapping[str, JsonValue]) -> Calls:
    """Fill in a call just before it is done, and check that it makes an action.

    Arguments:
        call: of a plan or segment; what is rendered already is left as it is.
        catalog: the installed actions.
        variables: everything that is known now, revealed secrets included.

    Returns:
        the call with nothing late, and with the effect class that the plan shows.

    Raises:
        PlanError: a name is still missing, or the arguments do not fit.
        InputError: there is no such action.
    """
    kind = catalog.action(call.action)
    args = call.args
    faults: list[Fault] = []
    if call.late:
        filled, faults = fill(call.args, variables)
        assert isinstance(filled, dict)
        faults += option_faults(call.args, filled, frozenset(call.late))
        args = filled
    if faults:
        raise PlanError("; ".join(f"{call.action}: {_where(f)}{f.message}" for f in faults))
    try:
        validate(kind, args)
    except ValidationError as exc:
        # Without the values: one of them may be a secret.
        wrong = "; ".join(f"{_dotted(e['loc'])}{e['msg']}" for e in exc.errors(include_input=False))
        raise PlanError(f"{call.action}: its arguments do not fit: {wrong}") from exc
    except ValueError as exc:
        raise PlanError(f"{call.action}: {exc}") from exc
    return call.model_copy(update={"args": args, "late": ()})


def render_nodes(
    nodes: Iterable[Node], variables_of: Callable[[str, str], Mapping[str, JsonValue]]
) -> tuple[Node, ...]:
    """Fill in everything of some nodes that is known by now, and leave the rest late.

    Arguments:
        nodes: actions, manual steps and gates; blocks are not looked into.
        variables_of: what is known for a target, "" for none, at a step, without secrets.

    What has all its names and still no value, such as a key that an answer does not have, stays late: it
    may stand in a step that will be skipped, and fails when it is due. So does what uses an answer that one
    of these nodes will give anew: the one that is known by now is of before.
    """
    filled: list[Node] = []
    coming: set[str] = set()

    def known(target: str, path: str) -> Mapping[str, JsonValue]:
        variables = variables_of(target, path)
        stale = coming & variables.keys()
        stale |= {"hostvars"} if stale else set()
        return {name: value for name, value in variables.items() if name not in stale} if stale else variables

    for node in nodes:
        match node:
            case PlannedAction():
                targets = tuple(_target(node, t, known(t.target, node.path)) for t in node.targets)
                filled.append(node.model_copy(update={"targets": targets}))
                coming |= {node.options.register_} if node.options.register_ else set()
            case PlannedManual():
                text, late = instructions(node.instructions, node.late, known("", node.path))
                filled.append(node.model_copy(update={"instructions": text, "late": late}))
                coming |= {node.register_} if node.register_ else set()
            case _:
                filled.append(node)
    return tuple(filled)


def instructions(
    text: str, late: tuple[str, ...], variables: Mapping[str, JsonValue]
) -> tuple[str, tuple[str, ...]]:
    """Fill in what a person is to do, where all its names are known; else give it back as it is.

    A text that would have braces of its own afterwards stays the author's, so that nothing can take the
    braces of a value for a template.
    """
    if not late or not set(late) <= variables.keys():
        return text, late
    try:
        filled = str(render(text, variables))
    except ExpressionError:
        return text, late
    return (text, late) if has_template(filled) else (filled, ())


def _target(node: PlannedAction, target: TargetCalls, variables: Mapping[str, JsonValue]) -> TargetCalls:
    items = target.items
    if items is None and node.loop is not None:
        if not names(node.loop) <= variables.keys():
            return target
        try:
            items = loop_items(node.loop, variables)
        except InputError:
            return target
        if not _fits_a_plan([*items]):
            return target
    known = [variables] if items is None else [{**variables, "item": item} for item in items]

    def early(calls: Sequence[Calls]) -> tuple[Calls, ...]:
        return tuple(
            _early(call, more) for call, more in zip(spread(calls, len(known)), known, strict=bool(calls))
        )

    return target.model_copy(
        update={
            "items": items,
            "calls": early(target.calls),
            "verify": early(target.verify),
            "undo": early(target.undo),
            "capture": early(target.capture),
        }
    )


def spread(calls: Sequence[Calls], times: int) -> tuple[Calls, ...]:
    """Give a call for each item, where there was one for all of them."""
    return tuple(calls) if len(calls) != 1 else tuple(calls) * times


def loop_items(loop: JsonValue, variables: Mapping[str, JsonValue]) -> tuple[JsonValue, ...]:
    """Give the items of a loop.

    Raises:
        ExpressionError: it has no value.
        InputError: it is not a list, or too long.
    """
    items = render(loop, variables)
    if not isinstance(items, list):
        raise InputError(f"a loop needs a list, and this is {type(items).__name__}")
    if len(items) > MAX_ITEMS:
        raise InputError(f"a loop of {len(items)} items; {MAX_ITEMS} are the most")
    return tuple(items)


def _early(call: Calls, variables: Mapping[str, JsonValue]) -> Calls:
    """Fill in a call when everything it waits for is known; what cannot be filled in fails when it is due."""
    if not call.late or not set(call.late) <= variables.keys():
        return call
    filled, faults = fill(call.args, variables)
    assert isinstance(filled, dict)
    if faults or option_faults(call.args, filled, frozenset(call.late)) or not _fits_a_plan(filled):
        return call
    return call.model_copy(update={"args": filled, "late": ()})


def _fits_a_plan(value: JsonValue) -> bool:
    """Say whether a value has a canonical form, which a fraction, for one, does not have."""
    try:
        canonical.encode(value)
    except ValueError:
        return False
    return True


def _where(fault: Fault) -> str:
    return _dotted(fault.path)


def _dotted(path: Sequence[str | int]) -> str:
    return f"{'.'.join(map(str, path))}: " if path else ""


def _list(words: Iterable[str]) -> str:
    return ", ".join(sorted(words))
