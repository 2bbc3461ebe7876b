"""ID tokens: whether what an OpenID provider signed says who has signed in. Pure: keys, time and nonce are given.

OpenID Connect Core 1.0 §3.1.3.7; RFC 7515; RFC 8725, best practice for JSON Web Tokens.
"""

from __future__ import annotations

import binascii
import hmac
import json
from base64 import urlsafe_b64decode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from mimrun.errors import SignInError

ALGORITHMS: Final[Mapping[str, str]] = {
    "RS256": "RSA",
    "RS384": "RSA",
    "RS512": "RSA",
    "PS256": "RSA",
    "ES256": "EC",
    "ES384": "EC",
    "Ed25519": "OKP",
}
"""The signatures that count, with the type of key of each. None is symmetric: a public key is no secret."""

SKEW: Final = timedelta(seconds=60)
"""So far the provider's clock may differ."""
FRESH: Final = timedelta(minutes=10)
"""So long after it was issued a token may come."""
LONGEST: Final = 32 * 1024


class UnknownKeyError(LookupError):
    """The token is signed with a key that was not among those at hand; the provider may have changed its keys."""


@dataclass(frozen=True, slots=True)
class Expected:
    """What a token must say.

    Arguments:
        client: under which name mimrun is known to the provider.
        nonce: what was sent with the request; None where the way of asking has none (RFC 8628).
        now: the moment, UTC.
    """

    issuer: str
    client: str
    nonce: str | None
    now: datetime


@dataclass(frozen=True, slots=True)
class Subject:
    """Who has signed in.

    Arguments:
        account: `issuer|subject`, as the people file has it under `oidc`.
    """

    issuer: str
    subject: str

    @property
    def account(self) -> str:
        """The account as the people file has it."""
        return f"{self.issuer}|{self.subject}"


def verify_id_token(token: str, keys: Sequence[Mapping[str, Any]], expected: Expected) -> Subject:
    """Say who has signed in.

    1. The token is a signed one, by an algorithm of the list; `none` and shared secrets are not on it.
    2. The key is one of the provider's, found by its id, of the algorithm's type, and for signing. What the token itself
       says about keys (`jwk`, `jku`, `x5u`, `x5c`) is not looked at.
    3. The signature is that key's.
    4. It is from this provider, for this client, and where it is for several, was given out for this one.
    5. It has not expired, is not for later, and was just issued.
    6. It answers this very request: the nonce is ours.
    7. It names somebody. Only the subject does; an e-mail address can be another person's tomorrow.

    Arguments:
        keys: the provider's public keys, as its JSON Web Key Set has them.

    Raises:
        UnknownKeyError: no key has the id that the token names.
        SignInError: it does not; the message says which step failed.
    """
    header = _header(token)
    algorithm = header.get("alg")
    if not isinstance(algorithm, str) or algorithm not in ALGORITHMS:
        raise SignInError(f"the ID token is signed with {algorithm!r}; allowed are {', '.join(ALGORITHMS)}")
    key = _key(keys, header.get("kid"), algorithm)
    claims = _signed(token, key, algorithm)
    _check_parties(claims, expected)
    _check_times(claims, expected.now)
    if expected.nonce is not None:
        nonce = claims.get("nonce")
        if not isinstance(nonce, str) or not hmac.compare_digest(nonce.encode(), expected.nonce.encode()):
            raise SignInError(
                "the ID token answers another request than ours: its nonce is not the one we sent"
            )
    subject = claims.get("sub")
    if (
        not isinstance(subject, str)
        or not 0 < len(subject) <= 255
        or not subject.isascii()
        or not subject.isprintable()
    ):
        raise SignInError("the ID token names nobody: its subject is missing or too long")
    return Subject(expected.issuer, subject)


def _header(token: str) -> Mapping[str, Any]:
    parts = token.split(".")
    if len(token) > LONGEST or len(parts) != 3 or not all(parts[:2]):
        raise SignInError("the ID token is not a signed one")
    try:
        header = json.loads(urlsafe_b64decode(parts[0] + "=" * (-len(parts[0]) % 4)))
    except (ValueError, binascii.Error, RecursionError) as exc:
        raise SignInError("the ID token cannot be read") from exc
    if not isinstance(header, dict) or "crit" in header:
        raise SignInError("the ID token has a header that is not understood")
    return header


def _key(keys: Sequence[Mapping[str, Any]], kid: object, algorithm: str) -> Mapping[str, Any]:
    fit = [
        key
        for key in keys
        if key.get("kty") == ALGORITHMS[algorithm]
        and key.get("use", "sig") == "sig"
        and key.get("alg", algorithm) == algorithm
    ]
    named = (
        fit
        if kid is None and len(fit) == 1
        else [key for key in fit if kid is not None and key.get("kid") == kid]
    )
    if len(named) != 1:
        raise UnknownKeyError(f"no key of the provider has the id {str(kid)[:80]!r} for {algorithm}")
    return named[0]


def _signed(token: str, key: Mapping[str, Any], algorithm: str) -> Mapping[str, Any]:
    from joserfc import jws  # noqa: PLC0415 - 60 ms that only a sign-in pays
    from joserfc.errors import JoseError  # noqa: PLC0415 - likewise
    from joserfc.jwk import import_key  # noqa: PLC0415 - likewise

    try:
        public = {
            name: value
            for name, value in key.items()
            if name not in ("key_ops", "d", "p", "q", "dp", "dq", "qi")
        }
        found = jws.deserialize_compact(token, import_key(public), algorithms=[algorithm])
        claims = json.loads(found.payload)
    except (JoseError, ValueError, TypeError, KeyError, RecursionError) as exc:
        raise SignInError("the ID token's signature is not the provider's") from exc
    if not isinstance(claims, dict):
        raise SignInError("the ID token says nothing")
    return claims


def _check_parties(claims: Mapping[str, Any], expected: Expected) -> None:
    if claims.get("iss") != expected.issuer:
        raise SignInError(
            f"the ID token is from {str(claims.get('iss'))[:200]!r}, not from {expected.issuer!r}"
        )
    audience = claims.get("aud")
    audiences = audience if isinstance(audience, list) else [audience]
    if expected.client not in audiences:
        raise SignInError(f"the ID token is for another client than {expected.client!r}")
    if (len(audiences) > 1 or "azp" in claims) and claims.get("azp") != expected.client:
        raise SignInError(f"the ID token was given out for another client than {expected.client!r}")


def _check_times(claims: Mapping[str, Any], now: datetime) -> None:
    expires, issued = _time(claims, "exp"), _time(claims, "iat")
    if now >= expires + SKEW:
        raise SignInError(
            "the ID token has expired; see that this machine's clock is right, and sign in again"
        )
    if "nbf" in claims and now + SKEW < _time(claims, "nbf"):
        raise SignInError("the ID token is not good yet; see that this machine's clock is right")
    if not issued - SKEW <= now <= issued + FRESH + SKEW:
        raise SignInError("the ID token was not issued just now; see that this machine's clock is right")


def _time(claims: Mapping[str, Any], name: str) -> datetime:
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 2**40:
        raise SignInError(f"the ID token has no {name}")
    return datetime.fromtimestamp(value, UTC)
