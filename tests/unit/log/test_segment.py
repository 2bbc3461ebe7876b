"""The quick look at a page and the close one come to the same; the quick one never lets anything pass."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimrun import canonical
from mimrun.log.chain import Head, IncidentHead, Place, SealedBlob, StoredRow, link, seal
from mimrun.log.ends import Ends
from mimrun.log.entry import Actor, Blob, Draft
from mimrun.log.kinds import Body, GateRequested, IncidentNote, LogHeads, RedactProposed, RunStarted
from mimrun.log.merkle import leaf_hash, root
from mimrun.log.proof.segment import Segment, examine
from mimrun.log.proof.walk import Walk

ACTOR = Actor("person", "u:7")
LOG = "mim.example.org/prod"
START = datetime(2026, 10, 26, tzinfo=UTC)
GATE = GateRequested(
    digest="sha256:" + "a" * 64,
    title="Grüße \x7f \u2028 𝄞",
    change="emergency",
    risk="high",
    approvals=({"role": "change_manager", "count": 2},),
    expires_at="",
    on_timeout="escalate",
)


def rows_of(incidents: list[str]) -> list[StoredRow]:
    """A log with an entry for each name of an incident, of several kinds; behind each seventh, the ends so far."""
    head, ends, rows = Head(), dict[str, IncidentHead](), list[StoredRow]()

    def add(body: Body, inc: str, blobs: list[SealedBlob]) -> None:
        nonlocal head
        draft = Draft(ACTOR, body, inc=inc, run="r1")
        place = Place(LOG, head, ends.get(inc, IncidentHead()))
        one = link(draft, tuple(b.ref for b in blobs), place, START + timedelta(seconds=head.size))
        head = one.head
        if inc:
            ends[inc] = one.incident
        rows.append(StoredRow(head.size, one.data, one.leaf, draft.kind.value, inc, "r1"))

    for number, inc in enumerate(incidents):
        blobs = [seal(Blob("text", b"hello", "text"), bytes([number % 256]) * 32)] if number % 3 == 0 else []
        bodies = (IncidentNote(), RunStarted(worker="w:1", epoch=2**53 - 1, resumed=False), GATE)
        add(bodies[number % 3], inc, blobs)
        if number % 7 == 6:
            add(LogHeads(incidents=len(ends), root=Ends(ends).root), "", [])
            add(RedactProposed(entry=1, names=("text",), reason="wrong name"), inc, [])
    return rows


ROWS = rows_of(["", "INC-1", "INC-2", "INC-1", "INC-1", "", "INC-2", "INC-1"])


def closely(rows: list[StoredRow]) -> Walk:
    class Close(Walk):
        def _fits(self, segment: Segment) -> bool:
            return False

    walk = Close()
    walk.feed(rows)
    return walk


def state(walk: Walk) -> tuple[object, ...]:
    known = (walk.seq, walk.leaf, walk.log, walk.first_ts, walk.last_ts, walk.frontier, walk.incidents)
    return *known, walk._tree.root, walk.heads, walk.wanted


@given(
    st.lists(st.sampled_from(["", "INC-1", "INC-2", "INC-3"]), min_size=1, max_size=40), st.integers(1, 40)
)
def test_a_good_log_is_seen_alike_by_both(incidents: list[str], page: int) -> None:
    rows = rows_of(incidents)
    quick = Walk()
    claims = [c for at in range(0, len(rows), page) for c in quick.feed(rows[at : at + page])]
    assert state(quick) == state(closely(rows))
    assert quick.finish() == closely(rows).finish() == ()
    assert len(claims) == len(range(0, len(incidents), 3))
    assert len(quick.heads) == len(quick.wanted) == len(incidents) // 7
    assert all(examine(rows[at : at + page]) for at in range(0, len(rows), page))


@given(st.data())
def test_a_changed_byte_is_never_let_pass_even_with_its_hash_made_anew(data: st.DataObject) -> None:
    seq = data.draw(st.integers(0, len(ROWS) - 1))
    image = bytearray(ROWS[seq].data)
    image[data.draw(st.integers(0, len(image) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    row = ROWS[seq]._replace(data=bytes(image), leaf=leaf_hash(bytes(image)))
    rows = [*ROWS[:seq], row, *ROWS[seq + 1 :]]
    quick = Walk()
    quick.feed(rows)
    assert quick.finish() == closely(rows).finish()
    if seq + 1 < len(ROWS):
        assert quick.finish()


def changed(number: int, **changes: object) -> StoredRow:
    """An entry with other facts, canonical where it can be, and with the hash that belongs to it."""
    value = json.loads(ROWS[number].data) | changes
    data = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    return ROWS[number]._replace(data=data, leaf=leaf_hash(data))


def odd_bodies() -> list[dict[str, object]]:
    body = json.loads(ROWS[1].data)["body"]
    gate = json.loads(ROWS[2].data)["body"]
    deep: object = 1
    for _ in range(70):
        deep = [deep]
    return [
        {"body": body | {"epoch": 1.5}},
        {"body": body | {"epoch": 2**53}},
        {"body": body | {"epoch": -(2**53)}},
        {"body": body | {"epoch": 2**64}},
        {"body": body | {"more": 1}},
        {"body": {}},
        {"body": body | {"worker": deep}},
        {"body": gate | {"approvals": [{"role": "x", "count": 1.0}]}, "kind": "gate.requested"},
        {"body": gate | {"approvals": [{"rôle": "x"}]}, "kind": "gate.requested"},
        {"attempt": -1},
        {"attempt": 2**53},
        {"epoch": True},
        {"actor": {"kind": "person", "id": "x", "via": ""}},
        {"actor": {"kind": "person", "id": "x", "via": "", "auth": None}},
        {"v": 2},
        {"kind": "no.such"},
        {"blobs": [{"n": 1.5, "commit": "ab" * 32, "len": 1, "cls": "text"}]},
        {"blobs": [{"n": "x", "commit": "AB" * 32, "len": 1, "cls": "text"}]},
        {"blobs": [{"n": "x", "commit": "ab" * 32, "len": -1, "cls": "text"}]},
        {"ts": 5},
        {"ts": "2026-10-26T00:00:01Z"},
        {"ts": "tomorrow"},
        {"log": "another.example.org/log"},
    ]


@pytest.mark.parametrize("changes", odd_bodies(), ids=lambda c: str(c)[:60])
def test_what_is_no_entry_gets_a_closer_look(changes: dict[str, object]) -> None:
    row = changed(1, **changes)._replace(kind=None)
    assert examine([ROWS[0]._replace(kind=None), row]) is None
    walk = Walk()
    walk.feed([row])
    assert walk.finish()


@pytest.mark.parametrize(
    "data",
    [
        json.dumps(json.loads(ROWS[1].data), separators=(",", ":"))
        .encode()
        .replace(b'{"actor"', b'{ "actor"'),
        ROWS[1].data.replace(b'"epoch":0', b'"epoch":-0'),
        ROWS[1].data.replace(b'"inc":"INC-1"', b'"inc":"INC\\u002d1"'),
        ROWS[1].data[:-1] + b',"v":1}',
        ROWS[1].data + b"\n",
        b"",
        b"[]",
        b"null",
    ],
)
def test_another_spelling_gets_a_closer_look(data: bytes) -> None:
    assert examine([ROWS[1]]) is not None
    assert examine([ROWS[1]._replace(data=data, leaf=leaf_hash(data))]) is None


def test_what_is_not_even_bytes_gets_a_closer_look() -> None:
    for data in ("text", None, 5):
        assert examine([ROWS[0]._replace(data=data)]) is None  # type: ignore[arg-type]  # a database may hold it
    assert examine([]) is None


def test_the_root_is_told_at_each_size_that_is_asked_for() -> None:
    leaves = [one.leaf for one in ROWS]
    for page in (1, 3, 100):
        walk = Walk()
        for at in range(0, len(ROWS), page):
            walk.feed(ROWS[at : at + page], sizes=[1, 4, len(ROWS), 999])
        assert walk.roots == {size: root(leaves[:size]).hex() for size in (1, 4, len(ROWS))}


@pytest.mark.parametrize("changes", [{"incidents": 7, "root": "0" * 64}, {"incidents": 2, "root": "0" * 64}])
def test_wrong_heads_of_incidents_are_named(changes: dict[str, object]) -> None:
    rows = rows_of(["INC-1", "INC-2"])
    value = json.loads(ROWS[0].data) | {
        "prev": rows[-1].leaf.hex(),
        "seq": 3,
        "ts": "2026-10-26T01:00:00.000000Z",
    }
    value |= {"kind": "log.heads", "body": changes, "blobs": []}
    data = canonical.encode(value)
    for fits in (True, False):
        walk = Walk() if fits else closely([])
        walk.feed([*rows, StoredRow(3, data, leaf_hash(data))])
        assert [(flaw.seq, flaw.check) for flaw in walk.finish()] == [(3, "heads")]
