"""The witness protocol: what is sent, what is believed of the answer, and proofs that a witness takes."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from builders.witness import Witness, consistent
from hypothesis import given
from hypothesis import strategies as st

from mimrun.log.merkle import Tree, prove_consistency
from mimrun.log.merkle import consistent as consistent_9162
from mimrun.log.proof.note import Checkpoint, SigningKey, read_note, read_vkey, sign_note
from mimrun.log.proof.witness import Asked, Behind, Cosigned, Denied, check_key, write_request

ORIGIN = "example.org/log"
KEY = SigningKey(ORIGIN, bytes([1]) * 32)
LEAVES = [hashlib.sha256(bytes([n])).digest() for n in range(70)]


def checkpoint(size: int, leaves: list[bytes] | None = None, key: SigningKey = KEY) -> str:
    return sign_note(Checkpoint(ORIGIN, size, Tree(leaves or LEAVES).root(size)).text(), [key])


def request(old: int, size: int, leaves: list[bytes] | None = None) -> str:
    return write_request(old, prove_consistency(leaves or LEAVES, old, size), checkpoint(size, leaves))


@pytest.fixture
def witness(tmp_path: Path) -> Witness:
    return Witness(tmp_path / "memory", {ORIGIN: [KEY.verifying().vkey]})


@given(st.data())
def test_a_proof_from_a_stream_is_the_one_from_the_tree(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, 70))
    first = data.draw(st.integers(0, size))
    proof = prove_consistency(iter(LEAVES), first, size)
    tree = Tree(LEAVES)
    assert proof == tree.consistency(first, size)
    if 0 < first < size:
        assert consistent(list(proof), first, size, tree.root(first), tree.root(size))
        assert consistent_9162(first, size, proof, tree.root(first), tree.root(size))
        assert not consistent([*proof, proof[0]], first, size, tree.root(first), tree.root(size))
        assert not consistent(list(proof), first, size, tree.root(size), tree.root(size))


@pytest.mark.parametrize(("first", "second"), [(3, 71), (70, 71), (5, 4), (-1, 4)])
def test_a_proof_of_leaves_that_are_not_there_is_refused(first: int, second: int) -> None:
    with pytest.raises(ValueError, match="leaves"):
        prove_consistency(LEAVES, first, second)


def test_the_request_is_written_as_the_protocol_says(witness: Witness) -> None:
    body = request(3, 5)
    lines = body.split("\n")
    assert lines[0] == "old 3"
    assert lines[lines.index("") + 1] == ORIGIN
    assert body.endswith(checkpoint(5))
    with pytest.raises(ValueError, match="63"):
        write_request(1, [bytes(32)] * 64, checkpoint(5))


def test_a_witness_signs_what_goes_on_and_its_signature_is_believed(witness: Witness) -> None:
    key = read_vkey(witness.vkey)
    for old, size in ((0, 4), (4, 4), (4, 7), (7, 70)):
        answer = witness.add_checkpoint(request(old, size))
        said = Asked(old, checkpoint(size), key).read(answer.status, answer.media_type, answer.body)
        assert isinstance(said, Cosigned), said
        assert read_note(said.note).signed([key, KEY.verifying()])[1].moment == said.moment
        assert witness.known(ORIGIN)[0] == size
    answer = witness.add_checkpoint(request(0, 70))
    assert Asked(0, checkpoint(70), key).read(answer.status, answer.media_type, answer.body) == Behind(70)


def test_what_the_witness_knows_better_is_said_to_be_against_the_log(witness: Witness) -> None:
    key = read_vkey(witness.vkey)
    witness.add_checkpoint(request(0, 40))
    other = [*LEAVES[:9], bytes(32), *LEAVES[10:]]
    cases = {
        (40, 50): "its proof does not hold",  # goes on from another history
        (40, 40): "the root is not the same",
        (10, 30): "has seen a log of 40 entries, and this one had 30",  # an old backup
    }
    for (old, size), words in cases.items():
        answer = witness.add_checkpoint(request(old, size, other))
        said = Asked(old, checkpoint(size, other), key).read(answer.status, answer.media_type, answer.body)
        assert isinstance(said, Denied), said
        assert said.against
        assert words in said.reason
    assert witness.known(ORIGIN)[0] == 40


@pytest.mark.parametrize(
    ("status", "media_type", "body", "words"),
    [
        (200, "", "", "no signature of"),
        (200, "", "— else AAAAAAAAAAAA\n", "no signature of"),
        (200, "", "<html>", "no signature of"),
        (200, "", "x" * 200_000, "no signature of"),
        (409, "text/plain", "4\n", "without the size"),
        (409, "text/x.tlog.size", "04\n", "without the size"),
        (409, "text/x.tlog.size", "9" * 16, "without the size"),
        (403, "", "", "knows no key"),
        (404, "", "", "does not know the log"),
        (400, "", "", "answered 400"),
        (302, "", "", "answered 302"),
    ],
)
def test_an_answer_that_is_none_is_no_success(
    witness: Witness, status: int, media_type: str, body: str, words: str
) -> None:
    said = Asked(3, checkpoint(7), read_vkey(witness.vkey)).read(status, media_type, body)
    assert isinstance(said, Denied)
    assert words in said.reason
    assert not said.against


def test_a_signature_on_another_checkpoint_or_of_another_key_is_no_success(witness: Witness) -> None:
    key, other = read_vkey(witness.vkey), Witness(witness.memory, seed=bytes([9]) * 32)
    for line in (witness.cosign(read_note(checkpoint(8)).text), other.cosign(read_note(checkpoint(7)).text)):
        assert isinstance(Asked(0, checkpoint(7), key).read(200, "", line), Denied)
    good = witness.cosign(read_note(checkpoint(7)).text)
    said = Asked(0, checkpoint(7), key).read(200, "", other.cosign(read_note(checkpoint(7)).text) + good)
    assert isinstance(said, Cosigned)
    assert said.note == checkpoint(7) + good


def test_a_key_of_a_log_is_no_key_of_a_witness(witness: Witness) -> None:
    with pytest.raises(ValueError, match="of type 0x01"):
        check_key(KEY.verifying())
    assert check_key(read_vkey(witness.vkey)).vkey == witness.vkey
