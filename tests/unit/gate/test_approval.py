from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimrun.errors import GateError
from mimrun.gate.approval import (
    SKEW,
    Closed,
    ClosedBy,
    Decision,
    Open,
    Request,
    Vote,
    Waiting,
    check_gate,
)
from mimrun.gate.decision import Word, check_voter
from mimrun.gate.people import People, Person
from mimrun.gate.terms import Terms
from mimrun.runbook.model import Needed

NOW = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)
SHOWN = "sha256:" + "a" * 64
OTHER = "sha256:" + "b" * 64


def people(**roles: set[str]) -> People:
    return People({name: Person(name, name, frozenset(held)) for name, held in roles.items()})


STAFF = people(
    launcher={"responder", "change_manager"},
    alex={"change_manager"},
    billie={"change_manager", "security"},
    casey={"security"},
    dana={"responder"},
)


def request(*needed: Needed, digest: str = SHOWN, minutes: int = 30) -> Request:
    roles = needed or (Needed(role="change_manager"),)
    terms = Terms(approvals=roles, expires_ms=minutes * 60_000)
    return Request(digest, terms, NOW, frozenset({"launcher"}))


def vote(person: str, decision: Decision = Decision.APPROVED, digest: str = SHOWN, after_s: int = 10) -> Vote:
    return Vote(person, decision, digest, NOW + timedelta(seconds=after_s), "because")


def at(seconds: int) -> datetime:
    return NOW + timedelta(seconds=seconds)


def test_one_approval_by_the_right_role_opens_the_gate() -> None:
    assert check_gate(request(), [vote("alex")], STAFF, now=at(20)) == Open(("alex",))


def test_nobody_yet_means_waiting_and_says_who_is_missing() -> None:
    assert check_gate(request(), [], STAFF, now=at(20)) == Waiting({"change_manager": 1}, at(1800))


def test_the_launcher_never_counts_even_with_the_role() -> None:
    assert isinstance(check_gate(request(), [vote("launcher")], STAFF, now=at(20)), Waiting)


def test_an_approval_of_another_digest_counts_for_nothing() -> None:
    assert isinstance(check_gate(request(), [vote("alex", digest=OTHER)], STAFF, now=at(20)), Waiting)


def test_an_approval_from_before_the_request_counts_for_nothing() -> None:
    assert isinstance(check_gate(request(), [vote("alex", after_s=-1)], STAFF, now=at(20)), Waiting)


def test_sixty_four_approvals_by_one_person_count_once() -> None:
    asked = request(Needed(role="change_manager", count=2))
    verdict = check_gate(asked, [vote("alex", after_s=n) for n in range(64)], STAFF, now=at(100))
    assert verdict == Waiting({"change_manager": 1}, at(1800))


def test_one_person_fills_one_place_even_with_both_roles() -> None:
    asked = request(Needed(role="change_manager"), Needed(role="security"))
    assert isinstance(check_gate(asked, [vote("billie")], STAFF, now=at(20)), Waiting)


@pytest.mark.parametrize("order", list(permutations(["alex", "billie"])))
def test_two_people_fill_two_places_in_whichever_order_they_came(order: tuple[str, ...]) -> None:
    asked = request(Needed(role="security"), Needed(role="change_manager"))
    verdict = check_gate(asked, [vote(name) for name in order], STAFF, now=at(20))
    assert verdict == Open(("alex", "billie"))


def test_a_role_that_was_taken_away_takes_the_approval_with_it() -> None:
    later = people(alex={"responder"}, launcher={"responder"})
    assert isinstance(check_gate(request(), [vote("alex")], later, now=at(20)), Waiting)


def test_somebody_who_left_does_not_count() -> None:
    assert isinstance(check_gate(request(), [vote("alex")], people(), now=at(20)), Waiting)


def test_an_approval_expires_at_its_last_second() -> None:
    given_votes = [vote("alex", after_s=0)]
    assert isinstance(check_gate(request(), given_votes, STAFF, now=at(1799)), Open)
    assert isinstance(check_gate(request(), given_votes, STAFF, now=at(1800)), Closed)


