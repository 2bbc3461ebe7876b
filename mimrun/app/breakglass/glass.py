"""Break-glass: going past the gates of one plan, loudly, and telling afterwards why.

Gates are skipped and nothing else is: the log, the locks, the limits, the kill switch and the lease are what they are
for every run. The change that tells why is in mimrun's own register, because others may be what is down.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from pydantic import JsonValue

from mimrun.app.breakglass.pack import ABOUT
from mimrun.app.change.draft import content_of_plan
from mimrun.app.change.register import Opening, open_change
from mimrun.app.home import Home
from mimrun.app.identity import Identity
from mimrun.app.masking import masking
from mimrun.app.notice.event import NoticeEvent
from mimrun.app.notice.file import load_notices
from mimrun.app.notice.timer import tell
from mimrun.app.persons import require_another, require_known
from mimrun.app.runs import find_run, load_plan
from mimrun.app.sign_in import require_scope
from mimrun.change_system import ChangeState
from mimrun.errors import InputError, RefusedError
from mimrun.gate.policy import BreakGlass
from mimrun.gate.policy_file import load_policy
from mimrun.gate.register import all_registered, registered_in
from mimrun.gate.scope import VERBS
from mimrun.log.entry import Blob, Draft
from mimrun.log.field import REASON_LENGTH
from mimrun.log.kinds import BreakglassAgreed, BreakglassAsked, BreakglassOpened
from mimrun.log.moment import read_moment
from mimrun.log.store import View
from mimrun.run.record.breakglass import BrokenGlass, BrokenGlasses, all_glasses, glass_of
from mimrun.run.record.summary import RunSummaries, RunSummary
from mimrun.run.record.transitions import TERMINAL
from mimrun.runbook.node import PlannedGate
from mimrun.runbook.plan import Plan

MERGED: Final = "merged breakglass "
"""How the key of a change begins that tells of glass that was broken with a sealed pack."""


@dataclass(frozen=True, slots=True)
class GlassView:
    """A run that went, or is to go, past its gates.

    Arguments:
        settled: the change that tells why is complete, reviewed and closed.
        given_up: the run is over, and its gates were never opened.
        overdue: it should be by now.
        state: of that change; "" before there is one.
    """

    glass: BrokenGlass
    settled: bool
    overdue: bool
    state: str
    given_up: bool = False

    @property
    def words(self) -> str:
        """How it stands, in a line."""
        glass = self.glass
        if self.given_up:
            return "given up: the run is over, and its gates were never opened"
        if not glass.opened:
            people = "one more person" if glass.missing == 1 else f"{glass.missing} more persons"
            return f"{people} must want it: mimrun breakglass agree {glass.run}"
        if self.settled:
            return f"settled with {glass.change}"
        due = glass.due_at[:16].replace("T", " ")
        late = "OVERDUE since" if self.overdue else "must be closed until"
        return f"{glass.change} ({self.state}) {late} {due} UTC"

    def as_json(self) -> dict[str, JsonValue]:
        """The glass for `--json`."""
        shown: dict[str, JsonValue] = self.glass.model_dump(mode="json", exclude={"wanted"})
        return shown | {"settled": self.settled, "overdue": self.overdue, "change_state": self.state}


def ask_for(home: Home, plan: Plan, identity: Identity, reason: str) -> Callable[[str, str], Sequence[Draft]]:
    """Give what is recorded together with a run that is to go past its gates, by incident and name of the run.

    Raises:
        InputError: there is no reason, or no gate that stands in the way.
        GateError: this person may not.
        RefusedError: the policy lets one person go where others are told, and nobody is told here.
    """
    if not reason.strip():
        raise InputError("say why the gates cannot be waited for: it is what everybody will read afterwards")
    reason = masking(home)(reason)
    if not any(isinstance(node, PlannedGate) for node in plan.walk()):
        raise InputError("this plan has no gate, so there is no glass to break; run it without --break-glass")
    rules = _rules(home)
    require_known(home, identity, "break the glass", roles=rules.roles)
    require_scope(home.signed_in, VERBS["breakglass agree"], "break the glass")
    if rules.how == "one_and_page":
        _require_page(home)
    needs = 2 if rules.how == "two_people" else 1
    body = BreakglassAsked(plan=plan.digest, needs=needs, reason=reason)
    actor, blobs = identity.actor(), _long(reason)
    return lambda incident, run: [Draft(actor, body, inc=incident, run=run, blobs=blobs)]


def agree(home: Home, run: str, identity: Identity, reason: str = "") -> BrokenGlass:
    """Want it, too; with enough persons the gates are open.

    Raises:
        RefusedError: nobody wants this run past its gates, its gates are open already, or it is over.
        GateError: this person may not, or wants it already.
    """
    view = find_run(home, run)
    summary = view.summary
    glass = glass_of(home.store, summary.run)
    if not glass.run:
        raise RefusedError(
            f"{summary.run} goes through its gates; nobody has asked to break the glass for it"
        )
    if glass.opened:
        raise RefusedError(f"the gates of {summary.run} are open since entry {glass.opened}")
    if summary.status in TERMINAL:
        raise RefusedError(f"{summary.run} is over: {view.status}")
    if glass.missing:
        require_known(home, identity, "break the glass", roles=_rules(home).roles)
        names = frozenset(name for one in glass.wanted for name in one)
        require_another(home, identity, names, "wants it already; somebody else must, too")
        reason = masking(home)(reason)
        body = BreakglassAgreed(plan=glass.plan, reason=reason)
        draft = Draft(identity.actor(), body, inc=glass.incident, run=glass.run, blobs=_long(reason))
        home.store.append([draft], guard=_Unchanged(glass))
        glass = glass_of(home.store, glass.run)
    return glass if glass.missing else open_gates(home, glass, identity)


def open_gates(home: Home, glass: BrokenGlass, identity: Identity) -> BrokenGlass:
    """Open the gates of a run that enough persons want past them, and tell people.

    1. The change that is to tell why is opened: what follows has a deadline from its first moment on.
    2. The gates are open for the plan that was asked for, by its digest, and for no other.
    3. Whoever is to be told is told now, and not when the run is over.

    Raises:
        RefusedError: not enough persons want it, or somebody has opened them meanwhile.
    """
    if glass.missing:
        raise RefusedError(f"{glass.missing} more must want {glass.run} past its gates")
    due = home.clock() + timedelta(milliseconds=_rules(home).settle_within)
    change = _change(home, glass, identity, due)
    how = "two_people" if glass.needs > 1 else "one_and_page"
    body = BreakglassOpened.model_validate({"plan": glass.plan, "change": change, "due_at": due, "how": how})
    draft = Draft(identity.actor(), body, inc=glass.incident, run=glass.run)
    home.store.append([draft], guard=_Unchanged(glass))
    tell(home)
    return glass_of(home.store, glass.run)


def _change(home: Home, glass: BrokenGlass, identity: Identity, due: datetime) -> str:
    plan = load_plan(home, glass.run)
    content = content_of_plan(
        plan, justification=glass.reason, incident=glass.incident, requested_by=glass.by
    ).model_copy(update={"type": "emergency", "run": glass.run})
    how = Opening(
        incident=glass.incident,
        key=f"breakglass {glass.run}",
        behalf=frozenset(name for one in glass.wanted for name in one),
        retrospective=True,
        due_at=due,
    )
    return open_change(home, identity.actor(), content, how)


def list_glasses(home: Home, *, everything: bool = False) -> list[GlassView]:
    """Give the runs that went past their gates and are not settled, or all of them, the newest first."""
    views = [_view(home, glass) for glass in (*all_glasses(home.store), *_merged(home))]
    return sorted(
        (view for view in views if everything or not (view.settled or view.given_up)),
        key=lambda view: view.glass.opened or 2**53,
        reverse=True,
    )


def glass_view(home: Home, run: str) -> GlassView | None:
    """Give how a run's glass stands; None where nobody touched it."""
    glass = glass_of(home.store, run)
    return _view(home, glass) if glass.run else None


