from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimrun.change_system import ChangeApproval, ChangeState, ChangeType, Conflict
from mimrun.errors import GateError, RefusedError, TamperError
from mimrun.gate.change import ChangeNeed, check_change
from mimrun.gate.people import People, Person, Team
from mimrun.gate.register import (
    MOVES,
    Content,
    Register,
    Registered,
    RegisterKeys,
    RegisterNumbers,
    follow,
)
from mimrun.gate.register_rules import (
    approval_of,
    as_change,
    check_decider,
    check_move,
    is_overdue,
    missing,
    overlaps,
)
from mimrun.log.entry import Actor, LogEntry
from mimrun.log.kinds import (
    Body,
    ChangeDecided,
    ChangeEdited,
    ChangeLinked,
    ChangeMoved,
    ChangeOpened,
)
from mimrun.log.merkle import leaf_hash
from mimrun.log.moment import write_moment

NOW = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
PLAN = "sha256:" + "b" * 64
S = ChangeState


def content(**other: Any) -> Content:
    usual: dict[str, Any] = {
        "type": "normal",
        "title": "Promote the standby",
        "risk": "high",
        "justification": "the primary loses its disk",
        "implementation": "1. promote",
        "backout": "fail back",
        "test": "drilled",
        "targets": ("db1", "db2"),
        "window_start": write_moment(NOW - HOUR),
        "window_end": write_moment(NOW + HOUR),
        "run": "run-1",
        "digest": PLAN,
        "requested_by": "casey",
    }
    return Content(**(usual | other))


TEXT = content()


def person(id_: str, *roles: str, accounts: Sequence[str] = ()) -> Person:
    return Person(id_, id_, frozenset(roles), frozenset(accounts))


PEOPLE = People(
    {
        p.id: p
        for p in (
            person("alex", "change_manager", accounts=["aromero"]),
            person("billie", "change_manager"),
            person("casey", "change_manager", "responder", accounts=["cdoe"]),
            person("board", "emergency_board"),
            person("dana", "responder"),
        )
    },
    teams={"duo": Team("duo", members=("alex", "billie")), "solo": Team("solo", members=("alex",))},
)


def entry(body: Body, who: str = "casey", auth: str = "os-user", seq: int = 7, run: str = "") -> LogEntry:
    actor, zero = Actor("person", who, "cli", auth), leaf_hash(b"").hex()
    at = NOW + timedelta(seconds=seq)
    return LogEntry("log", seq, at, "", 0, zero, actor, run, "", "", 0, 0, body, (), zero)


def opened(type_: ChangeType = "normal", **other: Any) -> Registered:
    body = ChangeOpened(ref="CHG-1", type=type_, title="Promote", risk="high", record=TEXT.record, **other)
    return follow(Registered(), entry(body))


def walked(was: Registered, *states: ChangeState) -> Registered:
    for state in states:
        was = follow(was, entry(ChangeMoved(ref=was.ref, state=state)))
    return was


def decided(was: Registered, who: str, decision: str = "approved", **other: Any) -> Registered:
    given_ = {"record": was.record, "role": "change_manager"} | other
    return follow(was, entry(ChangeDecided(ref=was.ref, decision=cast(Any, decision), **given_), who))


def test_a_normal_change_goes_its_whole_way() -> None:
    was = walked(opened(), S.ASSESS, S.AUTHORIZE, S.SCHEDULED, S.IMPLEMENT, S.REVIEW, S.CLOSED)
    assert was.state is S.CLOSED


@pytest.mark.parametrize("type_", ["normal", "standard", "emergency"])
@pytest.mark.parametrize("state", list(S))
@pytest.mark.parametrize("to", list(S))
def test_only_the_table_of_moves_is_followed(type_: ChangeType, state: ChangeState, to: ChangeState) -> None:
    was = opened(type_).model_copy(update={"state": state})
    body = entry(ChangeMoved(ref="CHG-1", state=to))
    if to in MOVES[type_][state]:
        check_move(was, to)
        assert follow(was, body).state is to
        return
    with pytest.raises(TamperError):
        follow(was, body)
    with pytest.raises(RefusedError, match="goes from there to"):
        check_move(was, to)


@pytest.mark.parametrize("type_", ["normal", "standard", "emergency"])
def test_nothing_is_done_before_it_is_authorized_and_nothing_comes_behind_the_end(type_: ChangeType) -> None:
    reached, todo = {S.DRAFT}, [S.DRAFT]
    while todo:
        for to in MOVES[type_][todo.pop()]:
            if to not in (S.AUTHORIZE, *reached):
                reached.add(to)
                todo.append(to)
    assert reached <= {S.DRAFT, S.ASSESS, S.CANCELED}
    assert MOVES[type_][S.CLOSED] == MOVES[type_][S.CANCELED] == ()


