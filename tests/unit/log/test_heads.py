"""Proofs of how far an incident went: each holds, and none of a shorter or another chain does."""

from __future__ import annotations

import hashlib
import time
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimrun.log.chain import IncidentHead
from mimrun.log.ends import Ends, end_leaf
from mimrun.log.merkle import EMPTY_ROOT
from mimrun.log.proof.heads import HeadProofs


def leaf(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def of_numbers(count: int) -> dict[str, IncidentHead]:
    return {f"INC-{n:05}": IncidentHead(n + 1, leaf(str(n))) for n in reversed(range(count))}


def test_leaf_is_the_canonical_triple() -> None:
    text = b'{"inc":"INC-1","iseq":3,"leaf":"' + b"a" * 64 + b'"}'
    assert end_leaf("INC-1", IncidentHead(3, "a" * 64)) == hashlib.sha256(b"\0" + text).digest()


@pytest.mark.parametrize("count", [1, 2, 3, 4, 7, 8, 9, 100])
def test_each_incident_is_proven_and_no_other_end_is(count: int) -> None:
    ends = of_numbers(count)
    proofs, root = HeadProofs(ends), bytes.fromhex(Ends(ends).root)
    assert proofs.root == root
    for inc, end in ends.items():
        proof = proofs.prove(inc)
        assert (proof.inc, proof.end) == (inc, end)
        assert proof.holds(root, count)
        assert not replace(proof, end=IncidentHead(end.iseq - 1, end.leaf)).holds(root, count)
        assert not replace(proof, end=IncidentHead(end.iseq, leaf("cut"))).holds(root, count)
        assert not replace(proof, inc="INC-other").holds(root, count)
        assert not replace(proof, incidents=count + 1).holds(root, count)
        assert not proof.holds(root, count + 1)
        assert not proof.holds(bytes(32), count)
        for index in {0, count - 1, -1, count} - {proof.index}:
            assert not replace(proof, index=index).holds(root, count)


def test_incident_that_was_not_there_has_no_proof() -> None:
    with pytest.raises(KeyError):
        HeadProofs(of_numbers(3)).prove("INC-9")
    assert HeadProofs({}).root == EMPTY_ROOT


@given(st.dictionaries(st.text("abcXYZ-019", min_size=1, max_size=6), st.integers(1, 99), max_size=60))
def test_proofs_hold_under_the_root_that_the_log_keeps(places: dict[str, int]) -> None:
    ends = {inc: IncidentHead(iseq, leaf(inc)) for inc, iseq in places.items()}
    kept = Ends()
    for inc, end in ends.items():
        kept.update({inc: end})
    proofs = HeadProofs(ends)
    assert all(proofs.prove(inc).holds(bytes.fromhex(kept.root), len(kept)) for inc in ends)


def test_ten_thousand_incidents_are_proven_in_a_moment() -> None:
    ends = of_numbers(10_000)
    began = time.monotonic()
    proof = HeadProofs(ends).prove("INC-07777")
    assert time.monotonic() - began < 5
    assert proof.holds(bytes.fromhex(Ends(ends).root), 10_000)
