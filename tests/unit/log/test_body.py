"""A body with a value of another type than its kind has is refused by whoever reads it, and named by whoever verifies."""

from __future__ import annotations

import json
from typing import Any

import pytest
from builders.every_kind import body_of, entry_of
from hypothesis import given
from hypothesis import strategies as st

from mimrun import canonical
from mimrun.errors import TamperError
from mimrun.log.body import read_body, wrong_body
from mimrun.log.chain import StoredRow, Unreadable, read_or_tell
from mimrun.log.entry import decode
from mimrun.log.kinds import Kind, StepOutcome
from mimrun.log.merkle import leaf_hash
from mimrun.log.proof.segment import examine
from mimrun.log.proof.standalone.entries import BODIES as LOOKED_AT
from mimrun.log.proof.standalone.entries import OPTIONAL, read_entry
from mimrun.log.proof.walk import Walk

OTHERS: list[Any] = [
    True,
    False,
    None,
    0,
    3,
    2**53 - 1,
    "",
    "3",
    "true",
    [],
    ["x"],
    {},
    {"a": 1},
    [3],
    [None],
]
"""Values of every type that canonical JSON has."""
KINDS = [kind for kind in Kind if body_of(kind).model_dump()]


def same_type(a: object, b: object) -> bool:
    return type(a) is type(b) and not isinstance(a, list | dict)


@st.composite
def lies(draw: st.DrawFn, *, looked_at: bool = False) -> tuple[Kind, str, dict[str, Any]]:
    """A kind, a key of its body, and the body with a value of another type under it, or within it."""
    kind = draw(st.sampled_from([Kind(one) for one in sorted(LOOKED_AT)] if looked_at else KINDS))
    body: dict[str, Any] = body_of(kind).model_dump(mode="json")
    name = draw(st.sampled_from(sorted(LOOKED_AT[kind] if looked_at else body)))
    inside, key = body, name
    value = body[name][0] if isinstance(body[name], list) and body[name] else body[name]
    if isinstance(value, dict) and value and draw(st.booleans()):
        inside, key = value, draw(st.sampled_from(sorted(value)))
    was = inside[key]
    # An empty list is a list of whatever there may be.
    others = [
        other for other in OTHERS if not same_type(other, was) and not (other == [] and isinstance(was, list))
    ]
    if isinstance(was, list) and was and isinstance(was[0], str):
        others = [other for other in others if other != ["x"]]
    if isinstance(was, dict):
        # Every part of it has a default.
        others = [other for other in others if other != {}]
    inside[key] = draw(st.sampled_from(others))
    return kind, name, body


def bytes_of(kind: Kind, body: dict[str, Any]) -> bytes:
    value = entry_of(kind).as_json()
    value |= {"seq": 1, "iseq": 1, "body": body, "blobs": []}
    return canonical.encode(value)


@given(lies())
def test_one_value_of_another_type_is_refused_by_all_who_read_and_named_by_all_who_verify(
    lie: tuple[Kind, str, dict[str, Any]],
) -> None:
    kind, name, body = lie
    assert name in wrong_body(kind, body)
    data = bytes_of(kind, body)
    row = StoredRow(1, data, leaf_hash(data))
    with pytest.raises(TamperError, match=f"its body is not one of {kind}"):
        decode(data)
    told = read_or_tell(row)
    assert isinstance(told, Unreadable)
    assert (told.seq, name in told.why) == (1, True)
    assert examine([row]) is None
    walk = Walk()
    walk.feed([row])
    (flaw,) = walk.finish()
    assert (flaw.seq, flaw.check) == (1, "body")
    assert f"its body is not one of {kind}: {name}" in flaw.detail


@given(lies(looked_at=True))
def test_the_stand_alone_verifier_names_what_it_looks_at(lie: tuple[Kind, str, dict[str, Any]]) -> None:
    kind, name, body = lie
    _, check, detail = read_entry(bytes_of(kind, body), "example.org/incidents")
    assert (check, f"its body is not one of {kind}: {name}" in detail) == ("body", True)


@pytest.mark.parametrize("kind", sorted(LOOKED_AT))
def test_the_stand_alone_verifier_takes_what_is_right_and_misses_what_is_missing(kind: str) -> None:
    body: dict[str, Any] = body_of(Kind(kind)).model_dump(mode="json")
    assert read_entry(bytes_of(Kind(kind), body), "example.org/incidents")[1] == ""
    for name in LOOKED_AT[kind]:
        less = {key: value for key, value in body.items() if key != name}
        found = read_entry(bytes_of(Kind(kind), less), "example.org/incidents")[2]
        assert (f"{name} is missing" in found) is (name not in OPTIONAL)
    for name in [name for name, of in LOOKED_AT[kind].items() if of is int]:
        assert read_entry(bytes_of(Kind(kind), body | {name: -1}), "example.org/incidents")[1] == "body"


@pytest.mark.parametrize("kind", list(Kind))
def test_a_body_that_is_right_is_read_as_it_is(kind: Kind) -> None:
    body = body_of(kind)
    value: dict[str, Any] = body.model_dump(mode="json")
    assert read_body(kind, value) == body
    for name, field in type(body).model_fields.items():
        less = {key: one for key, one in value.items() if key != name}
        assert bool(wrong_body(kind, less)) is field.is_required(), name
        assert wrong_body(kind, {**value, "more": 1})


def test_a_reason_that_is_longer_than_reasons_are_is_not_cut_but_refused() -> None:
    body: dict[str, Any] = body_of(Kind.STEP_OUTCOME).model_dump(mode="json")
    assert wrong_body("step.outcome", body | {"reason": "x" * 500}) == ""
    assert "reason cannot be" in wrong_body("step.outcome", body | {"reason": "x" * 501})
    assert len(StepOutcome(**(body | {"reason": "x" * 501})).reason) == 500


@pytest.mark.parametrize(
    "change",
    [
        {"seq": "1"}, {"iseq": True}, {"ts": 5}, {"inc": None}, {"run": 3}, {"epoch": "2"}, {"attempt": [1]},
        {"actor": {"kind": "person", "id": ["x"], "via": "", "auth": ""}},
        {"actor": {"kind": "robot", "id": "x", "via": "", "auth": ""}},
        {"actor": {"kind": "person", "id": "x", "via": 7, "auth": ""}},
        {"blobs": [{"n": "reason", "commit": "ab" * 32, "len": "7", "cls": "text"}]},
        {"blobs": [{"n": 7, "commit": "ab" * 32, "len": 7, "cls": "text"}]},
        {"blobs": [7]},
    ],
)  # fmt: skip
def test_other_values_of_another_type_are_refused_too(change: dict[str, Any]) -> None:
    value = json.loads(bytes_of(Kind.RUN_CANCEL_REQUESTED, {"reason": "x"})) | change
    data = canonical.encode(value)
    with pytest.raises(TamperError, match="not an entry"):
        decode(data)
    walk = Walk()
    walk.feed([StoredRow(1, data, leaf_hash(data))])
    assert walk.finish(), "a verifier finds what a reader refuses"
