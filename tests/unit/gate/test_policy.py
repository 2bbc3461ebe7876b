"""The policy: what a gate asks for, by risk, priority, freeze, standard change and the runbook's own gate."""

from __future__ import annotations

from itertools import product
from typing import get_args

import pytest
from builders.plans import gate
from hypothesis import given
from hypothesis import strategies as st

from mimrun.gate.policy import (
    PRIORITIES,
    RANK,
    BreakGlass,
    Cell,
    Matrix,
    Policy,
    Priority,
    Row,
    Situation,
    Triggers,
    at_least,
    may_trigger,
    rule_of,
    terms,
)
from mimrun.runbook.launch import RiskRow, launch_gate
from mimrun.runbook.model import Needed, OnTimeout
from mimrun.runbook.node import PlannedGate

LAUNCH = launch_gate()
ROLES = ("responder", "change_manager", "major_incident_manager")


def asked(risk: RiskRow, priority: Priority | None = None, **more: bool) -> tuple[dict[str, int], str]:
    found = terms(Policy(), Situation(risk, priority, **more), LAUNCH)
    return {need.role: need.count for need in found.approvals}, found.change


def test_what_only_reads_asks_for_nothing_whatever_else_holds() -> None:
    for priority, frozen in product((None, *PRIORITIES), (False, True)):
        found = terms(Policy(), Situation("read_only", priority, frozen=frozen), LAUNCH)
        assert found.asks_nothing, (priority, frozen)


@pytest.mark.parametrize(
    ("risk", "priority", "approvals", "change"),
    [
        ("low", "P1", {}, "none"),
        ("low", "P2", {}, "none"),
        ("low", "P3", {"responder": 1}, "none"),
        ("low", None, {"responder": 1}, "none"),
        ("medium", "P1", {"change_manager": 1, "major_incident_manager": 1}, "emergency"),
        ("medium", "P2", {"change_manager": 1}, "emergency"),
        ("medium", "P5", {"change_manager": 1}, "normal"),
        ("medium", None, {"change_manager": 1}, "normal"),
        ("high", "P1", {"change_manager": 1, "major_incident_manager": 1}, "emergency"),
        ("high", "P4", {"change_manager": 1, "major_incident_manager": 1}, "normal"),
    ],
)
def test_the_default_matrix_asks_for_what_its_page_says(
    risk: RiskRow, priority: Priority | None, approvals: dict[str, int], change: str
) -> None:
    assert asked(risk, priority) == (approvals, change)


def test_a_freeze_adds_an_approver_an_override_or_a_refusal_by_risk() -> None:
    low, medium, high = (
        terms(Policy(), Situation(risk, "P1", frozen=True), LAUNCH) for risk in get_args(RiskRow)[1:]
    )
    assert [(n.role, n.count) for n in low.approvals] == [("responder", 1)]
    assert (medium.freeze_override, medium.change, low.freeze_override) == (True, "emergency", False)
    assert "freeze" in high.refused


def test_a_standard_change_stands_in_for_approvals_but_not_for_a_freeze() -> None:
    assert asked("medium", "P1", standard=True) == ({}, "standard")
    assert asked("low", standard=True) == ({}, "standard")
    assert asked("high", "P1", standard=True) == asked("high", "P1")
    frozen = terms(Policy(), Situation("medium", "P1", frozen=True, standard=True), LAUNCH)
    assert (frozen.change, frozen.freeze_override) == ("standard", True)


def test_the_runbooks_own_gate_is_added_with_the_larger_count_of_each_role() -> None:
    own = gate("3", role="change_manager", count=3)
    found = terms(Policy(), Situation("medium", "P1"), own)
    assert [(n.role, n.count) for n in found.approvals] == [
        ("change_manager", 3),
        ("major_incident_manager", 1),
    ]
    assert found.expires_ms == own.expires_ms
    assert "own gate" in found.because


