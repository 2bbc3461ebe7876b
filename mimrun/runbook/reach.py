"""Reach: how much a plan changes, in all and at once, held against what its runbook allows."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, assert_never

from mimrun.connector import Effect
from mimrun.runbook.allowance import allowed
from mimrun.runbook.batch import actions_in, written
from mimrun.runbook.model import Domains
from mimrun.runbook.node import (
    Node,
    PlannedAction,
    PlannedBlock,
    PlannedGate,
    PlannedInclude,
    PlannedManual,
    PlannedParallel,
    PlannedSerial,
    TargetCalls,
    parts_of,
)
from mimrun.runbook.pattern import LOCALHOSTS
from mimrun.runbook.scope import Scope
from mimrun.runbook.suggestion import suggest

HOST_LOCK: Final = "host/"
"""What the name of the lock on a host begins with."""
_NOT_INSIDE: Final = {"gate": ("parallel", "serial"), "manual": ("parallel",), "serial": ("serial",)}
"""By the kind of a node, the kinds of nodes that it cannot be in."""
_SHOWN: Final = 5
"""So many domains are named in a complaint."""


def changed_hosts(nodes: Iterable[Node]) -> tuple[str, ...]:
    """Give every host on which some step may change something, sorted; this machine is left out."""
    found = {t.target for node in nodes for action in actions_in(node) for t in action.targets if _changes(t)}
    return tuple(sorted(found.difference(LOCALHOSTS)))


def host_locks(hosts: Iterable[str]) -> set[str]:
    """Give the names of the locks on hosts."""
    return {HOST_LOCK + host for host in hosts}


def domain_of(variables: object, by: str) -> str | None:
    """Give the failure domain of a host, from its variables; None where it has none."""
    value = variables.get(by) if isinstance(variables, Mapping) else None
    return value if value is None or isinstance(value, str) else json.dumps(value, sort_keys=True)


def check_shares(scope: Scope, groups: Mapping[str, Sequence[str]], changed: Sequence[str]) -> None:
    """Hold the changed hosts against `limits: {share: …}`.

    Arguments:
        scope: whose runbook has the limits, and who complains.
        groups: the inventory's, whole.
        changed: the hosts on which something may change.
    """
    for group, rule in scope.loaded.runbook.limits.share.items():
        place = ("limits", "share", group)
        if group not in groups:
            scope.complaints.add(place, f"the inventory has no group {group!r}", suggest(group, groups))
            continue
        touched, most = len(set(groups[group]).intersection(changed)), allowed(rule, len(groups[group]))
        if touched > most:
            message = f"the plan may change {touched} of the {len(groups[group])} hosts of {group}"
            scope.complaints.add(place, f"{message}, and {rule} of them are {most}", "name fewer hosts")


def check_branches(scope: Scope, nodes: Iterable[Node]) -> None:
    """See that no two branches that work at the same time change the same host."""
    for node in written(nodes):
        if isinstance(node, PlannedParallel):
            seen: dict[str, str] = {}
            for branch in node.branches:
                changed = changed_hosts([branch])
                for host in sorted(seen.keys() & set(changed)):
                    message = f"two branches work on {host} at once: this one and {seen[host]}"
                    place = scope.loaded.step_path(branch.path)
                    scope.complaints.add(place, message, "put them one after the other, in a block")
                    break
                seen.update(dict.fromkeys(changed, branch.path))


def check_people(scope: Scope, nodes: Iterable[Node], around: frozenset[str] = frozenset()) -> None:
    """See that no included runbook brings people into branches or batches, or batches into batches.

    What the runbook itself has there was found before; this is what only the whole plan shows.

    Arguments:
        scope: who complains.
        nodes: planned steps.
        around: the kinds of the nodes around them.
    """
    for node in nodes:
        kind = next((kind for kind in _NOT_INSIDE.get(node.kind, ()) if kind in around), "")
        if kind:
            message = f"'{node.name}' of the included runbook is a {node.kind} step inside a {kind} one"
            hint = "include the runbook in front of it, or behind"
            scope.complaints.add(scope.loaded.step_path(node.path), message, hint)
        check_people(scope, parts_of(node), around | {node.kind})


def check_domains(scope: Scope, nodes: Iterable[Node], prefix: str = "") -> None:
    """Hold what is changed at once against `limits: {domains: …}`.

    Arguments:
        scope: whose runbook has the limits, and who complains.
        nodes: the planned steps and handlers; nodes that stand behind each other are not changed at once.
        prefix: what their paths begin with: "", or "5.include." where the runbook is included.
    """
    rule = scope.loaded.runbook.limits.domains
    if rule is None:
        return
    nodes = tuple(nodes)
    place = ("limits", "domains", "by")
    for host in changed_hosts(nodes):
        if domain_of(scope.hostvars.get(host), rule.by) is None:
            hint = "what is changed must be in a domain: set it in the inventory"
            scope.complaints.add(place, f"no variable {rule.by!r}", hint, host)
    for node in nodes:
        for moment in _moments(node):
            _check_moment(scope, rule, moment, prefix)


@dataclass(frozen=True, slots=True)
class _Moment:
    """Hosts that are changed at the same time, and by which node."""

    node: Node
    hosts: frozenset[str]


def _check_moment(scope: Scope, rule: Domains, moment: _Moment, prefix: str) -> None:
    found = {domain_of(scope.hostvars.get(host), rule.by) for host in moment.hosts} - {None}
    if len(found) <= rule.at_once:
        return
    shown = ", ".join(sorted(map(str, found))[:_SHOWN]) + (", …" if len(found) > _SHOWN else "")
    message = (
        f"changes hosts of {len(found)} domains at once ({rule.by}: {shown}), and {rule.at_once} are allowed"
    )
    hint = "write `serial:` on the step, which cuts its batches at the borders of domains"
    if isinstance(moment.node, PlannedParallel):
        hint = "its branches work at the same time: put them one after the other"
    elif ".include." in moment.node.path.removeprefix(prefix):
        hint = "put it into a block with `serial:`, which cuts its batches at the borders of domains"
    scope.complaints.add(scope.loaded.step_path(moment.node.path.removeprefix(prefix)), message, hint)


def _moments(node: Node) -> Iterator[_Moment]:
    match node:
        case PlannedAction():
            hosts = frozenset(t.target for t in node.targets if _changes(t))
            yield _Moment(node, hosts.difference(LOCALHOSTS))
        case PlannedParallel():
            yield _Moment(node, frozenset(changed_hosts([node])))
        case PlannedBlock() | PlannedSerial() | PlannedInclude():
            for part in parts_of(node):
                yield from _moments(part)
        case PlannedGate() | PlannedManual():
            pass
        case _:
            assert_never(node)


def _changes(target: TargetCalls) -> bool:
    calls = (*target.calls, *target.verify, *target.capture)
    return any(call.effect is not Effect.READ for call in calls)
