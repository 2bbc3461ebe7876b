"""Pinning: what lies in a file beside mimrun becomes part of the plan, by its digest.

An action may name a file of this machine: a script to run, a file to upload. The approval of a plan that
held only the name would be worth what the folder's permissions are worth. So the SHA-256 of the content
goes into the plan when it is made, and the connector refuses any other content before it does anything.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from pydantic import JsonValue

from mimrun.catalog import Catalog
from mimrun.errors import InputError, PlanError, Problem
from mimrun.run.cell.facts import Facts
from mimrun.runbook.expression import expression_names, has_template, render, truth
from mimrun.runbook.node import Node, PlannedAction, PlannedCall, TargetCalls, with_parts
from mimrun.runbook.plan import Plan

Calls = TypeVar("Calls", bound=PlannedCall)


def pin_files(plan: Plan, catalog: Catalog) -> Plan:
    """Give the plan with the digest of every file that its actions name, and with the files' full paths.

    Arguments:
        catalog: the installed actions; `local_files` says which of their arguments name files.

    Raises:
        PlanError: a file cannot be read, or its name is not known yet; every one of them is named.
    """
    pins = _Pins(plan, catalog)
    nodes = tuple(pins.node(node) for node in plan.nodes)
    handlers = tuple(pins.action(handler) for handler in plan.handlers)
    if pins.problems:
        raise PlanError(problems=set(pins.problems))
    if not pins.digests:
        return plan
    # Read back from its bytes: a copy would keep the digest of the plan that it was copied from.
    return Plan.decode(plan.model_copy(update={"nodes": nodes, "handlers": handlers}).encode())


@dataclass(slots=True)
class _Spot:
    """Where a call stands: its step and target, and the item of the loop that it is for."""

    node: PlannedAction
    target: str
    item: Mapping[str, JsonValue]


@dataclass(slots=True)
class _Pins:
    plan: Plan
    catalog: Catalog
    problems: list[Problem] = field(default_factory=list)
    digests: dict[Path, str] = field(default_factory=dict)
    facts: Facts | None = None

    def node(self, node: Node) -> Node:
        if isinstance(node, PlannedAction):
            return self.action(node)
        return with_parts(node, self.node)

    def action(self, node: PlannedAction) -> PlannedAction:
        return node.model_copy(update={"targets": tuple(self._target(node, t) for t in node.targets)})

    def _target(self, node: PlannedAction, target: TargetCalls) -> TargetCalls:
        items: Sequence[Mapping[str, JsonValue]] = [{}]
        if target.items is not None:
            items = [{"item": item} for item in target.items]

        def pinned(calls: Sequence[Calls]) -> tuple[Calls, ...]:
            spots = (_Spot(node, target.target, items[n if n < len(items) else 0]) for n in range(len(calls)))
            return tuple(self._call(call, spot) for call, spot in zip(calls, spots, strict=True))

        parts = {
            "calls": pinned(target.calls),
            "verify": pinned(target.verify),
            "undo": pinned(target.undo),
            "capture": pinned(target.capture),
        }
        return target.model_copy(update=parts)

    def _call(self, call: Calls, spot: _Spot) -> Calls:
        args: dict[str, JsonValue] = dict(call.args)
        for name, digest in self.catalog.action(call.action).local_files.items():
            if args.get(name) is None or args.get(digest) is not None:
                continue
            try:
                path = self._path(call, name, spot)
                if path is None:
                    continue
                args[digest] = self._digest(path)
                # A template stays the author's: what a path might have of braces is never parsed.
                if not call.late or not has_template([args[name], str(path)]):
                    args[name] = str(path)
            except InputError as exc:
                message = f"'{spot.node.name}': {name} of {call.action}: {exc}"
                hint = f"name a file that is known and there, or give its {digest}"
                self.problems.append(Problem(f"step {spot.node.path}", 0, 0, message, hint))
        return call.model_copy(update={"args": args})

    def _path(self, call: PlannedCall, name: str, spot: _Spot) -> Path | None:
        """Give the file that an argument names; None in a step that will not be done here."""
        text = call.args[name]
        if call.late and has_template(text):
            self.facts = self.facts or Facts(self.plan)
            variables = {**self.facts.variables(spot.target), **spot.item}
            if _is_left_out(spot.node.when, variables):
                return None
            text = render(text, variables)
        try:
            return Path(str(text)).expanduser().absolute()
        except (RuntimeError, ValueError) as exc:
            raise InputError(f"{text!r} is not the name of a file: {exc}") from exc

    def _digest(self, path: Path) -> str:
        if path not in self.digests:
            try:
                if not path.is_file():
                    raise InputError(f"{path} is not there, or is not a file")
                with path.open("rb") as file:
                    self.digests[path] = hashlib.file_digest(file, "sha256").hexdigest()
            except (OSError, ValueError) as exc:
                raise InputError(f"{path} cannot be read: {exc}") from exc
        return self.digests[path]


def _is_left_out(when: str | None, variables: Mapping[str, JsonValue]) -> bool:
    """Say whether a step's condition is false already, whatever the run will find out."""
    if when is None:
        return False
    needed = expression_names(when)
    if "hostvars" in needed or not needed <= variables.keys():
        return False
    try:
        return not truth(when, variables)
    except InputError:
        return False
