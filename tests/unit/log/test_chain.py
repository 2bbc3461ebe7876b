"""The chain: links in the log and in each incident, and that every change of it is named."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimrun import canonical
from mimrun.log.chain import Claim, Head, IncidentHead, Place, StoredRow, commitment, link, seal
from mimrun.log.entry import NOTHING, Actor, Blob, Draft
from mimrun.log.kinds import IncidentNote, RunCancelRequested
from mimrun.log.merkle import leaf_hash, root
from mimrun.log.proof.stored import Flaw
from mimrun.log.proof.walk import verify_chain

ACTOR = Actor("person", "u:7")
START = datetime(2026, 10, 26, 12, 0, tzinfo=UTC)
LOG = "mim.example.org/prod"


def chain(incidents: Sequence[str], log: str = LOG, word: str = "") -> tuple[list[StoredRow], Claim]:
    """A log with one entry for each name of an incident."""
    head, ends, rows = Head(), dict[str, IncidentHead](), list[StoredRow]()
    for number, inc in enumerate(incidents):
        draft = Draft(ACTOR, RunCancelRequested(reason=f"{word}{number}"), inc=inc, run="r1")
        place = Place(log, head, ends.get(inc, IncidentHead()))
        one = link(draft, (), place, START + timedelta(seconds=number))
        head, rows = one.head, [*rows, row(number + 1, one.data)]
        if inc:
            ends[inc] = one.incident
    return rows, Claim(head.size, head.leaf, head.root, ends)


def row(seq: int, data: bytes, leaf: bytes | None = None) -> StoredRow:
    return StoredRow(seq, data, leaf or leaf_hash(data))


def edited(one: StoredRow, **changes: object) -> StoredRow:
    """The same entry with other facts, canonical, and with the hash that belongs to it."""
    return row(one.seq, canonical.encode(json.loads(one.data) | changes))


def named(flaws: Sequence[Flaw]) -> list[tuple[int, str]]:
    return [(flaw.seq, flaw.check) for flaw in flaws]


INCIDENTS = ["", "INC-1", "INC-2", "INC-1", "INC-1", "", "INC-2", "INC-1"]
ROWS, CLAIM = chain(INCIDENTS)


def test_entries_are_linked_in_the_log_and_in_their_incident() -> None:
    values = [json.loads(one.data) for one in ROWS]
    assert [v["iseq"] for v in values] == [0, 1, 1, 2, 3, 0, 2, 4]
    assert [v["prev"] for v in values] == [NOTHING, *(one.leaf.hex() for one in ROWS[:-1])]
    assert values[3]["iprev"] == ROWS[1].leaf.hex()
    assert values[5]["iprev"] == values[1]["iprev"] == NOTHING
    assert CLAIM.root == root(one.leaf for one in ROWS).hex()


def test_time_never_goes_backwards() -> None:
    draft = Draft(ACTOR, RunCancelRequested(reason=""))
    first = link(draft, (), Place(LOG, Head(), IncidentHead()), START)
    second = link(draft, (), Place(LOG, first.head, IncidentHead()), START - timedelta(hours=1))
    assert second.entry.ts == START


def test_a_blob_is_committed_to_with_its_salt() -> None:
    # Golden: worked out with sha256sum over the prefix, 32 zero bytes and the content.
    sealed = seal(Blob("text", b"hello", "text"), bytes(32))
    assert sealed.ref.commit == "20a201ed46ff29c2c0590f36512f5a4a8295b237e06fc6f680345d8003861a72"
    assert sealed.ref.commit == commitment(bytes(32), b"hello") != commitment(b"\1" * 32, b"hello")
    with pytest.raises(ValueError, match="32 bytes"):
        seal(Blob("text", b""), b"short")


@given(st.lists(st.sampled_from(["", "INC-1", "INC-2", "INC-3"]), max_size=40))
def test_an_untouched_log_has_no_flaw(incidents: list[str]) -> None:
    rows, claim = chain(incidents)
    assert verify_chain(rows, claim) == ()
    assert verify_chain(rows) == ()


@given(st.data())
def test_any_flipped_byte_is_found_at_its_entry(data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(ROWS) - 1))
    offset = data.draw(st.integers(0, len(ROWS[at].data) - 1))
    flipped = bytearray(ROWS[at].data)
    flipped[offset] ^= 1 << data.draw(st.integers(0, 7))
    bad = StoredRow(at + 1, bytes(flipped), ROWS[at].leaf)
    flaws = verify_chain([*ROWS[:at], bad, *ROWS[at + 1 :]], CLAIM)
    assert [flaw.seq for flaw in flaws] == [at + 1]


@pytest.mark.parametrize("at", range(1, 9))
def test_an_edited_entry_with_its_own_new_hash_is_named(at: int) -> None:
    bad = edited(ROWS[at - 1], body={"reason": "nothing happened"})
    flaws = verify_chain([*ROWS[: at - 1], bad, *ROWS[at:]], CLAIM)
    assert named(flaws) == [(at, "link")]


@pytest.mark.parametrize("at", range(2, 9))
def test_an_entry_linked_to_something_else_is_named(at: int) -> None:
    bad = edited(ROWS[at - 1], prev="ab" * 32)
    flaws = verify_chain([*ROWS[: at - 1], bad, *ROWS[at:]], CLAIM)
    assert named(flaws) == [(at, "link")]


@pytest.mark.parametrize("at", range(1, 8))
def test_a_deleted_entry_is_missing(at: int) -> None:
    flaws = verify_chain([*ROWS[: at - 1], *ROWS[at:]], CLAIM)
    assert named(flaws) == [(at, "missing")]


def test_a_stretch_cut_out_is_missing_from_its_first() -> None:
    flaws = verify_chain([*ROWS[:2], *ROWS[5:]], CLAIM)
    assert named(flaws) == [(3, "missing")]
    assert str(flaws[0]) == "entry 3: entries 3 to 5 are missing"


def test_an_end_cut_off_is_missing_if_the_store_still_notes_its_end() -> None:
    flaws = verify_chain(ROWS[:6], CLAIM)
    assert named(flaws) == [(7, "missing")]


def test_a_deletion_closed_up_by_renumbering_is_named() -> None:
    moved = [row(one.seq - 1, one.data) for one in ROWS[4:]]
    assert named(verify_chain([*ROWS[:3], *moved], CLAIM))[0] == (4, "place")


def test_two_swapped_entries_are_both_named() -> None:
    swapped = [row(3, ROWS[3].data), row(4, ROWS[2].data)]
    flaws = verify_chain([*ROWS[:2], *swapped, *ROWS[4:]], CLAIM)
    assert named(flaws) == [(3, "place"), (4, "place")]


def test_an_entry_put_in_twice_is_named() -> None:
    assert named(verify_chain([*ROWS[:3], ROWS[2], *ROWS[3:]], CLAIM)) == [(3, "place")]


def test_an_entry_of_another_log_is_named() -> None:
    others, _ = chain(INCIDENTS, log="mim.example.org/test")
    assert named(verify_chain([*ROWS[:3], others[3], *ROWS[4:]], CLAIM)) == [(4, "origin")]


def test_an_entry_of_another_copy_of_the_log_is_named() -> None:
    others, _ = chain(INCIDENTS, word="other ")
    assert named(verify_chain([*ROWS[:3], others[3], *ROWS[4:]], CLAIM)) == [(4, "link")]


def test_an_entry_that_is_not_canonical_is_named() -> None:
    loose = json.dumps(json.loads(ROWS[4].data), indent=1).encode()
    for data in (loose, ROWS[4].data.replace(b"12:00", b"\\u0031\\u0032:00"), ROWS[4].data + b" "):
        flaws = verify_chain([*ROWS[:4], row(5, data), *ROWS[5:]], CLAIM)
        assert flaws[0].seq == 5
        assert flaws[0].check in ("canonical", "bytes")


@pytest.mark.parametrize("number", [b"1.0", b"1e0", b"9007199254740992", b"-0", b"true", b"null", b'"1"'])
def test_a_number_that_is_not_a_plain_integer_is_named(number: bytes) -> None:
    data = ROWS[4].data.replace(b'"attempt":0', b'"attempt":' + number)
    assert data != ROWS[4].data
    assert verify_chain([*ROWS[:4], row(5, data), *ROWS[5:]], CLAIM)[0].seq == 5


def test_keys_in_another_order_are_not_canonical() -> None:
    value = json.loads(ROWS[4].data)
    value["actor"] = dict(reversed(value["actor"].items()))
    data = json.dumps(value, separators=(",", ":")).encode()
    flaws = verify_chain([*ROWS[:4], row(5, data), *ROWS[5:]], CLAIM)
    assert named(flaws) == [(5, "canonical")]


def test_a_changed_hash_column_is_named() -> None:
    bad = StoredRow(4, ROWS[3].data, bytes(32))
    assert named(verify_chain([*ROWS[:3], bad, *ROWS[4:]], CLAIM)) == [(4, "leaf")]


def test_an_entry_that_the_store_finds_under_another_name_is_named() -> None:
    good = StoredRow(*ROWS[3][:3], kind="run.cancel_requested", inc="INC-1", run="r1")
    assert verify_chain([*ROWS[:3], good, *ROWS[4:]], CLAIM) == ()
    for hidden in (good._replace(run="r2"), good._replace(inc=""), good._replace(kind="run.ended")):
        assert named(verify_chain([*ROWS[:3], hidden, *ROWS[4:]], CLAIM)) == [(4, "column")]


def test_an_appended_forgery_that_is_linked_to_nothing_is_named() -> None:
    extra = edited(ROWS[-1]._replace(seq=9), seq=9, prev="cd" * 32, iseq=5)
    assert named(verify_chain([*ROWS, extra]))[0] == (9, "link")


def test_an_entry_moved_to_another_incident_with_all_links_redone_breaks_the_incident() -> None:
    # The whole log behind it is linked anew; only the incident's own chain was forgotten.
    rows = [*ROWS[:3], edited(ROWS[3], inc="INC-2")]
    for one in ROWS[4:]:
        rows.append(edited(one, prev=rows[-1].leaf.hex()))
    assert verify_chain(rows)[0].check == "incident"
    assert verify_chain(rows)[0].seq == 4


def test_a_clock_set_back_by_a_forger_is_named() -> None:
    rows = [*ROWS[:4], edited(ROWS[4], ts="2020-01-01T00:00:00.000000Z")]
    for one in ROWS[5:]:
        rows.append(edited(one, prev=rows[-1].leaf.hex()))
    assert (5, "time") in named(verify_chain(rows))


@pytest.mark.parametrize(
    ("claim", "expected"),
    [
        (Claim(7, ROWS[6].leaf.hex(), "", {}), (8, "head")),
        (Claim(8, CLAIM.leaf, "00" * 32, CLAIM.incidents), (0, "head")),
        (Claim(8, CLAIM.leaf, CLAIM.root, {}), (0, "head")),
        (Claim(8, "00" * 32, CLAIM.root, CLAIM.incidents), (8, "link")),
    ],
)
def test_a_note_of_the_end_that_does_not_fit_is_named(claim: Claim, expected: tuple[int, str]) -> None:
    assert named(verify_chain(ROWS, claim)) == [expected]


def test_a_log_rewritten_as_a_whole_shows_no_flaw_without_a_note_from_outside() -> None:
    # The honest limit of a chain: it is why size and root are to be noted elsewhere.
    rows, claim = chain(INCIDENTS, word="other ")
    assert verify_chain(rows, claim) == ()


@pytest.mark.parametrize("data", [None, 7, "text", b"", b"null", b"[" * 100_000])
def test_what_is_no_entry_at_all_is_named(data: object) -> None:
    bad = StoredRow(4, data, b"")  # type: ignore[arg-type]
    assert named(verify_chain([*ROWS[:3], bad, *ROWS[4:]], CLAIM)) == [(4, "bytes")]


def test_a_body_of_another_kind_is_named() -> None:
    rows = [*ROWS[:7], edited(ROWS[7], kind="incident.note")]
    assert named(verify_chain(rows)) == [(8, "body")]
    assert IncidentNote().kind == "incident.note"
