"""What waits for people: every gate, manual step, doubt and proposal, and whether whoever looks may answer it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, Literal, TypeAlias

from mimrun.app.boards import known_of
from mimrun.app.breakglass.glass import glass_view
from mimrun.app.decisions import PendingGate, pending_gate, why_not_decide
from mimrun.app.home import Home
from mimrun.app.identity import Identity
from mimrun.app.manual_steps import PendingManual, pending_manual
from mimrun.app.persons import require_another, require_known
from mimrun.app.resolving import doubts
from mimrun.app.rule.proposals import ProposalView, list_proposals
from mimrun.app.runs import Known, RunView, load_plan, load_state
from mimrun.app.shown.gate import needs_of
from mimrun.errors import ErasedError, GateError, LogError, MimrunError
from mimrun.gate.approval import FREEZE_ROLE, Closed, Open, Waiting
from mimrun.gate.people import acted
from mimrun.log.moment import write_moment
from mimrun.run.record.manual_state import ANYBODY, ManualStatus
from mimrun.run.record.transitions import TERMINAL
from mimrun.runbook.node import Leaf

What: TypeAlias = Literal["doubt", "gate", "manual", "confirm", "proposal", "glass", "resume"]
_ABOUT: Final = 120
"""So much is shown of what a proposal is about: it is what somebody else's alert says."""
_ORDER: Final[tuple[What, ...]] = ("doubt", "gate", "glass", "manual", "confirm", "proposal", "resume")
"""What somebody should look at first."""


