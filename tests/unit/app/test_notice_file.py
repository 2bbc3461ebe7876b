"""notices.yaml: what is wrong is said with its place, and no secret is repeated."""

from __future__ import annotations

import pytest

from mimrun.app.notice.event import NoticeEvent
from mimrun.app.notice.file import NoticeRules, parse_notices
from mimrun.errors import SettingsError
from mimrun.runbook.document import read_document

GOOD = """\
link: https://mimrun.example.org
channels:
  chat: {url: env:CHAT}
  mail: {url: file:/etc/mail.url, each: true}
notices:
  - {tell: approvers, over: [chat, mail], of: [gate_reached], remind: 10m}
"""


def read(text: str) -> NoticeRules:
    return parse_notices(read_document(text, "notices.yaml", error=SettingsError))


def test_a_good_file_is_read() -> None:
    rules = read(GOOD)
    assert rules.notices[0].remind == 600_000
    assert rules.words("approvers", NoticeEvent.GATE_REACHED).title == "{{ run }} waits for your approval"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("env:CHAT", "json://u:hunter22@host/x", "notices.yaml:3:15: url is a reference to a secret"),
        ("over: [chat", "over: [chta", "did you mean 'chat'"),
        ("gate_reached", "gate_reachd", "gate_reachd"),
        ("tell: approvers", "tell: everyone", "approvers"),
        ("https://mimrun.example.org", "https://u:p@mimrun.example.org?token=1", "link: write https://HOST"),
        ("remind: 10m", "remind: soon", "remind"),
        ("of: [gate_reached]", "of: [run_ended]", "nobody is reminded of what asks for nothing"),
        ("tell: approvers", "tell: responders", "writes to each person"),
        ("link:", "lnik:", "did you mean 'link'"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(old: str, new: str, said: str) -> None:
    with pytest.raises(SettingsError) as found:
        read(GOOD.replace(old, new, 1))
    assert said in str(found.value)
    assert "notices.yaml:" in str(found.value)
    assert "hunter22" not in str(found.value)


def test_a_text_that_names_what_there_is_not_is_refused() -> None:
    with pytest.raises(SettingsError) as found:
        read(GOOD + "texts: {approvers: {gate_reached: {text: '{{ rnu }} waits'}}}\n")
    assert "rnu" in str(found.value)
