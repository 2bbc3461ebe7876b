"""Both verifiers say of each bundle in tests/cases/mimlog what has to be said of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from builders import log_cases
from builders.bundles import CASES, alone, flaws_of

from mimrun.errors import LogError
from mimrun.log.proof.note import read_vkey
from mimrun.log.proof.opened import verify_bundle
from mimrun.log.proof.report import Trust

INDEX: list[dict[str, Any]] = json.loads((CASES / "index.json").read_text("utf-8"))["cases"]
PAGE = Path(__file__).parents[3] / "docs" / "reference" / "log-format.md"

each = pytest.mark.parametrize("case", INDEX, ids=lambda case: case["file"].split("/")[1].split(".")[0])


def trust_of(options: dict[str, Any]) -> Trust:
    return Trust(
        root=read_vkey(options["root"]) if "root" in options else None,
        keys=tuple(map(read_vkey, options.get("key", []))),
        witnesses=tuple(map(read_vkey, options.get("witness", []))),
        notes=(options["checkpoint"],) if "checkpoint" in options else (),
        unsigned=options.get("unsigned", False),
    )


def words_of(options: dict[str, Any], folder: Path) -> list[str]:
    words = [word for key in options.get("key", []) for word in ("--key", key)]
    words += [word for key in options.get("witness", []) for word in ("--witness", key)]
    words += ["--root", options["root"]] if "root" in options else []
    words += ["--unsigned"] if options.get("unsigned") else []
    if "checkpoint" in options:
        (folder / "kept.txt").write_text(options["checkpoint"], "utf-8")
        words += ["--checkpoint", str(folder / "kept.txt")]
    return words


@each
def test_mimrun_says_what_has_to_be_said(case: dict[str, Any]) -> None:
    try:
        report = verify_bundle(CASES / case["file"], trust=trust_of(case["options"]))
    except LogError:
        assert case["flaws"] == [0]
        return
    assert report.ok == (not case["flaws"]), str(report)
    assert not case["flaws"] or {flaw.seq for flaw in report.flaws} & set(case["flaws"]), str(report)
    assert report.flaws[:1] == () or report.flaws[0].seq in case["flaws"], str(report)


@each
def test_the_stand_alone_verifier_says_the_same(case: dict[str, Any], tmp_path: Path) -> None:
    told = alone(CASES / case["file"], *words_of(case["options"], tmp_path))
    assert told["ended"] == (1 if case["flaws"] else 0), told["flaws"]
    assert not case["flaws"] or flaws_of(told)[0][0] in case["flaws"], told["flaws"]


@pytest.mark.parametrize("name", ["end-cut-and-fitted", "heads-other-proof"])
def test_proof_of_the_end_is_all_that_does_not_hold(name: str) -> None:
    """Nothing else in these bundles is wrong, so that whoever does not check this proof believes them."""
    path = CASES / "bad" / f"{name}.mimlog"
    flaws = [(flaw.check, flaw.detail) for flaw in verify_bundle(path, trust=Trust()).flaws]
    words = "that this is the end of the incident is not proven: the proof does not hold"
    assert flaws == [("heads", words)]
    assert [(flaw["check"], flaw["detail"]) for flaw in alone(path)["flaws"]] == flaws


def test_end_of_another_incident_is_called_that() -> None:
    path = CASES / "bad" / "heads-of-another.mimlog"
    (flaw,) = verify_bundle(path, trust=Trust()).flaws
    assert flaw.detail.endswith("not proven: it is the end of another incident")
    assert [one["detail"] for one in alone(path)["flaws"]] == [flaw.detail]


def test_the_files_are_those_that_the_script_writes(tmp_path: Path) -> None:
    log_cases.write(tmp_path)
    made = {path.relative_to(tmp_path): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    kept = {path.relative_to(CASES): path.read_bytes() for path in CASES.rglob("*") if path.is_file()}
    assert made == {path: data for path, data in kept.items() if path.parts[0] != "first"}
    assert len([case for case in INDEX if case["flaws"]]) >= 30
    assert len({case["file"] for case in INDEX}) == len(INDEX)


def test_the_page_of_the_format_names_them() -> None:
    assert "tests/cases/mimlog/index.json" in PAGE.read_text("utf-8")
