"""What an OpenID provider signed: each thing that could be wrong with it, one at a time."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from builders.oidc_provider import EC, ED, OTHER_RSA, RSA, b64, sign, signed_with_public_key, unsigned

from mimrun.errors import SignInError
from mimrun.gate.id_token import ALGORITHMS, Expected, UnknownKeyError, verify_id_token

ISSUER = "https://login.example.org"
START = int(time.time())
NOW = datetime.fromtimestamp(START, UTC)
KEYS = [key.as_dict(private=False) for key in (RSA, EC, ED)]
CRITICAL = b64(b'{"alg":"RS256","kid":"rsa-1","crit":["exp"]}')
EXPECTED = Expected(ISSUER, "mimrun", "n-1", NOW)


def claims(**changed: Any) -> dict[str, Any]:
    said = {
        "iss": ISSUER,
        "aud": "mimrun",
        "sub": "8d1f",
        "nonce": "n-1",
        "iat": START,
        "exp": START + 300,
        **changed,
    }
    return {name: value for name, value in said.items() if value is not None}


@pytest.mark.parametrize(
    ("key", "alg"),
    [(RSA, "RS256"), (RSA, "RS384"), (RSA, "RS512"), (RSA, "PS256"), (EC, "ES256"), (ED, "Ed25519")],
)
def test_a_token_of_each_kind_of_key_names_its_subject(key: Any, alg: str) -> None:
    found = verify_id_token(sign(claims(), key, alg), KEYS, EXPECTED)
    assert found.account == "https://login.example.org|8d1f"


def tampered(token: str, **changed: Any) -> str:
    head, _, signature = token.split(".")
    return f"{head}.{b64(json.dumps(claims(**changed)).encode())}.{signature}"


ATTACKS: dict[str, tuple[Callable[[], str], str]] = {
    "alg none": (lambda: unsigned(claims()), "signed with 'none'"),
    "alg None": (lambda: unsigned(claims(), "None"), "signed with 'None'"),
    "alg nOnE": (lambda: unsigned(claims(), "nOnE"), "signed with 'nOnE'"),
    "alg empty": (lambda: unsigned(claims(), ""), "signed with ''"),
    "no signature": (lambda: unsigned(claims(), "RS256"), "signature is not the provider's"),
    "HS256 with the public key": (lambda: signed_with_public_key(claims()), "signed with 'HS256'"),
    "changed after it was signed": (lambda: tampered(sign(claims()), sub="root"), "signature is not"),
    "signed by another key of the same id": (
        lambda: sign(claims(), OTHER_RSA, kid=RSA.kid),
        "signature is not",
    ),
    "brings its own key": (
        lambda: sign(claims(), OTHER_RSA, kid=RSA.kid, jwk=OTHER_RSA.as_dict(private=False)),
        "signature is not",
    ),
    "a header that must be understood": (lambda: f"{CRITICAL}.e30.e30", "header that is not understood"),
    "another issuer": (lambda: sign(claims(iss="https://evil.example.org")), "is from 'https://evil"),
    "the issuer with a slash": (lambda: sign(claims(iss=ISSUER + "/")), "is from"),
    "no issuer": (lambda: sign(claims(iss=None)), "is from 'None'"),
    "another audience": (lambda: sign(claims(aud="wiki")), "for another client"),
    "an audience that begins the same": (lambda: sign(claims(aud="mimrun2")), "for another client"),
    "no audience": (lambda: sign(claims(aud=None)), "for another client"),
    "several audiences and no azp": (lambda: sign(claims(aud=["mimrun", "wiki"])), "given out for another"),
    "given out for another client": (lambda: sign(claims(azp="wiki")), "given out for another"),
    "expired": (lambda: sign(claims(exp=START - 61)), "has expired"),
    "no end": (lambda: sign(claims(exp=None)), "has no exp"),
    "an end that is a text": (lambda: sign(claims(exp="2999-01-01")), "has no exp"),
    "an end that is true": (lambda: sign(claims(exp=True)), "has no exp"),
    "for later": (lambda: sign(claims(nbf=START + 61)), "not good yet"),
    "issued later": (lambda: sign(claims(iat=START + 61)), "not issued just now"),
    "issued long ago": (lambda: sign(claims(iat=START - 661)), "not issued just now"),
    "no time of issue": (lambda: sign(claims(iat=None)), "has no iat"),
    "a replayed nonce": (lambda: sign(claims(nonce="n-0")), "answers another request"),
    "no nonce": (lambda: sign(claims(nonce=None)), "answers another request"),
    "no subject": (lambda: sign(claims(sub=None)), "names nobody"),
    "an empty subject": (lambda: sign(claims(sub="")), "names nobody"),
    "a subject that is a number": (lambda: sign(claims(sub=7)), "names nobody"),
    "a subject of two lines": (lambda: sign(claims(sub="a\nb")), "names nobody"),
    "not three parts": (lambda: "a.b", "not a signed one"),
    "too long": (lambda: sign(claims()) + "A" * 40_000, "not a signed one"),
    "not base64": (lambda: "é.b.c", "cannot be read"),
    "a header that is a list": (lambda: b64(b"[]") + ".e30.e30", "header that is not understood"),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_id_token_that_is_not_what_it_should_be_signs_nobody_in(attack: str) -> None:
    make, said = ATTACKS[attack]
    with pytest.raises(SignInError, match=said):
        verify_id_token(make(), KEYS, EXPECTED)


@pytest.mark.parametrize("kid", ["gone", "", None, "../../dev/null"])
def test_a_key_that_is_not_the_providers_is_unknown(kid: str | None) -> None:
    with pytest.raises(UnknownKeyError):
        verify_id_token(sign(claims(), kid=kid), [*KEYS, OTHER_RSA.as_dict(private=False)], EXPECTED)


def test_a_key_without_an_id_is_found_where_it_is_the_only_one() -> None:
    assert verify_id_token(sign(claims(), kid=None), KEYS, EXPECTED).subject == "8d1f"


@pytest.mark.parametrize("changed", [{"use": "enc"}, {"alg": "RS512"}, {"kty": "oct"}, {"kty": "EC"}])
def test_a_key_for_something_else_is_not_taken(changed: dict[str, str]) -> None:
    with pytest.raises(UnknownKeyError):
        verify_id_token(sign(claims()), [{**KEYS[0], **changed}], EXPECTED)


def test_a_key_that_is_broken_is_no_key() -> None:
    with pytest.raises(SignInError, match="signature is not"):
        verify_id_token(sign(claims()), [{"kty": "RSA", "kid": RSA.kid, "n": "!", "e": "AQAB"}], EXPECTED)


def test_clocks_may_differ_by_a_minute_and_no_more() -> None:
    token = sign(claims(nbf=START))
    for seconds, good in ((-60, True), (-61, False), (359, True), (360, False)):
        moment = Expected(ISSUER, "mimrun", "n-1", NOW + timedelta(seconds=seconds))
        if good:
            assert verify_id_token(token, KEYS, moment).subject == "8d1f"
        else:
            with pytest.raises(SignInError):
                verify_id_token(token, KEYS, moment)


def test_no_symmetric_algorithm_is_allowed() -> None:
    assert not {alg for alg in ALGORITHMS if alg.startswith("HS") or alg.lower() == "none"}
