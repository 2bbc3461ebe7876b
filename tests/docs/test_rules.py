"""The pages about rules and watches show files that are read, and name every key that there is."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from builders.markdown import blocks, inline
from pydantic import BaseModel

from mimrun.app.notice.event import NoticeEvent
from mimrun.errors import SettingsError
from mimrun.incident.rule import Count, Given, Match, Opens, Rule, Threshold, Words
from mimrun.incident.rule_file import parse_limits, parse_rules
from mimrun.incident.source import Source, Sources
from mimrun.incident.storm import Limits
from mimrun.incident.watch import Watch, Watches
from mimrun.incident.watch_file import parse_watches
from mimrun.runbook.document import read_document

SOURCES = Sources({"watch": Source.model_validate({"kind": "alertmanager", "token": "env:X"})})


def shown(pages: dict[str, str], info: str) -> Iterator[tuple[str, str]]:
    """Give every block of a kind, with its place."""
    for name, text in pages.items():
        for block in blocks(text):
            if block.info == info:
                yield f"{name}:{block.line}", block.text


def keys(model: type[BaseModel]) -> set[str]:
    """Give the keys as one writes them."""
    return {info.alias or name for name, info in model.model_fields.items()}


def test_every_file_on_a_page_is_read(pages: dict[str, str]) -> None:
    rules = [
        parse_rules(read_document(text, at, error=SettingsError)) for at, text in shown(pages, "yaml rules")
    ]
    limits = [
        parse_limits(read_document(text, at, error=SettingsError)) for at, text in shown(pages, "yaml limits")
    ]
    watches = [
        parse_watches(read_document(text, at, error=SettingsError), SOURCES)
        for at, text in shown(pages, "yaml watches")
    ]
    assert (len(rules) >= 3, len(limits) >= 1, len(watches) >= 1) == (True, True, True)
    assert limits[0] == Limits(), "the page shows the usual values"


@pytest.mark.parametrize(
    ("page", "model"),
    [
        *(("docs/reference/rules.md", one) for one in (Rule, Match, Threshold, Count, Opens, Limits)),
        ("docs/how-to/watch-a-query.md", Watch),
    ],
)
def test_every_key_is_on_its_page(pages: dict[str, str], page: str, model: type[BaseModel]) -> None:
    named = {part for code in inline(pages[page]) for part in code.split(".")} | set(inline(pages[page]))
    assert keys(model) <= named


def test_the_rest_of_the_keys_is_shown(pages: dict[str, str]) -> None:
    text = pages["docs/reference/rules.md"]
    assert all(key in text for model in (Words, Given) for key in keys(model) - {"one_of", "value"})
    assert keys(Watches) == {"source", "watches"}


def test_every_event_that_people_are_told_of_is_on_its_page(pages: dict[str, str]) -> None:
    assert {event.value for event in NoticeEvent} <= set(inline(pages["docs/how-to/tell-people.md"]))
