"""Both verifiers against chance: a flipped byte anywhere is found, and a good log never gives a false alarm."""

from __future__ import annotations

import random
import tempfile
from pathlib import Path

import pytest
from builders.bundles import CASES, alone, program
from builders.forgers import FIRST, ROOT, SECOND, WITNESS, say
from builders.share import CORES, of_heavy, shared
from builders.written import Written, key_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mimrun.errors import LogError
from mimrun.log.proof.bundle import CLASSES, export
from mimrun.log.proof.opened import verify_bundle
from mimrun.log.proof.report import Trust
from mimrun.log.proof.verify import verify

FLIPS = 10_000
GOOD_LOGS = 1_000
BUNDLES = [CASES / "good" / f"{name}.mimlog" for name in ("incident", "whole", "redacted", "rotated")]
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["say", "note", "note", "two", "sign", "sign", "witness", "rotate", "erase", "none"]),
        st.integers(1, 3),
        st.text(max_size=20),
    ),
    min_size=1,
    max_size=25,
)


def is_intact(path: Path) -> bool:
    """Whether mimrun says that a bundle is good."""
    try:
        return verify_bundle(path).ok
    except LogError:
        return False


def flip_some(seeds: range) -> list[str]:
    """Flip a bit of a bundle for each number; give what was not found by one of the two."""
    missed = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "flipped.mimlog"
        images = [bundle.read_bytes() for bundle in BUNDLES]
        for seed in seeds:
            chance = random.Random(seed)
            which = chance.randrange(len(images))
            image = bytearray(images[which])
            at, bit = chance.randrange(len(image)), chance.randrange(8)
            image[at] ^= 1 << bit
            path.write_bytes(image)
            mine = is_intact(path)
            if mine or alone(path)["ended"] != 1:
                missed.append(f"seed {seed}: bit {bit} of byte {at} of {BUNDLES[which].name}: {mine=}")
    return missed


def test_the_bundles_are_good_before_anything_is_flipped() -> None:
    for path in BUNDLES:
        assert verify_bundle(path).ok
        assert alone(path)["ok"]


def test_a_flipped_bit_anywhere_is_found_by_both() -> None:
    assert not flip_some(range(300))


@pytest.mark.heavy
@pytest.mark.timeout(3600)
def test_every_flipped_bit_is_found_by_both() -> None:
    total = of_heavy(FLIPS)
    parts = [range(part, total, CORES) for part in range(CORES)]
    assert not [missed for found in shared(flip_some, parts) for missed in found]


def test_every_byte_of_a_small_bundle_counts() -> None:
    """Not by chance: each byte of heads, directory and manifest, where nothing but form is at stake."""
    data = (CASES / "good" / "no-blobs.mimlog").read_bytes()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "flipped.mimlog"
        places = [
            at
            for start in (data.index(b"PK\3\4"), data.index(b"PK\1\2"), len(data) - 30)
            for at in range(start, start + 30)
        ]
        for at in sorted(set(places)):
            path.write_bytes(data[:at] + bytes([data[at] ^ 0x10]) + data[at + 1 :])
            assert alone(path)["ended"] == 1, f"byte {at}"
            assert not is_intact(path), f"byte {at}"


def written(steps: list[tuple[str, int, str]]) -> Written:
    """A log that somebody kept honestly."""
    log = Written(FIRST.name)
    keys, later = [FIRST], iter([SECOND, *(key_of(FIRST.name, number) for number in range(20, 50))])
    log.announce(FIRST, ROOT)
    notes: list[int] = []
    for what, number, words in steps:
        inc = f"INC-{number}"
        match what:
            case "say":
                say(log, words, inc)
            case "note":
                notes.append(log.note(words, inc))
            case "two":
                say(log, words, "")
                say(log, words, inc)
            case "sign":
                log.sign(*keys)
            case "witness":
                log.sign(*keys, witnesses=[WITNESS])
            case "rotate":
                new = next(later)
                log.announce(new, ROOT)
                log.sign(*keys, new)
                log.retire(keys[0], log.head().size)
                keys = [new]
            case "erase" if notes:
                log.erase(notes.pop(), "text")
            case _:
                pass
    log.sign(*keys)
    return log


def check(steps: list[tuple[str, int, str]]) -> None:
    log = written(steps)
    trusts = [Trust(), Trust(root=ROOT.verifying()), Trust(notes=tuple(one.note for one in log.notes))]
    for trust in trusts:
        report = verify(log.store, trust=trust)
        assert report.ok, str(report)
    assert report.findings.since == log.head().size
    with tempfile.TemporaryDirectory() as folder:
        for number, inc in enumerate([None, *sorted(log.ends)]):
            for classes in (CLASSES, ()):
                path = Path(folder) / f"{number}{len(classes)}.mimlog"
                export(log.store, path, inc=inc, classes=classes)
                report = verify_bundle(path, trust=trusts[1])
                assert report.ok, str(report)
                told = alone(path, "--root", ROOT.verifying().vkey)
                assert told["ok"], told["flaws"]


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(STEPS)
def test_an_honest_log_gives_no_false_alarm(steps: list[tuple[str, int, str]]) -> None:
    check(steps)


@pytest.mark.heavy
@pytest.mark.timeout(3600)
@settings(max_examples=of_heavy(GOOD_LOGS), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(STEPS)
def test_a_thousand_honest_logs_give_no_false_alarm(steps: list[tuple[str, int, str]]) -> None:
    check(steps)


def test_signatures_are_checked_without_any_library_too(monkeypatch: pytest.MonkeyPatch) -> None:
    module = program()
    checked = module.is_signed
    monkeypatch.setattr(
        module, "is_signed", lambda public, text, signature: checked(public, text, signature, alone=True)
    )
    assert alone(CASES / "good" / "whole-rotated.mimlog")["ok"]
    assert alone(CASES / "bad" / "checkpoint-signature.mimlog")["ended"] == 1
