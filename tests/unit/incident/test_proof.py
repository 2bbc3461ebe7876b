"""Whether it is known who sent something: raw bytes, constant time, several secrets, and a window for signed times."""

from __future__ import annotations

import base64
import hashlib
import hmac
from datetime import UTC, datetime, timedelta

import pytest
from builders.alerts import SECRET, TOKEN, hexadecimal
from hypothesis import given
from hypothesis import strategies as st

from mimrun.incident.intake.proof import Keys, Sent, proven
from mimrun.incident.source import Source

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
RAW = b'{"a": 1}'
OLD = "the-secret-before-0123456789"


def keys(kind: str, name: str = "monitor", **said: object) -> Keys:
    source = Source.model_validate({"kind": kind, "secrets": "env:X", **said})
    tokens = (TOKEN.encode(),) if source.token else ()
    secrets = (SECRET.encode(), OLD.encode()) if source.secrets else ()
    return Keys(name, source, tokens, secrets)


def by_token(name: str = "monitor", token: str = TOKEN) -> Keys:
    source = Source.model_validate({"kind": "alertmanager", "token": "env:X"})
    return Keys(name, source, (token.encode(),))


def sent(raw: bytes = RAW, now: datetime = NOW, **headers: str) -> Sent:
    return Sent(raw, {name.replace("_", "-"): text for name, text in headers.items()}, now)


def standard(
    secret: str = SECRET, *, id_: str = "msg_1", at: datetime = NOW, raw: bytes = RAW
) -> dict[str, str]:
    key = base64.b64decode(secret.removeprefix("whsec_")) if secret.startswith("whsec_") else secret.encode()
    time = str(int(at.timestamp()))
    digest = hmac.new(key, f"{id_}.{time}.".encode() + raw, hashlib.sha256).digest()
    return {
        "webhook_id": id_,
        "webhook_timestamp": time,
        "webhook_signature": f"v1,{base64.b64encode(digest).decode()}",
    }


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": f"Bearer {TOKEN}"},
        {"authorization": f"bearer  {TOKEN} "},
        {"authorization": "Basic " + base64.b64encode(f"anybody:{TOKEN}".encode()).decode()},
        {"x_mimrun_token": TOKEN},
    ],
)
def test_a_token_is_taken_wherever_a_monitoring_system_can_put_one(headers: dict[str, str]) -> None:
    assert proven([by_token()], sent(**headers)) == by_token()


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": TOKEN},
        {"authorization": "Bearer"},
        {"authorization": f"Bearer {TOKEN}x"},
        {"authorization": f"Bearer {TOKEN[:-1]}"},
        {"authorization": "Basic !!!"},
        {"authorization": "Basic " + base64.b64encode(TOKEN.encode()).decode()},
        {"authorization": "Basic " + base64.b64encode(b"\xff:\xff").decode()},
        {"x_mimrun_token": ""},
        {"x_mimrun_token": "\udcff"},
    ],
)
def test_a_wrong_or_missing_token_proves_nothing(headers: dict[str, str]) -> None:
    assert proven([by_token()], sent(**headers)) is None


@pytest.mark.parametrize("secret", [SECRET, OLD])
def test_each_secret_that_is_valid_now_signs(secret: str) -> None:
    assert proven([keys("grafana")], sent(x_grafana_alerting_signature=hexadecimal(secret, RAW)))
    assert proven([keys("grafana")], sent(x_grafana_alert_signature=hexadecimal(secret, RAW)))
    assert proven([keys("pagerduty")], sent(x_pagerduty_signature=f"v1={hexadecimal(secret, RAW)}"))
    assert proven([keys("json")], sent(**standard(secret)))
    assert proven([keys("cloudevents")], sent(**standard(secret)))


def test_one_of_several_signatures_in_a_header_is_enough() -> None:
    header = f"v1={'0' * 64}, v1={hexadecimal(SECRET, RAW)}"
    assert proven([keys("pagerduty")], sent(x_pagerduty_signature=header))
    given = standard()
    given["webhook_signature"] = f"v1,AAAA v1a,BBBB {given['webhook_signature']}"
    assert proven([keys("json")], sent(**given))


@pytest.mark.parametrize(
    "signature",
    [
        "",
        "v1=",
        hexadecimal(SECRET, RAW),
        f"v0={hexadecimal(SECRET, RAW)}",
        f"v1={hexadecimal('another-secret-entirely', RAW)}",
        f"v1={hexadecimal(SECRET, RAW)[:-1]}",
        f"v1={hexadecimal(SECRET, RAW).upper()}",
        "v1=�",
        "v1=0,",
        ",".join(["v1=0"] * 8 + [f"v1={hexadecimal(SECRET, RAW)}"]),
    ],
)
def test_a_wrong_or_cut_signature_proves_nothing(signature: str) -> None:
    assert proven([keys("pagerduty")], sent(x_pagerduty_signature=signature)) is None