def test_a_gate_nobody_decided_expires_and_never_opens() -> None:
    verdict = check_gate(request(), [], STAFF, now=at(1800))
    assert isinstance(verdict, Closed)
    assert verdict.by is ClosedBy.EXPIRED


def test_one_rejection_closes_the_gate_whoever_else_agreed() -> None:
    votes = [vote("alex"), vote("billie", Decision.REJECTED)]
    verdict = check_gate(request(), votes, STAFF, now=at(20))
    assert isinstance(verdict, Closed)
    assert verdict.by is ClosedBy.REJECTED
    assert "billie" in verdict.detail


def test_a_rejection_by_somebody_without_the_role_does_not_count() -> None:
    votes = [vote("alex"), vote("dana", Decision.REJECTED)]
    assert isinstance(check_gate(request(), votes, STAFF, now=at(20)), Open)


def test_a_gate_that_names_nobody_is_closed() -> None:
    nobody = Request(SHOWN, Terms(expires_ms=1_800_000), NOW, frozenset())
    assert isinstance(check_gate(nobody, [vote("alex")], STAFF, now=at(20)), Closed)


@pytest.mark.parametrize(
    ("person", "digest", "message"),
    [
        ("launcher", SHOWN, "launcher asked for or launched this run"),
        ("dana", SHOWN, "dana has responder; this gate needs change_manager"),
        ("alex", OTHER, "what would run has changed"),
    ],
)
def test_who_may_not_vote_is_told_why(person: str, digest: str, message: str) -> None:
    with pytest.raises(GateError, match=message):
        check_voter(STAFF.person(person), request(), [], STAFF, Word(digest), now=at(20))


def test_a_second_vote_of_one_person_is_refused() -> None:
    with pytest.raises(GateError, match="decided here already"):
        check_voter(STAFF.person("alex"), request(), [vote("alex")], STAFF, Word(SHOWN), now=at(20))


def test_nobody_votes_at_an_expired_gate() -> None:
    with pytest.raises(GateError, match="expired"):
        check_voter(STAFF.person("alex"), request(), [], STAFF, Word(SHOWN), now=at(1800))


@given(
    votes=st.lists(
        st.builds(
            vote,
            st.sampled_from(sorted(STAFF.by_id)),
            st.just(Decision.APPROVED),
            st.sampled_from([SHOWN, OTHER]),
            st.integers(-60, 4000),
        ),
        max_size=12,
    ),
    counts=st.lists(
        st.tuples(st.sampled_from(["change_manager", "security"]), st.integers(1, 3)), min_size=1, max_size=3
    ),
    seconds=st.integers(0, 5000),
)
def test_a_gate_is_open_only_when_distinct_people_can_be_seated(
    votes: list[Vote], counts: list[tuple[str, int]], seconds: int
) -> None:
    asked = request(*(Needed(role=role, count=count) for role, count in counts))
    verdict = check_gate(asked, votes, STAFF, now=at(seconds))
    valid = {
        v.person
        for v in votes
        if v.digest == SHOWN
        and v.at >= NOW
        and v.at - SKEW <= at(seconds) < v.at + timedelta(minutes=30)
        and v.person != "launcher"
    }
    places = [role for role, count in counts for _ in range(count)]
    seated = len(places) <= 4 and any(
        all(role in STAFF.person(person).roles for role, person in zip(places, order, strict=True))
        for order in permutations(sorted(valid), len(places))
    )
    assert isinstance(verdict, Open) == seated


def test_a_launcher_the_people_file_came_to_know_later_is_still_the_launcher() -> None:
    """Who launched under an account that the file did not know is found by that account."""
    asked = replace(request(), excluded={"blee"})
    billie = Person("billie", "Billie", frozenset({"change_manager"}), frozenset({"blee"}))
    staff = People({"billie": billie})
    assert isinstance(check_gate(asked, [vote("billie")], staff, now=at(20)), Waiting)
    with pytest.raises(GateError, match="cannot approve it"):
        check_voter(billie, asked, [], staff, Word(SHOWN), now=at(20))
    votes = [vote("billie", Decision.REJECTED)]
    assert isinstance(check_gate(asked, votes, staff, now=at(20)), Waiting)


