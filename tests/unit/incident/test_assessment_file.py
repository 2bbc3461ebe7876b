"""incidents.yaml: read strictly, with every problem at its line and column."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mimrun.errors import SettingsError
from mimrun.incident.assessment import IncidentTable, assess
from mimrun.incident.assessment_file import load_table

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "incidents.md"


def load(folder: Path, text: str) -> IncidentTable:
    file = folder / "incidents.yaml"
    file.write_text(text)
    return load_table(file)


def test_without_a_file_mimruns_own_table_holds(tmp_path: Path) -> None:
    assert load_table(tmp_path / "incidents.yaml") == IncidentTable()


def test_the_table_on_the_page_is_mimruns_own_with_a_critical_service(tmp_path: Path) -> None:
    (text,) = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    found = load(tmp_path, text)
    assert found.model_copy(update={"file": "", "critical_services": ()}) == IncidentTable()


def test_a_row_that_is_written_replaces_mimruns_own_and_no_other(tmp_path: Path) -> None:
    table = load(tmp_path, "matrix:\n  low: {high: P1, medium: P1, low: P1, unknown: P1}\n")
    assert assess(table, "low", "low").priority == "P1"
    assert assess(table, "medium", "low").priority == "P4"


def test_rules_that_are_written_are_the_whole_list(tmp_path: Path) -> None:
    table = load(tmp_path, "severity:\n  - {severity: SEV1}\n")
    assert assess(table, "low", "low").severity == "SEV1"


def test_flags_and_roles_of_ones_own_are_known_besides_mimruns(tmp_path: Path) -> None:
    table = load(
        tmp_path,
        "flags: {payroll: salaries are late}\nroles: {duty_officer: decides at night}\n"
        "severity: [{severity: SEV1, flags: [payroll]}]\n",
    )
    assert {"payroll", "security"} <= table.every_flag.keys()
    assert {"duty_officer", "scribe"} <= table.every_role.keys()
    assert assess(table, "low", "low", (), ("payroll",)).severity == "SEV1"


@pytest.mark.parametrize(
    ("text", "where", "why"),
    [
        ("- a list\n", "1:1", "is not a table for incidents"),
        ("", "1:1", "is not a table for incidents"),
        ("matrx: {}\n", "1:1", "did you mean 'matrix'"),
        ("matrix: 5\n", "1:9", "must be a mapping"),
        ("matrix:\n  hihg: {}\n", "2:3", "did you mean 'high'"),
        ("matrix:\n  high: {high: P1}\n", "2:9", "the key 'medium' is missing"),
        ("matrix:\n  high: {high: P9, medium: P1, low: P1, unknown: P1}\n", "2:16", "is not one of"),
        ("matrix:\n  high: {high: 1, medium: P1, low: P1, unknown: P1}\n", "2:16", "is not one of"),
        ("severity:\n  - {severity: SEV9}\n", "2:16", "is not one of"),
        ("severity:\n  - {priority: [P1]}\n", "2:5", "the key 'severity' is missing"),
        ("severity:\n  - {severity: SEV1, prioriti: [P1]}\n", "2:22", "did you mean 'priority'"),
        ("severity:\n  - {severity: SEV1, priority: P1}\n", "2:32", "write [P1]"),
        ("severity:\n  - {severity: SEV1, flags: [securty]}\n", "2:30", "did you mean 'security'"),
        ("severity:\n  - {severity: SEV1, without: [no_user]}\n", "2:32", "did you mean 'no_users'"),
        ("severity:\n  - {severity: SEV1, critical: true}\n", "2:32", "name them under critical_services"),
        ("severity:\n  - {severity: SEV1, critical: yes}\n", "2:32", "true"),
        ("severity:\n  - {severity: SEV3}\n  - {severity: SEV1, priority: [P1]}\n", "3:5", "always holds"),
        ("flags: {security: ours}\n", "1:9", "mimrun's own already"),
        ("roles: {scribe: ours}\n", "1:9", "mimrun's own already"),
        ("review: [SEV5]\n", "1:10", "is not one of"),
        ("close: major_incident_manager\n", "1:8", "must be a list"),
        ("critical_services: payments\n", "1:20", "must be a list"),
        ("matrix: {}\nmatrix: {}\n", "2:1", "twice"),
    ],
)
def test_what_is_wrong_is_named_at_its_place(tmp_path: Path, text: str, where: str, why: str) -> None:
    with pytest.raises(SettingsError) as refused:
        load(tmp_path, text)
    told = [str(problem) for problem in refused.value.problems]
    assert any(f"incidents.yaml:{where}: " in one and why in one for one in told), told


def test_every_problem_is_named_at_once(tmp_path: Path) -> None:
    text = "matrx: {}\nmatrix:\n  hihg: {}\nseverity:\n  - {severity: SEV9}\n"
    with pytest.raises(SettingsError) as refused:
        load(tmp_path, text)
    assert [problem.line for problem in refused.value.problems] == [1, 3, 5]
