from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from builders.plans import a_plan, action
from builders.runs import ALEX, RESPONDER, Bench, person

from mimrun.app.home import Home
from mimrun.app.killswitch import pull
from mimrun.app.rule.drafts import proposal_draft, rule_actor
from mimrun.app.rule.proposals import (
    dismiss_proposal,
    find_proposal,
    list_proposals,
    proposal_plan,
    take_proposal,
)
from mimrun.app.runs import find_run, load_plan
from mimrun.errors import GateError, InputError, KillSwitchError, RefusedError
from mimrun.log.entry import Draft
from mimrun.log.kinds import IncidentOpened, Kind, ProposalTaken, RuleEnded, RuleFired
from mimrun.log.moment import utc_now
from mimrun.runbook.plan import Plan

OTHER = "sha256:" + "1" * 64
INC = "INC-20261122-7K2Q"


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def propose(home: Home, plan: Plan, name: str = "prop-1", *, for_: timedelta = timedelta(hours=1)) -> str:
    """Record what a rule records that proposes a plan."""
    actor = rule_actor("primary-down")
    fired = RuleFired(
        rule="primary-down",
        rules=OTHER,
        episode=f"ep-{name}",
        group="all",
        outcome="proposed",
        proposal=name,
        alerts=(1,),
        count=1,
    )
    home.store.append(
        [
            Draft(actor, IncidentOpened(title="The primary is down"), inc=INC),
            Draft(actor, fired, inc=INC),
            proposal_draft("primary-down", name, plan, INC, utc_now() + for_),
        ]
    )
    return name


def test_a_proposal_shows_what_it_is_for(bench: Bench) -> None:
    plan = a_plan(bench.world, action("1"))
    with bench.home() as home:
        propose(home, plan)
        (view,) = list_proposals(home)
        assert (view.name, view.rule, view.runbook, view.version) == (
            "prop-1",
            "primary-down",
            "test",
            "1.0.0",
        )
        assert (view.state, view.incident, view.digest, view.risk) == ("open", INC, plan.digest, "medium")
        assert (view.alerts, view.burns) == ((1,), True)
        assert proposal_plan(home, "prop-1") == plan
        assert find_proposal(home, "latest") == view


def test_what_is_taken_is_launched_by_the_person_in_the_incident(bench: Bench) -> None:
    plan = a_plan(bench.world, action("1"))
    with bench.home() as home:
        run = take_proposal(home, RESPONDER, propose(home, plan), plan.digest)
        summary = find_run(home, run).summary
        assert (summary.launched_by, summary.incident, summary.plan) == ("responder", INC, plan.digest)
        assert load_plan(home, run) == plan
        view = find_proposal(home, "prop-1")
        assert (view.state, view.said.by, view.said.run) == ("taken", "responder", run)


def test_another_digest_voids_it(bench: Bench) -> None:
    with bench.home() as home:
        propose(home, a_plan(bench.world, action("1")))
        with pytest.raises(RefusedError, match=f"and not for {OTHER}; look at it again"):
            take_proposal(home, RESPONDER, "prop-1", OTHER)
        assert find_proposal(home, "prop-1").state == "open"


def test_it_is_taken_once(bench: Bench) -> None:
    plan = a_plan(bench.world, action("1"))
    with bench.home() as home:
        propose(home, plan)
        run = take_proposal(home, RESPONDER, "prop-1", plan.digest)
        with pytest.raises(RefusedError, match=f"responder took prop-1 at .* UTC: `mimrun status {run}`"):
            take_proposal(home, ALEX, "prop-1", plan.digest)


def test_of_two_who_take_it_at_the_same_moment_one_is_heard(bench: Bench) -> None:
    """The second one looked while it was open, and asks when it is not any more."""
    plan = a_plan(bench.world, action("1"))
    with bench.home() as home, bench.home() as other:
        propose(home, plan)
        taken: list[str] = []

        class Late:
            """Lets somebody else be quicker right before it appends."""

            def __getattr__(self, name: str) -> object:
                return getattr(home.store, name)

            def append(self, drafts: object, *, guard: object = None) -> object:
                if not taken:
                    taken.append(take_proposal(other, ALEX, "prop-1", plan.digest))
                return home.store.append(drafts, guard=guard)  # type: ignore[arg-type]

        with pytest.raises(RefusedError, match="alex took prop-1"):
            take_proposal(replace(home, store=Late()), RESPONDER, "prop-1", plan.digest)  # type: ignore[arg-type]
        bodies = [entry.body for entry in home.store.entries(kinds={Kind.PROPOSAL_TAKEN, Kind.RUN_CREATED})]
        assert len(bodies) == 2
        assert bodies[1] == ProposalTaken(proposal="prop-1")


