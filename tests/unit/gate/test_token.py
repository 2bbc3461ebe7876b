from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimrun.errors import InputError, SignInError, TamperError
from mimrun.gate.scope import SCOPES, VERBS, read_scopes
from mimrun.gate.token import Token, Tokens, check_token, make_token, name_of, verifier_of
from mimrun.log.entry import Actor, Draft
from mimrun.log.kinds import TokenCreated, TokenRevoked
from mimrun.log.moment import write_moment
from mimrun.log.sqlite.store import SqliteStore, create_log
from mimrun.secret import Secret

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
RANDOM = bytes(range(32))
TOKEN = make_token("pipeline", RANDOM)


def known(**changed: str) -> Token:
    state = {
        "name": "pipeline",
        "person": "alex",
        "scopes": ("read",),
        "expires_at": write_moment(NOW + timedelta(days=1)),
        "verifier": verifier_of(TOKEN),
    }
    return Token.model_validate({**state, **changed})


def test_a_token_has_its_name_and_all_random_bits() -> None:
    assert TOKEN.reveal() == "mimrun_pipeline_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"
    assert name_of(TOKEN) == "pipeline"
    assert "AAEC" not in repr(TOKEN)


@given(st.binary(min_size=32, max_size=32))
def test_a_name_is_found_whatever_the_secret_looks_like(random: bytes) -> None:
    token = make_token("a-b-1", random)
    assert name_of(token) == "a-b-1"
    assert len(token.reveal()) == len("mimrun_a-b-1_") + 43


@pytest.mark.parametrize(
    "given", ["", "x", "mimrun_x", TOKEN.reveal()[:-1], TOKEN.reveal() + "A", "mimrun_A_" + "A" * 43]
)
def test_what_is_no_token_is_refused_and_not_shown(given: str) -> None:
    with pytest.raises(SignInError) as caught:
        name_of(Secret(given))
    assert len(given) < 3 or given not in str(caught.value)


def test_a_token_is_good_until_it_expires() -> None:
    check_token(TOKEN, known(), NOW)
    check_token(Secret(TOKEN.reveal() + "\n"), known(), NOW)
    with pytest.raises(SignInError, match="expired on 2026-11-23"):
        check_token(TOKEN, known(), NOW + timedelta(days=1))


def test_a_wrong_token_learns_nothing_about_the_right_one() -> None:
    wrong = make_token("pipeline", bytes(32))
    said = set()
    for state in (known(), known(revoked_at=write_moment(NOW)), known(expires_at=write_moment(NOW)), Token()):
        with pytest.raises(SignInError) as caught:
            check_token(wrong, state, NOW)
        said.add(str(caught.value))
    assert len(said) == 1


def test_a_revoked_token_says_by_whom() -> None:
    with pytest.raises(SignInError, match="was revoked by billie"):
        check_token(TOKEN, known(revoked_at=write_moment(NOW), revoked_by="billie"), NOW)


def test_the_hash_of_nothing_opens_nothing() -> None:
    with pytest.raises(SignInError, match="not known"):
        check_token(TOKEN, Token(verifier=verifier_of(TOKEN)), NOW)


def test_the_log_tells_of_a_token_what_is_needed_and_not_the_token(tmp_path) -> None:
    created = TokenCreated(
        token="pipeline",
        person="alex",
        scopes=("read", "launch"),
        expires_at=NOW,
        verifier=verifier_of(TOKEN),
    )
    by = Actor("person", "alex", "cli", "os-user")
    create_log(tmp_path / "log.db", "x", by)
    with SqliteStore(tmp_path / "log.db", projectors=(Tokens(),)) as store:
        store.append([Draft(by, created)])
        token = Token.model_validate_json(store.projection(Tokens.name, "pipeline"))
        assert (token.person, token.scopes, token.by) == ("alex", ("launch", "read"), "alex")
        store.append([Draft(Actor("person", "billie"), TokenRevoked(token="pipeline", reason="lost"))])
        token = Token.model_validate_json(store.projection(Tokens.name, "pipeline"))
        assert (token.state(NOW), token.revoked_by) == ("revoked", "billie")
        assert store.rebuild()
        for again in (
            created,
            TokenRevoked(token="pipeline", reason="x"),
            TokenRevoked(token="other", reason="x"),
        ):
            with pytest.raises(TamperError):
                store.append([Draft(by, again)])
    assert TOKEN.reveal().encode() not in (tmp_path / "log.db").read_bytes()


def test_scopes_are_a_closed_list() -> None:
    assert read_scopes(["read,launch", " stop "]) == {"read", "launch", "stop"}
    with pytest.raises(InputError, match="did you mean 'approve'"):
        read_scopes(["aprove"])
    with pytest.raises(InputError, match="a token needs a scope"):
        read_scopes([","])
    assert set(VERBS.values()) <= set(SCOPES)
