"""`mimrun review` on the real command line."""

from __future__ import annotations

from pathlib import Path

import pytest
from builders.commands import GATE, Desk, mark


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def worked(desk: Desk) -> str:
    """Have an incident with a run that was approved, something done by hand, and an end."""
    name: str = desk("incident", "declare", "Checkout is slow", "--impact", "high", "--json").json["incident"]
    desk.run(desk.runbook(mark("one") + GATE + mark("two")), "--incident", name)
    assert desk("approve", "latest", "--as", "alex", "--yes").code == 0
    assert desk("resume", "latest").code == 0
    assert desk("did", "restarted the proxy", "--at", "2m ago", "--incident", name).code == 0
    assert desk("incident", "time", name, "detected", "30m ago").code == 0
    assert desk("incident", "stage", name, "resolution", "--reason", "it went away").code == 0
    assert desk("incident", "resolve", name, "fixed", "--text", "wrote two marks").code == 0
    return name


def test_a_review_is_written_with_and_without_its_verb(desk: Desk) -> None:
    name = worked(desk)
    page = desk("review", name)
    assert page.code == 0, page.err
    assert page.out == desk("review", "show", name).out == desk("review", "latest").out
    assert page.out.startswith(f"# Review of {name}: Checkout is slow\n")
    assert "| restarted the proxy | outside of a runbook | done |" in page.out
    assert "| People agree (run-" in page.out
    assert "opened by approvals" in page.out
    figures = desk("review", name, "--json").json["figures"]
    assert figures["automation_rate"]["value"] == figures["automation_rate"]["of"] == 2
    assert figures["mttr_restore"]["value"] >= 30 * 60_000
    assert figures["mttd"]["why"].startswith("nobody recorded when it began")
    assert "**Nothing was recorded for 2" in page.out
    assert "**Nothing was recorded" not in desk("review", name, "--gap", "1h").out


def test_a_review_is_one_file_of_html(desk: Desk) -> None:
    name, file = worked(desk), desk.folder / "review.html"
    assert desk("review", name, "--html", str(file)).out == f"wrote {file}\n"
    page = file.read_text()
    assert page == desk("review", name, "--html", "-").out
    assert page.startswith("<!doctype html>")
    assert "<script" not in page
    said = desk("review", name, "--html", str(desk.folder / "no" / "where.html"))
    assert (said.code, "cannot be written: No such file" in said.err) == (2, True)


def test_a_review_is_published_and_found_again(desk: Desk) -> None:
    name = worked(desk)
    said = desk("review", "show", name, "--published")
    assert (said.code, f"no review of {name} was published" in said.err) == (2, True)
    published = desk("review", "publish", name)
    assert published.out.startswith(f"the review of {name} is published (entry ")
    assert "Time to detect (MTTD): none: nobody recorded when it began" in published.out
    then = desk("review", name, "--published").out
    assert then == desk("review", name).out
    assert desk("review", "item", "add", name, "Alert on lag", "--owner", "alex").code == 0
    assert desk("review", name, "--published").out == then
    for other in (("--html", "-"), ("--json",)):
        assert desk("review", name, "--published", *other).code == 2
    assert desk("review", name).out != then
    assert desk("log", "verify").code == 0


def test_an_incident_that_is_not_over_is_not_published(desk: Desk) -> None:
    name = desk("incident", "declare", "Checkout is slow", "--json").json["incident"]
    said = desk("review", "publish", name)
    assert (said.code, f"{name} is not resolved" in said.err) == (5, True)
    assert desk("review", name).code == 0


def test_action_items_are_followed_over_all_incidents(desk: Desk) -> None:
    name = desk("incident", "declare", "Checkout is slow", "--json").json["incident"]
    assert desk("review", "item", "list").out == "nothing is to be done; --all shows what was\n"
    said = desk("review", "item", "add", name, "Alert on lag", "--owner", "alex", "--due", "2020-01-31")
    assert said.out == f"A1 of {name}: Alert on lag (alex, until 2020-01-31)\n"
    assert (
        desk("review", "item", "add", name, "Buy a third", "--owner", "billie", "--json").json["item"] == "A2"
    )
    assert [one["overdue"] for one in desk("review", "item", "list", "--json").json] == [True, False]
    assert "overdue" in desk("review", "item", "list", name).out
    assert desk("review", "item", "done", name, "A1", "--reason", "rule 7").out == f"A1 of {name} is done\n"
    assert desk("review", "item", "drop", name, "A2").code == 2
    assert desk("review", "item", "drop", name, "A2", "--reason", "no money").code == 0
    listed = desk("review", "item", "list", "--all", "--json").json
    assert [(one["item"], one["state"], one["reason"]) for one in listed] == [
        ("A1", "done", "rule 7"),
        ("A2", "dropped", "no money"),
    ]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("INC-0",), 2, "the log has no incident 'INC-0'"),
        (("latest", "--gap", "soon"), 2, "'soon' is not a duration"),
        (("latest", "--gap", "0s"), 2, "give at least a second"),
        (("item", "add", "latest", "x", "--owner", "nobody"), 2, "nobody is known as 'nobody'"),
        (("item", "add", "latest", "x", "--owner", "alex", "--due", "soon"), 2, "'soon' is no day"),
        (("item", "done", "latest", "A7"), 2, "has no action item 'A7'"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_recorded(
    desk: Desk, words: tuple[str, ...], code: int, said: str
) -> None:
    desk("incident", "declare", "Checkout is slow")
    before = desk.size()
    answer = desk("review", *words)
    assert (answer.code, said in answer.err) == (code, True), answer.err
    assert desk.size() == before
