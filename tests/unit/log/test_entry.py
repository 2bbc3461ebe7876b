"""Drafts and entries: what may be recorded, and that what is read is what was written."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from mimrun.errors import LogError, TamperError
from mimrun.log.chain import Head, IncidentHead, Linked, Place, link
from mimrun.log.entry import FIELDS, MAX_BLOB, MAX_ENTRY, Actor, Blob, BlobRef, Draft, decode
from mimrun.log.kinds import (
    BODIES,
    IncidentNote,
    Kind,
    ManualField,
    ManualRequested,
    RunStarted,
    StepFinished,
    StepStarted,
)
from mimrun.log.merkle import leaf_hash
from mimrun.log.moment import read_moment, write_moment

ACTOR = Actor("worker", "w:7f3a", "engine", "lease")
NOON = datetime(2026, 10, 26, 12, 0, tzinfo=UTC)
FIRST = Place("mim.example.org/prod", Head(), IncidentHead())


def linked(draft: Draft, *refs: BlobRef) -> Linked:
    return link(draft, refs, FIRST, NOON)


def finished(reason: str) -> Draft:
    return Draft(ACTOR, StepFinished(status="ok", reason=reason), inc="INC-1", run="r1", step="3.block.1")


def test_an_entry_has_exactly_the_keys_of_the_format() -> None:
    value = json.loads(linked(finished("done")).data)
    assert value.keys() == FIELDS
    assert (value["v"], value["seq"], value["iseq"], value["ts"]) == (1, 1, 1, "2026-10-26T12:00:00.000000Z")
    assert value["actor"] == {"kind": "worker", "id": "w:7f3a", "via": "engine", "auth": "lease"}


def test_entry_bytes_never_change() -> None:
    # Golden: a change of these bytes breaks every proof over every log there is.
    entry = linked(finished("déjà vu"), BlobRef("data", "ab" * 32, 3, "output"))
    assert (
        entry.data
        == (
            '{"actor":{"auth":"lease","id":"w:7f3a","kind":"worker","via":"engine"},"attempt":0,'
            f'"blobs":[{{"cls":"output","commit":"{"ab" * 32}","len":3,"n":"data"}}],'
            '"body":{"reason":"déjà vu","status":"ok"},"epoch":0,"inc":"INC-1",'
            f'"iprev":"{"0" * 64}","iseq":1,"kind":"step.finished","log":"mim.example.org/prod",'
            f'"prev":"{"0" * 64}","run":"r1","seq":1,"step":"3.block.1","target":"",'
            '"ts":"2026-10-26T12:00:00.000000Z","v":1}'
        ).encode()
    )
    assert entry.leaf == leaf_hash(entry.data) == entry.entry.leaf()


@given(st.text(max_size=600), st.text(max_size=255), st.integers(0, 2**53 - 1))
def test_what_is_read_is_what_was_written_and_is_rfc_8785(reason: str, target: str, attempt: int) -> None:
    body = StepFinished(status="failed", reason=reason)
    entry = linked(Draft(ACTOR, body, run="r1", target=target.replace("\ud800", ""), attempt=attempt))
    again = decode(entry.data)
    assert again == entry.entry
    assert again.encode() == entry.data == rfc8785.dumps(json.loads(entry.data))


def test_defaults_are_written_out_so_that_they_may_change_later() -> None:
    value = json.loads(linked(Draft(ACTOR, StepStarted(name="a", form="action", targets=("db1",)))).data)
    assert value["body"] == {"count": 1, "form": "action", "name": "a", "targets": ["db1"]}


def test_a_body_from_before_a_field_was_added_keeps_its_bytes() -> None:
    entry = linked(Draft(ACTOR, StepStarted(name="a", form="action", targets=())))
    older = entry.data.replace(b'"count":0,', b"")
    assert older != entry.data
    assert (
        decode(
            older.replace(b'"step.started"', b'"step.finished"').replace(
                b'{"form":"action","name":"a","targets":[]}', b'{"reason":"","status":"ok"}'
            )
        ).kind
        is Kind.STEP_FINISHED
    )


def test_a_long_reason_is_cut_and_broken_unicode_is_written_out() -> None:
    body = StepFinished(status="failed", reason="x" * 600 + "\udcff")
    assert len(body.reason) == 500
    assert body.reason.endswith("…")
    assert StepFinished(status="failed", reason="caf\udce9").reason == "caf\\udce9"


def test_very_many_targets_are_counted_and_only_the_first_are_named() -> None:
    names = [f"web{n:05d}.example.org" for n in range(2000)]
    body = StepStarted(name="restart", form="action", targets=tuple(names))
    assert body.count == 2000
    assert 0 < len(body.targets) < 2000
    assert list(body.targets) == names[: len(body.targets)]
    assert len(linked(Draft(ACTOR, body)).data) < MAX_ENTRY


def test_an_entry_over_16_kib_is_refused_and_says_what_to_do() -> None:
    body = ManualRequested(
        role="service_desk",
        fields=tuple(ManualField(name=f"field {n}", type="string", required=True) for n in range(400)),
    )
    with pytest.raises(LogError, match="16384 is the most; put what is long into a blob"):
        linked(Draft(ACTOR, body))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"inc": "INC 1"}, "inc 'INC 1' is not a name"),
        ({"run": "-rf"}, "run '-rf' is not a name"),
        ({"run": "r" * 129}, "is not a name"),
        ({"step": "1" * 201}, "step has 201 characters"),
        ({"target": "t" * 256}, "target has 256 characters"),
        ({"attempt": -1}, "count from 0"),
        ({"blobs": (Blob("stdout", b""),)}, "allowed are, once each: none"),
    ],
)
def test_a_draft_with_bad_names_is_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Draft(ACTOR, RunStarted(worker="w", epoch=1, resumed=False), **change)  # type: ignore[arg-type]


def test_a_blob_name_is_used_once_and_a_blob_is_bounded() -> None:
    with pytest.raises(ValueError, match="once each: text"):
        Draft(ACTOR, IncidentNote(), blobs=(Blob("text", b"a"), Blob("text", b"b")))
    with pytest.raises(ValueError, match="is the most"):
        Blob("text", bytes(MAX_BLOB + 1))


@pytest.mark.parametrize(("kind", "name"), [("robot", "x"), ("person", ""), ("person", "x" * 129)])
def test_an_actor_is_somebody(kind: str, name: str) -> None:
    with pytest.raises(ValueError, match="actor"):
        Actor(kind, name)  # type: ignore[arg-type]


def test_every_kind_has_a_body_that_knows_it() -> None:
    assert set(BODIES) == set(Kind)
    assert all(body.kind is kind for kind, body in BODIES.items())


def test_a_kind_from_a_newer_version_is_refused_by_name() -> None:
    data = linked(finished("x")).data.replace(b'"step.finished"', b'"step.teleported"')
    with pytest.raises(LogError, match=r"'step\.teleported', which this mimrun does not know"):
        decode(data)


@pytest.mark.parametrize(
    "data", [b"", b"{}", b"[]", b"\xff", b'{"v":1}', linked(finished("x")).data.replace(b'"v":1', b'"v":2')]
)
def test_bytes_that_are_no_entry_are_refused(data: bytes) -> None:
    with pytest.raises(TamperError, match="not an entry"):
        decode(data)


@given(st.datetimes(timezones=st.just(UTC), min_value=datetime(1900, 1, 1)))  # noqa: DTZ001 - hypothesis adds it
def test_moments_are_read_as_they_were_written(moment: datetime) -> None:
    assert read_moment(write_moment(moment)) == moment


def test_a_moment_is_written_in_utc_and_one_without_a_zone_is_refused() -> None:
    east = datetime(2026, 1, 1, 1, 0, tzinfo=timezone(timedelta(hours=2)))
    assert write_moment(east) == "2025-12-31T23:00:00.000000Z"
    with pytest.raises(ValueError, match="no time zone"):
        write_moment(datetime(2026, 1, 1))  # noqa: DTZ001 - that is the point
    with pytest.raises(ValueError, match="not RFC 3339"):
        read_moment("2026-01-01T00:00:00Z")
