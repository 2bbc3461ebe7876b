"""Passwords at the server: who gets in, what others learn, and what is on record."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest
from argon2 import PasswordHasher
from builders.commands import until
from builders.runs import person
from unit.app.server.conftest import Clock

from mimrun.app.home import Home
from mimrun.app.server.guesses import TRIES, Guesses
from mimrun.app.server.password_file import file_of, read_passwords
from mimrun.app.server.passwords import (
    AT_ONCE,
    WAITING,
    Passwords,
    list_passwords,
    make_password,
    remove_password,
    set_password,
)
from mimrun.app.server.sessions import open_session, recognise
from mimrun.errors import ChooseAnotherError, InputError, SettingsError, SignInError, TooManyGuessesError
from mimrun.gate.people import SignedIn
from mimrun.log.kinds import Kind
from mimrun.secret import Secret

ALEX, ADMIN = person("alex", "change_manager"), person("admin", "administrator")
GOOD = Secret("plum kettle orbit nine")
HERE = "192.0.2.7"


def set_for_alex(home: Home, passwords: Passwords, password: Secret = GOOD) -> None:
    set_password(home, ALEX, password, passwords)


def test_the_right_password_signs_in(home: Home, passwords: Passwords) -> None:
    set_for_alex(home, passwords)
    assert passwords.sign_in(home, "alex", GOOD, HERE) == SignedIn("alex", "password")
    assert passwords.sign_in(home, " Alex ", GOOD, HERE).person == "alex"


def test_one_password_typed_on_two_keyboards_is_one(home: Home, passwords: Passwords) -> None:
    set_for_alex(home, passwords, Secret("caf\u00e9 caf\u00e9 caf\u00e9"))
    assert passwords.sign_in(home, "alex", Secret("cafe\u0301 cafe\u0301 cafe\u0301"), HERE).person == "alex"


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("alex", "wrong and long enough"),
        ("alex", ""),
        ("alex", "x" * 100_000),
        ("responder", GOOD.reveal()),
        ("nobody", GOOD.reveal()),
        ("left", GOOD.reveal()),
        ("", ""),
        ("../alex", GOOD.reveal()),
        ("al\x00ex", GOOD.reveal()),
    ],
)
def test_whoever_does_not_get_in_gets_one_answer(
    home: Home, passwords: Passwords, name: str, given: str
) -> None:
    set_for_alex(home, passwords)
    with pytest.raises(SignInError, match=r"^the name or the password is wrong$"):
        passwords.sign_in(home, name, Secret(given), HERE)


def test_a_password_is_compared_with_something_also_where_there_is_nobody(
    home: Home, passwords: Passwords, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_for_alex(home, passwords)
    compared: list[str] = []
    verify = PasswordHasher.verify

    def noted(self: PasswordHasher, hash_: str, password: str) -> bool:
        compared.append(hash_.rpartition("$")[0].rpartition("$")[0])
        return verify(self, hash_, password)

    monkeypatch.setattr(PasswordHasher, "verify", noted)
    for name in ("alex", "nobody", "left", "responder"):
        with pytest.raises(SignInError):
            passwords.sign_in(home, name, Secret("wrong"), f"192.0.2.{len(name)}")
    assert len(compared) == 4
    assert len(set(compared)) == 1, "with the same parameters, so that it takes as long"


def test_the_sixth_try_in_a_minute_is_not_looked_at(home: Home, passwords: Passwords, clock: Clock) -> None:
    set_for_alex(home, passwords)
    for name in ("alex", "nobody"):
        for _ in range(TRIES):
            with pytest.raises(SignInError):
                passwords.sign_in(home, name, Secret("wrong"), HERE)
        with pytest.raises(TooManyGuessesError, match=r"^too many tries; wait a minute$"):
            passwords.sign_in(home, name, GOOD, HERE)
    assert passwords.sign_in(home, "alex", GOOD, "192.0.2.8").person == "alex"
    clock.turn(seconds=61)
    assert passwords.sign_in(home, "alex", GOOD, HERE).person == "alex"


@pytest.mark.parametrize("other", [" alex", "alex\t", "ALEX", "alex" + " " * 90])
def test_a_name_with_space_around_it_is_no_other_name(home: Home, passwords: Passwords, other: str) -> None:
    set_for_alex(home, passwords)
    for _ in range(TRIES):
        with pytest.raises(SignInError):
            passwords.sign_in(home, "alex", Secret("wrong"), HERE)
    with pytest.raises(TooManyGuessesError):
        passwords.sign_in(home, other, GOOD, HERE)


def test_the_addresses_of_one_network_of_ipv6_are_one_place(clock: Clock) -> None:
    guesses = Guesses(clock.monotonic)
    for number in range(TRIES):
        guesses.count("alex", f"2001:db8:1:2::{number:x}")
    with pytest.raises(TooManyGuessesError):
        guesses.count("alex", "2001:db8:1:2:ffff::1")
    guesses.count("alex", "2001:db8:1:3::1")


def test_who_tries_while_many_do_is_sent_away_at_once(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    slow, go_on = threading.Semaphore(0), threading.Event()

    def compare(*_: object) -> bool:
        slow.release()
        go_on.wait(10)
        return False

    passwords = Passwords(PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
    _ = passwords._nothing
    monkeypatch.setattr(PasswordHasher, "verify", compare)
    told: list[str] = []

    def try_it(number: int) -> None:
        with pytest.raises((SignInError, TooManyGuessesError)) as caught:
            passwords.sign_in(home, f"person-{number}", GOOD, HERE)
        told.append(str(caught.value))

    tries = [threading.Thread(target=try_it, args=(number,)) for number in range(20)]
    for one in tries:
        one.start()
    assert slow.acquire(timeout=10)
    until(lambda: len(told) == 20 - AT_ONCE - WAITING)
    assert set(told) == {"too many people sign in at this moment; try again"}
    go_on.set()
    for one in tries:
        one.join(10)
    assert len(told) == 20


def test_who_has_got_in_may_mistype_again(home: Home, passwords: Passwords) -> None:
    set_for_alex(home, passwords)
    for _ in range(3):
        for _ in range(TRIES - 1):
            with pytest.raises(SignInError):
                passwords.sign_in(home, "alex", Secret("wrong"), HERE)
        assert passwords.sign_in(home, "alex", GOOD, HERE)


def test_an_address_that_tries_many_names_is_held_up(clock: Clock) -> None:
    guesses = Guesses(clock.monotonic)
    for number in range(60):
        guesses.count(f"person-{number}", HERE)
    with pytest.raises(TooManyGuessesError):
        guesses.count("one-more", HERE)
    guesses.count("one-more", "192.0.2.8")


def test_the_password_of_somebody_who_left_signs_nobody_in(home: Home, passwords: Passwords) -> None:
    set_for_alex(home, passwords)
    people = home.settings.people
    people.write_text(people.read_text().replace("service_desk]", "service_desk], active: false"))
    with pytest.raises(SignInError, match="wrong"):
        passwords.sign_in(home, "alex", GOOD, HERE)


@pytest.mark.parametrize("given", ["", "short", "alexalexalex", "aaaaaaaaaaaaaaaa", "x" * 300])
def test_a_password_that_is_easily_guessed_is_not_taken(home: Home, passwords: Passwords, given: str) -> None:
    with pytest.raises(InputError):
        set_password(
            home, replace(ALEX), Secret(given if given != "alexalexalex" else "aaabbbaaabbb"), passwords
        )
    assert read_passwords(home.settings) == {}


def test_the_hash_is_in_a_file_of_its_own_and_nowhere_in_the_log(home: Home, passwords: Passwords) -> None:
    set_for_alex(home, passwords)
    path = file_of(home.settings)
    assert path.stat().st_mode & 0o777 == 0o600
    assert "$argon2id$" in path.read_text()
    assert GOOD.reveal() not in path.read_text()
    entry = next(home.store.entries(kinds={Kind.PASSWORD_CHANGED}))
    assert entry.body.model_dump() == {"person": "alex", "removed": False}
    assert entry.actor.id == "alex"
    written = b"".join(row.data for row in home.store.rows())
    assert b"argon2" not in written


def test_a_file_that_others_can_read_signs_nobody_in(home: Home, passwords: Passwords) -> None:
    set_for_alex(home, passwords)
    file_of(home.settings).chmod(0o640)
    for name in ("alex", "nobody"):
        with pytest.raises(SettingsError, match="chmod 600"):
            passwords.sign_in(home, name, GOOD, HERE)


def test_a_password_that_somebody_else_made_is_good_only_to_choose_another(
    home: Home, passwords: Passwords, clock: Clock
) -> None:
    made, _ = make_password(home, ADMIN, "alex", passwords)
    with pytest.raises(ChooseAnotherError):
        passwords.sign_in(home, "alex", made, HERE)
    with pytest.raises(InputError):
        passwords.choose(home, "alex", made, made, HERE)
    assert passwords.choose(home, "alex", made, GOOD, HERE) == SignedIn("alex", "password")
    assert passwords.sign_in(home, "alex", GOOD, HERE)
    with pytest.raises(SignInError):
        passwords.choose(home, "alex", made, GOOD, HERE)
    who = [entry.actor.id for entry in home.store.entries(kinds={Kind.PASSWORD_CHANGED})]
    assert who == ["admin", "alex"]


def test_a_password_that_somebody_else_made_ends_after_three_days(
    home: Home, passwords: Passwords, clock: Clock
) -> None:
    made, _ = make_password(home, ADMIN, "alex", passwords)
    clock.turn(days=3)
    with pytest.raises(SignInError, match="wrong"):
        passwords.choose(home, "alex", made, GOOD, HERE)
    assert {one.person: one.state for one in list_passwords(home)}["alex"] == "over"


def test_only_administrators_change_the_password_of_others(home: Home, passwords: Passwords) -> None:
    with pytest.raises(SignInError, match="administrator"):
        make_password(home, ALEX, "responder", passwords)
    with pytest.raises(SignInError, match="administrator"):
        remove_password(home, ALEX, "responder")
    with pytest.raises(SignInError, match="not active"):
        make_password(home, ADMIN, "left", passwords)
    claimed = replace(ADMIN, auth="claimed:somebody")
    with pytest.raises(SignInError, match="claimed"):
        make_password(home, claimed, "alex", passwords)
    with pytest.raises(SignInError, match=r"not in .*people\.yaml"):
        set_password(home, person("stranger"), GOOD, passwords)
    assert list(home.store.entries(kinds={Kind.PASSWORD_CHANGED})) == []


def test_a_token_changes_no_password(home: Home, passwords: Passwords) -> None:
    acting = replace(home, signed_in=SignedIn("alex", "token:x", frozenset({"token", "admin"})))
    with pytest.raises(SignInError, match="a token changes no password"):
        set_password(acting, ALEX, GOOD, passwords)


def test_sessions_of_a_former_password_are_over(home: Home, passwords: Passwords, clock: Clock) -> None:
    set_for_alex(home, passwords)
    old, other = (open_session(home, SignedIn("alex", auth)) for auth in ("password", "oidc:https://x"))
    assert recognise(home, old).person == "alex"
    set_for_alex(home, passwords, Secret("another one, as long"))
    with pytest.raises(SignInError, match="your password has changed"):
        recognise(home, old)
    assert recognise(home, other).person == "alex"
    assert recognise(home, open_session(home, SignedIn("alex", "password"))).person == "alex"


def change_while_it_is_compared(home: Home, passwords: Passwords, monkeypatch: pytest.MonkeyPatch) -> Secret:
    """Let Alex's password become another one at the moment at which the former is compared next; gives the new one."""
    verify, new = PasswordHasher.verify, Secret("another one, as long")

    def changed_meanwhile(self: PasswordHasher, hash_: str, password: str) -> bool:
        monkeypatch.setattr(PasswordHasher, "verify", verify)
        set_for_alex(home, passwords, new)
        return verify(self, hash_, password)

    monkeypatch.setattr(PasswordHasher, "verify", changed_meanwhile)
    return new


