from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from mimrun.errors import TamperError
from mimrun.incident.alert import (
    Alert,
    Alerts,
    alert_draft,
    alert_key,
    alert_without_labels,
    read_severity,
    read_time,
)
from mimrun.log.entry import Actor
from mimrun.log.kinds import AlertReceived
from mimrun.log.sqlite.store import SqliteStore, create_log

SYSTEM = Actor("system", "alert:prometheus", "web", "token")
DIGEST = "sha256:" + "a" * 64


def alert(**changed: object) -> Alert:
    said = {
        "source": "prometheus",
        "key": alert_key("prometheus", ["fp", "", "firing"]),
        "fingerprint": "fp",
        "status": "firing",
        "raw_digest": DIGEST,
    }
    return Alert.model_validate({**said, **changed})


@given(st.dictionaries(st.text(), st.text()), st.text())
def test_whatever_an_alert_says_can_be_kept_and_read_again(labels: dict[str, str], title: str) -> None:
    one = alert(labels=labels, annotations=labels, title=title, service=title, value=title, url=title)
    assert Alert.decode(one.encode()) == one
    draft = alert_draft(one, SYSTEM)
    assert isinstance(draft.body, AlertReceived)
    assert Alert.decode(draft.blobs[0].data) == one


def test_what_is_recorded_of_an_alert_is_canonical() -> None:
    one = alert(labels={"b": "1", "a": "\u00e4", "\U0001f600": "x", "\uffee": "y"})
    value = json.loads(one.encode())
    assert list(value) == sorted(value)
    # RFC 8785 sorts by UTF-16, where what is beyond the 16 bits comes first.
    assert list(value["labels"]) == ["a", "b", "\U0001f600", "\uffee"]
    assert b" " not in one.encode()


def test_texts_that_are_too_long_are_cut_and_what_is_not_unicode_is_written_out() -> None:
    one = alert(title="x" * 500, service="s" * 500, value="v" * 500, labels={"n" * 500: "t" * 9000})
    assert (len(one.title), len(one.service), len(one.value)) == (200, 64, 64)
    assert [(len(name), len(text)) for name, text in one.labels.items()] == [(200, 4096)]
    assert alert(title="\ud800").title == "\\ud800"


def test_fingerprints_that_are_too_long_stay_different() -> None:
    one, other = (alert(fingerprint="x" * 300 + end).fingerprint for end in "ab")
    assert one != other
    assert one.startswith("sha256:")
    assert alert(fingerprint="\ud800" * 100).fingerprint.startswith("sha256:")
    with pytest.raises(ValidationError):
        alert(fingerprint="")


def test_another_beginning_or_source_is_another_alert() -> None:
    keys = {
        alert_key(source, parts) for source in ("a", "b") for parts in (["x", "y"], ["xy"], ["x", "", "y"])
    }
    assert len(keys) == 6
    assert alert_key("a", ["\ud800"]) == alert_key("a", ["\\ud800"])


@pytest.mark.parametrize(
    ("word", "severity"),
    [
        ("critical", "critical"),
        (" Critical ", "critical"),
        ("P1", "critical"),
        ("page", "critical"),
        ("error", "high"),
        ("warning", "warning"),
        ("none", "info"),
        ("", "unknown"),
        ("purple", "unknown"),
    ],
)
def test_severities_of_other_systems_are_understood_and_strange_ones_are_unknown(
    word: str, severity: str
) -> None:
    assert read_severity(word) == severity


@pytest.mark.parametrize(
    ("written", "moment"),
    [
        ("2026-11-21T22:52:24.18Z", "2026-11-21T22:52:24.180000Z"),
        ("2026-11-21T22:52:24.123456789+01:00", "2026-11-21T21:52:24.123456Z"),
        ("0001-01-01T00:00:00Z", ""),
        ("", ""),
        (None, ""),
        (1_795_301_544, "2026-11-21T22:52:24.000000Z"),
        (1_795_301_544_500, "2026-11-21T22:52:24.500000Z"),
    ],
)
def test_times_are_read_as_monitoring_systems_write_them(written: object, moment: str) -> None:
    assert read_time(written) == moment


@pytest.mark.parametrize(
    "written",
    [
        "yesterday",
        "2026-11-21T22:52:24",
        True,
        [],
        float("inf"),
        float("nan"),
        1e30,
        "9999-12-31T23:59:59-23:00",
    ],
)
def test_what_is_no_time_is_refused(written: object) -> None:
    with pytest.raises(ValueError, match="no time"):
        read_time(written)


def test_an_alert_whose_content_was_erased_keeps_what_its_entry_says() -> None:
    one = alert(labels={"a": "b"}, url="https://x", title="down", severity="critical")
    body = alert_draft(one, SYSTEM).body
    assert isinstance(body, AlertReceived)
    assert alert_without_labels(body) == one.model_copy(update={"labels": {}, "url": ""})


def test_bytes_that_are_no_alert_are_refused() -> None:
    for data in (b"", b"{}", b"[]", b"\xff"):
        with pytest.raises(TamperError, match="not an alert"):
            Alert.decode(data)


def test_the_log_knows_which_alerts_have_come(tmp_path: Path) -> None:
    create_log(tmp_path / "log.db", "test", SYSTEM)
    with SqliteStore(tmp_path / "log.db", projectors=[Alerts()]) as store:
        one, other = alert(), alert(key=DIGEST)
        assert store.projection("alerts/1", one.key) == b"0"
        first, _, _ = store.append([alert_draft(said, SYSTEM) for said in (one, other, one)])
        assert int(store.projection("alerts/1", one.key)) == first.seq
        assert store.rebuild()
        assert Alert.decode(store.blob(first, "alert") or b"") == one
