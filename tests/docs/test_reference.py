"""The reference pages say what the code says."""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from builders.markdown import blocks, inline, rows

import mimrun
from mimrun.app.program_log import Event
from mimrun.catalog import installed_catalog
from mimrun.cli.door import EXIT_CODES
from mimrun.cli.run import EXITS
from mimrun.errors import MimrunError, SettingsError
from mimrun.gate.people_file import parse_people
from mimrun.gate.role import ROLES
from mimrun.log.kinds import Kind
from mimrun.runbook.document import read_document
from mimrun.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = ROOT / "docs" / "reference"
CATALOG = installed_catalog()


def page(name: str) -> str:
    return (REFERENCE / name).read_text("utf-8")


def quoted(name: str) -> set[str]:
    """Give everything that a page sets as code."""
    return set(inline(page(name)))


def writer() -> ModuleType:
    """Import what writes the pages."""
    spec = importlib.util.spec_from_file_location("pages", ROOT / "deploy" / "docs" / "pages.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def all_errors(kind: type[MimrunError] = MimrunError) -> Iterator[type[MimrunError]]:
    """Give every error of mimrun, wherever it is defined."""
    for module in pkgutil.walk_packages(mimrun.__path__, "mimrun."):
        importlib.import_module(module.name)
    yield kind
    for below in kind.__subclasses__():
        if below.__module__.startswith("mimrun."):
            yield from all_errors(below)


def test_generated_pages_are_those_that_the_code_writes() -> None:
    differ = [str(path) for path, text in writer().pages().items() if path.read_text("utf-8") != text]
    assert not differ, "run `make docs`"


def test_the_check_of_the_pages_names_the_one_that_differs(tmp_path: Path) -> None:
    program = (
        "import sys, runpy; from pathlib import Path\n"
        f"module = runpy.run_path({str(ROOT / 'deploy' / 'docs' / 'pages.py')!r})\n"
        "pages = module['pages']()\n"
        f"module['main'].__globals__['pages'] = lambda: {{Path({str(ROOT)!r}) / 'gone.md': 'x'}}\n"
        "sys.exit(module['main'](['--check']))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "gone.md\n")


def test_every_error_is_on_its_page_with_what_to_do() -> None:
    names = {error.__name__ for error in all_errors()}
    assert names == set(writer().WHAT_NOW)
    told = {row[0].strip("`"): row for row in rows(page("errors.md"))}
    assert names <= told.keys()
    assert {name: told[name][1] for name in names} == {e.__name__: str(e.exit_code) for e in all_errors()}


def test_every_exit_code_is_on_its_page() -> None:
    codes = {int(code) for code in re.findall(r"(?:^|\s{2,})(\d+)  \w", EXIT_CODES)}
    codes |= {error.exit_code for error in all_errors()} | set(EXITS.values())
    assert {int(row[0]) for row in rows(page("exit-codes.md"))} == codes


@pytest.mark.parametrize("kind", list(Kind))
def test_every_kind_of_entry_has_its_section(kind: Kind) -> None:
    assert f"\n## {kind.value}\n" in page("kinds.md")


def test_every_variable_of_ours_is_on_the_page_of_settings_and_none_else() -> None:
    code = [p for folder in ("mimrun", "connectors", "flows") for p in (ROOT / folder).rglob("*.py")]
    read = {n for p in code for n in re.findall(r"\"(MIMRUN_[A-Z_]*[A-Z])[\"=]", p.read_text("utf-8"))}
    # The lab's mark is of the demo and the tests, and stands in the lab's own page.
    assert {name for name in quoted("settings.md") if re.fullmatch(r"MIMRUN_[A-Z_]+", name)} == read - {
        "MIMRUN_LAB"
    }


def test_everything_in_the_home_folder_is_on_the_page_of_settings() -> None:
    settings = Settings(home=Path("/m"))
    made = [settings.log, settings.people, settings.locks, settings.prefect, settings.engine]
    made += [settings.kill_switch, settings.program_log, settings.signer_folder, settings.root_key]
    made += [settings.blob_key_file, settings.seen_folder, settings.anchors]
    made += [settings.policy, settings.calendars, settings.changes, settings.allowed_signers]
    made += [settings.notices, settings.incidents, settings.inventories, settings.alerts]
    made += [settings.rules, settings.watches]
    names = {path.name for path in made}
    assert names <= {name.rstrip("/") for name in quoted("settings.md")}
    properties = {name for name, kind in vars(Settings).items() if isinstance(kind, property)}
    assert len(properties) == len(names)


def test_every_event_of_the_program_log_is_on_its_page() -> None:
    told = {row[0].strip("`") for row in rows(page("program-log.md"))}
    assert {event.value for event in Event} <= told
    named = [
        name
        for name in told
        if name.startswith(
            (
                *("run_", "step_", "worker_", "revert_", "spans_", "anchor", "change_", "notice", "server_"),
                *("alerts_", "rule_", "rules_", "storm_", "watch_"),
            )
        )
    ]
    assert set(named) == {event.value for event in Event}


@pytest.mark.parametrize("name", CATALOG.names)
def test_a_connectors_page_names_every_action_and_field_and_no_other_action(name: str) -> None:
    text = page(f"connectors/{name}.md")
    actions = CATALOG.connector(name).actions
    missing = [a.verb for a in actions if not re.search(rf"\b{name}\.{a.verb}\b", text)]
    for action in actions:
        names = [info.alias or field for field, info in action.model_fields.items()]
        missing += [f"{name}.{action.verb}: {field}" for field in names if f"`{field}`" not in text]
    assert not missing
    verbs = {action.verb for action in actions}
    cited = {found for code in inline(text) for found in re.findall(rf"^{name}\.([a-z]+)$", code)}
    assert cited <= verbs


def test_every_people_file_on_a_page_is_one(pages: dict[str, str]) -> None:
    shown = [
        (f"{name}:{block.line}", block.text)
        for name, text in pages.items()
        for block in blocks(text)
        if block.info == "yaml people"
    ]
    assert shown
    for where, text in shown:
        assert parse_people(read_document(text, where, error=SettingsError)).by_id


def test_every_role_of_the_process_is_on_the_page_of_people() -> None:
    told = {row[0].strip("`"): row[1] for row in rows(page("people.md")) if len(row) == 2}
    assert {role: told.get(role) for role in ROLES} == dict(ROLES)
