"""Which key may sign which tree: ranges, certificates, and change-overs that somebody vouches for."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from mimrun.errors import TamperError
from mimrun.log.entry import NOTHING, Actor, LogEntry
from mimrun.log.kinds import Body
from mimrun.log.kinds_proof import LogKey, LogKeyRetired
from mimrun.log.proof.key import Certificate, KeyRing, certifier, open_certificate, open_request
from mimrun.log.proof.note import COSIGNATURE, Checkpoint, SigningKey, read_note, sign_note

ORIGIN = "example.org/incidents"
ROOT = SigningKey("example.org/root", b"r" * 32)
OTHER_ROOT = SigningKey("example.org/root", b"q" * 32)
FIRST, SECOND, THIRD = (SigningKey(ORIGIN, bytes([n]) * 32) for n in (1, 2, 3))


def entry(seq: int, body: Body) -> LogEntry:
    actor = Actor("person", "alex", "cli")
    moment = datetime(2026, 11, 22, tzinfo=UTC)
    return LogEntry(
        ORIGIN, seq, moment, "", 0, NOTHING, actor, "", "", "", 0, 0, body.explicit(), (), NOTHING
    )


def announce(seq: int, key: SigningKey, from_size: int = 0, certificate: str = "") -> LogEntry:
    public = key.verifying()
    by = certifier(certificate)[-8:] if certificate else ""
    return entry(
        seq,
        LogKey(
            keyid=public.keyid,
            vkey=public.vkey,
            from_size=from_size,
            certified_by=by,
            certificate=certificate,
        ),
    )


def retire(seq: int, key: SigningKey, to_size: int) -> LogEntry:
    return entry(seq, LogKeyRetired(keyid=key.verifying().keyid, to_size=to_size, reason="its year is over"))


def certificate(key: SigningKey, from_size: int = 0, root: SigningKey = ROOT) -> str:
    return Certificate(key.verifying(), from_size).certify(root)


def checkpoint(size: int, *keys: SigningKey, origin: str = ORIGIN) -> str:
    return sign_note(Checkpoint(origin, size, bytes(32)).text(), keys)


CHANGED = (
    announce(2, FIRST, 2),
    announce(100, SECOND, 100),
    retire(104, FIRST, 103),
)


def test_first_key_is_believed_from_its_own_entry_on() -> None:
    ring = KeyRing.fold(ORIGIN, [announce(2, FIRST)])
    assert ring.check(checkpoint(2, FIRST)).signers == ring.keys
    with pytest.raises(
        TamperError, match=r"size 1: key .*\+[0-9a-f]{8} may sign trees from size 2 on, and not"
    ):
        ring.check(checkpoint(1, FIRST))


def test_key_may_be_announced_for_a_later_size() -> None:
    ring = KeyRing.fold(ORIGIN, [announce(2, FIRST, 50)])
    assert ring.check(checkpoint(50, FIRST))
    with pytest.raises(TamperError, match="from size 50"):
        ring.check(checkpoint(49, FIRST))


def test_signature_outside_its_range_is_refused_however_right_it_is() -> None:
    ring = KeyRing.fold(ORIGIN, CHANGED)
    assert ring.check(checkpoint(99, FIRST)).signers[0].key == FIRST.verifying()
    assert ring.check(checkpoint(500, SECOND)).signers[0].key == SECOND.verifying()
    # An old tree that was changed and signed again with the new key, and a new one with the retired key.
    with pytest.raises(TamperError, match=r"size 50: .* from size 100 on"):
        ring.check(checkpoint(50, SECOND))
    with pytest.raises(TamperError, match=r"size 104: .* from size 2 to 103"):
        ring.check(checkpoint(104, FIRST))


def test_both_keys_sign_where_they_change_over() -> None:
    ring = KeyRing.fold(ORIGIN, CHANGED)
    assert [one.key for one in ring.check(checkpoint(103, FIRST, SECOND)).signers] == [
        FIRST.verifying(),
        SECOND.verifying(),
    ]


def test_signature_out_of_range_beside_a_good_one_neither_helps_nor_harms() -> None:
    ring = KeyRing.fold(ORIGIN, CHANGED)
    assert [one.key for one in ring.check(checkpoint(200, FIRST, SECOND)).signers] == [SECOND.verifying()]


def test_wrong_signature_of_a_retired_key_refuses_the_note() -> None:
    ring = KeyRing.fold(ORIGIN, CHANGED)
    forged = read_note(checkpoint(201, FIRST)).signatures
    note = read_note(checkpoint(200, SECOND)).with_signatures(forged)
    with pytest.raises(TamperError, match=r"checkpoint of size 200: the signature of key .* is not right"):
        ring.check(note.write())


def test_checkpoint_of_another_log_or_an_unknown_key_is_refused() -> None:
    ring = KeyRing.fold(ORIGIN, CHANGED)
    with pytest.raises(TamperError, match=r"of the log 'example.org/other', not of 'example.org/incidents'"):
        ring.check(checkpoint(60, SigningKey("example.org/other", b"1" * 32), origin="example.org/other"))
    with pytest.raises(TamperError, match="signed by no key that is known"):
        ring.check(checkpoint(60, THIRD))


def test_certificate_is_not_a_checkpoint() -> None:
    ring = KeyRing.fold(ORIGIN, CHANGED)
    with pytest.raises(TamperError, match="no size of a log"):
        ring.check(Certificate(THIRD.verifying(), 3).request(FIRST))


def test_witness_does_not_take_the_place_of_the_log() -> None:
    witness = SigningKey("witness.example.org", b"w" * 32, COSIGNATURE)
    ring = KeyRing.fold(ORIGIN, CHANGED)
    text = Checkpoint(ORIGIN, 60, bytes(32)).text()
    cosigned = read_note(checkpoint(60, FIRST)).with_signatures([witness.sign(text, 17)])
    (said,) = ring.check(cosigned.write(), [witness.verifying()]).witnesses
    assert said.moment == 17
    only = read_note(checkpoint(60, THIRD)).with_signatures([witness.sign(text, 17)])
    with pytest.raises(TamperError, match="no key of the log has signed it"):
        ring.check(only.write(), [witness.verifying()])


def test_pinned_root_believes_only_what_it_certified() -> None:
    entries = [announce(2, FIRST, 2, certificate(FIRST)), announce(100, SECOND)]
    ring = KeyRing.fold(ORIGIN, entries, ROOT.verifying())
    assert ring.check(checkpoint(60, FIRST)).signers[0].certified
    with pytest.raises(
        TamperError, match=r"is not certified by the root key example.org/root\+.*there is no"
    ):
        ring.check(checkpoint(200, SECOND))
    # Nobody who merely writes the log can bring a key in, also by retiring the others.
    assert KeyRing.fold(
        ORIGIN, [entries[0], retire(50, FIRST, 49), announce(60, THIRD)], ROOT.verifying()
    ).unconfirmed([]) == (
        KeyRing.fold(ORIGIN, [entries[0], retire(50, FIRST, 49), announce(60, THIRD)], ROOT.verifying()).key(
            THIRD.verifying().keyid
        ),
    )


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (certificate(FIRST, root=OTHER_ROOT), "signed by no key that is known here"),
        (certificate(SECOND), "the certificate is for"),
        (certificate(FIRST).replace("\n0\n", "\n1\n"), "is not right"),
        (Certificate(FIRST.verifying(), 0).request(ROOT), "this is no mimrun/log-key/v1"),
        ("nonsense", "no signed note"),
    ],
)
def test_wrong_certificate_certifies_nothing_and_says_why(given: str, why: str) -> None:
    by = FIRST.verifying()
    body = LogKey(keyid=by.keyid, vkey=by.vkey, from_size=2, certificate=given)
    ring = KeyRing.fold(ORIGIN, [entry(2, body)], ROOT.verifying())
    with pytest.raises(TamperError, match=why):
        ring.check(checkpoint(60, FIRST))
    # Without a pinned root the certificate says nothing, and harms nothing.
    assert KeyRing.fold(ORIGIN, [entry(2, body)]).check(checkpoint(60, FIRST))


def test_certificate_may_come_later_and_holds_from_its_own_size() -> None:
    early = KeyRing.fold(
        ORIGIN, [announce(2, FIRST), announce(80, FIRST, 2, certificate(FIRST, 2))], ROOT.verifying()
    )
    assert early.check(checkpoint(60, FIRST)).signers[0].announced == 2
    late = KeyRing.fold(
        ORIGIN, [announce(2, FIRST), announce(80, FIRST, 2, certificate(FIRST, 70))], ROOT.verifying()
    )
    with pytest.raises(TamperError, match="from size 70"):
        late.check(checkpoint(60, FIRST))


def test_certificate_and_request_come_back_as_they_were_given() -> None:
    asked = open_request(Certificate(FIRST.verifying(), 17).request(FIRST))
    assert (asked.key, asked.from_size) == (FIRST.verifying(), 17)
    assert open_certificate(asked.certify(ROOT), ROOT.verifying()) == asked
    with pytest.raises(TamperError, match="signed by no key"):
        open_request(Certificate(FIRST.verifying(), 17).request(SECOND))
    with pytest.raises(TamperError, match="log-key-request"):
        open_request(asked.certify(FIRST))
    with pytest.raises(TamperError, match="log-key/v1"):
        open_certificate(asked.request(ROOT), ROOT.verifying())


def test_notes_on_the_page_are_what_the_code_writes() -> None:
    page = (Path(__file__).parents[3] / "docs" / "reference" / "log-format.md").read_text("utf-8")
    first, root = FIRST.verifying(), SigningKey("example.org/root", bytes([2]) * 32)
    assert f"```text\n{checkpoint(100, FIRST)}```" in page
    assert f"```text\n{first.vkey}\n```" in page
    assert f"```text\n{Certificate(first, 2).certify(root)}```" in page


def test_longest_certificate_fits_into_its_entry_uncut() -> None:
    origin, root = "o" * 100, SigningKey("r" * 200, b"r" * 32)
    key = SigningKey(origin, b"1" * 32).verifying()
    given = Certificate(key, 2**53 - 1).certify(root)
    body = LogKey(keyid=key.keyid, vkey=key.vkey, from_size=1, certificate=given)
    assert body.certificate == given


@pytest.mark.parametrize(
    ("entries", "why"),
    [
        ([entry(2, LogKey(keyid="0" * 8, vkey=FIRST.verifying().vkey, from_size=0))], "entry 2 .* not the one"),
        ([entry(2, LogKey(keyid="0" * 8, vkey="nonsense", from_size=0))], "entry 2 announces a key that is none"),
        ([announce(2, SigningKey("example.org/other", b"1" * 32))], "entry 2 .* not of this log"),
        ([announce(2, SigningKey(ORIGIN, b"1" * 32, COSIGNATURE))], "entry 2 .* not of this log"),
        ([retire(2, FIRST, 1)], "entry 2 retires key .* not in use"),
        ([*CHANGED, retire(110, FIRST, 105)], "entry 110 retires"),
        ([announce(2, FIRST), retire(9, FIRST, 10)], "entry 9 .* yet to come"),
        ([*CHANGED, announce(120, FIRST)], "entry 120 .* was retired"),
        ([announce(2, FIRST), retire(9, FIRST, 8), announce(10, SECOND)], "entry 10 .* nobody vouches"),
    ],
    ids=range(9),
)  # fmt: skip
def test_entry_that_announces_or_retires_what_it_cannot_is_named(entries: list[LogEntry], why: str) -> None:
    with pytest.raises(TamperError, match=why):
        KeyRing.fold(ORIGIN, entries)


def test_key_that_no_earlier_key_vouched_for_is_unconfirmed() -> None:
    ring = KeyRing.fold(ORIGIN, [*CHANGED, announce(300, THIRD)])
    _, second, third = ring.keys
    at_103 = ring.check(checkpoint(103, FIRST, SECOND))
    at_310 = ring.check(checkpoint(310, SECOND, THIRD))
    assert ring.unconfirmed([at_310, at_103]) == ()
    assert ring.unconfirmed([at_103]) == (third,)
    assert ring.unconfirmed([at_310]) == (second, third)
    # The new key alone does not vouch for itself.
    assert ring.unconfirmed([ring.check(checkpoint(99, FIRST)), ring.check(checkpoint(200, SECOND))]) == (
        second,
        third,
    )
