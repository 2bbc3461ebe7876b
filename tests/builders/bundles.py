"""Bundles taken apart and put together again, as a forger would, and the stand-alone verifier to show them to."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import zipfile
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from mimrun import canonical
from mimrun.log.proof.container import Container
from mimrun.log.proof.standalone import verifier

CASES = Path(__file__).parents[1] / "cases" / "mimlog"


@cache
def program() -> ModuleType:
    """The stand-alone verifier, loaded from the one file that it is."""
    module = ModuleType("stand_alone")
    exec(compile(verifier(), "verify.py", "exec"), module.__dict__)
    return module


def alone(path: Path, *options: str) -> Any:
    """Give the stand-alone verifier's report; how it ended is under `ended`."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        ended = program().main([str(path), "--json", *options])
    report = json.loads(out.getvalue()) if ended != 2 else {"ok": False, "flaws": [], "said": err.getvalue()}
    return {**report, "ended": ended}


def bare(folder: Path, *options: str, python: str = sys.executable) -> subprocess.CompletedProcess[str]:
    """Run the stand-alone verifier where nothing but Python's own library can be imported."""
    file = folder / "verify.py"
    file.write_text(verifier(), "utf-8")
    return subprocess.run(
        [python, "-I", "-S", "-W", "error", str(file), *options],
        cwd=folder,
        env={"LC_ALL": "C.UTF-8"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def members(path: Path) -> dict[str, bytes]:
    """What is in a bundle."""
    with zipfile.ZipFile(path) as bundle:
        return {info.filename: bundle.read(info) for info in bundle.infolist()}


def lines(path: Path, name: str = "entries.jsonl") -> list[bytes]:
    """The lines of a member."""
    return members(path)[name].splitlines(keepends=True)


def rezipped(path: Path, content: Mapping[str, bytes]) -> Path:
    """Write a bundle with these members."""
    path.unlink(missing_ok=True)
    with Container(path) as container:
        for name, data in content.items():
            container.add(name, [data])
    return path


def rewritten(
    path: Path,
    place: Path,
    changes: Mapping[str, bytes | None],
    manifest: Mapping[str, object] | None = None,
) -> Path:
    """The same bundle with other members, and a manifest that fits them; None leaves a member out.

    Arguments:
        path: the bundle.
        place: the folder for the new one.
        changes: what is other.
        manifest: what the manifest says; its digests are made anew.
    """
    content = members(path)
    said = dict(json.loads(content.pop("manifest.json")) if manifest is None else manifest)
    content.pop("manifest.json", None)
    for name, data in changes.items():
        content.pop(name, None)
        if data is not None:
            content[name] = data
    if "members" in said:
        named = (name for name in content if not name.startswith("blobs/"))
        said["members"] = {name: canonical.digest_bytes(content[name]) for name in named}
    content["manifest.json"] = canonical.encode(said)  # type: ignore[arg-type]  # JSON
    return rezipped(place / "rewritten.mimlog", content)


def flaws_of(report: Any) -> Sequence[tuple[int, str]]:
    """What the stand-alone verifier complained of."""
    return [(flaw["seq"], flaw["check"]) for flaw in report["flaws"]]
