"""The gate in front of a launch: where a plan changes something before its author asked anybody.

A policy, or a freeze calendar, asks for it (`make_plan(..., launch_gate=True)`); without them plans have none,
and their digests are what they were. What the gate asks for is not in the plan: the policy says it, each time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, Literal, TypeAlias

from mimrun import canonical
from mimrun.connector import Effect
from mimrun.runbook.model import OnTimeout, Risk
from mimrun.runbook.node import PlannedAction, PlannedGate, PlannedInclude, PlannedManual
from mimrun.runbook.plan import Plan, may_bypass

RiskRow: TypeAlias = Literal["read_only", "low", "medium", "high"]

LAUNCH: Final = "0"
"""The path of the gate in front of a launch: before the author's first step, which is 1."""

_RISKS: Final = tuple(Risk)


def launch_gate() -> PlannedGate:
    """Give the gate in front of a launch. It asks for nothing itself, and waits as long as the policy says."""
    return PlannedGate(
        path=LAUNCH,
        name="The launch is allowed",
        change="none",
        approvals=(),
        expires_ms=0,
        on_timeout=OnTimeout.FAIL,
    )


def is_by_rules(gate: PlannedGate) -> bool:
    """Say whether a gate stands there because of the rules, and names nobody itself: where they ask nothing, it opens."""
    return not gate.expires_ms and not gate.approvals


def with_launch_gate(plan: Plan) -> Plan:
    """Give a plan with a gate in front, where something may be changed before anybody was asked.

    Everywhere else it is given back as it is: a plan that only reads, and one whose author asks first.
    """
    if not any(_unasked(plan)):
        return plan
    # A new value: a copy would keep the digest of the plan that it was copied from.
    fields = {name: getattr(plan, name) for name in Plan.model_fields}
    gated = Plan(**{**fields, "nodes": (launch_gate(), *plan.nodes)})
    return gated.with_sources(plan.sources) if plan.sources else gated


def row_of(plan: Plan) -> RiskRow:
    """Say which risk counts for a plan: `read_only` where nothing is changed, else that of its runbooks.

    Work by hand counts as a change, since nobody can tell what it does. Of a runbook and those that it includes, the
    one with the highest risk counts.
    """
    nodes = tuple(plan.walk())
    if not any(isinstance(node, PlannedManual) or _changes(node) for node in nodes):
        return "read_only"
    risks = (plan.runbook.risk, *(node.runbook.risk for node in nodes if isinstance(node, PlannedInclude)))
    return max(risks, key=_RISKS.index).value


def whole_digest(own: str, included: Iterable[str]) -> str:
    """Give the digest of a runbook with everything that it includes; its own where that is nothing.

    Arguments:
        own: the digest of the runbook.
        included: those of what it includes, and of what that includes, in any order.
    """
    others = sorted({*included} - {own})
    return canonical.digest(["mimrun/whole-runbook/1", own, *others]) if others else own


def covered_digest(plan: Plan) -> str:
    """Give the digest of everything that was written for a plan: what a standard change stands for."""
    inner = (node.runbook.digest for node in plan.walk() if isinstance(node, PlannedInclude))
    return whole_digest(plan.runbook.digest, inner)


def _unasked(plan: Plan) -> Iterator[str]:
    """Give the steps that may change something and can be reached without passing a gate."""
    gates: list[str] = []
    for node in plan.walk():
        if isinstance(node, PlannedGate):
            gates += [] if plan.is_conditional(node.path) else [node.path]
        elif _changes(node) and all(may_bypass(node.path, gate) for gate in gates):
            yield node.path


def _changes(node: object) -> bool:
    if not isinstance(node, PlannedAction):
        return False
    calls = (call for t in node.targets for call in (*t.calls, *t.verify, *t.capture))
    return any(call.effect is not Effect.READ for call in calls)