@dataclass(frozen=True, slots=True)
class Task:
    """Something that goes on only when a person does something.

    Arguments:
        what: a step in `doubt`; a `gate`; a `manual` step, or one that a second person is to `confirm`; a `proposal`
            of a rule; a `glass` that a second person is to agree to; a run that somebody is to `resume`.
        name: the step, or what is proposed.
        title: of the run.
        asks: who may answer, or what is to be said, in a few words.
        since: when it was asked; "" where nobody knows.
        until: until when it can be answered, where it has an end.
        why_not: why whoever looks may not answer; "" where they may.
    """

    what: What
    name: str
    title: str
    run: str = ""
    incident: str = ""
    proposal: str = ""
    risk: str = ""
    asks: str = ""
    since: str = ""
    until: datetime | None = None
    why_not: str = ""

    @property
    def mine(self) -> bool:
        """Say whether whoever looks may answer it."""
        return not self.why_not


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run has come.

    Arguments:
        at: which step of the plan is under way, the first being 1; 0 before it has begun.
        steps: how many there are; 0 where the plan cannot be read.
        name: of the step.
    """

    at: int
    steps: int
    name: str


def waiting_tasks(home: Home, identity: Identity, runs: Iterable[RunView]) -> list[Task]:
    """Give what waits for people; what must be looked at first comes first.

    Arguments:
        identity: whoever looks.
        runs: those that are asked about.
    """
    found = [
        task for view in runs if view.summary.status not in TERMINAL for task in _of_run(home, identity, view)
    ]
    found += [_of_proposal(home, identity, one) for one in list_proposals(home) if one.state == "open"]
    return sorted(found, key=lambda task: (_ORDER.index(task.what), task.since))


def run_progress(home: Home, view: RunView) -> Progress:
    """Say how far a run has come: by the step that was started last, without reading its whole log."""
    summary = view.summary
    try:
        leaves = [node for node in load_plan(home, summary.run).walk() if isinstance(node, Leaf)]
    except (LogError, ErasedError):
        return Progress(0, 0, summary.step_name)
    step = summary.waits_at or summary.step
    at = next((number for number, leaf in enumerate(leaves, 1) if leaf.path == step), 0)
    return Progress(at, len(leaves), leaves[at - 1].name if at else summary.step_name)


@dataclass(frozen=True, slots=True)
class _Looking:
    """Somebody looks at a run that is not over.

    Arguments:
        plain: that somebody is to go on with it; every other task says what is different.
    """

    home: Home
    identity: Identity
    view: RunView
    plain: Task

    def tasks(self) -> Iterator[Task]:
        """Give what the run waits for; what cannot be told is not left out, because somebody has to see to it."""
        try:
            yield from self._found()
        except MimrunError as exc:
            yield replace(self.plain, asks="what it waits for cannot be told", why_not=str(exc))

    def _found(self) -> Iterator[Task]:
        match self.view.status, self.view.summary.waits_on:
            case "waiting", "gate":
                yield self._at_gate()
            case "waiting", "manual":
                yield self._by_hand()
            case "in_doubt", _:
                yield self._in_doubt()
            case "interrupted", _:
                yield self._to_go_on("nobody executes it any more")
            case "created", _:
                yield from self._not_begun()
            case _:
                pass  # it is under way, or rests because somebody wants it to

    def _known(self) -> Known:
        """Give what is known of the run without reading its log again each time that somebody looks."""
        return known_of(self.home, self.view.summary.run)

    def _at_gate(self) -> Task:
        pending = pending_gate(self.home, self.view.summary.run, known=self._known())
        named = replace(self.plain, name=pending.node.name)
        match pending.verdict:
            case Waiting(missing):
                since = pending.asked.asked_at
                return replace(
                    named,
                    what="gate",
                    asks=f"needs {needs_of(pending.request)}",
                    since=write_moment(since) if since else "",
                    until=pending.request.until,
                    why_not=self._why_not_decide(pending, missing),
                )
            case Open():
                return replace(named, asks="it is approved")
            case Closed(_, detail):
                return replace(named, asks=detail)

    def _why_not_decide(self, pending: PendingGate, missing: Mapping[str, int]) -> str:
        """Say why whoever looks has nothing to decide at a gate that waits; "" where they have."""
        if not missing:
            return "it waits for its change record, or for a calendar to open, and for nobody's approval"
        freeze = set(missing) == {FREEZE_ROLE}
        return why_not_decide(
            self.home,
            pending,
            self.identity,
            "approved",
            purpose="freeze_override" if freeze else "approval",
        )

    def _by_hand(self) -> Task:
        pending = pending_manual(self.home, self.view.summary.run, known=self._known())
        state, name = pending.state, pending.node.name
        asked = replace(self.plain, name=name, since=write_moment(state.since) if state.since else "")
        if state.status is ManualStatus.ATTESTED and state.second:
            role = "another person" if state.second == ANYBODY else state.second
            why = _refusal(lambda: _check_second(self.home, self.identity, pending))
            return replace(asked, what="confirm", asks=f"for {role}", why_not=why)
        if state.attested:
            return replace(asked, asks="it is attested")
        asks = (
            f"{state.holder} does it" if state.holder else f"for {pending.node.role or 'anybody known here'}"
        )
        why = _refusal(lambda: _check_worker(self.home, self.identity, pending))
        return replace(asked, what="manual", asks=asks, why_not=why)

    def _in_doubt(self) -> Task:
        state = load_state(self.home, self.view.summary.run)
        open_ = doubts(state)
        if not open_:
            return self._to_go_on("nothing is in doubt any more")
        key = open_[0]
        proposal = state.proposals.get(key)

        def check() -> None:
            require_known(self.home, self.identity, "settle a doubt")
            if proposal is not None:
                refused = "has said it already; a second person has to say the same"
                require_another(self.home, self.identity, proposal.names, refused)

        more = f", and {len(open_) - 1} more" if len(open_) > 1 else ""
        return replace(
            self.plain,
            what="doubt",
            name=f"{self.view.summary.step_name or key.step} on {key.target}{more}",
            asks=f"{proposal.by} says: {proposal.resolution.replace('_', ' ')}"
            if proposal
            else "did it happen?",
            why_not=_refusal(check),
        )

    def _not_begun(self) -> Iterator[Task]:
        glass = glass_view(self.home, self.view.summary.run)
        if glass is not None and glass.glass.missing:
            why = _refusal(lambda: require_known(self.home, self.identity, "agree to break the glass"))
            yield replace(self.plain, what="glass", asks="it wants to go past its gates", why_not=why)
        elif not self.view.held:
            yield replace(self._to_go_on("nobody has begun it"), since=self.view.summary.created_at)

    def _to_go_on(self, asks: str) -> Task:
        why = _refusal(lambda: require_known(self.home, self.identity, "go on with a run"))
        return replace(self.plain, asks=asks, why_not=why)


def _of_run(home: Home, identity: Identity, view: RunView) -> Iterator[Task]:
    said = view.summary
    plain = Task(
        "resume",
        said.step_name or said.title,
        said.title,
        run=said.run,
        incident=said.incident,
        risk=said.risk,
    )
    return _Looking(home, identity, view, plain).tasks()


def _check_worker(home: Home, identity: Identity, pending: PendingManual) -> None:
    """See that somebody may do a manual step, and that nobody else does it."""
    roles = (pending.node.role,) if pending.node.role else ()
    require_known(home, identity, f"do '{pending.node.name}'", roles=roles, team=pending.team)
    holder, people = pending.state.holder, home.people()
    own = people.behind(acted(identity.person.id, identity.auth))
    if holder and own.isdisjoint(people.behind(pending.state.holder_names)):
        raise GateError(f"{holder} does it")


def _check_second(home: Home, identity: Identity, pending: PendingManual) -> None:
    """See that somebody may confirm what another has attested."""
    state = pending.state
    roles = () if state.second == ANYBODY else (state.second,)
    require_known(home, identity, f"confirm '{pending.node.name}'", roles=roles, team=pending.team)
    require_another(home, identity, state.by_names, "attested it; a second person has to confirm it")


def _of_proposal(home: Home, identity: Identity, view: ProposalView) -> Task:
    why = _refusal(lambda: require_known(home, identity, "take a proposal"))
    about = f" for {view.said.group[:_ABOUT]}" if view.said.group else ""
    return Task(
        "proposal",
        f"{view.runbook}@{view.version}",
        view.title,
        incident=view.incident,
        proposal=view.name,
        risk=view.risk,
        asks=f"proposed by {view.rule}{about}",
        until=view.until,
        why_not=why,
    )


def _refusal(check: Callable[[], object]) -> str:
    """Say why something is refused; "" where it is not."""
    try:
        check()
    except MimrunError as exc:
        return str(exc)
    return ""