def test_who_signs_in_while_the_password_changes_has_no_session_of_the_former_one(
    home: Home, passwords: Passwords, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_for_alex(home, passwords)
    new = change_while_it_is_compared(home, passwords, monkeypatch)
    signed = passwords.sign_in(home, "alex", GOOD, HERE)
    with pytest.raises(SignInError, match="has changed just now"):
        open_session(home, signed)
    assert recognise(home, open_session(home, passwords.sign_in(home, "alex", new, HERE)))


def test_who_knew_the_former_password_does_not_replace_the_new_one(
    home: Home, passwords: Passwords, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_for_alex(home, passwords)
    new = change_while_it_is_compared(home, passwords, monkeypatch)
    with pytest.raises(SignInError, match="wrong"):
        passwords.choose(home, "alex", GOOD, Secret("the one of a thief"), HERE)
    assert passwords.sign_in(home, "alex", new, HERE).person == "alex"
    chosen = passwords.choose(home, "alex", new, GOOD, HERE)
    assert recognise(home, open_session(home, chosen))


def test_a_removed_password_signs_nobody_in(home: Home, passwords: Passwords) -> None:
    set_for_alex(home, passwords)
    cookie = open_session(home, SignedIn("alex", "password"))
    remove_password(home, ADMIN, "alex")
    with pytest.raises(SignInError):
        passwords.sign_in(home, "alex", GOOD, HERE)
    with pytest.raises(SignInError):
        recognise(home, cookie)
    with pytest.raises(InputError, match="no password"):
        remove_password(home, ADMIN, "alex")


def test_a_weaker_hash_is_made_stronger_when_its_person_signs_in(home: Home, passwords: Passwords) -> None:
    set_for_alex(home, passwords)
    before = read_passwords(home.settings)["alex"].hash
    stronger = Passwords(PasswordHasher(time_cost=2, memory_cost=8, parallelism=1))
    assert stronger.sign_in(home, "alex", GOOD, HERE)
    after = read_passwords(home.settings)["alex"].hash
    assert (before != after, "t=2" in after) == (True, True)
    assert stronger.sign_in(home, "alex", GOOD, HERE)
    assert read_passwords(home.settings)["alex"].hash == after
    # It is the same password, so that nothing is on record, and nobody's session ends.
    assert len(list(home.store.entries(kinds={Kind.PASSWORD_CHANGED}))) == 1