def test_an_authors_normal_change_is_asked_for_although_a_standard_one_stands() -> None:
    own = gate("3").model_copy(update={"change": "normal"})
    assert terms(Policy(), Situation("medium", "P1", standard=True), own).change == "normal"
    assert terms(Policy(), Situation("medium", "P1", standard=True), gate("3")).change == "standard"


def test_a_kind_of_change_that_nobody_knows_asks_for_the_most() -> None:
    own = gate("3").model_copy(update={"change": "whatever"})
    assert terms(Policy(), Situation("low", "P1"), own).change == "normal"


def test_without_a_policy_the_own_gate_stands_alone() -> None:
    own = gate("3", count=2, on_timeout=OnTimeout.UNDO)
    found = terms(None, Situation("high"), own)
    assert (found.approvals, found.change, found.on_timeout) == (own.approvals, "none", OnTimeout.UNDO)
    assert terms(None, Situation("high"), LAUNCH).asks_nothing


def test_without_a_policy_a_freeze_needs_its_override_all_the_same() -> None:
    assert terms(None, Situation("low", frozen=True), LAUNCH).freeze_override
    assert not terms(None, Situation("read_only", frozen=True), LAUNCH).freeze_override


def test_the_time_out_of_an_own_gate_is_the_authors_unless_a_cell_says_another() -> None:
    own = gate("3", on_timeout=OnTimeout.UNDO)
    assert terms(Policy(), Situation("low"), own).on_timeout is OnTimeout.UNDO
    assert terms(Policy(), Situation("low"), LAUNCH).on_timeout is OnTimeout.ESCALATE
    row = Row(other=Cell(approvals=(Needed(role="a"),), on_timeout=OnTimeout.FAIL), freeze=Cell())
    policy = Policy(matrix=Matrix(low=row))
    assert terms(policy, Situation("low"), own).on_timeout is OnTimeout.FAIL


def test_an_alert_may_not_launch_what_is_not_listed_for_it() -> None:
    def refused(risk: RiskRow, *, standard: bool = False) -> str:
        return terms(Policy(), Situation(risk, "P1", standard=standard, triggered=True), LAUNCH).refused

    assert not refused("read_only")
    assert not refused("low")
    assert not refused("medium", standard=True)
    assert "proposes" in refused("medium")
    assert "proposes" in refused("high", standard=True)
    assert may_trigger(Policy(triggers=Triggers(launch=())), "low", standard=False)


def test_signing_is_asked_for_by_the_whole_policy_or_by_a_cell() -> None:
    row = Row(other=Cell(approvals=(Needed(role="a"),), signed=True), freeze=Cell())
    assert terms(Policy(matrix=Matrix(high=row)), Situation("high"), LAUNCH).signed
    assert not terms(Policy(matrix=Matrix(high=row)), Situation("low"), LAUNCH).signed
    assert terms(Policy(signed=True), Situation("low"), LAUNCH).signed


def test_the_rule_that_holds_is_named() -> None:
    assert rule_of(Policy(), Situation("medium", "P1"))[0] == "matrix.medium.P1"
    assert rule_of(Policy(), Situation("medium", "P4"))[0] == "matrix.medium.other"
    row = Row(other=Cell(), undeclared=Cell(change="normal"), freeze=Cell())
    assert rule_of(Policy(matrix=Matrix(low=row)), Situation("low"))[0] == "matrix.low.undeclared"


def test_what_is_not_written_is_said_to_be_the_default() -> None:
    assert "default" in Policy(file="policy.yaml").place("matrix.low.P1")
    assert Policy(file="policy.yaml", lines={"matrix.low.P1": 4}).place("matrix.low.P1") == "policy.yaml:4"
    assert BreakGlass().settle_within == 24 * 3_600_000