def _view(home: Home, glass: BrokenGlass) -> GlassView:
    if not glass.change:
        over = RunSummary.decode(home.store.projection(RunSummaries.name, glass.run)).status in TERMINAL
        return GlassView(glass, settled=False, overdue=False, state="", given_up=over)
    state = registered_in(home.store, glass.change).state
    settled = state is ChangeState.CLOSED
    overdue = not settled and home.clock() >= read_moment(glass.due_at)
    return GlassView(glass, settled=settled, overdue=overdue, state=state.value if state else "")


def _merged(home: Home) -> Iterator[BrokenGlass]:
    """Give what went past its gates with a sealed pack, as the changes say that were opened when its log was merged."""
    for was in all_registered(home.store):
        if was.retrospective and was.key.startswith(MERGED):
            _, _, run = was.key.rpartition(" ")
            yield BrokenGlass(
                run=run,
                incident=was.incident,
                by=was.hands[0] if was.hands else "",
                reason=was.title,
                opened=was.seq,
                how="with a sealed pack",
                change=was.ref,
                due_at=was.due_at,
            )


def _rules(home: Home) -> BreakGlass:
    policy = load_policy(home.settings.policy)
    return BreakGlass() if policy is None else policy.break_glass


def _require_page(home: Home) -> None:
    if (home.settings.home / ABOUT).exists():
        return  # a sealed pack is used where nobody can be told
    told = {event for telling in load_notices(home.settings.notices).notices for event in telling.of}
    if NoticeEvent.BREAKGLASS not in told:
        raise RefusedError(
            "the policy lets one person break the glass where others are told at once, and nobody is told:"
            f" name a channel for {NoticeEvent.BREAKGLASS} in {home.settings.notices}"
        )


def _long(reason: str) -> tuple[Blob, ...]:
    return (Blob("reason", reason.encode(), "text"),) if len(reason) > REASON_LENGTH else ()


@dataclass(frozen=True, slots=True)
class _Unchanged:
    """Refuses a word on a glass that somebody else has touched meanwhile."""

    glass: BrokenGlass

    def __call__(self, view: View) -> None:
        if view.projection(BrokenGlasses.name, self.glass.run) != self.glass.encode():
            raise RefusedError(
                f"somebody has agreed, or opened the gates of {self.glass.run}, at this moment; look at it again"
            )
