"""Sessions at the server: how long they last, and how they end."""

from __future__ import annotations

import pytest
from builders.runs import person
from unit.app.server.conftest import Clock

from mimrun.app.home import Home
from mimrun.app.server.idle import Idle
from mimrun.app.server.sessions import end_session, list_sessions, open_session, recognise, revoke_session
from mimrun.errors import InputError, NotSignedInError, SignInError
from mimrun.gate.people import SignedIn
from mimrun.gate.session import name_of
from mimrun.log.kinds import Kind, SessionEnded
from mimrun.secret import Secret

ALEX, RESPONDER, ADMIN = person("alex"), person("responder"), person("admin", "administrator")


def begin(home: Home, who: str = "alex") -> Secret:
    return open_session(home, SignedIn(who, "password"))


def ends(home: Home) -> list[str]:
    return [
        e.body.why for e in home.store.entries(kinds={Kind.SESSION_ENDED}) if isinstance(e.body, SessionEnded)
    ]


def test_a_session_lasts_twelve_hours_whatever_is_done(home: Home, clock: Clock) -> None:
    idle, cookie = Idle(clock), begin(home)
    for _ in range(47):
        clock.turn(minutes=15)
        assert recognise(home, cookie, idle).person == "alex"
    clock.turn(minutes=15)
    with pytest.raises(NotSignedInError, match="over"):
        recognise(home, cookie, idle)
    assert ends(home) == []


def test_a_session_in_which_nothing_is_done_ends_after_half_an_hour_and_once_on_record(
    home: Home, clock: Clock
) -> None:
    idle, cookie = Idle(clock), begin(home)
    clock.turn(minutes=29)
    assert recognise(home, cookie, idle)
    clock.turn(minutes=30)
    for _ in range(3):
        with pytest.raises(NotSignedInError, match="over"):
            recognise(home, cookie, idle)
    assert ends(home) == ["idle"]


def test_a_page_that_is_only_open_keeps_no_session(home: Home, clock: Clock) -> None:
    idle, cookie = Idle(clock), begin(home)
    for _ in range(5):
        clock.turn(minutes=5)
        assert recognise(home, cookie, idle, acts=False)
    clock.turn(minutes=6)  # the log has a clock of its own
    with pytest.raises(NotSignedInError):
        recognise(home, cookie, idle, acts=False)


def test_a_server_that_was_started_again_counts_from_its_start(home: Home, clock: Clock) -> None:
    cookie = begin(home)
    clock.turn(hours=2)
    idle = Idle(clock)
    assert recognise(home, cookie, idle)
    clock.turn(minutes=30)
    with pytest.raises(NotSignedInError):
        recognise(home, cookie, idle)


def test_signing_out_ends_a_session_once(home: Home) -> None:
    cookie = begin(home)
    end_session(home, cookie)
    end_session(home, cookie)
    with pytest.raises(NotSignedInError):
        recognise(home, cookie)
    assert ends(home) == ["signed_out"]


@pytest.mark.parametrize("given", ["", "x", "ses-aaaaaaaaaaaa." + "A" * 43])
def test_what_is_no_session_signs_nobody_in(home: Home, given: str) -> None:
    with pytest.raises(NotSignedInError):
        recognise(home, Secret(given))


def test_the_secret_of_another_session_is_not_enough(home: Home) -> None:
    mine, theirs = begin(home), begin(home, "responder")
    mixed = Secret(f"{name_of(theirs)}.{mine.reveal().partition('.')[2]}")
    with pytest.raises(NotSignedInError):
        recognise(home, mixed)


def test_people_end_their_own_sessions_and_administrators_those_of_others(home: Home) -> None:
    mine, theirs = begin(home), begin(home, "responder")
    assert {one.person for one in list_sessions(home)} == {"alex", "responder"}
    assert [one.name for one in list_sessions(home, "alex")] == [name_of(mine)]
    with pytest.raises(SignInError, match="administrator"):
        revoke_session(home, ALEX, name_of(theirs))
    revoke_session(home, ALEX, name_of(mine))
    revoke_session(home, ADMIN, name_of(theirs))
    assert ends(home) == ["revoked", "revoked"]
    assert list_sessions(home) == []
    with pytest.raises(InputError, match="no session"):
        revoke_session(home, ADMIN, name_of(theirs))


def test_a_session_of_somebody_who_left_is_over(home: Home) -> None:
    cookie = begin(home)
    people = home.settings.people
    people.write_text(people.read_text().replace("service_desk]", "service_desk], active: false"))
    with pytest.raises(SignInError, match="not active"):
        recognise(home, cookie)
