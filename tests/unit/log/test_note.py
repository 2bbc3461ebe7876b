"""Signed notes: the vectors of Go's note package and of C2SP's pages, and what hostile bytes do not get away with."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimrun.errors import TamperError
from mimrun.log.proof.note import (
    COSIGNATURE,
    MAX_SIGNATURES,
    Checkpoint,
    Note,
    SigningKey,
    VerifyingKey,
    check_text,
    read_checkpoint,
    read_note,
    read_vkey,
    sign_note,
)

# golang.org/x/mod/sumdb/note, note_test.go
PETER = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
PETER_SEED = bytes.fromhex("810a1402d5146c8d84f2443330f54080ebf98ee17d9c74f6252fc5d5c7283173")
ENOCH = "EnochRoot+af0cfe78+ATtqJ7zOtqQtYqOo0CpvDXNlMhV3HeJDpjrASKGLWdop"
TEXT = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
PETER_LINE = "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
ENOCH_LINE = "— EnochRoot rwz+eBzmZa0SO3NbfRGzPCpDckykFXSdeX+MNtCOXm2/5n2tiOHp+vAF1aGrQ5ovTG01oOTGwnWLox33WWd1RvMc+QQ=\n"
NOTE = TEXT + "\n" + PETER_LINE
ORIGIN = "example.org/incidents"


def key(number: int = 1, name: str = ORIGIN, algorithm: int = 1) -> SigningKey:
    return SigningKey(name, bytes([number]) * 32, algorithm)


def test_note_of_the_go_package_verifies() -> None:
    (signed,) = read_note(NOTE).signed([read_vkey(PETER)])
    assert (signed.key.vkey, signed.moment) == (PETER, None)


def test_same_seed_signs_byte_for_byte_what_go_signs() -> None:
    assert sign_note(TEXT, [SigningKey("PeterNeumann", PETER_SEED)]) == NOTE


def test_every_known_key_is_checked_and_others_are_passed_over() -> None:
    note = read_note(NOTE + ENOCH_LINE)
    assert [s.key.vkey for s in note.signed([read_vkey(PETER)])] == [PETER]
    assert [s.key.vkey for s in note.signed([read_vkey(ENOCH), read_vkey(PETER)])] == [PETER, ENOCH]
    with pytest.raises(
        TamperError, match=r"signed by no key that is known here, only by PeterNeumann\+c74f20a3"
    ):
        note.signed([])


def test_wrong_signature_of_one_known_key_refuses_the_whole_note() -> None:
    forged = ENOCH_LINE.replace("/5n2t", "/5n2u")
    note = read_note(NOTE + forged)
    assert note.signed([read_vkey(PETER)])
    with pytest.raises(TamperError, match=r"signature of key EnochRoot\+af0cfe78 is not right"):
        note.signed([read_vkey(PETER), read_vkey(ENOCH)])


@pytest.mark.parametrize("place", range(0, 64, 7))
def test_changed_text_or_signature_is_refused(place: int) -> None:
    changed = TEXT[:place] + chr(ord(TEXT[place]) ^ 1) + TEXT[place + 1 :]
    with pytest.raises(TamperError):
        read_note(changed + "\n" + PETER_LINE).signed([read_vkey(PETER)])


def test_every_piece_of_a_vkey_is_no_vkey() -> None:
    for i in range(len(PETER)):
        for j in range(i + 1, len(PETER) + 1):
            if (i, j) != (0, len(PETER)):
                with pytest.raises(ValueError, match="key"):
                    read_vkey(PETER[i:j])


def test_every_changed_character_of_a_vkey_is_noticed() -> None:
    for i, c in enumerate(PETER):
        with pytest.raises(ValueError, match="key"):
            read_vkey(PETER[:i] + chr(ord(c) + 1) + PETER[i + 1 :])


@pytest.mark.parametrize(
    "vkey",
    [
        "PeterNeumann+cc469956+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TWBADKEY==",
        "PeterNeumann+173116ae+ZRpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        "Peter Neumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        PETER + "\n",
        PETER.replace("c74f20a3", "C74F20A3"),
        "a" * 10_000,
        "",
    ],
)
def test_what_is_no_vkey_is_refused(vkey: str) -> None:
    with pytest.raises(ValueError, match="key"):
        read_vkey(vkey)


@pytest.mark.parametrize(
    "data",
    [
        TEXT,
        TEXT + "\n",
        NOTE[:-1],
        "\x01" + NOTE,
        NOTE.replace("\n", "\r\n"),
        b"\xff" + NOTE.encode(),
        "\udcff" + NOTE,
        TEXT + "\n" + PETER_LINE.replace("PeterNeumann", "Bad Name"),
        TEXT + "\n" + PETER_LINE.replace("PeterNeumann", "Bad+Name"),
        TEXT + "\n" + PETER_LINE.replace("PeterNeumann", "Bad\u00a0Name"),
        NOTE + "Unexpected line.\n",
        TEXT + "\n" + PETER_LINE.replace("— ", "- "),
        TEXT + "\n" + PETER_LINE.replace("AM=", "AN="),
        TEXT + "\n" + PETER_LINE.replace("AM=", "AM"),
        TEXT + "\n— PeterNeumann x08gow==\n",
        NOTE + PETER_LINE * MAX_SIGNATURES,
        "x" * 200_000 + "\n\n" + PETER_LINE,
        "",
    ],
    ids=range(18),
)
def test_what_is_no_note_is_refused(data: str | bytes) -> None:
    with pytest.raises(TamperError):
        read_note(data).signed([read_vkey(PETER)])


def test_text_may_have_blank_lines_of_its_own() -> None:
    text = "one\n\n— two x\n\nthree\n"
    note = read_note(sign_note(text, [key()]))
    assert note.text == text
    assert note.signed([key().verifying()])


@pytest.mark.parametrize("text", ["", "\n", "no end", "a\tb\n", "\x00\n"])
def test_what_cannot_stand_in_a_note_is_not_signed(text: str) -> None:
    with pytest.raises(ValueError, match="newline"):
        sign_note(text, [key()])
    with pytest.raises(ValueError, match="newline"):
        check_text(text)


def test_note_without_a_signature_is_not_written() -> None:
    with pytest.raises(ValueError, match="needs a signature"):
        sign_note(TEXT, [])


def test_key_ids_of_the_two_types_differ_and_match_the_page() -> None:
    # c2sp.org/tlog-checkpoint and tlog-cosignature print these ids in their examples.
    log, witness = key(), key(algorithm=COSIGNATURE)
    assert log.verifying().public == witness.verifying().public
    assert log.verifying().keyid != witness.verifying().keyid
    assert read_vkey(witness.verifying().vkey) == witness.verifying()


def test_witness_vouches_for_a_checkpoint_at_a_moment() -> None:
    witness = key(7, "witness.example.org/w1", COSIGNATURE)
    text = Checkpoint(ORIGIN, 20852163, bytes(32)).text()
    note = read_note(sign_note(text, [key()])).with_signatures([witness.sign(text, 1679315147)])
    again = read_note(note.write())
    assert again == note
    signed = again.signed([key().verifying(), witness.verifying()])
    assert [(s.key.name, s.moment) for s in signed] == [
        (ORIGIN, None),
        ("witness.example.org/w1", 1679315147),
    ]
    other = again.signatures[1].signature
    later = Note(
        text, (type(again.signatures[1])(witness.name, witness.verifying().keyid, b"\0" * 8 + other[8:]),)
    )
    with pytest.raises(TamperError, match="not right"):
        later.signed([witness.verifying()])


def test_cosigner_and_log_do_not_sign_for_each_other() -> None:
    with pytest.raises(ValueError, match="moment"):
        key().sign(TEXT, 1)
    with pytest.raises(ValueError, match="moment"):
        key(algorithm=COSIGNATURE).sign(TEXT)


def test_second_signature_of_a_key_takes_the_place_of_the_first() -> None:
    witness = key(7, "w", COSIGNATURE)
    note = read_note(sign_note(TEXT, [key()]))
    twice = note.with_signatures([witness.sign(TEXT, 1)]).with_signatures([witness.sign(TEXT, 2)])
    assert [s.moment for s in twice.signed([witness.verifying()])] == [2]
    assert len(twice.signatures) == 2


def test_checkpoint_is_three_lines() -> None:
    # The example of c2sp.org/tlog-checkpoint.
    text = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
    checkpoint = read_checkpoint(text)
    assert (checkpoint.origin, checkpoint.size) == ("example.com/behind-the-sofa", 20852163)
    assert checkpoint.text() == text


ROOT = "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I="


@pytest.mark.parametrize(
    "text",
    [
        f"o\n1\n{ROOT}",
        f"o\n1\n{ROOT}\nmore\n",
        f"o\n1\n{ROOT}\n\n",
        f"\n1\n{ROOT}\n",
        f"a b\n1\n{ROOT}\n",
        f"o\n01\n{ROOT}\n",
        f"o\n-1\n{ROOT}\n",
        f"o\n+1\n{ROOT}\n",
        f"o\n1.0\n{ROOT}\n",
        f"o\n\uff11\n{ROOT}\n",
        f"o\n{2**53}\n{ROOT}\n",
        f"o\n{'9' * 5000}\n{ROOT}\n",
        f"o\n1\n{ROOT[:-1]}\n",
        f"o\n1\n{ROOT[4:]}\n",
        f"o\n1\n{ROOT.replace('I=', 'J=')}\n",
        "o\n1\n\n",
        "",
    ],
    ids=range(17),
)
def test_what_is_no_checkpoint_is_refused(text: str) -> None:
    with pytest.raises(TamperError, match="checkpoint"):
        read_checkpoint(text)


@pytest.mark.parametrize(
    ("name", "public"), [("", bytes(32)), ("a+b", bytes(32)), ("a b", bytes(32)), ("a", b"")]
)
def test_what_is_no_key_is_refused(name: str, public: bytes) -> None:
    with pytest.raises(ValueError, match="key"):
        VerifyingKey(name, public)


def test_private_bytes_are_never_shown() -> None:
    assert repr(key(1)) == f"SigningKey(name={ORIGIN!r}, algorithm=1)"


@given(st.text(max_size=400))
def test_no_text_makes_the_readers_stumble(text: str) -> None:
    for read in (read_note, read_checkpoint):
        with contextlib.suppress(TamperError):
            read(text)
    with contextlib.suppress(ValueError):
        read_vkey(text)


@given(st.integers(0, len(NOTE.encode()) - 1), st.integers(1, 255))
def test_no_changed_byte_passes(place: int, flip: int) -> None:
    data = bytearray(NOTE.encode())
    data[place] ^= flip
    with pytest.raises(TamperError):
        read_note(bytes(data)).signed([read_vkey(PETER)])


@given(st.integers(0, 2**53 - 1), st.binary(min_size=32, max_size=32))
def test_checkpoint_comes_back_as_it_was_written(size: int, root: bytes) -> None:
    checkpoint = Checkpoint(ORIGIN, size, root)
    assert read_checkpoint(checkpoint.text()) == checkpoint
