"""`mimrun notice` on the real command line: what it says where there is little to say."""

from __future__ import annotations

from pathlib import Path

import pytest
from builders.commands import Desk


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_what_belongs_to_no_run_is_told_of_none(desk: Desk) -> None:
    (desk.home / "url").write_text("json://127.0.0.1:9/x\n")
    (desk.home / "notices.yaml").write_text(
        f"channels: {{pager: {{url: 'file:{desk.home}/url'}}}}\n"
        "notices: [{tell: managers, over: [pager], of: [killswitch], roles: [change_manager]}]\n"
    )
    assert desk("kill-switch", "pull", "--reason", "all of it").code == 0
    said = desk("notice", "now")
    assert said.code == 1
    assert said.out.startswith("not told managers over pager: killswitch: ")


def test_a_channel_is_not_there_where_none_is(desk: Desk) -> None:
    (desk.home / "notices.yaml").write_text("channels: {}\nnotices: []\n")
    said = desk("notice", "test", "chat")
    assert said.code == 2
    assert f"there is no channel 'chat'; {desk.home}/notices.yaml names none" in said.err