def test_an_edit_voids_what_was_decided() -> None:
    was = decided(walked(opened(), S.ASSESS, S.AUTHORIZE), "alex")
    assert approval_of(was, PEOPLE) is ChangeApproval.APPROVED
    other = content(backout="nothing").record
    was = follow(was, entry(ChangeEdited(ref="CHG-1", record=other), "dana"))
    assert was.said == ()
    assert approval_of(was, PEOPLE) is ChangeApproval.REQUESTED
    assert "dana" in was.hands


def test_a_decision_about_another_text_counts_for_nothing() -> None:
    was = walked(opened(), S.ASSESS, S.AUTHORIZE)
    assert decided(was, "alex", record=content(title="else").record).said == ()


def test_an_approval_that_was_taken_back_is_gone() -> None:
    was = decided(walked(opened(), S.ASSESS, S.AUTHORIZE), "alex")
    assert decided(was, "alex", "withdrawn").said == ()
    assert len(decided(was, "billie", "withdrawn").said) == 1


def test_a_rejection_stands_above_approvals() -> None:
    was = decided(decided(walked(opened(), S.ASSESS, S.AUTHORIZE), "alex"), "billie", "rejected", reason="no")
    assert approval_of(was, PEOPLE) is ChangeApproval.REJECTED


def test_whoever_lost_the_role_has_allowed_nothing() -> None:
    was = decided(walked(opened(), S.ASSESS, S.AUTHORIZE, S.SCHEDULED), "alex")
    without = People({"alex": person("alex", "responder")})
    assert approval_of(was, without) is ChangeApproval.REQUESTED
    assert as_change(was, TEXT, without, (), NOW).votes == ()


@pytest.mark.parametrize(
    ("who", "auth", "why"),
    [
        ("dana", "os-user", "dana has responder"),
        ("board", "os-user", "board has emergency_board"),
        ("casey", "os-user", "asked for CHG-1"),
        ("alex", "claimed:cdoe", "asked for CHG-1"),
        ("billie", "os-user", "launched a run"),
    ],
)
def test_who_may_not_decide_is_told_why(who: str, auth: str, why: str) -> None:
    was = walked(opened(), S.ASSESS, S.AUTHORIZE)
    with pytest.raises(GateError, match=why):
        check_decider(was, TEXT, PEOPLE.person(who), auth, PEOPLE, launchers=["billie"])


def test_another_change_manager_decides() -> None:
    was = walked(opened(), S.ASSESS, S.AUTHORIZE)
    assert (
        check_decider(was, TEXT, PEOPLE.person("alex"), "os-user", PEOPLE, launchers=["dana"])
        == "change_manager"
    )
    assert check_decider(
        walked(opened("emergency"), S.AUTHORIZE), TEXT, PEOPLE.person("board"), "os-user", PEOPLE
    )


@pytest.mark.parametrize(
    ("owner", "may"), [("alex", False), ("aromero", False), ("solo", False), ("duo", True)]
)
def test_whoever_owns_the_runbook_does_not_authorise_it_beforehand(owner: str, may: bool) -> None:
    was, text = walked(opened("standard"), S.AUTHORIZE), content(type="standard", owner=owner)
    if may:
        assert check_decider(was, text, PEOPLE.person("alex"), "os-user", PEOPLE)
        return
    with pytest.raises(GateError, match="owns"):
        check_decider(was, text, PEOPLE.person("alex"), "os-user", PEOPLE)


def test_a_draft_is_not_decided() -> None:
    with pytest.raises(GateError, match="submit it first"):
        check_decider(opened(), TEXT, PEOPLE.person("alex"), "os-user", PEOPLE)


def test_what_is_missing_is_listed() -> None:
    empty = {"justification": "", "backout": "", "test": "", "targets": (), "window_start": ""}
    assert missing(content(**empty)) == ("justification", "backout", "test", "targets", "window")
    hurried = content(type="emergency", **empty)
    assert missing(hurried) == ("justification", "targets")
    assert missing(hurried, closing=True) == ("justification", "backout", "test", "targets")
    assert missing(hurried, retrospective=True) == ("justification",)
    assert missing(TEXT) == missing(TEXT, closing=True) == ()


