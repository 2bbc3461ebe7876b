"""Reviews of incidents in a real log: what they say, what is published, and that nothing said in them is obeyed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import timedelta
from html.parser import HTMLParser
from typing import Any

import pytest
from builders.alerts import case
from builders.hostile import STRINGS
from builders.plans import a_plan, action, gate, manual
from builders.runs import ALEX, BILLIE, RESPONDER, Bench, person
from markdown_it import MarkdownIt

from mimrun.app.alert.intake import Intake
from mimrun.app.home import Home
from mimrun.app.identity import Identity
from mimrun.app.incident.declaring import Declaration, declare
from mimrun.app.incident.told import set_time
from mimrun.app.incident.working import move_stage, resolve
from mimrun.app.manual_work import Place, write_note
from mimrun.app.review.blocks import figure_text, sections_of
from mimrun.app.review.html import as_html
from mimrun.app.review.items import add_item, close_item, list_items
from mimrun.app.review.making import make_review
from mimrun.app.review.markdown import as_markdown, plain
from mimrun.app.review.publishing import publish_review, published_review
from mimrun.app.shown.text import safe
from mimrun.errors import GateError, InputError, RefusedError
from mimrun.incident.incident import incident_in
from mimrun.incident.metrics import Figure
from mimrun.log.entry import Draft
from mimrun.log.kinds import IncidentReopened, RuleFired
from mimrun.log.proof.verify import verify

MARKDOWN = (
    "[x](javascript:alert(1))",
    "![x](https://x.example.org/pixel)",
    "<javascript:alert(1)>",
    "| x | <script>alert(1)</script> |",
    "```<script>alert(1)</script>",
    "{{ ''.__class__.__mro__ }}",
)
SCRIPTS = (*STRINGS, *MARKDOWN)


@pytest.fixture
def home(bench: Bench) -> Iterator[Home]:
    with bench.home() as opened:
        yield opened


@pytest.fixture
def incident(home: Home) -> str:
    said = Declaration("Checkout is slow", "high", "high", ("checkout",), text="customers cannot pay")
    return declare(home, RESPONDER, said)


def solve(home: Home, incident: str, **said: Any) -> None:
    """Say that it is over, though nothing was done."""
    move_stage(home, RESPONDER, incident, "resolution", reason="it went away by itself")
    resolve(home, RESPONDER, incident, "fixed", **said)


def figures(home: Home, incident: str) -> dict[str, Figure]:
    return {figure.name: figure for figure in make_review(home, incident).figures}


def test_a_review_has_a_reason_for_each_figure_that_it_cannot_give(home: Home, incident: str) -> None:
    found = figures(home, incident)
    assert found["mttr_restore"].why == "nobody recorded when it was noticed; `mimrun incident time` says it"
    assert found["automation_rate"].why == "no step was executed"
    assert found["time_to_declare"].value is None
    page = as_markdown(make_review(home, incident))
    assert "| Time to restore (MTTR) | none: nobody recorded when it was noticed" in page
    assert "> customers cannot pay" in page


def test_figures_come_from_what_is_recorded_and_what_people_say(home: Home, incident: str) -> None:
    now = home.clock()
    set_time(home, RESPONDER, incident, "started", now - timedelta(minutes=30), source="estimate")
    set_time(home, RESPONDER, incident, "detected", now - timedelta(minutes=20))
    solve(
        home,
        incident,
        text="promoted the standby",
        restored_at=now - timedelta(minutes=5),
    )
    found = figures(home, incident)
    assert found["mttd"].value == 10 * 60_000
    assert found["mttd"].notes == ("when it began is an estimate",)
    assert found["mttr_restore"].value == 15 * 60_000
    assert found["downtime"].value == 25 * 60_000
    assert found["mttc"].why == "nobody recorded when it was contained"


def test_an_alert_that_a_rule_attached_says_when_it_began_and_was_noticed(home: Home, incident: str) -> None:
    received = Intake(home).hand_in("alertmanager", case("alertmanager.json"), RESPONDER)
    fired = {"rule": "r", "rules": "sha256:" + "a" * 64, "episode": "e", "group": "g", "outcome": "notified"}
    body = RuleFired.model_validate({**fired, "alerts": received.alerts, "count": 1})
    home.store.append([Draft(RESPONDER.actor(), body, inc=incident)])
    review = make_review(home, incident)
    assert review.incident.clocks.started.at == "2026-11-21T22:52:24.180000Z"
    assert review.incident.clocks.detected
    assert any(getattr(row, "source", "") == "alert" for row in review.rows)


def test_runs_gates_and_manual_steps_are_in_it_apart(bench: Bench) -> None:
    plan = a_plan(bench.world, action("1"), gate("2"), action("3"), manual("4"))
    run, _ = bench.run(plan)
    bench.approve(run)
    bench.execute(run)
    with bench.home() as home:
        review = make_review(home, "latest")
        assert [(one.what, one.outcome) for one in review.course.decisions] == [
            ("gate", "opened by approvals")
        ]
        assert [(one.step, one.status) for one in review.course.automated] == [("1", "ok"), ("3", "ok")]
        (by_hand,) = review.course.by_hand
        assert (by_hand.what, by_hand.step, by_hand.outcome) == ("step", "4", "")
        assert by_hand.title == plan.node("4").name
        page, whole = as_markdown(review), as_markdown(make_review(home, "latest", full=True))
    assert f"- **Runs:** {run} (not over)" in page
    assert review.left_out > 0
    assert len(whole.splitlines()) == len(page.splitlines()) + review.left_out - 1
    assert json.loads(json.dumps(review.as_json()))["figures"]["approval_wait"]["value"] is not None


def test_an_exercise_is_said_to_be_one(home: Home) -> None:
    name = declare(home, RESPONDER, Declaration("We play", flags=("drill",)))
    assert "- **An exercise:** it counts in no figure over incidents" in as_markdown(make_review(home, name))


def test_nobody_is_told_of_gaps_that_are_shorter_than_they_want(home: Home, incident: str) -> None:
    assert make_review(home, incident, gap=timedelta(hours=1)).gaps == ()
    assert sum(gap.ms for gap in make_review(home, incident, gap=timedelta(0)).gaps) >= 0


def test_action_items_are_agreed_upon_done_and_dropped(home: Home, incident: str) -> None:
    first = add_item(home, RESPONDER, incident, "Alert on lag", owner="alex", due="2027-01-31", text="more")
    second = add_item(home, RESPONDER, incident, "Buy a third", owner="billie")
    assert [one.item for one in list_items(home)] == ["A1", "A2"]
    assert (first.owner, first.due, second.due) == ("alex", "2027-01-31", "")
    assert close_item(home, ALEX, incident, "a1", "done", reason="rule 7").closed_by == "alex"
    with pytest.raises(RefusedError, match=r"A1 of .* is done already: alex said so"):
        close_item(home, ALEX, incident, "A1", "done")
    with pytest.raises(InputError, match="say why it is dropped"):
        close_item(home, ALEX, incident, "A2", "dropped")
    close_item(home, ALEX, incident, "A2", "dropped", reason="no money")
    assert list_items(home) == []
    assert [one.state for one in list_items(home, incident, everything=True)] == ["done", "dropped"]
    page = as_markdown(make_review(home, incident))
    assert "| A1 | Alert on lag | alex | 2027-01-31 | done | rule 7 |" in page


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"title": "  "}, "say in a line what is to be done"),
        ({"owner": "alexa"}, "nobody is known as 'alexa'; did you mean 'alex'"),
        ({"due": "soon"}, "'soon' is no day; write 2026-12-24"),
        ({"incident": "INC-0"}, "the log has no incident 'INC-0'"),
    ],
)
def test_an_item_needs_an_incident_a_title_and_somebody_who_is_known(
    home: Home, incident: str, given: dict[str, str], said: str
) -> None:
    size = home.store.head().size
    item = {"incident": incident, "title": "x", "owner": "alex", "due": "", **given}
    with pytest.raises(InputError, match=said):
        add_item(home, RESPONDER, item["incident"], item["title"], owner=item["owner"], due=item["due"])
    with pytest.raises(InputError, match="has no action item 'A7'"):
        close_item(home, RESPONDER, incident, "A7", "done")
    assert home.store.head().size == size


def test_an_auditor_agrees_upon_nothing(bench: Bench, home: Home, incident: str) -> None:
    bench.settings.people.write_text(bench.settings.people.read_text() + "  audrey: {roles: [auditor]}\n")
    audrey: Identity = person("audrey", "auditor")
    with pytest.raises(GateError, match="auditor"):
        add_item(home, audrey, incident, "x", owner="alex")


def test_a_review_is_published_once_it_is_resolved_and_again_when_something_changed(
    home: Home, incident: str
) -> None:
    with pytest.raises(RefusedError, match="is not resolved"):
        publish_review(home, RESPONDER, incident)
    solve(home, incident)
    review, entry = publish_review(home, RESPONDER, incident)
    assert published_review(home, incident) == as_markdown(review)
    assert incident_in(home.store, incident).reviewed == entry.seq
    with pytest.raises(
        RefusedError, match=f"nothing has changed since the review was published \\(entry {entry.seq}\\)"
    ):
        publish_review(home, BILLIE, incident)
    add_item(home, RESPONDER, incident, "x", owner="alex")
    _, again = publish_review(home, BILLIE, incident)
    assert again.seq > entry.seq
    assert verify(home.store).ok


def test_publishing_does_not_become_part_of_what_happened(home: Home, incident: str) -> None:
    solve(home, incident)
    review, _ = publish_review(home, RESPONDER, incident)
    assert make_review(home, incident).rows == review.rows
    assert make_review(home, incident).upto == review.upto


def test_a_review_of_what_was_reopened_is_due_again(home: Home, incident: str) -> None:
    solve(home, incident)
    publish_review(home, RESPONDER, incident)
    home.store.append([Draft(RESPONDER.actor(), IncidentReopened(reason="again"), inc=incident)])
    with pytest.raises(InputError, match=r"no review of .* was published"):
        published_review(home, incident)


class Tags(HTMLParser):
    """Notes every tag, attribute and text."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


