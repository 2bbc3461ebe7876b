"""The tree over the ends of all incidents: the same root however it came about, and no proof of a shorter chain."""

from __future__ import annotations

import hashlib
import time
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimrun import canonical
from mimrun.log import merkle
from mimrun.log.proof.heads import Heads, head_leaf


def leaf(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def of_numbers(count: int) -> Heads:
    return Heads.of((f"INC-{n:05}", n + 1, leaf(str(n))) for n in range(count))


def reference_root(heads: Heads) -> bytes:
    """The root as the format page says it, without anything of the class."""
    leaves = [
        merkle.leaf_hash(canonical.encode({"inc": inc, "iseq": iseq, "leaf": end}))
        for inc, iseq, end in sorted(heads)
    ]
    return merkle.root(leaves)


def test_leaf_is_the_canonical_triple() -> None:
    text = b'{"inc":"INC-1","iseq":3,"leaf":"' + b"a" * 64 + b'"}'
    assert head_leaf("INC-1", 3, "a" * 64) == hashlib.sha256(b"\0" + text).digest()


def test_no_incident_has_the_root_of_the_empty_tree() -> None:
    assert Heads().root() == merkle.EMPTY_ROOT
    assert not list(Heads())


@pytest.mark.parametrize("count", [1, 2, 3, 4, 7, 8, 9, 100])
def test_each_incident_is_proven_and_no_other_end_is(count: int) -> None:
    heads = of_numbers(count)
    root = heads.root()
    assert root == reference_root(heads)
    for inc, iseq, end in heads:
        proof = heads.prove(inc)
        assert (proof.inc, proof.iseq, proof.leaf) == (inc, iseq, end)
        assert proof.holds(root, count)
        assert not replace(proof, iseq=iseq - 1).holds(root, count)
        assert not replace(proof, leaf=leaf("cut")).holds(root, count)
        assert not replace(proof, inc="INC-other").holds(root, count)
        assert not proof.holds(root, count + 1)
        assert not proof.holds(leaf("x").encode()[:32], count)


def test_unknown_incident_has_no_proof() -> None:
    with pytest.raises(KeyError):
        of_numbers(3).prove("INC-9")


@given(st.lists(st.tuples(st.text("abcXYZ-019", min_size=1, max_size=6), st.integers(1, 99)), max_size=60))
def test_root_does_not_depend_on_the_order_of_changes(changes: list[tuple[str, int]]) -> None:
    heads = Heads()
    for inc, iseq in changes:
        heads.set(inc, iseq, leaf(f"{inc}{iseq}"))
        assert heads.root() == reference_root(heads)
    last = dict(changes)
    again = Heads.of((inc, iseq, leaf(f"{inc}{iseq}")) for inc, iseq in last.items())
    assert again.root() == heads.root()
    assert len(again) == len(heads) == len(last)
    for inc in last:
        assert heads.prove(inc).holds(heads.root(), len(heads))


def test_few_changes_among_many_incidents_hash_little(monkeypatch: pytest.MonkeyPatch) -> None:
    heads = of_numbers(10_000)
    counted = []
    real = merkle.node_hash
    monkeypatch.setattr(
        "mimrun.log.proof.heads.node_hash", lambda left, right: counted.append(1) or real(left, right)
    )
    began = time.monotonic()
    for n in range(5):
        heads.set(f"INC-{n * 1999:05}", 500, leaf("new"))
    heads.set("INC-99999", 1, leaf("behind all"))
    root = heads.root()
    assert len(counted) < 7 * 15
    assert time.monotonic() - began < 1
    monkeypatch.undo()
    assert root == reference_root(heads)
