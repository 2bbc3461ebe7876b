"""What targets say is shown as text, however it is written and however much it is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from builders.console import Browser, read_html
from builders.hostile import STRINGS
from builders.shelf import Shelf

from mimrun.app.execution import execute_run
from mimrun.app.identity import Identity
from mimrun.app.plans import prepare_plan
from mimrun.app.runs import create_run
from mimrun.gate.people import Person

CAT = """\
schema: mimrun/1
name: say-it
version: 1.0.0
title: Say what is in a file
stage: containment
owner: testers
risk: low
steps:
  - name: It is said
    local.command: {{argv: [sh, -c, 'cat {file}; cat {file} >&2'], changed: false}}
    effect: {{class: read, reason: It only looks.}}
"""
PAGE: int = 200_000
"""Bytes that a page may have, whatever a target said."""


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shelf:
    return Shelf(tmp_path, monkeypatch)


def said(shelf: Shelf, content: bytes) -> str:
    """Give a run whose step said something."""
    file = shelf.library.parent / "said.txt"
    file.write_bytes(content)
    (shelf.library / "say-it.yaml").write_text(CAT.format(file=file))
    with shelf.home() as home:
        plan = prepare_plan(home, "say-it", [], [])
        run = create_run(home, plan, Identity(Person("responder", "responder"), "os-user"))
    execute_run(shelf.settings, run, catalog=shelf.catalog)
    return run


def test_scripts_in_output_stay_text(shelf: Shelf) -> None:
    lines = [text.replace("\n", " ") for text in STRINGS]
    run = said(shelf, "\n".join(lines).encode("utf-8", "surrogateescape"))
    with shelf.home() as home:
        browser = Browser(home)
        for path in (f"/runs/{run}", f"/runs/{run}/cell?step=1&target=localhost", f"/runs/{run}/replay"):
            answer = browser.ask(path)
            page = read_html(answer.text)
            scripts = {one.attributes.get("src", "").partition("?")[0] for one in page.all("script")}
            assert all(src.startswith("/static/") for src in scripts), scripts
            assert not [name for one in page.walk() for name in one.attributes if name.startswith("on")]
            assert not page.all("iframe") + page.all("svg") + page.all("object") + page.all("embed")
        outputs = [one.text for one in browser.get(f"/runs/{run}/cell?step=1&target=localhost").all("pre")]
    assert any("<script>alert(1)</script>" in one for one in outputs)


def test_terminal_escapes_and_turned_text_are_shown_as_what_they_are(shelf: Shelf) -> None:
    run = said(shelf, b"\x1b[31mred\x1b[0m \x1b]0;title\x07 back\x08\x08 \xe2\x80\xae evil \x00 \xff end\r\n")
    with shelf.home() as home:
        text = Browser(home).ask(f"/runs/{run}/cell?step=1&target=localhost").text
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f\u202e]", text)
    assert "\\x1b[31mred\\x1b[0m" in text
    assert "\\u202e evil" in text
    assert "end" in text


def test_a_line_of_a_megabyte_comes_in_pieces(shelf: Shelf) -> None:
    run = said(shelf, b"x" * 1_000_000 + b"<b>the end</b>\n")
    with shelf.home() as home:
        browser = Browser(home)
        for path in (f"/runs/{run}", f"/runs/{run}/replay"):
            assert len(browser.ask(path).content) < PAGE
        answer = browser.ask(f"/runs/{run}/cell?step=1&target=localhost")
        assert len(answer.content) < PAGE
        page, pieces = read_html(answer.text), 1
        more = [one for one in page.all("a", class_="button") if one.text.startswith("Load more")]
        while more:
            answer = browser.ask(more[0].attributes["href"])
            assert len(answer.content) < PAGE
            page, pieces = read_html(answer.text), pieces + 1
            more = [one for one in page.all("a", class_="button") if one.text.startswith("Load more")]
        kept = page.all("pre")[-1].text
    assert pieces > 1
    assert kept


def test_a_piece_comes_alone_for_the_page_that_asks_for_it(shelf: Shelf) -> None:
    run = said(shelf, b"line\n" * 20_000)
    with shelf.home() as home:
        browser = Browser(home)
        page = browser.get(f"/runs/{run}/cell?step=1&target=localhost")
        link = next(one for one in page.all("a", class_="button") if one.text.startswith("Load more"))
        assert link.attributes["hx-get"] == link.attributes["href"]
        piece = browser.ask(link.attributes["href"], headers={"hx-request": "true"}).text
    assert "<html" not in piece
    assert "line" in piece


def test_an_output_of_another_run_is_not_given(shelf: Shelf) -> None:
    run = said(shelf, b"secret of the first")
    with shelf.home() as home:
        seq = next(e.seq for e in home.store.entries(run=run) if e.kind.value == "step.outcome")
    other = said(shelf, b"of the second")
    with shelf.home() as home:
        browser = Browser(home)
        assert "secret of the first" in browser.ask(f"/runs/{run}/output?entry={seq}&name=data.stdout").text
        assert browser.ask(f"/runs/{other}/output?entry={seq}&name=data.stdout").status_code == 400
        for name in ("plan", "data.nothing", "plan.x", "args"):
            assert browser.ask(f"/runs/{run}/output?entry={seq}&name={name}").status_code == 400
        assert browser.ask(f"/runs/{run}/output?entry=999999&name=stdout").status_code < 500