def test_votes_under_an_account_and_under_the_id_are_one_persons() -> None:
    asked = request(Needed(role="change_manager", count=2))
    billie = Person("billie", "Billie", frozenset({"change_manager"}), frozenset({"blee"}))
    staff = People({"billie": billie})
    assert isinstance(check_gate(asked, [vote("billie"), vote("blee")], staff, now=at(20)), Waiting)
    with pytest.raises(GateError, match="decided here already"):
        check_voter(billie, asked, [vote("blee")], staff, Word(SHOWN), now=at(20))


def test_an_approval_from_a_time_that_the_clock_has_gone_back_behind_counts_for_nothing() -> None:
    assert isinstance(check_gate(request(), [vote("alex")], STAFF, now=at(-51)), Waiting)
    assert isinstance(check_gate(request(), [vote("alex")], STAFF, now=at(-50)), Open)


def test_an_approval_counts_by_the_clock_where_the_log_is_ahead_of_it() -> None:
    """A log that was once written under a clock a year ahead must not close every gate for a year."""
    ahead = NOW + timedelta(days=365)
    asked = replace(request(), asked_at=ahead)
    late = Vote("alex", Decision.APPROVED, SHOWN, ahead, "because", NOW)
    assert isinstance(check_gate(asked, [late], STAFF, now=at(1799)), Open)
    assert isinstance(check_gate(asked, [late], STAFF, now=at(1800)), Waiting)


@pytest.mark.parametrize("earlier", [vote("alex", digest=OTHER), vote("alex", after_s=-1)])
def test_a_vote_on_something_else_does_not_keep_a_person_from_voting(earlier: Vote) -> None:
    held = check_voter(STAFF.person("alex"), request(), [earlier], STAFF, Word(SHOWN), now=at(20))
    assert held == "change_manager"


def test_a_person_who_fits_two_places_makes_room_for_whoever_fits_one() -> None:
    asked = request(Needed(role="security"), Needed(role="change_manager"))
    verdict = check_gate(asked, [vote("billie"), vote("casey")], STAFF, now=at(20))
    assert verdict == Open(("billie", "casey"))


def claimed(person: str, account: str, decision: Decision = Decision.APPROVED) -> Vote:
    return replace(vote(person, decision), auth=f"claimed:{account}")


@pytest.mark.parametrize("shared", [frozenset(), frozenset({"root"})])
def test_a_claim_at_the_launchers_keyboard_counts_only_where_people_share_it(shared: frozenset[str]) -> None:
    root = Person("launcher", "x", frozenset({"change_manager"}), frozenset({"root"}))
    staff = replace(STAFF, by_id={**STAFF.by_id, "launcher": root}, shared=shared)
    one = claimed("alex", "root")
    assert isinstance(check_gate(request(), [one], staff, now=at(20)), Open if shared else Waiting)
    no = claimed("alex", "root", Decision.REJECTED)
    assert isinstance(check_gate(request(), [no], staff, now=at(20)), Closed if shared else Waiting)
    # The other way round: launched in another name, and approved in one's own.
    asked = replace(request(), excluded=frozenset({"alex", "claimed:root"}))
    assert isinstance(check_gate(asked, [vote("launcher")], staff, now=at(20)), Open if shared else Waiting)
    for who, gate, auth in (("alex", request(), "claimed:root"), ("launcher", asked, "os-user")):
        told = partial(check_voter, staff.person(who), gate, [], staff, Word(SHOWN, auth), now=at(20))
        if shared:
            assert told() == "change_manager"
            continue
        with pytest.raises(GateError, match="asked for or launched this run"):
            told()


def test_two_who_are_claimed_at_one_keyboard_are_one() -> None:
    both = [claimed("alex", "root"), claimed("billie", "root")]
    asked = request(Needed(role="change_manager", count=2))
    assert isinstance(check_gate(asked, both, STAFF, now=at(20)), Waiting)
    assert isinstance(check_gate(asked, both, replace(STAFF, shared=frozenset({"root"})), now=at(20)), Open)
    with pytest.raises(GateError, match=r"billie .*account root, which counts as well\) has decided"):
        check_voter(STAFF.person("billie"), asked, both[:1], STAFF, Word(SHOWN, "claimed:root"), now=at(20))