OURS = {
    "html",
    "head",
    "meta",
    "title",
    "style",
    "body",
    "main",
    "h1",
    "h2",
    "section",
    "dl",
    "dt",
    "dd",
    "p",
}
OURS |= {"blockquote", "div", "table", "thead", "tbody", "tr", "th", "td"}


def hostile(home: Home) -> str:
    """Make an incident in which everything that can be said is a script."""
    incident = declare(
        home, RESPONDER, Declaration(SCRIPTS[0], services=SCRIPTS[1:4], text="\n".join(SCRIPTS))
    )
    for text in SCRIPTS:
        write_note(home, RESPONDER, Place(incident), text)
    for text in SCRIPTS[:5]:
        add_item(home, RESPONDER, incident, text, owner="alex")
    solve(home, incident, cause=SCRIPTS[5][:60], text="\n".join(SCRIPTS))
    return incident


def test_nothing_that_was_said_is_a_tag_in_the_html(home: Home) -> None:
    page = as_html(make_review(home, hostile(home)))
    found = Tags()
    found.feed(page)
    assert found.tags <= OURS
    assert found.attributes <= {
        "lang",
        "charset",
        "name",
        "content",
        "http-equiv",
        "scope",
        "class",
        "colspan",
    }
    shown = " ".join(" ".join(found.texts).split())
    for text in SCRIPTS:
        assert " ".join(safe(text).split()) in shown, text
    assert "script-src" not in page
    assert "default-src 'none'" in page


