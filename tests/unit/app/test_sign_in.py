"""Every verb by every token: the whole matrix, from the table itself, against a real log."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest

from mimrun.app.home import Home, lay_home, open_home
from mimrun.app.identity import Identity, identify
from mimrun.app.sign_in import doing, sign_in
from mimrun.app.tokens import Wanted, create_token, revoke_token
from mimrun.errors import SignInError
from mimrun.gate.people import Person, SignedIn
from mimrun.gate.scope import AUDITED, FOR_OTHERS, SCOPES, VERBS
from mimrun.log.moment import utc_now
from mimrun.secret import Secret
from mimrun.settings import Settings

PEOPLE = """\
people:
  alex: {roles: [administrator]}
  watcher: {roles: [auditor]}
  casey: {roles: [responder]}
"""
ALEX = Identity(Person("alex", "alex", frozenset({"administrator"})), "os-user")
CASEY = Identity(Person("casey", "casey"), "os-user")
DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    settings = Settings(home=tmp_path_factory.mktemp("signed") / "home")
    lay_home(settings)
    settings.people.write_text(PEOPLE)
    with open_home(settings) as opened:
        yield opened


@pytest.fixture(scope="module")
def tokens(home: Home) -> dict[str, Secret]:
    made = {}
    for scope in SCOPES:
        made[scope], _ = create_token(home, CASEY, Wanted(f"of-{scope}", "casey", frozenset({scope}), DAY))
    return made


def signed(home: Home, token: Secret, verb: str, *, late: bool = False) -> SignedIn | None:
    later = DAY if late else timedelta()
    with doing(verb):
        return sign_in(replace(home.settings, token=token), home.store, lambda: utc_now() + later)


@pytest.mark.parametrize("scope", SCOPES)
def test_a_token_of_a_scope_does_its_verbs_and_no_other(
    home: Home, tokens: dict[str, Secret], scope: str
) -> None:
    done = set()
    for verb in VERBS:
        try:
            found = signed(home, tokens[scope], verb)
        except SignInError as exc:
            assert f"`mimrun {verb}` needs the scope {VERBS[verb]!r}" in str(exc)  # noqa: PT017 - each of many
        else:
            assert found is not None
            assert (found.person, found.auth) == ("casey", f"token:of-{scope}")
            done.add(verb)
    assert done == {verb for verb, needed in VERBS.items() if needed == scope}
    assert done


@pytest.mark.parametrize("verb", sorted(VERBS))
def test_a_token_that_is_not_good_does_no_verb_at_all(
    home: Home, tokens: dict[str, Secret], verb: str
) -> None:
    token = tokens[VERBS[verb]]
    with pytest.raises(SignInError, match="expired"):
        signed(home, token, verb, late=True)
    with pytest.raises(SignInError, match="not known here"):
        signed(home, Secret(token.reveal()[:-4] + "AAAA"), verb)


def test_a_verb_that_is_not_in_the_table_takes_no_token(home: Home, tokens: dict[str, Secret]) -> None:
    for token in tokens.values():
        with pytest.raises(SignInError, match="`mimrun fly` is not for tokens"):
            signed(home, token, "fly")


def test_what_runs_inside_is_nobodys_word(home: Home, tokens: dict[str, Secret]) -> None:
    assert sign_in(replace(home.settings, token=tokens["read"]), home.store, utc_now) is None


@pytest.mark.parametrize("verb", sorted(VERBS))
def test_an_auditor_looks_and_does_nothing_else(home: Home, verb: str) -> None:
    people = replace(home.people(), signed_in=SignedIn("watcher", "oidc:https://login.example.org"))
    with doing(verb):
        if verb in AUDITED:
            assert identify(people, None).person.id == "watcher"
        else:
            with pytest.raises(SignInError, match="watcher is an auditor"):
                identify(people, None)


def test_a_token_that_was_revoked_meanwhile_is_refused_at_the_next_command(home: Home) -> None:
    token, _ = create_token(home, ALEX, Wanted("brief", "casey", frozenset({"read"}), DAY))
    assert signed(home, token, "runs") is not None
    revoke_token(home, ALEX, "brief", "it was in a chat")
    with pytest.raises(SignInError, match="was revoked by alex"):
        signed(home, token, "runs")


@pytest.mark.parametrize("scope", SCOPES)
def test_whoever_makes_a_token_for_another_cannot_decide_as_both(home: Home, scope: str) -> None:
    wanted = Wanted(f"for-{scope}", "casey", frozenset({scope}), DAY)
    if scope not in FOR_OTHERS:
        with pytest.raises(SignInError, match=f"casey makes a token for {scope} themselves"):
            create_token(home, ALEX, wanted)
        return
    token, _ = create_token(home, ALEX, wanted)
    verb = next(verb for verb, needed in VERBS.items() if needed == scope)
    with doing(verb):
        found = identify(replace(home.people(), signed_in=signed(home, token, verb)), None)
    assert (found.person.id, found.behalf) == ("casey", {"alex"})
