"""The stand-alone verifier is one file that needs nothing but Python, and says clearly what is wrong."""

from __future__ import annotations

import ast
import functools
import json
import shutil
import sys
from pathlib import Path

import pytest
from builders.bundles import CASES, bare

from mimrun.log.proof.standalone import PARTS, verifier

PYTHONS = [name for name in (*(f"python3.{n}" for n in range(9, 14)), "python3") if shutil.which(name)]
"""Those that are here; a stub of a version manager that starts none is found out in the test."""
ALLOWED = {"cryptography"}
"""Imported where it is there; everything else comes with Python."""


def imported(source: str) -> set[str]:
    """The packages that a program imports."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            found.add((node.module or "").split(".")[0])
    return found


def test_it_imports_nothing_but_what_comes_with_python() -> None:
    found = imported(verifier())
    said = ("of mimrun", "mimrun/log-key/v1", "approval@mimrun")
    assert "mimrun" not in functools.reduce(lambda text, one: text.replace(one, ""), said, verifier())
    assert found - ALLOWED <= sys.stdlib_module_names
    assert {"hashlib", "argparse", "cryptography"} <= found


def test_every_part_is_in_it_once() -> None:
    text = verifier()
    ast.parse(text, feature_version=(3, 9))
    assert text.count("from __future__ import annotations\n") == 1
    assert text.count('if __name__ == "__main__":') == 1
    folder = Path(sys.modules["mimrun.log.proof.standalone"].__file__ or "").parent
    assert {path.stem for path in folder.glob("*.py")} == {*PARTS, "__init__"}
    for part in PARTS:
        for node in ast.parse((folder / f"{part}.py").read_text("utf-8")).body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                assert (
                    text.count(f"\n{'def' if isinstance(node, ast.FunctionDef) else 'class'} {node.name}")
                    == 1
                )


@pytest.mark.parametrize("python", PYTHONS)
def test_it_runs_where_nothing_is_installed(tmp_path: Path, python: str) -> None:
    found = shutil.which(python)
    assert found
    if bare(tmp_path, "--help", python=found).returncode and python != "python3":
        return
    shutil.copy(CASES / "good" / "incident.mimlog", tmp_path)
    done = bare(tmp_path, "incident.mimlog", python=found)
    assert (done.returncode, done.stderr) == (0, "")
    assert "everything fits together; whose key signed it" in done.stdout
    assert "not proven:" in done.stdout


def test_it_names_what_is_wrong(tmp_path: Path) -> None:
    shutil.copy(CASES / "bad" / "entry-edited.mimlog", tmp_path / "x.mimlog")
    done = bare(tmp_path, "x.mimlog")
    assert (done.returncode, done.stderr) == (1, "")
    assert "NOT what was recorded: 1 flaw\n" in done.stdout
    assert "  entry 4: it is not what was in the log at this place" in done.stdout
    told = json.loads(bare(tmp_path, "x.mimlog", "--json").stdout)
    assert (told["ok"], told["proven"], told["flaws"][0]["seq"]) == (False, [], 4)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["missing.mimlog"], "No such file"),
        (["x.mimlog", "--root", "nonsense"], "is no key"),
        (["x.mimlog", "--key", "a+00000000+AAAA"], "is no key"),
        (["x.mimlog", "--checkpoint", "x.mimlog"], "cannot check"),
        ([], "usage"),
    ],
)
def test_what_cannot_be_checked_ends_with_two(tmp_path: Path, options: list[str], said: str) -> None:
    shutil.copy(CASES / "good" / "incident.mimlog", tmp_path / "x.mimlog")
    done = bare(tmp_path, *options)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_hostile_text_does_not_reach_the_terminal(tmp_path: Path) -> None:
    data = (CASES / "good" / "incident.mimlog").read_bytes()
    (tmp_path / "x.mimlog").write_bytes(data.replace(b'"id":"u:7"', b'"id":"u\x1b["', 1))
    done = bare(tmp_path, "x.mimlog")
    assert done.returncode == 1
    assert "\x1b" not in done.stdout
