"""Presenting a plan: what will be done, where, in which order, what can be undone, and what is not known yet."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import assert_never

from pydantic import ValidationError

from mimrun.catalog import Catalog
from mimrun.connector import Effect
from mimrun.errors import InputError
from mimrun.runbook.duration import format_duration
from mimrun.runbook.plan import (
    Node,
    Plan,
    PlannedAction,
    PlannedBlock,
    PlannedCall,
    PlannedGate,
    PlannedManual,
)


@dataclass(frozen=True, slots=True)
class Deed:
    """One thing that is done in the same way on some targets.

    Arguments:
        what: exactly what, in a line.
        targets: where, in order.
        late: names that it still waits for; what they stand for is not known yet.
    """

    what: str
    targets: tuple[str, ...]
    late: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Row:
    """One step, for a person.

    Arguments:
        path: where the step stands in the plan.
        depth: how many blocks are around it.
        kind: action, gate, manual, block, rescue or always.
        name: the step's name.
        deeds: what is done, and where; for a gate or manual step, one without targets.
        effect: the class of the action, the most careful one where targets differ; None for other steps.
        undo: what takes it back, in a line each; empty where nothing does.
        lost: it changes something and cannot be undone.
        when: the condition, or "".
        notes: everything else that a person should see: verify, expect, retries, become, an override.
    """

    path: str
    depth: int
    kind: str
    name: str
    deeds: tuple[Deed, ...] = ()
    effect: Effect | None = None
    undo: tuple[Deed, ...] = ()
    lost: bool = False
    when: str = ""
    notes: tuple[str, ...] = ()


def describe(plan: Plan, catalog: Catalog) -> list[Row]:
    """Give the steps of a plan in the order in which they are done, blocks before their parts."""
    return list(describe_nodes(plan.nodes, catalog))


def describe_nodes(nodes: Iterable[Node], catalog: Catalog, depth: int = 0) -> Iterator[Row]:
    """Give some nodes for a person, those behind a gate for instance."""
    for node in nodes:
        match node:
            case PlannedAction():
                yield _action(node, catalog, depth)
            case PlannedGate():
                need = ", ".join(f"{n.count} {n.role}" for n in node.approvals)
                what = f"{node.change} change; needs {need}; expires after {format_duration(node.expires_ms)}"
                timeout = f"when nobody decides in time: {node.on_timeout}"
                yield Row(
                    node.path,
                    depth,
                    "gate",
                    node.name,
                    (Deed(what, ()),),
                    when=node.when or "",
                    notes=(timeout,),
                )
            case PlannedManual():
                notes = (
                    f"by {node.role or 'anybody'}",
                    *(f"leaves {n} ({e.type})" for n, e in node.evidence.items()),
                )
                deed = Deed(node.instructions, (), node.late)
                yield Row(node.path, depth, "manual", node.name, (deed,), when=node.when or "", notes=notes)
            case PlannedBlock():
                yield Row(node.path, depth, "block", node.name, when=node.when or "")
                yield from describe_nodes(node.block, catalog, depth + 1)
                for kind, inner in (("rescue", node.rescue), ("always", node.always)):
                    if inner:
                        name = "when a step of the block fails" if kind == "rescue" else "in any case"
                        yield Row(f"{node.path}.{kind}", depth, kind, name)
                        yield from describe_nodes(inner, catalog, depth + 1)
            case _:
                assert_never(node)


def _action(node: PlannedAction, catalog: Catalog, depth: int) -> Row:
    effects = [call.effect for target in node.targets for call in target.calls]
    effect = max(effects, key=list(Effect).index, default=None)
    undo = _deeds(node, "undo", catalog)
    return Row(
        node.path,
        depth,
        "action",
        node.name,
        _deeds(node, "calls", catalog),
        effect,
        undo,
        lost=effect not in (None, Effect.READ) and not undo,
        when=node.when or "",
        notes=tuple(_notes(node, catalog)),
    )


def _notes(node: PlannedAction, catalog: Catalog) -> Iterator[str]:
    options = node.options
    if isinstance(node.loop, str) and any(target.items is None for target in node.targets):
        yield f"for each item of {node.loop}"
    for deed in _deeds(node, "verify", catalog):
        yield f"verified by {deed.what}"
    for deed in _deeds(node, "capture", catalog):
        yield f"the state before is kept by {deed.what}"
    attempts = f"up to {options.retries + 1} attempts, {format_duration(options.delay_ms)} apart"
    words = (
        (options.become, f"as {options.become}"),
        (options.retries, attempts),
        (options.until, f"until: {options.until}"),
        (options.expect, f"expect: {options.expect}"),
        (options.effect_reason, f"the author claims a weaker effect class: {options.effect_reason}"),
        (options.ignore_errors, "goes on when it fails"),
        (options.no_log, "arguments and output stay out of the log"),
    )
    yield from (text for given, text in words if given)


def _deeds(node: PlannedAction, kind: str, catalog: Catalog) -> tuple[Deed, ...]:
    """Give the calls of a step, with those that are the same on several targets put together."""
    found: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for target in node.targets:
        calls: Sequence[PlannedCall] = getattr(target, kind)
        for call in calls:
            found.setdefault((summary(call, catalog), call.late), []).append(target.target)
    return tuple(Deed(what, tuple(dict.fromkeys(where)), late) for (what, late), where in found.items())


def summary(call: PlannedCall, catalog: Catalog) -> str:
    """Give one line that says what a call does; what is not known yet stands as the author wrote it."""
    if not call.late:
        try:
            action = catalog.action(call.action).model_validate(call.args)
        except (InputError, ValidationError):
            pass  # a plan of another machine: the arguments themselves say it
        else:
            return f"{call.action}: {action.summary()}".rstrip(": ")
    shown = ", ".join(f"{key}={value!r}" for key, value in call.args.items())
    return f"{call.action}: {shown}".rstrip(": ")
