"""Both verifiers say the same of a bundle whose parts beside the entries were written by a forger.

The forger has no key, but may write every other member anew, and a manifest that fits them.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from builders.bundles import CASES, alone, members, rewritten
from builders.case_log import FIRST, LOG, ROOT, WITNESS
from builders.written import Written

from mimrun.errors import LogError
from mimrun.log.proof.beside import Beside
from mimrun.log.proof.lines import Lines
from mimrun.log.proof.opened import verify_bundle
from mimrun.log.proof.report import Trust
from mimrun.log.proof.verify import verify

INCIDENT, WHOLE = CASES / "good" / "incident.mimlog", CASES / "good" / "whole.mimlog"
DEEP = b"[" * 100_000
ODD: list[Any] = [True, None, 0, 2.0, float("inf"), "7", " ", [], {}, ["x"], "0" * 63 + " ", "A" * 64]


def agreed(path: Path) -> bool:
    """Whether both say that a bundle is good; they have to say the same."""
    try:
        mine = verify_bundle(path).ok
    except LogError:
        mine = False
    assert mine == alone(path)["ok"]
    return mine


def first_line(change: Callable[[dict[str, Any]], object]) -> Callable[[bytes], bytes]:
    """Change the value in the first line of a member."""

    def changed(data: bytes) -> bytes:
        head, _, rest = data.partition(b"\n")
        value = json.loads(head)
        change(value)
        return (
            json.dumps(value, separators=(",", ":"), sort_keys=True, ensure_ascii=False).encode()
            + b"\n"
            + rest
        )

    return changed


FORGED: dict[str, tuple[Path, str, Callable[[bytes], bytes]]] = {
    "a proof with a space": (INCIDENT, "proofs.jsonl", lambda data: data.replace(b":", b": ", 1)),
    "a proof in capitals": (INCIDENT, "proofs.jsonl", first_line(lambda v: v.update(proof=[x.upper() for x in v["proof"]]))),
    "a proof with a key more": (INCIDENT, "proofs.jsonl", first_line(lambda v: v.update(a=1))),
    "a proof that is nested deep": (INCIDENT, "proofs.jsonl", lambda data: DEEP + data),
    "an end with a key more": (INCIDENT, "heads.json", lambda data: data[:1] + b'"a":1,' + data[1:]),
    "an end with a space": (INCIDENT, "heads.json", lambda data: data + b" "),
    "an end that is nested deep": (INCIDENT, "heads.json", lambda data: DEEP),
    "an earlier size as a text": (INCIDENT, "consistency.jsonl", first_line(lambda v: v.update(size=str(v["size"])))),
    "an earlier size as a fraction": (INCIDENT, "consistency.jsonl", first_line(lambda v: v.update(size=7.0))),
    "an earlier size without end": (INCIDENT, "consistency.jsonl", lambda data: b'{"proof":[],"root":"","size":1e999}\n'),
    "an earlier log that is nested deep": (INCIDENT, "consistency.jsonl", lambda data: DEEP),
    "a checkpoint's size as a text": (WHOLE, "checkpoints.jsonl", first_line(lambda v: v.update(size=str(v["size"])))),
    "a checkpoint's size below zero": (WHOLE, "checkpoints.jsonl", first_line(lambda v: v.update(size=-7))),
    "a checkpoint's note as a number": (WHOLE, "checkpoints.jsonl", first_line(lambda v: v.update(note=7))),
    "a checkpoint that is nested deep": (WHOLE, "checkpoints.jsonl", lambda data: DEEP),
    "a checkpoint's size without end": (WHOLE, "checkpoints.jsonl", lambda data: b'{"note":"x","size":1e999}\n'),
    "a checkpoint with what is no UTF-8": (INCIDENT, "checkpoint", lambda data: data + "— ".encode() + b"x\xff AAAAAAAA\n"),
}  # fmt: skip


@pytest.mark.parametrize("how", FORGED)
def test_both_refuse(how: str, tmp_path: Path) -> None:
    path, name, change = FORGED[how]
    assert agreed(path), "it is good before"
    assert not agreed(rewritten(path, tmp_path, {name: change(members(path)[name])}))


@pytest.mark.parametrize(
    ("path", "name"),
    [
        (INCIDENT, "checkpoints.jsonl"),
        (WHOLE, "heads.json"),
        (WHOLE, "log.jsonl"),
        (WHOLE, "consistency.jsonl"),
    ],
)
def test_both_refuse_a_member_that_belongs_into_another_kind_of_bundle(
    path: Path, name: str, tmp_path: Path
) -> None:
    other = members(WHOLE if path == INCIDENT else INCIDENT)[name]
    assert not agreed(rewritten(path, tmp_path, {name: other}))


def test_both_refuse_a_runbook_under_another_name(tmp_path: Path) -> None:
    name = next(name for name in members(WHOLE) if name.startswith("runbooks/"))
    for other in (f"runbooks/{'a' * 64}.yaml", "runbooks/small.yaml"):
        assert not agreed(rewritten(WHOLE, tmp_path, {name: None, other: members(WHOLE)[name]}))


def test_both_refuse_a_class_of_blobs_that_is_named_twice(tmp_path: Path) -> None:
    manifest = json.loads(members(WHOLE)["manifest.json"])
    manifest["classes"] += ["plan"]
    assert not agreed(rewritten(WHOLE, tmp_path, {}, manifest))


def test_both_say_the_same_whatever_stands_in_the_parts_beside_the_entries(tmp_path: Path) -> None:
    for seed in range(150):
        chance = random.Random(seed)
        path = chance.choice([INCIDENT, WHOLE])
        content = members(path)
        name = chance.choice([n for n in content if n.endswith((".json", ".jsonl")) and n[0] not in "em"])
        lines = content[name].splitlines() or [b"{}"]
        which = chance.randrange(len(lines))
        value = json.loads(lines[which])
        value[chance.choice([*value, "a"])] = chance.choice(ODD)
        lines[which] = json.dumps(value, separators=(",", ":"), sort_keys=True).encode()
        end = b"\n" if name.endswith("l") else b""
        agreed(rewritten(path, tmp_path, {name: b"\n".join(lines) + end}))


def test_who_says_whom_they_trust_is_not_shown_what_nobody_has_signed(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes(members(WHOLE)["entries.jsonl"])
    assert verify_bundle(path).ok, "a plain file of lines has no checkpoint, and the report says so"
    log = Written(LOG)
    log.announce(FIRST, ROOT)
    log.note("nobody signs it")
    for trust in (
        Trust(root=ROOT.verifying()),
        Trust(keys=(FIRST.verifying(),)),
        Trust(witnesses=(WITNESS.verifying(),)),
    ):
        assert [flaw.check for flaw in verify_bundle(path, trust=trust).flaws] == ["checkpoint"]
        assert [flaw.check for flaw in verify(log.store, trust=trust).flaws] == ["checkpoint"]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"attempt":0', b'"attempt":null'),
        (b'"attempt":0', b'"attempt":-1'),
        (b'"target":""', b'"target":7'),
        (b'"id":"log"', b'"id":7'),
        (b'"ts":"2026-11-22T03', b'"ts":"2026-11-22 03'),
        (b'"body":{', b'"body":7,"c":{'),
        (b'"kind":"log.heads"', b'"kind":"log.key_retired"'),
        (b'"body":{"incidents":2,"root"', b'"body":{"incidents":"two","root"'),
    ],
)
def test_an_entry_whose_values_are_of_another_type_is_found_where_it_is_the_last(
    old: bytes, new: bytes
) -> None:
    lines = members(WHOLE)["entries.jsonl"].splitlines()
    lines[-1] = lines[-1].replace(old, new, 1)
    (flaw,) = verify(Lines(lines)).flaws
    assert flaw.seq == len(lines)


def test_what_lies_where_somebody_verifies_is_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    marker = tmp_path / "it-was-run"
    for name in ("json", "marshal", "struct", "hashlib", "contextlib", "orjson"):
        (tmp_path / f"{name}.py").write_text(f"open({str(marker)!r}, 'w').close()\nraise SystemExit\n")
    monkeypatch.chdir(tmp_path)
    lines = Lines(members(WHOLE)["entries.jsonl"].splitlines())
    with Beside(large=0) as beside:
        assert [segment is not None for _, segment in beside.examine([[*lines.rows()]])] == [True]
    assert not marker.exists()


def test_a_change_of_keys_that_cannot_be_read_is_not_passed_over() -> None:
    log = Written(LOG)
    seq = log.announce(FIRST)
    row = log.rows_[seq - 1]
    lines = [log.rows_[0].data, row.data.replace(b'"from_size":2', b'"from_size":[2]')]
    assert [(flaw.seq, flaw.check) for flaw in verify(Lines(lines)).flaws] == [(seq, "body")]
