"""The tree over the ends of incidents gives the root that hashing all of them again gives."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimrun.log.chain import IncidentHead
from mimrun.log.ends import Ends, end_leaf
from mimrun.log.merkle import EMPTY_ROOT, leaf_hash, root

NAMES = st.text("ABC-0123", min_size=1, max_size=5)
ENDS = st.dictionaries(
    NAMES, st.builds(IncidentHead, st.integers(1, 9), st.sampled_from(["0" * 64, "f" * 64])), max_size=40
)


def from_scratch(ends: dict[str, IncidentHead]) -> str:
    return root(end_leaf(inc, ends[inc]) for inc in sorted(ends)).hex()


@given(st.lists(ENDS, max_size=8))
def test_the_root_after_any_changes_is_that_of_all_ends_hashed_anew(
    changes: list[dict[str, IncidentHead]],
) -> None:
    ends, known = Ends(), dict[str, IncidentHead]()
    for change in changes:
        ends.update(change)
        known |= change
        assert ends.root == from_scratch(known)
        assert len(ends) == len(known)


def test_a_log_without_incidents_has_the_root_of_an_empty_tree() -> None:
    assert Ends().root == EMPTY_ROOT.hex()


def test_a_leaf_is_the_hash_of_what_the_format_page_says() -> None:
    data = b'{"inc":"INC-1","iseq":3,"leaf":"' + b"a" * 64 + b'"}'
    assert end_leaf("INC-1", IncidentHead(3, "a" * 64)) == leaf_hash(data)
    assert leaf_hash(data) == hashlib.sha256(b"\0" + data).digest()


def test_one_end_of_very_many_moves_at_the_price_of_a_few_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    many = {f"INC-{number:06d}": IncidentHead(1, "0" * 64) for number in range(5000)}
    ends, hashes = Ends(many), 0

    def counting(left: bytes, right: bytes) -> bytes:
        nonlocal hashes
        hashes += 1
        return hashlib.sha256(b"\x01" + left + right).digest()

    monkeypatch.setattr("mimrun.log.ends.node_hash", counting)
    moved = {"INC-002500": IncidentHead(2, "1" * 64)}
    ends.update(moved)
    assert hashes <= 13
    assert ends.root == from_scratch(many | moved)