@given(st.binary(min_size=1, max_size=40), st.integers(0, 39), st.integers(1, 255))
def test_a_body_in_which_one_byte_was_changed_proves_nothing(raw: bytes, at: int, by: int) -> None:
    changed = bytearray(raw)
    changed[at % len(raw)] ^= by
    signature = hexadecimal(SECRET, raw)
    assert proven([keys("pagerduty")], sent(raw, x_pagerduty_signature=f"v1={signature}"))
    assert proven([keys("pagerduty")], sent(bytes(changed), x_pagerduty_signature=f"v1={signature}")) is None
    assert proven([keys("json")], sent(bytes(changed), **standard(raw=raw))) is None


@pytest.mark.parametrize("kind", ["pagerduty", "grafana", "json", "cloudevents"])
def test_without_a_signature_nothing_is_proven(kind: str) -> None:
    assert proven([keys(kind)], sent()) is None


@pytest.mark.parametrize(
    ("seconds", "good"), [(-301, False), (-299, True), (0, True), (299, True), (301, False)]
)
def test_a_signed_time_must_be_near(seconds: int, good: bool) -> None:
    at = NOW + timedelta(seconds=seconds)
    assert (proven([keys("json")], sent(**standard(at=at))) is not None) is good
    known, time = keys("grafana", timestamp_header="X-Time"), str(int(at.timestamp()))
    signature = hexadecimal(SECRET, f"{time}:".encode() + RAW)
    assert (proven([known], sent(x_time=time, x_grafana_alerting_signature=signature)) is not None) is good


def test_a_time_that_was_agreed_upon_cannot_be_left_out() -> None:
    known = keys("grafana", timestamp_header="X-Time")
    for headers in ({}, {"x_time": ""}, {"x_time": "now"}, {"x_time": "9" * 40}, {"x_time": "\u0661"}):
        for signed in (RAW, b":" + RAW):
            given = {**headers, "x_grafana_alerting_signature": hexadecimal(SECRET, signed)}
            assert proven([known], sent(**given)) is None
    given = standard()
    assert proven([keys("json")], sent(**{**given, "webhook_id": ""})) is None
    assert proven([keys("json")], sent(**{**given, "webhook_id": "other"})) is None


def test_the_header_of_grafanas_signature_can_be_named() -> None:
    known = keys("grafana", signature_header="X-Ours")
    assert proven([known], sent(x_ours=hexadecimal(SECRET, RAW)))
    assert proven([known], sent(x_grafana_alerting_signature=hexadecimal(SECRET, RAW))) is None


def test_a_secret_of_standard_webhooks_is_written_in_base64() -> None:
    secret = "whsec_" + base64.b64encode(b"0123456789abcdef0123456789abcdef").decode()
    known = Keys(
        "monitor",
        Source.model_validate({"kind": "json", "secrets": "env:X", "mapping": {"fingerprint": "a"}}),
    )
    known = Keys(known.name, known.source, (), (secret.encode(),))
    assert proven([known], sent(**standard(secret)))


def test_alertmanager_cannot_sign_and_so_no_signature_counts() -> None:
    known = Keys(
        "monitor", Source.model_construct(kind="alertmanager", secrets=("env:X",)), (), (SECRET.encode(),)
    )
    signature = hexadecimal(SECRET, RAW)
    assert (
        proven([known], sent(x_pagerduty_signature=f"v1={signature}", authorization=f"Bearer {SECRET}"))
        is None
    )


def test_the_source_is_the_one_that_is_proven_and_a_name_must_fit() -> None:
    one, other = by_token("one"), by_token("other", "another-token-entirely")
    both, as_other = [one, other], sent(x_mimrun_token="another-token-entirely")
    assert proven(both, as_other) == other
    assert proven(both, as_other, name="other") == other
    assert proven(both, as_other, name="one") is None
    assert proven(both, as_other, name="third") is None
    assert proven([], as_other) is None


def test_what_anybody_may_send_counts_under_its_name_alone() -> None:
    anybody = Keys("open", Source.model_validate({"kind": "alertmanager", "unauthenticated": True}))
    assert proven([anybody, by_token()], sent()) is None
    assert proven([anybody, by_token()], sent(), name="open") == anybody
    assert anybody.auth == "none"


def test_nobodys_secret_opens_nothing() -> None:
    nobodys = "nobody has this secret: it makes every answer take as long as another"
    assert proven([], sent(x_mimrun_token=nobodys)) is None
    assert (
        proven([keys("pagerduty", token=())], sent(x_pagerduty_signature=f"v1={hexadecimal(nobodys, RAW)}"))
        is None
    )
    assert proven([by_token()], sent(x_pagerduty_signature=f"v1={hexadecimal(nobodys, RAW)}")) is None


def test_secrets_are_not_shown() -> None:
    assert SECRET not in repr(keys("pagerduty"))
    assert TOKEN not in repr(by_token())