def test_nothing_that_was_said_is_markup_in_the_markdown(home: Home) -> None:
    page = as_markdown(make_review(home, hostile(home)))
    rendered = MarkdownIt("commonmark", {"html": True}).enable("table").render(page)
    found = Tags()
    found.feed(rendered)
    assert found.tags <= {
        "h1",
        "h2",
        "ul",
        "li",
        "strong",
        "p",
        "blockquote",
        "table",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
    }
    assert not found.attributes
    assert len(re.findall(r"<h[12]>", rendered)) == 9


@pytest.mark.parametrize(
    "text", [*SCRIPTS, "a\u202eb", "a\x1b[31mb", "- x", "1. x", "# x", "--- ", "_x_", "*x*", "~~x~~", "x\\"]
)
def test_a_text_is_shown_as_it_is(text: str) -> None:
    rendered = (
        MarkdownIt("commonmark", {"html": True})
        .enable(["table", "strikethrough"])
        .render(f"- **x:** {plain(text)}")
    )
    found = Tags()
    found.feed(rendered)
    assert found.tags <= {"ul", "li", "p", "strong"}
    assert "\u202e" not in rendered
    assert "\x1b" not in rendered
    if text.isprintable() and "\\" not in text:
        assert text.strip() in "".join(found.texts)


def test_times_are_said_no_more_exactly_than_anybody_needs(home: Home, incident: str) -> None:
    def said(ms: int) -> str:
        return figure_text(Figure("x", "x", "x", value=ms))

    assert [said(ms) for ms in (0, 7, 999, 1_250, 61_999, 5_025_000)] == [
        "0s",
        "7ms",
        "999ms",
        "1.2s",
        "1m1s",
        "1h23m45s",
    ]
    assert figure_text(Figure("x", "x", "x", "share", 2, 3)) == "67 % (2 of 3)"
    assert [section.title for section in sections_of(make_review(home, incident))] == [
        "In short",
        "Figures",
        "Moments",
        "Action items",
        "Timeline",
        "Done by automation",
        "Done by people",
        "Decisions",
    ]
