from __future__ import annotations

import base64
import json
from contextlib import suppress
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimrun.errors import GateError, SettingsError
from mimrun.gate.people import People, Person
from mimrun.gate.signature import Statement, key_in, owner_of, read_signers

DIGEST = "sha256:" + "a" * 64
KEY = b"\0\0\0\x0bssh-ed25519\0\0\0\x20" + b"k" * 32
OTHER = b"\0\0\0\x0bssh-ed25519\0\0\0\x20" + b"o" * 32
PEOPLE = People({name: Person(name, name) for name in ("alex", "billie")})


def statement(**changes: object) -> Statement:
    fields = {
        "log": "mim.example.org",
        "incident": "INC-1",
        "run": "run-1",
        "gate": "2",
        "request": 7,
        "plan": DIGEST,
        "segment": DIGEST,
        "decision": "approved",
        "at": "2026-11-22T10:00:00.000000Z",
        "expires": "2026-11-22T10:30:00.000000Z",
    }
    return Statement.model_validate({**fields, **changes})


def line(person: str, key: bytes = KEY, options: str = "") -> str:
    return f"{person} {options} ssh-ed25519 {base64.b64encode(key).decode()} a comment\n"


@given(st.text(max_size=200), st.sampled_from(["approved", "rejected"]))
def test_a_statement_is_read_back_as_it_was_signed(reason: str, decision: str) -> None:
    one = statement(reason=reason.encode("utf-8", "ignore").decode(), decision=decision)
    assert Statement.decode(one.encode()) == one


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda v: {**v, "format": "mimapproval/2"}, "format"),
        (lambda v: {**v, "more": 1}, "more"),
        (lambda v: {k: x for k, x in v.items() if k != "gate"}, "gate"),
        (lambda v: {**v, "segment": "sha256:0"}, "segment"),
        (lambda v: {**v, "decision": "maybe"}, "decision"),
        (lambda v: {**v, "at": ""}, "canonical"),
        (lambda v: {**v, "reason": "x" * 501}, "reason"),
        (lambda v: {k: x for k, x in v.items() if k != "reason"}, "canonical"),
    ],
)
def test_what_is_not_exactly_a_statement_is_refused(change, why) -> None:  # type: ignore[no-untyped-def]
    data = json.dumps(change(json.loads(statement().encode())), sort_keys=True, separators=(",", ":"))
    with pytest.raises(ValueError, match=why):
        Statement.decode(data.encode())


def test_another_spelling_of_a_statement_is_refused() -> None:
    with pytest.raises(ValueError, match="canonical"):
        Statement.decode(statement().encode() + b"\n")
    with pytest.raises(ValueError, match="at most"):
        Statement.decode(b" " * 100_000)


@given(st.binary(max_size=300))
def test_bytes_that_are_no_statement_are_refused_as_such(data: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - whatever is wrong with them
        Statement.decode(data)


def test_signers_are_read_with_their_options_and_quotes() -> None:
    text = (
        "# a comment\n\n"
        + line("alex", options='namespaces="approval@mimrun",valid-before="20300101"')
        + line('"billie"', OTHER)
        + line("*", options="cert-authority")
    )
    signers = read_signers(text, "allowed_signers")
    assert [one.principals for one in signers.lines] == [("alex",), ("billie",), ("*",)]
    assert signers.lines[0].options == {"namespaces": "approval@mimrun", "valid-before": "20300101"}
    assert signers.of_person("alex") == (KEY,)
    assert [one.line for one in signers.of_key(KEY)] == [3]
    assert signers.lines[2].is_authority


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (line("*"), "belongs to one person"),
        (line("alex,b?llie"), "belongs to one person"),
        (line("!alex"), "belongs to one person"),
        ("alex\n", "are missing"),
        ("alex ssh-ed25519 %%%\n", "not base64"),
        ("alex ssh-rsa " + base64.b64encode(KEY).decode() + "\n", "not of the type"),
        ('alex namespaces=" ssh-ed25519 x\n', "cannot be read|missing|no type"),
        ("alex b c d\n", "no type of key"),
    ],
)
def test_lines_that_openssh_would_pass_over_or_take_for_many_are_named(text: str, why: str) -> None:
    with pytest.raises(SettingsError, match=why) as raised:
        read_signers(line("billie", OTHER) + text, "allowed_signers")
    assert raised.value.problems[0].line == 2


@given(st.text(max_size=300))
def test_a_file_of_signers_is_read_or_its_lines_are_named(text: str) -> None:
    with suppress(SettingsError):
        assert read_signers(text, "allowed_signers").file == "allowed_signers"


def test_a_key_belongs_to_exactly_one_person() -> None:
    one = read_signers(line("alex"), "allowed_signers")
    assert owner_of(KEY, ["alex"], one, PEOPLE).id == "alex"
    for text in (line("alex,billie"), line("alex") + line("billie"), line("alex,nobody")):
        with pytest.raises(GateError, match="a key that several use"):
            owner_of(KEY, ["alex"], read_signers(text, "allowed_signers"), PEOPLE)


def test_a_key_of_nobody_who_is_known_counts_for_nobody() -> None:
    with pytest.raises(GateError, match="knows no such person"):
        owner_of(KEY, ["casey"], read_signers(line("casey"), "allowed_signers"), PEOPLE)
    with pytest.raises(GateError, match="belongs to nobody"):
        owner_of(OTHER, [], read_signers(line("alex"), "allowed_signers"), PEOPLE)


def test_a_certificate_belongs_to_the_one_person_whom_it_names() -> None:
    signers = read_signers(line("*", options="cert-authority"), "allowed_signers")
    assert owner_of(b"a certificate", ["alex", "desk-3"], signers, PEOPLE).id == "alex"
    with pytest.raises(GateError, match="several use"):
        owner_of(b"a certificate", ["alex", "billie"], signers, PEOPLE)


@given(st.text(max_size=300) | st.binary(max_size=300).map(lambda data: base64.b64encode(data).decode()))
def test_what_is_no_signature_is_refused_as_such(text: str) -> None:
    for signature in (text, f"-----BEGIN SSH SIGNATURE-----\n{text}\n-----END SSH SIGNATURE-----\n"):
        with pytest.raises(ValueError, match="signature"):
            key_in(signature)


@pytest.mark.parametrize(
    ("text", "counts"),
    [
        (line("alex"), True),
        (line("alex", options='valid-before="20261123"'), True),
        (line("alex", options='valid-before="20261122100000Z"'), False),
        (line("alex", options='valid-after="202611220959",valid-before="20261122100001"'), True),
        (line("alex", options='valid-after="20261123"'), False),
        (line("alex", options='valid-before="tomorrow"'), False),
        (line("billie"), False),
        (line("alex", OTHER), False),
        (line("alex", OTHER) + line("*", OTHER, "cert-authority"), True),
        (line("billie") + line("*", OTHER, "cert-authority"), False),
        ("", False),
    ],
)
def test_a_signature_that_was_accepted_counts_as_long_as_its_key_is_the_persons(
    text: str, counts: bool
) -> None:
    signers = read_signers(text, "allowed_signers")
    fingerprint = read_signers(line("alex"), "x").lines[0].fingerprint
    assert signers.still_counts("alex", fingerprint, datetime(2026, 11, 22, 10, tzinfo=UTC)) is counts
