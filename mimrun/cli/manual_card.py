"""The card: what is left of a run on a page, to work from by hand where automation does not reach the hosts."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence

from pydantic import JsonValue

from mimrun.app.home import Home
from mimrun.app.runs import RunView, describe, find_run, load_plan, load_state
from mimrun.app.shown.call import call_lines
from mimrun.app.shown.manual import evidence_lines, instructions_of
from mimrun.cli.terminal import safe, safe_line
from mimrun.errors import RefusedError
from mimrun.log.moment import write_moment
from mimrun.run.record.state import RunState
from mimrun.run.record.transitions import TERMINAL
from mimrun.runbook.node import (
    Leaf,
    Node,
    PlannedAction,
    PlannedCall,
    PlannedGate,
    PlannedManual,
    TargetCalls,
)
from mimrun.runbook.plan import Plan, Segment

_ARGV = frozenset({"ssh.command", "local.command"})
_SHELL = frozenset({"ssh.shell", "local.shell"})
_LINE = "______________________"


def card_of(home: Home, run: str) -> str:
    """Give the card of a run, as Markdown.

    Raises:
        RefusedError: nothing is left of it.
    """
    view = find_run(home, run)
    summary = view.summary
    if summary.status in TERMINAL:
        raise RefusedError(f"nothing is left of {summary.run}: {describe(view)}")
    state, plan = load_state(home, summary.run), load_plan(home, summary.run)
    frozen = _frozen(home, state)
    lines = list(_head(home, view, plan))
    for node in plan.walk():
        if isinstance(node, Leaf) and node.path not in state.finished:
            lines += ["", *_step(home, frozen.get(node.path, node), plan, state)]
    lines += ["", *_foot(summary.run, summary.incident)]
    return "\n".join(lines) + "\n"


def _frozen(home: Home, state: RunState) -> dict[str, Node]:
    """Give the steps that people agreed to, as they were filled in then."""
    found: dict[str, Node] = {}
    for gate in sorted(state.gates.values(), key=lambda one: one.request):
        if gate.opened:
            data = home.store.blob(home.store.entry(gate.request), "segment")
            found |= {node.path: node for node in Segment.decode(data or b"{}").nodes}
    return found


def _head(home: Home, view: RunView, plan: Plan) -> Iterator[str]:
    summary, ref = view.summary, plan.runbook
    yield f"# {safe_line(ref.title)}"
    yield ""
    yield f"{summary.run} of {summary.incident}, {ref.name}@{ref.version}, risk {ref.risk}, plan {plan.digest[7:19]}."
    yield f"It {describe(view).removeprefix('it ')}. Printed {write_moment(home.clock())[:19]}Z."
    yield ""
    yield "**Before you begin:** see that nothing executes this run (`mimrun status`), or pause it. Do the steps in"
    yield "this order, tick each, and stop where one does not do what it should."


def _step(home: Home, node: Node, plan: Plan, state: RunState) -> Iterator[str]:
    yield f"## [ ] {node.path} {safe_line(node.name)}"
    if isinstance(node, PlannedManual | PlannedAction | PlannedGate) and node.when:
        yield f"Only where: `{safe_line(node.when, 2000)}`"
    match node:
        case PlannedGate():
            need = (
                ", ".join(f"{one.count} {one.role}" for one in node.approvals) or "what the policy asks for"
            )
            yield f"GATE: do not go past it without {need} ({node.change} change)."
            yield f"Agreed by {_LINE}  at {_LINE}"
        case PlannedManual():
            yield from _manual(home, node, state)
        case PlannedAction():
            yield from _action(node, plan)
        case _:
            pass


def _manual(home: Home, node: PlannedManual, state: RunState) -> Iterator[str]:
    known = state.manuals.get(node.path)
    yield f"By hand, by {node.role or 'anybody'}:"
    yield ""
    text = instructions_of(home, known) if known else node.instructions
    yield from (f"> {line}" for line in safe(text).splitlines())
    for number, item in enumerate(node.checklist, 1):
        yield f"- [{'x' if known and number in known.ticked else ' '}] {number} {safe_line(item)}"
    asked = (
        list(evidence_lines(home, known)) if known else [f"{n} ({e.type})" for n, e in node.evidence.items()]
    )
    yield from (f"- {line}: {_LINE}" for line in asked)
    yield f"Done by {_LINE}  at {_LINE}  minutes {_LINE[:6]}"
    if node.second:
        yield f"Confirmed by another person ({node.second}) {_LINE}  at {_LINE}"


def _action(node: PlannedAction, plan: Plan) -> Iterator[str]:
    for target in node.targets:
        yield f"On **{safe_line(target.target) or 'this machine'}**:"
        yield ""
        yield "```sh"
        for call in target.calls:
            yield from _typed(call, target, node, plan)
        yield "```"
        for word, calls in (("check", target.verify), ("undo", target.undo)):
            for call in calls:
                yield f"- {word}: `{'; '.join(_typed(call, target, node, plan))}`"
        if node.options.expect:
            yield f"- it is right where: `{safe_line(node.options.expect, 2000)}`"
        yield f"- [ ] done at {_LINE}  what it said {_LINE}"


def _typed(call: PlannedCall, target: TargetCalls, node: PlannedAction, plan: Plan) -> Iterator[str]:
    """Give a call as a person would type it; where no command does the same, the call as the plan has it."""
    if call.late:
        yield f"# not known when this was printed: {', '.join(call.late)}"
    words = _words(call)
    if words is None:
        yield from call_lines(call)
        return
    if node.options.become:
        words = ["sudo", "-u", node.options.become, "--", *words]
    if call.action.startswith("ssh."):
        words = ["ssh", _address(target.target, plan), "--", shlex.join(words)]
    yield safe_line(shlex.join(words), 100_000)


def _words(call: PlannedCall) -> Sequence[str] | None:
    """Give the command of a call; None where it has none, or something in it is secret."""
    if any(_is_secret(value) for value in call.args.values()):
        return None
    argv, script = call.args.get("argv"), call.args.get("cmd")
    if call.action in _ARGV and isinstance(argv, list):
        return [str(word) for word in argv]
    if call.action in _SHELL and isinstance(script, str):
        return ["sh", "-c", script]
    return None


def _is_secret(value: JsonValue) -> bool:
    if isinstance(value, dict):
        return set(value) == {"secret"} or any(map(_is_secret, value.values()))
    return isinstance(value, list) and any(map(_is_secret, value))


def _address(target: str, plan: Plan) -> str:
    """Give where a host is reached, as the plan has it."""
    try:
        known = plan.vars_of(target)
    except KeyError:
        return target
    user, host = known.get("ansible_user"), known.get("ansible_host")
    address = str(host) if isinstance(host, str) and host else target
    return f"{user}@{address}" if isinstance(user, str) and user else address


def _foot(run: str, incident: str) -> Iterator[str]:
    yield "---"
    yield "Afterwards, for the record:"
    yield ""
    yield f'- what you did by hand: `mimrun did "..." --at TIME --run {run}`'
    yield f"- a manual step: `mimrun attest {run} -e NAME=VALUE`; this card, photographed: `mimrun attach FILE`"
    yield f"- what the run is to do now: `mimrun status {run}` ({incident})"