def test_time_takes_it_away_also_where_nobody_looked(bench: Bench) -> None:
    plan = a_plan(bench.world, action("1"))
    with bench.home() as home:
        propose(home, plan, for_=timedelta(minutes=5))
        later = replace(home, clock=lambda: utc_now() + timedelta(minutes=6))
        assert find_proposal(later, "prop-1").state == "expired"
        with pytest.raises(
            RefusedError, match=r"prop-1 could be taken until .* UTC; launch it anew: `mimrun run"
        ):
            take_proposal(later, RESPONDER, "prop-1", plan.digest)
        assert not [*home.store.entries(kinds={Kind.RUN_CREATED})]


def test_dismissed_with_a_reason_it_is_not_launched(bench: Bench) -> None:
    plan = a_plan(bench.world, action("1"))
    with bench.home() as home:
        propose(home, plan)
        with pytest.raises(InputError, match="say why it is not launched"):
            dismiss_proposal(home, RESPONDER, "prop-1", " ")
        with pytest.raises(GateError, match="stranger is not known"):
            dismiss_proposal(home, person("stranger"), "prop-1", "no")
        view = dismiss_proposal(home, RESPONDER, "prop-1", "a drill")
        assert (view.state, view.said.why) == ("dismissed", "a drill")
        with pytest.raises(RefusedError, match=r"responder dismissed prop-1 at .*: a drill"):
            take_proposal(home, RESPONDER, "prop-1", plan.digest)


def test_the_kill_switch_holds_it(bench: Bench) -> None:
    plan = a_plan(bench.world, action("1"))
    with bench.home() as home:
        propose(home, plan)
        pull(bench.settings, RESPONDER, "stop")
        with pytest.raises(KillSwitchError):
            take_proposal(home, RESPONDER, "prop-1", plan.digest)
        assert find_proposal(home, "prop-1").state == "open"


def test_it_says_that_nothing_burns_any_more(bench: Bench) -> None:
    with bench.home() as home:
        propose(home, a_plan(bench.world, action("1")))
        ended = RuleEnded(rule="primary-down", episode="ep-prop-1", group="all", reason="resolved")
        home.store.append([Draft(rule_actor("primary-down"), ended, inc=INC)])
        view = find_proposal(home, "prop-1")
        assert (view.state, view.burns) == ("open", False)


def test_a_name_that_is_none_is_said_with_those_that_are(bench: Bench) -> None:
    plan = a_plan(bench.world, action("1"))
    with bench.home() as home:
        propose(home, plan, "prop-1")
        propose(home, plan, "prop-2")
        with pytest.raises(InputError, match="no proposal 'x'; the last ones are: prop-2, prop-1"):
            find_proposal(home, "x")
        with pytest.raises(InputError, match="is the beginning of prop-2, prop-1; write more"):
            find_proposal(home, "prop")
        assert find_proposal(home, "prop-2").name == "prop-2"


def test_what_was_made_anew_is_not_taken_under_its_old_name_by_whoever_has_a_slower_clock(
    bench: Bench,
) -> None:
    plan = a_plan(bench.world, action("1"))
    with bench.home() as home:
        first = propose(home, plan)
        entry = next(iter(home.store.entries(kinds={Kind.RULE_FIRED})))
        assert isinstance(entry.body, RuleFired)
        home.store.append(
            [
                Draft(entry.actor, entry.body.model_copy(update={"proposal": "prop-2"}), inc=INC),
                proposal_draft("primary-down", "prop-2", plan, INC, utc_now() + timedelta(hours=1)),
            ]
        )
        with pytest.raises(RefusedError, match="made anew"):
            take_proposal(home, RESPONDER, first, plan.digest)
        assert take_proposal(home, RESPONDER, "prop-2", plan.digest)
