"""What the pages about Request Tracker and other tools tell people to write is taken as it stands there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from connectors.change.generic import GenericHttpSettings
from connectors.change.generic.settings import DECIDING
from connectors.change.request_tracker import RequestTrackerSettings

PAGES = Path(__file__).resolve().parents[3] / "docs" / "how-to"


def blocks(page: str) -> list[str]:
    return re.findall(r"```yaml\n(.*?)```", (PAGES / page).read_text("utf-8"), re.DOTALL)


def test_the_page_of_request_tracker_is_taken() -> None:
    told: Any = yaml.safe_load(blocks("change-request-tracker.md")[0])["systems"]["rt"]
    assert told.pop("adapter") == "request_tracker"
    assert RequestTrackerSettings.model_validate(told).queue == "Changes"


def test_the_page_of_other_tools_is_taken_and_leaves_no_field_unsaid() -> None:
    first, second = blocks("change-generic-http.md")
    told: Any = yaml.safe_load(first + second)["systems"]["desk"]
    assert told.pop("adapter") == "http"
    settings = GenericHttpSettings.model_validate(told)
    assert set(DECIDING) <= settings.mapped() | set(settings.absent)
    assert settings.create is not None