def test_overlapping_windows_on_the_same_hosts_are_conflicts() -> None:
    other = opened().model_copy(update={"ref": "CHG-2", "state": S.SCHEDULED})
    theirs = content(run="run-2", targets=("db2",))
    assert overlaps(TEXT, [(other, theirs)]) == (Conflict("ci_already_scheduled", "CHG-2"),)
    later = {"window_start": write_moment(NOW + HOUR), "window_end": write_moment(NOW + 2 * HOUR)}
    for none in (
        content(run="run-2", targets=("web1",)),
        content(run="run-2", **later),
        content(run="run-1"),
    ):
        assert overlaps(TEXT, [(other, none)]) == ()
    assert overlaps(TEXT, [(other.model_copy(update={"state": S.CANCELED}), theirs)]) == ()
    same = content(run="run-2", incident="INC-1")
    assert overlaps(content(incident="INC-1"), [(other, same)]) == ()


def need(**other: Any) -> ChangeNeed:
    usual: dict[str, Any] = {
        "kind": "normal",
        "run": "run-1",
        "digest": "sha256:" + "a" * 64,
        "plan": PLAN,
        "runbook": "",
        "targets": frozenset({"db1"}),
        "excluded": frozenset({"dana"}),
        "people": PEOPLE,
    }
    return ChangeNeed(**(usual | other))


def test_an_approved_record_of_the_register_allows_its_run() -> None:
    was = decided(walked(opened(), S.ASSESS, S.AUTHORIZE), "alex")
    was = walked(was, S.SCHEDULED)
    assert check_change(as_change(was, TEXT, PEOPLE, (), NOW), need(), NOW) == ()
    claimed = need(excluded=frozenset({"alex"}))
    assert check_change(as_change(was, TEXT, PEOPLE, (), NOW), claimed, NOW)


def test_a_text_that_was_erased_allows_nothing() -> None:
    was = walked(decided(walked(opened(), S.ASSESS, S.AUTHORIZE), "alex"), S.SCHEDULED)
    reasons = check_change(as_change(was, None, PEOPLE, (), NOW), need(), NOW)
    assert any("erased" in reason for reason in reasons)


def test_a_conflict_stands_until_an_approver_answers_for_it() -> None:
    clash = (Conflict("ci_already_scheduled", "CHG-2"),)
    was = walked(decided(walked(opened(), S.ASSESS, S.AUTHORIZE), "alex"), S.SCHEDULED)
    assert check_change(as_change(was, TEXT, PEOPLE, clash, NOW), need(), NOW)
    knowing = decided(was, "alex", despite=("ci_already_scheduled CHG-2",))
    assert check_change(as_change(knowing, TEXT, PEOPLE, clash, NOW), need(), NOW) == ()
    more = (*clash, Conflict("ci_already_scheduled", "CHG-3"))
    assert check_change(as_change(knowing, TEXT, PEOPLE, more, NOW), need(), NOW)


def test_a_record_written_afterwards_is_overdue_when_its_time_is_over() -> None:
    was = opened("emergency", retrospective=True, due_at=write_moment(NOW))
    assert is_overdue(was, NOW)
    assert not is_overdue(was, NOW - HOUR)
    assert not is_overdue(walked(was, S.AUTHORIZE, S.REVIEW, S.CLOSED), NOW)


def test_numbers_and_keys_are_folded() -> None:
    body = ChangeOpened(ref="CHG-41", type="normal", title="t", risk="low", record=TEXT.record, key="run-1 x")
    assert RegisterNumbers().apply(b"40", entry(body), {}) == b"41"
    keys = RegisterKeys()
    assert keys.key(entry(body)) == "run-1 x"
    first = keys.apply(b"", entry(body), {})
    assert keys.apply(first, entry(body.model_copy(update={"ref": "CHG-42"})), {}) == b"CHG-41"


bodies = st.one_of(
    st.sampled_from(list(S)).map(lambda state: ChangeMoved(ref="CHG-1", state=state)),
    st.sampled_from(["approved", "rejected", "withdrawn"]).map(
        lambda said: ChangeDecided(
            ref="CHG-1", decision=cast(Any, said), record=TEXT.record, role="change_manager"
        )
    ),
    st.just(ChangeEdited(ref="CHG-1", record=content(title="other").record)),
    st.just(ChangeLinked(system="register", ref="CHG-1")),
)


@given(st.lists(st.tuples(bodies, st.sampled_from(["alex", "billie", "casey"])), max_size=15))
def test_whatever_follows_a_state_can_be_stored_and_read_back(steps: list[tuple[Body, str]]) -> None:
    register = Register()
    state = opened().encode()
    for seq, (body, who) in enumerate(steps, 10):
        one = entry(body, who, seq=seq, run="run-9")
        assert register.key(one) == "CHG-1"
        try:
            state = register.apply(state, one, {})
        except TamperError:
            continue
        was = Registered.decode(state)
        assert was.encode() == state
        assert len({said.person for said in was.said}) == len(was.said)