needs = st.dictionaries(st.sampled_from(ROLES), st.integers(1, 3)).map(
    lambda d: tuple(Needed(role=role, count=count) for role, count in sorted(d.items()))
)
cells = st.builds(
    Cell,
    approvals=needs,
    change=st.sampled_from(sorted(RANK)),
    pre_authorised=st.booleans(),
    signed=st.booleans(),
    expires=st.none() | st.sampled_from([60_000, 600_000]).map(lambda ms: f"{ms // 1000}s"),
)
freezes = st.builds(
    Cell,
    approvals=needs,
    change=st.sampled_from(sorted(RANK)),
    freeze_override=st.booleans(),
    refused=st.sampled_from(["", "no"]),
)
situations = st.builds(
    Situation,
    st.sampled_from(get_args(RiskRow)),
    st.none() | st.sampled_from(PRIORITIES),
    frozen=st.booleans(),
    standard=st.booleans(),
    triggered=st.booleans(),
)
owns = st.just(LAUNCH) | st.builds(
    lambda approvals, change, expires: PlannedGate(
        path="3",
        name="own",
        change=change,
        approvals=approvals,
        expires_ms=expires,
        on_timeout=OnTimeout.FAIL,
    ),
    needs,
    st.sampled_from(sorted(RANK)),
    st.sampled_from([30_000, 900_000]),
)


def policy_of(cell: Cell, freeze: Cell) -> Policy:
    row = Row(other=cell, freeze=freeze)
    return Policy(matrix=Matrix(low=row, medium=row, high=row))


def stricter(cell: Cell, more: Cell) -> Cell:
    """Give a cell that asks for all that both ask for."""
    counts = {n.role: n.count for n in cell.approvals}
    for need in more.approvals:
        counts[need.role] = max(need.count, counts.get(need.role, 0))
    expires = [ms for ms in (cell.expires, more.expires) if ms]
    return Cell(
        approvals=tuple(Needed(role=role, count=count) for role, count in sorted(counts.items())),
        change=max(cell.change, more.change, key=RANK.__getitem__),
        pre_authorised=cell.pre_authorised and more.pre_authorised,
        signed=cell.signed or more.signed,
        expires=f"{min(expires) // 1000}s" if expires else None,
        freeze_override=cell.freeze_override or more.freeze_override,
        refused=cell.refused or more.refused,
    )


@given(cells, cells, freezes, freezes, situations, owns)
def test_a_stricter_cell_never_gives_weaker_terms(
    cell: Cell, more: Cell, freeze: Cell, closer: Cell, situation: Situation, own: PlannedGate
) -> None:
    weak = terms(policy_of(cell, freeze), situation, own)
    strong = terms(policy_of(stricter(cell, more), stricter(freeze, closer)), situation, own)
    assert at_least(strong, weak, standard=situation.standard)


@given(cells, freezes, situations, owns)
def test_the_own_gates_approvals_are_always_contained(
    cell: Cell, freeze: Cell, situation: Situation, own: PlannedGate
) -> None:
    for policy in (None, policy_of(cell, freeze)):
        found = terms(policy, situation, own)
        counts = {need.role: need.count for need in found.approvals}
        assert all(counts.get(need.role, 0) >= need.count for need in own.approvals)
        assert found.expires_ms > 0


@given(cells, freezes, situations, owns)
def test_a_freeze_only_ever_adds(cell: Cell, freeze: Cell, situation: Situation, own: PlannedGate) -> None:
    policy = policy_of(cell, freeze)
    now = Situation(situation.risk, situation.priority, standard=situation.standard)
    then = Situation(situation.risk, situation.priority, frozen=True, standard=situation.standard)
    assert at_least(terms(policy, then, own), terms(policy, now, own), standard=situation.standard)


@given(situations, owns)
def test_an_alert_never_gets_more_than_a_person(situation: Situation, own: PlannedGate) -> None:
    person = Situation(
        situation.risk, situation.priority, frozen=situation.frozen, standard=situation.standard
    )
    alert = Situation(
        situation.risk,
        situation.priority,
        frozen=situation.frozen,
        standard=situation.standard,
        triggered=True,
    )
    assert at_least(terms(Policy(), alert, own), terms(Policy(), person, own))
