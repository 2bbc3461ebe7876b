"""A home with rules, for tests of what they do."""

from __future__ import annotations

from pathlib import Path

import pytest
from builders.rules import Alarm
from builders.runs import Bench


@pytest.fixture
def alarm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Alarm:
    alarm = Alarm(Bench(tmp_path))
    monkeypatch.setenv("MIMRUN_RUNBOOKS", str(alarm.library))
    return alarm
