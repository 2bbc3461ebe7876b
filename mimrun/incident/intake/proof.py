"""Proof: whether bytes were sent by a source that is known, by a token or by a signature over the bytes themselves.

Every secret of every source that is asked about is compared, each in constant time, and where there is no source at
all, one that nobody has: whoever knocks learns nothing from the answer, nor from how long it takes.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, TypeAlias

from mimrun.incident.alert import Auth
from mimrun.incident.source import Source, SourceKind

WINDOW_S: Final = 300
"""So far a signed time may be from now, before and behind."""
CANDIDATES: Final = 8
"""So many signatures of one header are looked at."""
TOKEN_HEADER: Final = "x-mimrun-token"  # noqa: S105 - the name of a header
GRAFANA_HEADERS: Final = ("x-grafana-alerting-signature", "x-grafana-alert-signature")
"""Grafana's documentation has the first, its source the second."""
WEBHOOK_SECRET: Final = "whsec_"  # noqa: S105 - how a secret of Standard Webhooks begins
Headers: TypeAlias = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Keys:
    """A source, and what proves that something comes from it.

    Arguments:
        tokens, secrets: their bytes; several while one replaces another.
    """

    name: str
    source: Source
    tokens: tuple[bytes, ...] = field(default=(), repr=False)
    secrets: tuple[bytes, ...] = field(default=(), repr=False)

    @property
    def auth(self) -> Auth:
        """How it is known that something comes from it."""
        return "signature" if self.source.secrets else "token" if self.source.token else "none"


@dataclass(frozen=True, slots=True)
class Sent:
    """What somebody sent.

    Arguments:
        raw: its bytes as they came.
        headers: with names in lower case.
        now: when it came.
    """

    raw: bytes
    headers: Headers
    now: datetime

    def header(self, name: str) -> str:
        """Give a header; "" where it is not there."""
        return self.headers.get(name.lower(), "")


def proven(keys: Sequence[Keys], sent: Sent, *, name: str = "") -> Keys | None:
    """Say which source sent something; None where none of these did.

    Arguments:
        keys: every source of the kind that was addressed.
        name: the source that it says it is; "" takes the first that it proves to be.
    """
    found = [(one, _fits(one, sent)) for one in keys]
    if not found:
        _fits(_NOBODY, sent)
    for one, fits in found:
        # What anybody may send counts only under its name, or a wrong signature would become none.
        if fits and (one.name == name or (not name and not one.source.unauthenticated)):
            return one
    return None


def _fits(keys: Keys, sent: Sent) -> bool:
    if keys.source.unauthenticated:
        return True
    tokens = _any_token(keys.tokens, sent)
    signed = _SIGNED[keys.source.kind](keys, sent)
    return tokens or signed


def _any_token(known: Sequence[bytes], sent: Sent) -> bool:
    given = [hashlib.sha256(token).digest() for token in _tokens(sent)]
    fits = False
    for token in known:
        digest = hashlib.sha256(token).digest()
        for one in given:
            fits |= hmac.compare_digest(digest, one)
    return fits


def _tokens(sent: Sent) -> tuple[bytes, bytes]:
    """Give the token of each place where one may stand; what cannot be one where none is."""
    scheme, _, rest = sent.header("authorization").partition(" ")
    token = ""
    if scheme.lower() == "bearer":
        token = rest.strip()
    elif scheme.lower() == "basic":
        try:
            token = base64.b64decode(rest.strip(), validate=True).decode("utf-8").partition(":")[2]
        except (binascii.Error, UnicodeDecodeError, ValueError):
            token = ""
    return _bytes(token), _bytes(sent.header(TOKEN_HEADER))


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "backslashreplace")


def _grafana(keys: Keys, sent: Sent) -> bool:
    """Bare hexadecimal HMAC-SHA256 of the body, or of `TIME:body` where a header for the time is agreed upon."""
    source = keys.source
    names = (source.signature_header,) if source.signature_header else GRAFANA_HEADERS
    given = [sent.header(name) for name in names]
    timestamp = sent.header(source.timestamp_header)
    signed = _bytes(timestamp) + b":" + sent.raw if source.timestamp_header else sent.raw
    in_time = _in_time(timestamp, sent.now) if source.timestamp_header else True
    return _any_signature(keys.secrets, signed, given, _hex) and in_time


def _pagerduty(keys: Keys, sent: Sent) -> bool:
    """`v1=HEX,v1=HEX`: one for each secret that is valid there."""
    given = sent.header("x-pagerduty-signature").split(",")[:CANDIDATES]
    marked = [one.strip().removeprefix("v1=") for one in given if one.strip().startswith("v1=")]
    return _any_signature(keys.secrets, sent.raw, marked, _hex)


def _standard(keys: Keys, sent: Sent) -> bool:
    """Standard Webhooks: `v1,BASE64 v1,BASE64` over `ID.TIME.body`."""
    id_, timestamp = sent.header("webhook-id"), sent.header("webhook-timestamp")
    given = sent.header("webhook-signature").split(" ")[:CANDIDATES]
    marked = [one.removeprefix("v1,") for one in given if one.startswith("v1,")]
    signed = b".".join((_bytes(id_), _bytes(timestamp), sent.raw))
    secrets = [webhook_secret(secret) for secret in keys.secrets]
    return _any_signature(secrets, signed, marked, _base64) and bool(id_) and _in_time(timestamp, sent.now)


def _unsigned(keys: Keys, sent: Sent) -> bool:
    """Alertmanager signs nothing; it takes as long as if it did."""
    return _any_signature(keys.secrets, sent.raw, [], _hex)


def _any_signature(
    secrets: Sequence[bytes], signed: bytes, given: Sequence[str], write: Callable[[bytes], str]
) -> bool:
    fits = False
    for secret in secrets or (_NOBODYS,):
        right = write(hmac.digest(secret, signed, "sha256")).encode()
        for one in given:
            fits |= hmac.compare_digest(right, _bytes(one))
    return fits and bool(secrets)


def _hex(digest: bytes) -> str:
    return digest.hex()


def _base64(digest: bytes) -> str:
    return base64.b64encode(digest).decode()


def webhook_secret(secret: bytes) -> bytes:
    """Give the bytes of a secret of Standard Webhooks, which is written in base64; any other one is its own."""
    text = secret.decode("utf-8", "replace")
    if not text.startswith(WEBHOOK_SECRET):
        return secret
    try:
        return base64.b64decode(text.removeprefix(WEBHOOK_SECRET), validate=True)
    except binascii.Error:
        return secret


def _in_time(timestamp: str, now: datetime) -> bool:
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= 12):
        return False
    return abs(now.timestamp() - int(timestamp)) <= WINDOW_S


_SIGNED: Final[Mapping[SourceKind, Callable[[Keys, Sent], bool]]] = {
    "alertmanager": _unsigned,
    "grafana": _grafana,
    "pagerduty": _pagerduty,
    "cloudevents": _standard,
    "json": _standard,
}
_NOBODYS: Final = b"nobody has this secret: it makes every answer take as long as another"
_NOBODY: Final = Keys("nobody", Source.model_construct(kind="alertmanager"), (_NOBODYS,), (_NOBODYS,))
