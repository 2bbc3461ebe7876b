"""Every requirement is pinned with hashes, agrees with pyproject.toml, and names no address."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
SETS = ["run", "demo", "dev"]
PYTHONS = ["3.11.9", "3.12.9", "3.13.9"]
HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}")


def entries(text: str) -> list[str]:
    """Give the entries of a requirement file, each with its continuation lines."""
    joined = text.replace("\\\n", " ")
    return [line.strip() for line in joined.splitlines() if line.strip() and not line.startswith("#")]


def flaws(entry: str) -> list[str]:
    """Say what is wrong with an entry."""
    words = entry.split("--hash", maxsplit=1)[0]
    wrong = []
    if not re.fullmatch(r"[a-z0-9.-]+==[A-Za-z0-9.+!]+( ; .+)?\s*", words):
        wrong.append("is not one pinned version")
    if not HASH.findall(entry) or HASH.sub("", entry).strip() != words.strip():
        wrong.append("has no sha256 hash, or another option")
    if "://" in entry or " @ " in entry:
        wrong.append("names an address")
    return wrong


def pins(name: str, python: str) -> dict[str, str]:
    """Give what a set installs on Linux with this version of Python."""
    environment = {
        **default_environment(),
        "python_full_version": python,
        "python_version": ".".join(python.split(".")[:2]),
        "sys_platform": "linux",
        "platform_python_implementation": "CPython",
        "implementation_name": "cpython",
    }
    found: dict[str, str] = {}
    for entry in entries((ROOT / "requirements" / f"{name}.txt").read_text("utf-8")):
        requirement = Requirement(entry.split("--hash")[0].strip())
        if requirement.marker is None or requirement.marker.evaluate(environment):
            assert requirement.name not in found, f"{requirement.name} twice for Python {python}"
            found[requirement.name] = str(requirement.specifier).removeprefix("==")
    return found


def asked(name: str) -> list[Requirement]:
    """Give what pyproject.toml asks for a set."""
    project, groups = PROJECT["project"], PROJECT["dependency-groups"]
    lines = [*project["dependencies"], *groups["build"]]
    if name != "run":
        lines += project["optional-dependencies"]["demo"]
    if name == "dev":
        lines += project["optional-dependencies"]["otel"]
        lines += [line for line in groups["dev"] if isinstance(line, str)]
    return [Requirement(line) for line in lines]


@pytest.mark.parametrize("name", SETS)
def test_every_requirement_is_pinned_with_hashes_and_no_address(name: str) -> None:
    found = entries((ROOT / "requirements" / f"{name}.txt").read_text("utf-8"))
    assert found
    assert not {entry: wrong for entry in found if (wrong := flaws(entry))}


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("name", SETS)
def test_the_pins_are_what_the_project_asks_for(name: str, python: str) -> None:
    found = pins(name, python)
    for requirement in asked(name):
        version = found.get(canonicalize_name(requirement.name))
        assert version is not None, f"{requirement.name} is not in requirements/{name}.txt; run make lock"
        assert requirement.specifier.contains(version), (
            f"{requirement} does not allow {version}; run make lock"
        )


@pytest.mark.parametrize("python", PYTHONS)
def test_one_environment_serves_all_sets(python: str) -> None:
    dev, demo, run = (pins(name, python) for name in ("dev", "demo", "run"))
    assert run.items() <= demo.items() <= dev.items()


def strangers(source: str) -> set[str]:
    """Name the packages of other people that a module imports."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module)
    tops = {name.split(".")[0] for name in names}
    return tops - sys.stdlib_module_names - {"mimrun", "connectors", "flows"}


def test_what_is_imported_is_asked_for_and_what_is_asked_for_is_imported(code: list[Path]) -> None:
    imported = {name for path in code for name in strangers(path.read_text("utf-8"))}
    homes = packages_distributions()
    used = {name: {canonicalize_name(dist) for dist in homes.get(name, [name])} for name in imported}
    declared = {canonicalize_name(Requirement(line).name) for line in PROJECT["project"]["dependencies"]}
    extras = PROJECT["project"]["optional-dependencies"].values()
    optional = {canonicalize_name(Requirement(line).name) for lines in extras for line in lines}
    # OpenTelemetry's distributions share one name; each of them comes with the two that are asked for.
    assert not [name for name, dists in used.items() if not dists & (declared | optional)]
    # Starlette imports it where a form is read.
    assert declared <= set().union(*used.values()) | {"python-multipart"}


def test_strangers_are_found() -> None:
    source = "import os, yaml.events\nfrom rich.text import Text\nfrom mimrun.errors import RunError\nfrom . import x"
    assert strangers(source) == {"yaml", "rich"}


@pytest.mark.parametrize(
    "entry",
    [
        "rich",
        "rich>=1 --hash=sha256:" + "0" * 64,
        "rich==1",
        "rich==1 --hash=md5:00",
        "--index-url x",
        "rich @ file:x",
    ],
)
def test_an_entry_that_is_not_pinned_is_found(entry: str) -> None:
    assert flaws(entry)


def test_a_pinned_entry_passes() -> None:
    assert not flaws("rich==1.0 ; python_full_version < '3.12'  --hash=sha256:" + "0" * 64)
