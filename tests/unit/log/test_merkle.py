"""The Merkle tree against published vectors, against the definition, and against forgeries."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimrun.log.merkle import EMPTY_ROOT, Frontier, Tree, consistent, included, leaf_hash, root

# The reference vectors of Certificate Transparency (RFC 6962), as they are in the test data of its
# implementations: eight leaves, and the root over the first one, two, ... of them.
LEAVES = [
    leaf_hash(bytes.fromhex(data))
    for data in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
INCLUSIONS = [
    (0, 1, []),
    (
        0,
        8,
        [
            "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
        ],
    ),
    (
        5,
        8,
        [
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ],
    ),
]

sizes = st.integers(1, 70)


def leaves(size: int) -> list[bytes]:
    return [leaf_hash(b"%d" % i) for i in range(size)]


def by_definition(leaves: list[bytes]) -> bytes:
    """MTH of RFC 9162, section 2.1.1, written as the recursion that it is."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    left, right = by_definition(leaves[:split]), by_definition(leaves[split:])
    return hashlib.sha256(b"\x01" + left + right).digest()


@pytest.mark.parametrize(("size", "expected"), list(enumerate(ROOTS, start=1)))
def test_roots_are_the_published_ones(size: int, expected: str) -> None:
    assert Tree(LEAVES).root(size).hex() == expected
    assert root(LEAVES[:size]).hex() == expected


def test_the_empty_tree_has_the_hash_of_nothing_as_root() -> None:
    assert root([]) == Tree([]).root() == EMPTY_ROOT == hashlib.sha256(b"").digest()


@pytest.mark.parametrize(("index", "size", "path"), INCLUSIONS)
def test_inclusion_proofs_are_the_published_ones(index: int, size: int, path: list[str]) -> None:
    proof = Tree(LEAVES).inclusion(index, size)
    assert [step.hex() for step in proof] == path
    assert included(LEAVES[index], index, size, proof, bytes.fromhex(ROOTS[size - 1]))


@given(st.integers(0, 200))
def test_root_and_frontier_follow_the_definition(size: int) -> None:
    expected = by_definition(leaves(size))
    assert Tree(leaves(size)).root() == Frontier().extend(leaves(size)).root() == expected


@given(st.lists(st.integers(0, 40), max_size=6))
def test_a_frontier_goes_on_from_where_it_was_stored(parts: list[int]) -> None:
    data = leaves(sum(parts))
    frontier, so_far = Frontier(), 0
    for part in parts:
        frontier = frontier.extend(data[so_far : so_far + part])
        so_far += part
        assert Frontier.decode(frontier.size, frontier.encode()) == frontier
    assert frontier.root() == root(data)


@pytest.mark.parametrize(
    ("size", "data"), [(1, b""), (3, b"x" * 32), (0, b"x" * 32), (-1, b""), (1, b"x" * 31)]
)
def test_a_frontier_of_another_size_is_refused(size: int, data: bytes) -> None:
    with pytest.raises(ValueError, match="no frontier"):
        Frontier.decode(size, data)


@given(sizes, st.data())
def test_every_leaf_is_proven_and_no_other_in_its_place(size: int, data: st.DataObject) -> None:
    tree = Tree(leaves(70))
    index = data.draw(st.integers(0, size - 1))
    proof, expected = tree.inclusion(index, size), tree.root(size)
    assert included(leaves(70)[index], index, size, proof, expected)
    assert not included(leaf_hash(b"other"), index, size, proof, expected)
    other = data.draw(st.integers(-1, size + 1).filter(lambda i: i != index))
    assert not included(leaves(70)[index], other, size, proof, expected)
    assert not included(leaves(70)[index], index, size, (*proof, expected), expected)
    if proof:
        spoilt = data.draw(st.integers(0, len(proof) - 1))
        forged = [bytes([step[0] ^ 1]) + step[1:] if i == spoilt else step for i, step in enumerate(proof)]
        assert not included(leaves(70)[index], index, size, forged, expected)
        assert not included(leaves(70)[index], index, size, proof[:-1], expected)


@given(sizes, sizes, st.data())
def test_growing_is_proven_and_rewriting_is_not(one: int, other: int, data: st.DataObject) -> None:
    first, second = sorted((one, other))
    tree = Tree(leaves(second))
    proof = tree.consistency(first)
    assert consistent(first, second, proof, tree.root(first), tree.root())
    changed = data.draw(st.integers(0, first - 1))
    rewritten = Tree([leaf_hash(b"x") if i == changed else leaf for i, leaf in enumerate(leaves(second))])
    assert not consistent(first, second, proof, tree.root(first), rewritten.root())
    assert not consistent(first, second, rewritten.consistency(first), tree.root(first), rewritten.root())
    if proof:
        assert not consistent(first, second, proof[:-1], tree.root(first), tree.root())
        assert not consistent(first, second, (*proof, proof[0]), tree.root(first), tree.root())


def test_every_tree_begins_with_the_empty_one_and_none_shrinks() -> None:
    tree = Tree(leaves(5))
    assert consistent(0, 5, tree.consistency(0), EMPTY_ROOT, tree.root())
    assert not consistent(0, 5, (), tree.root(), tree.root())
    assert not consistent(5, 3, (), tree.root(), tree.root(3))
    assert not consistent(3, 5, (), tree.root(3), tree.root())


@pytest.mark.parametrize(("low", "high"), [(-1, 3), (3, 3), (0, 6)])
def test_proofs_of_what_is_not_there_are_refused(low: int, high: int) -> None:
    with pytest.raises(ValueError, match="5 leaves"):
        Tree(leaves(5)).inclusion(low, high)
