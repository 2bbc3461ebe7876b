"""Settling doubts: by whom, with what reason, and by how many where the risk is high."""

from __future__ import annotations

import pytest
from builders.plans import a_plan, action, at_risk, manual
from builders.runs import ALEX, BILLIE, RESPONDER, Bench, person
from builders.world import words

from mimrun.app.decisions import attest
from mimrun.app.identity import Identity
from mimrun.app.resolving import MEANINGS, Resolution, Word, meanings, resolve, settle
from mimrun.app.runs import load_state
from mimrun.errors import GateError, InputError, RefusedError, TamperError
from mimrun.gate.people import Person
from mimrun.log.entry import MAX_BLOB, Actor, Draft
from mimrun.log.kinds import BODIES, Kind, StepResolutionProposed, StepResolved
from mimrun.run.record.fold import fold
from mimrun.run.record.state import CellKey
from mimrun.runbook.model import Risk

CELL = CellKey("1", "a")


@pytest.fixture
def doubtful(bench: Bench) -> str:
    """A run of high risk with one doubt."""
    plan = a_plan(bench.world, action("1", word="x", answer="lost"), action("2"))
    run, verdict = bench.run(at_risk(plan, Risk.HIGH))
    assert verdict.status == "in_doubt"
    return run


def say(bench: Bench, run: str, who: Identity, resolution: Resolution, reason: str = "saw it") -> bool:
    """Give a word; says whether it is only a proposal."""
    with bench.home() as home:
        return resolve(home, run, who, step="1", resolution=resolution, reason=reason).proposed


def test_at_high_risk_the_second_person_who_says_the_same_settles_it(bench: Bench, doubtful: str) -> None:
    assert say(bench, doubtful, RESPONDER, "applied")
    assert bench.execute(doubtful).status == "in_doubt", "a proposal settles nothing"
    assert bench.state(doubtful).proposals[CELL].by == "responder"
    assert not say(bench, doubtful, ALEX, "applied", "so did I")
    state = bench.state(doubtful)
    assert (state.proposals, state.in_doubt()) == ({}, [])
    assert bench.execute(doubtful).status == "succeeded"
    assert words(bench.world) == ["a:x", "a:w2"]
    assert bench.kinds(doubtful).count("step.resolution_proposed") == 1
    assert bench.is_intact()


def test_one_person_does_not_count_twice_also_under_another_account(bench: Bench, doubtful: str) -> None:
    bench.settings.people.write_text("people:\n  responder: {accounts: [root]}\n  alex: {}\n")
    claimed = Identity(Person("alex", "alex"), "claimed:root")
    assert say(bench, doubtful, claimed, "applied")
    with bench.home() as home:
        owner = Identity(home.people().person("responder"), "os-user")
    for who in (claimed, owner):
        with pytest.raises(GateError, match="another person must say the same"):
            say(bench, doubtful, who, "applied")
    assert bench.state(doubtful).in_doubt() == [CELL]


def test_at_one_keyboard_the_order_of_two_names_makes_no_difference(bench: Bench, doubtful: str) -> None:
    claimed = Identity(ALEX.person, "claimed:responder")
    assert say(bench, doubtful, RESPONDER, "applied")
    with pytest.raises(GateError, match=r"alex .*another person must say the same"):
        say(bench, doubtful, claimed, "applied")
    bench.settings.people.write_text(bench.settings.people.read_text() + "shared: [responder]\n")
    assert not say(bench, doubtful, claimed, "applied"), "there they share an account"


def test_another_word_takes_the_place_of_a_proposal(bench: Bench, doubtful: str) -> None:
    assert say(bench, doubtful, RESPONDER, "applied")
    assert say(bench, doubtful, ALEX, "not_applied")
    assert say(bench, doubtful, BILLIE, "applied"), "what was replaced is not waiting for its second"
    assert not say(bench, doubtful, RESPONDER, "applied")
    assert bench.execute(doubtful).status == "succeeded"


def test_below_high_risk_one_person_settles_it(bench: Bench) -> None:
    run, _ = bench.run(a_plan(bench.world, action("1", word="x", answer="lost")))
    assert not say(bench, run, RESPONDER, "skip")
    assert bench.execute(run).status == "succeeded"


def test_who_is_not_known_settles_and_attests_nothing(bench: Bench, doubtful: str) -> None:
    casey = person("casey", "service_desk", "responder")
    with pytest.raises(GateError, match="casey is not known"):
        say(bench, doubtful, casey, "applied")
    run, _ = bench.run(a_plan(bench.world, manual("1", role=None)))
    with bench.home() as home, pytest.raises(GateError, match="casey is not known"):
        attest(home, run, casey, {})


def test_a_role_that_was_taken_away_attests_nothing(bench: Bench) -> None:
    run, _ = bench.run(a_plan(bench.world, manual("1")))
    bench.settings.people.write_text("people:\n  alex: {roles: [responder]}\n")
    with bench.home() as home, pytest.raises(GateError, match="does not have the role service_desk"):
        attest(home, run, ALEX, {})


def test_a_reason_is_needed_and_evidence_is_kept(bench: Bench, doubtful: str) -> None:
    with pytest.raises(InputError, match="--reason"):
        say(bench, doubtful, RESPONDER, "applied", " ")
    with bench.home() as home:
        with pytest.raises(InputError, match="is the most"):
            settle(home, doubtful, RESPONDER, ("1", None), Word("applied", "x", b"x" * (MAX_BLOB + 1)))
        settle(home, doubtful, RESPONDER, ("1", "a"), Word("applied", "saw it", b"journal: x"))
        told = next(iter(home.store.entries(run=doubtful, kinds={Kind.STEP_RESOLUTION_PROPOSED})))
        assert home.store.blob(told, "evidence") == b"journal: x"
        with pytest.raises(InputError, match="step 2 is not in doubt; in doubt are: 1 on a"):
            resolve(home, doubtful, ALEX, step="2", resolution="applied", reason="x")


def test_a_word_on_a_run_that_has_moved_on_is_refused(
    bench: Bench, doubtful: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def meanwhile(home: object, run: str) -> object:
        state = load_state(home, run)  # type: ignore[arg-type]
        monkeypatch.undo()
        say(bench, doubtful, ALEX, "skip")
        return state

    monkeypatch.setattr("mimrun.app.resolving.load_state", meanwhile)
    with pytest.raises(RefusedError, match="has moved on"):
        say(bench, doubtful, RESPONDER, "applied")


def test_a_proposal_for_what_is_not_in_doubt_is_no_history(bench: Bench) -> None:
    run, _ = bench.run(a_plan(bench.world, action("1")))
    with bench.home() as home:
        body = StepResolutionProposed(resolution="applied", reason="x", intent=1)
        home.store.append([Draft(Actor("person", "alex"), body, run=run, step="1", target="a")])
        with pytest.raises(TamperError, match="which is not in doubt"):
            fold(home.store.entries(run=run))


def test_every_kind_of_doubt_has_its_own_words_for_every_answer(bench: Bench, doubtful: str) -> None:
    why = BODIES[Kind.STEP_IN_DOUBT].model_fields["why"].annotation
    answers = StepResolved.model_fields["resolution"].annotation
    assert set(MEANINGS) == set(why.__args__)  # type: ignore[union-attr]
    for words_ in MEANINGS.values():
        assert set(words_) == set(answers.__args__)  # type: ignore[union-attr]
    assert meanings(bench.state(doubtful), CELL) == MEANINGS["lost"]
