"""Secrets go to the step that names them and nowhere else: every byte under the home is looked at."""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path

import pytest
from builders.commands import GATE, Desk, Said, mark

SECRET = "hunter2-Zq8/v+Kx"
FORMS = (
    SECRET.encode(),
    b64encode(SECRET.encode()),
    SECRET.encode().hex().encode(),
    b"hunter2-Zq8%2Fv%2BKx",
    SECRET[::-1].encode(),
)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    made = Desk(tmp_path)
    made.env["TOKEN"] = SECRET
    return made


MORE = "inputs:\n  token: {type: secret}\n"
USES = (
    "  - name: Use it\n"
    "    local.command: {argv: [sh, -c, 'echo out-$1; echo err-$1 >&2; cat; printenv GIVEN', sh, '{{ token }}'], stdin: '{{ token }}'}\n"
    "    environment: {GIVEN: public}\n"
    "    register: used\n"
    "  - {name: Use what it said, local.shell: {cmd: 'echo {{ used.stdout | quote }} >> marks'}}\n"
)


def leaks(desk: Desk, *said: Said) -> list[str]:
    """Where the secret is to be found, in any form: files of the home and what commands said."""
    found = [
        str(path)
        for path in desk.home.rglob("*")
        if path.is_file() and any(form in path.read_bytes() for form in FORMS[:4])
    ]
    return found + [
        word for one in said for word in (one.out, one.err) if any(f.decode() in word for f in FORMS[:4])
    ]


def test_a_secret_is_used_and_never_recorded(desk: Desk) -> None:
    book = desk.runbook(USES, more=MORE)
    planned = desk("plan", book, "token=env:TOKEN")
    ran = desk.run(book, "token=env:TOKEN")
    assert ran.code == 0, ran.out + ran.err
    shown = [
        desk(*words)
        for words in (
            ("log", "show", "--blobs"),
            ("log", "show", "--blobs", "--json"),
            ("status", "--json"),
            ("plan", book, "token=env:TOKEN", "--json"),
            ("log", "export", "all", "-o", str(desk.home / "all.mimlog")),
            ("status",),
        )
    ]
    assert "out-*****" in shown[0].out
    assert "err-*****" in shown[0].out
    assert leaks(desk, planned, ran, *shown) == []
    assert "out-*****" in desk.marks()[0], "what a later step is told is masked, too"
    assert "*****(env:TOKEN)" in planned.out


def test_a_secret_in_an_error_is_masked(desk: Desk) -> None:
    steps = "  - {name: Break, local.command: {argv: ['/nowhere/{{ token }}']}}\n"
    ran = desk.run(desk.runbook(steps, more=MORE), "token=env:TOKEN")
    assert ran.code == 1
    expectation = (
        "  - {name: Expect, local.command: {argv: [echo, '{{ token }}']}, register: said,"
        " expect: \"said.stdout == 'other'\"}\n"
    )
    unmet = desk.run(desk.runbook(expectation, name="expects", more=MORE), "token=env:TOKEN")
    assert unmet.code == 1
    refused = desk.run(
        desk.runbook(
            "  - {name: Bad, local.command: {argv: ['{{ token }}'], chdir: 3, ok_codes: ['{{ token }}']}}\n",
            name="bad",
            more=MORE,
        ),
        "token=env:TOKEN",
    )
    assert refused.code in (1, 2)
    assert "Traceback" not in refused.err
    assert leaks(desk, ran, unmet, refused) == []


def test_a_secret_given_as_a_value_is_refused_and_not_repeated(desk: Desk) -> None:
    book = desk.runbook(USES, more=MORE)
    for word in (f"token={SECRET}", f'token:="{SECRET}"'):
        said = desk.run(book, word)
        assert said.code == 2
        assert "write env:NAME, file:PATH, keyring:" in said.err
        assert leaks(desk, said) == []


def test_a_secret_that_cannot_be_read_is_refused_before_anything_is_done(desk: Desk) -> None:
    before = desk.size()
    said = desk.run(desk.runbook(mark("x") + USES, more=MORE), "token=env:NOT_SET")
    assert said.code == 2
    assert "input token" in said.err
    assert "NOT_SET" in said.err
    assert desk.marks() == []
    assert desk.size() == before


def test_a_run_goes_on_only_where_its_secrets_are_and_is_stopped_anywhere(desk: Desk) -> None:
    book = desk.runbook(mark("x") + GATE + USES, more=MORE)
    assert desk.run(book, "token=env:TOKEN").code == 3
    assert desk("approve", "latest", "--as", "alex", "--yes").code == 0
    resumed = desk("resume", "--direct", TOKEN="")
    assert resumed.code == 2
    assert "TOKEN" in resumed.err
    assert desk("cancel", "latest", TOKEN="").code == 0
    assert desk.status()["status"] == "cancelled"
    assert leaks(desk, resumed) == []


def test_a_secret_in_a_file_is_read_when_it_is_needed(desk: Desk) -> None:
    file = desk.write("token", SECRET + "\nsecond line\n")
    ran = desk.run(desk.runbook(USES, more=MORE), f"token=file:{file}")
    assert ran.code == 0, ran.err
    assert leaks(desk, ran) == []
    assert "out-*****" in desk.marks()[0]


def test_a_step_that_is_not_to_be_logged_leaves_no_argument_and_no_output(desk: Desk) -> None:
    steps = "  - {name: Quietly, local.command: {argv: [echo, 'not-for-the-log']}, no_log: true}\n"
    ran = desk.run(desk.runbook(steps))
    assert ran.code == 0
    entries = desk("log", "show", "latest", "--blobs", "--json").out
    intents = [line for line in entries.splitlines() if '"step.intent"' in line or '"step.outcome"' in line]
    assert len(intents) == 2
    assert not any("not-for-the-log" in line for line in intents)
