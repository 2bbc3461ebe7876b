"""Evidence at the command line: exported, handed over, and checked by somebody who has nothing of mimrun."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from builders.bundles import lines, members, rewritten
from builders.commands import Desk, Said, mark

from mimrun.log.proof.standalone import verifier


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


@pytest.fixture
def evidence(desk: Desk) -> Path:
    """The bundle of an incident, in a folder with nothing else than the verifier."""
    desk.run(desk.runbook(mark("one") + mark("two")))
    incident = desk.status()["incident"]
    place = desk.folder / "elsewhere"
    place.mkdir()
    assert desk("log", "export", incident, "-o", str(place / "x.mimlog")).code == 0
    (place / "verify.py").write_text(desk("log", "verifier").out, "utf-8")
    return place / "x.mimlog"


def judge(bundle: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Check a bundle as somebody does who has nothing but Python."""
    words = [sys.executable, "-I", "-S", "verify.py", bundle.name, *options]
    return subprocess.run(
        words,
        cwd=bundle.parent,
        env={"LC_ALL": "C.UTF-8"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def vkey(desk: Desk) -> str:
    keys: list[dict[str, str]] = desk("key", "show", "--json").json["keys"]
    return keys[0]["vkey"]


def test_the_verifier_that_is_printed_is_the_whole_program(desk: Desk) -> None:
    assert desk("log", "verifier").out == verifier()


def test_evidence_is_checked_without_mimrun(desk: Desk, evidence: Path) -> None:
    said = judge(evidence)
    assert (said.returncode, said.stderr) == (0, "")
    assert "everything fits together; whose key signed it, only --key or --root can tell" in said.stdout
    assert "everything is as it was recorded" in judge(evidence, "--key", vkey(desk)).stdout
    assert "nothing was left out of the incident, nor cut from its end" in said.stdout
    told = json.loads(judge(evidence, "--json", "--key", vkey(desk)).stdout)
    assert (told["ok"], told["blobs"] > 0) == (True, True)
    assert not any("key you think" in line for line in told["not_proven"])


def test_what_was_kept_elsewhere_is_compared_with(desk: Desk, evidence: Path) -> None:
    kept = evidence.parent / "anchor.txt"
    kept.write_bytes(members(evidence)["checkpoint"])
    desk.run(desk.runbook(mark("three"), name="later"))
    assert "those that a checkpoint kept elsewhere" in judge(evidence, "--checkpoint", "anchor.txt").stdout
    log = desk("log", "verify", "--checkpoint", str(kept))
    assert log.code == 0, log.out
    assert "are those that were noted earlier, elsewhere" in log.out
    size = json.loads(members(evidence)["manifest.json"])["size"]
    assert desk("log", "verify", "--checkpoint", str(kept), "--json").json["since"] == size
    later = evidence.parent / "all.mimlog"
    assert desk("log", "export", "all", "-o", str(later)).code == 0
    assert judge(later, "--checkpoint", "anchor.txt").returncode == 0
    assert desk("log", "verify", str(later), "--checkpoint", str(kept), "--key", vkey(desk)).code == 0


@pytest.mark.parametrize(
    ("what", "named"), [("entry", True), ("blob", True), ("end", False), ("checkpoint", False)]
)
def test_a_tampered_copy_fails_and_says_where(desk: Desk, evidence: Path, what: str, named: bool) -> None:
    content = members(evidence)
    entries, proofs = lines(evidence), lines(evidence, "proofs.jsonl")
    manifest = json.loads(content["manifest.json"])
    number = next(n for n, line in enumerate(entries) if b'"step.outcome"' in line)
    seq = json.loads(entries[number])["seq"]
    changes: dict[str, bytes | None] = {}
    if what == "entry":
        entries[number] = entries[number].replace(b'"changed":true', b'"changed":null', 1)
        changes["entries.jsonl"] = b"".join(entries)
    elif what == "blob":
        changes["blobs/" + json.loads(entries[number])["blobs"][0]["commit"]] = bytes(40)
    elif what == "end":
        changes["entries.jsonl"] = b"".join(entries[:-1])
        changes["proofs.jsonl"] = b"".join([*proofs[: len(entries) - 1], *proofs[len(entries) :]])
        manifest["entries"] -= 1
    else:
        changes["checkpoint"] = None
    bad = rewritten(evidence, evidence.parent, changes, manifest=manifest)
    theirs, ours = judge(bad), desk("log", "verify", str(bad))
    assert (theirs.returncode, ours.code) == (1, 6), theirs.stdout + ours.out
    assert not named or f"  entry {seq}: " in theirs.stdout
    assert not named or f"  entry {seq}: " in ours.out
    assert "Traceback" not in theirs.stderr + ours.err


def test_content_goes_along_by_choice(desk: Desk, evidence: Path) -> None:
    incident = desk.status()["incident"]
    said = desk("log", "export", incident, "-o", "plan.mimlog", "--class", "plan", "--json")
    assert said.code == 0, said.err
    assert (said.json["signed"], said.json["entries"] > 5) == (True, True)
    manifest = json.loads(members(desk.folder / "plan.mimlog")["manifest.json"])
    assert manifest["classes"] == ["plan"]
    assert any(name.startswith("runbooks/") for name in manifest["members"])
    assert desk("log", "verify", "plan.mimlog").code == 0


@pytest.mark.parametrize(
    "words",
    [
        ["log", "export", "all", "-o", "x.mimlog", "--class", "nonsense"],
        ["log", "export", "all", "-o", "x.mimlog", "--class", "text", "--no-blobs"],
        ["log", "export", "all", "--format", "jsonl", "--class", "text"],
        ["log", "verify", "--root", "nonsense"],
        ["log", "verify", "--key", "a+00000000+AAAA"],
        ["log", "verify", "--checkpoint", "missing.txt"],
        ["log", "verify", "--noted", "5:xyz"],
    ],
    ids=lambda words: " ".join(words[1:]),
)
def test_what_cannot_be_meant_is_refused(desk: Desk, words: list[str]) -> None:
    desk.run(desk.runbook(mark("one")))
    said: Said = desk(*words)
    assert said.code == 2, said.out + said.err
    assert "Traceback" not in said.err
    assert not (desk.folder / "x.mimlog").exists()


def test_a_bundle_that_nobody_signed_is_a_flaw_until_it_is_said_that_it_will_do(desk: Desk) -> None:
    desk.run(desk.runbook(mark("one")))
    for file in (desk.home / "signer").glob("*.pem"):
        file.rename(file.with_suffix(".away"))
    signed = desk("log", "export", "all", "-o", "signed.mimlog")
    assert (signed.code, signed.err) == (0, ""), "all of it is under the last checkpoint"
    said = desk("log", "export", "all", "-o", "x.mimlog")
    assert said.code == 0, said.err
    assert "is not signed" in said.err
    assert desk("log", "verify", "x.mimlog").code == 6
    assert desk("log", "verify", "x.mimlog", "--unsigned").code == 0
