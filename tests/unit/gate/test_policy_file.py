"""The policy file: what it may say, and how it is told what is wrong with it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mimrun.errors import SettingsError
from mimrun.gate.policy import Policy, Situation, terms
from mimrun.gate.policy_file import load_policy, parse_policy
from mimrun.runbook.document import read_document
from mimrun.runbook.launch import launch_gate
from mimrun.runbook.model import OnTimeout


def parse(text: str) -> Policy:
    return parse_policy(read_document(text, "policy.yaml", error=SettingsError))


def wrong(text: str) -> str:
    with pytest.raises(SettingsError) as caught:
        parse(text)
    return str(caught.value)


def test_no_file_is_no_policy(tmp_path: Path) -> None:
    assert load_policy(tmp_path / "policy.yaml") is None


def test_a_name_that_leads_nowhere_is_not_taken_for_no_policy(tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").symlink_to(tmp_path / "gone")
    with pytest.raises(SettingsError, match="cannot be read"):
        load_policy(tmp_path / "policy.yaml")


def test_an_empty_file_is_refused_instead_of_asking_for_nothing() -> None:
    assert "policy.yaml:1:1: is not a policy" in wrong("")


def test_what_is_left_out_is_the_default() -> None:
    assert parse("signed: true\n").matrix == Policy().matrix
    written = parse("matrix:\n  low:\n    other: none\n").matrix
    assert written.low.freeze == Policy().matrix.low.freeze
    assert written.high == Policy().matrix.high


def test_every_key_is_read() -> None:
    found = parse(
        "matrix:\n"
        "  read_only: none\n"
        "  medium:\n"
        "    P1: {approvals: [{role: ecab, count: 2}], change: emergency, pre_authorised: true, signed: true,"
        " expires: 10m, on_timeout: undo, escalation: [executive]}\n"
        "    other: {change: normal}\n"
        "    freeze: {freeze_override: true}\n"
        "excluded: [requester, launcher]\n"
        "expires: 45m\n"
        "on_timeout: fail\n"
        "escalation: [executive]\n"
        "signed: false\n"
        "triggers: {launch: [read_only], pre_authorised: []}\n"
        "prioritize: [service_desk]\n"
        "break_glass: {how: one_and_page, roles: [responder], settle_within: 12h}\n"
        "manual: {remind_every: 5m, reminders: 2}\n"
    )
    p1 = found.matrix.medium.P1
    assert p1 is not None
    assert (p1.expires, p1.on_timeout, p1.escalation) == (600_000, OnTimeout.UNDO, ("executive",))
    assert (found.excluded, found.expires, found.on_timeout) == (
        {"requester", "launcher"},
        2_700_000,
        OnTimeout.FAIL,
    )
    assert (found.break_glass.how, found.break_glass.settle_within) == ("one_and_page", 43_200_000)
    assert (found.manual.remind_every, found.triggers.pre_authorised) == (300_000, ())
    assert found.place("matrix.medium.P1") == "policy.yaml:4"
    assert terms(found, Situation("medium", "P1"), launch_gate()).signed


@pytest.mark.parametrize("word", ["approve", "auto_approve", "approved", "open"])
def test_there_is_no_way_to_write_that_waiting_approves(word: str) -> None:
    for text in (f"on_timeout: {word}\n", f"matrix:\n  low:\n    other: {{on_timeout: {word}}}\n"):
        assert "nothing is ever approved by waiting; allowed here: escalate, fail, undo" in wrong(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("matirx: {}\n", r"policy.yaml:1:1: unknown key 'matirx'; did you mean 'matrix'\?"),
        ("lines: {}\n", r"unknown key 'lines'"),
        (
            "matrix:\n  medum: {other: none}\n",
            r"policy.yaml:2:3: there is no risk 'medum'; did you mean 'medium'\?",
        ),
        (
            "matrix:\n  low: {p1: none, other: none}\n",
            r"policy.yaml:2:9: there is no column 'p1'; did you mean 'P1'\?",
        ),
        ("matrix:\n  low: {P1: none}\n", r"policy.yaml:2:3: the column 'other' is missing"),
        ("matrix:\n  low: {other: nothing}\n", r"policy.yaml:2:16: is no cell of the matrix"),
        ("matrix:\n  low: {other: {}}\n", r"policy.yaml:2:16: is empty; write `none`"),
        (
            "matrix:\n  low: {other: {aprovals: []}}\n",
            r"policy.yaml:2:17: .*'aprovals'.*did you mean 'approvals'\?",
        ),
        (
            "matrix:\n  low: {other: {change: emergncy}}\n",
            r"policy.yaml:2:25: change: .*did you mean 'emergency'\?",
        ),
        (
            "matrix:\n  low: {other: {approvals: [{role: Boss}]}}\n",
            r"policy.yaml:2:36: role: 'Boss' does not fit",
        ),
        (
            "matrix:\n  low: {other: {freeze_override: true}}\n",
            r"freeze_override belongs in the row's `freeze`",
        ),
        ("matrix:\n  low: {other: {pre_authorised: true}}\n", r"policy.yaml:2:16: asks for nothing"),
        ("matrix:\n  low: {other: none, freeze: {refused: ''}}\n", r"say why: people will read it"),
        ("matrix:\n  read_only: {approvals: []}\n", r"policy.yaml:2:14: what only reads asks for nothing"),
        ("matrix: []\n", r"policy.yaml:1:9: must be a mapping"),
        ("excluded: [auther]\n", r"policy.yaml:1:12: .*'auther'"),
        ("excluded: [author]\n", r"policy.yaml:1:11: requester and launcher never count"),
        ("expires: soon\n", r"policy.yaml:1:10: expires: 'soon' is not a duration"),
        ("triggers: {launch: [high]}\n", r"policy.yaml:1:21: .*'high'"),
        ("break_glass: {how: alone}\n", r"policy.yaml:1:20: how: 'alone'"),
        ("break_glass: {settle_within: 0}\n", r"policy.yaml:1:30: settle_within: "),
        ("a: &b 1\n", r"policy.yaml:1:4: anchor &b"),
    ],
)
def test_a_mistake_is_named_with_its_place(text: str, said: str) -> None:
    assert re.search(said, wrong(text)), wrong(text)


def test_a_role_that_is_written_twice_in_a_cell_is_refused() -> None:
    text = "matrix:\n  low: {other: {approvals: [{role: a}, {role: a}]}}\n"
    assert "role 'a' is here twice; write one entry with a `count`" in wrong(text)


def test_every_problem_is_said_at_once() -> None:
    text = wrong("on_timeout: approve\nexpires: x\nmatrx: 1\nmatrix: {low: {other: 3}}\n")
    assert len(text.splitlines()) == 4
