"""Watching over a real log: alerts go the way of all others, once, and a new process goes on from there."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from builders.answering import Answer
from builders.commands import until
from builders.prometheus_api import PrometheusApi, prometheus_api
from builders.runs import Bench

from flows.watch import ask_prometheus
from mimrun.app.alert.view import list_alerts, read_alert
from mimrun.app.home import Home
from mimrun.app.watching import Watching, alone, find_asker, read_watches
from mimrun.errors import SettingsError

TOKEN = "a-token-for-tests-0123456789"
WATCHES = """\
source: watch
watches:
  - {{name: down, address: "{address}", query: up, below: 1, every: 1s, severity: critical, title: Down, blind_after: 0s}}
"""


@pytest.fixture
def api() -> Iterator[PrometheusApi]:
    with prometheus_api() as api:
        yield api


def write(bench: Bench, text: str) -> None:
    (bench.settings.home / "token").write_text(f"{TOKEN}\n")
    (bench.settings.home / "token").chmod(0o600)
    bench.settings.alerts.write_text(
        f"sources:\n  watch: {{kind: alertmanager, token: 'file:{bench.settings.home / 'token'}'}}\n"
        "  pager: {kind: pagerduty, secrets: env:X}\n"
    )
    bench.settings.watches.write_text(text)


def watching(home: Home) -> Watching:
    return Watching(home, read_watches(home.settings), ask_prometheus)


def said(home: Home) -> list[tuple[str, str, str]]:
    return [(one.said.title, one.said.status, one.said.value) for one in list_alerts(home)]


def test_what_is_beyond_is_an_alert_of_its_source_once(bench: Bench, api: PrometheusApi) -> None:
    write(bench, WATCHES.format(address=api.address))
    api.series = {"instance=a": "1", "instance=b": "0"}
    with bench.home() as home:
        one = watching(home)
        (watch,) = read_watches(home.settings).watches
        for _ in range(3):
            assert not one.once(watch).wrong
        assert said(home) == [("Down", "firing", "0")]
        (view,) = list_alerts(home)
        assert (view.said.source, view.said.auth, view.said.severity) == ("watch", "token", "critical")
        alert = read_alert(home, home.store.entry(view.seq))
        assert alert.labels == {"instance": "b", "alertname": "down", "severity": "critical"}
        # Another process knows from the log what is an alert already, and ends it.
        api.series["instance=b"] = "1"
        watching(home).once(watch)
        assert said(home) == [("Down", "firing", "0"), ("Down", "resolved", "1")]
        first, second = list_alerts(home)
        assert (first.said.fingerprint, first.said.starts_at) == (
            second.said.fingerprint,
            second.said.starts_at,
        )
        watching(home).once(watch)
        assert len(said(home)) == 2


def test_no_answer_is_an_alert_and_what_was_one_stays_one(bench: Bench, api: PrometheusApi) -> None:
    write(bench, WATCHES.format(address=api.address))
    api.series = {"instance=b": "0"}
    with bench.home() as home:
        (watch,) = read_watches(home.settings).watches
        watching(home).once(watch)
        api.instead = Answer(503, body=b"{}")
        assert "answered 503" in watching(home).once(watch).wrong
        blind = "the watch down gets no answer: nobody knows how it is"
        assert [(title, status) for title, status, _ in said(home)] == [("Down", "firing"), (blind, "firing")]
        api.instead = None
        watching(home).once(watch)
        assert [(title, status) for title, status, _ in said(home)][2:] == [(blind, "resolved")]


def test_what_could_not_be_recorded_is_found_again(bench: Bench, api: PrometheusApi) -> None:
    write(bench, WATCHES.format(address=api.address))
    api.series = {"instance=b": "0"}
    with bench.home() as home:
        one, (watch,) = watching(home), read_watches(home.settings).watches
        (bench.settings.home / "token").rename(bench.settings.home / "gone")
        asked = one.once(watch)
        assert (asked.recorded, len(asked.changes)) == (False, 1)
        assert said(home) == []
        (bench.settings.home / "gone").rename(bench.settings.home / "token")
        assert one.once(watch).recorded
        assert said(home) == [("Down", "firing", "0")]


def test_more_than_one_delivery_has_room_for_is_recorded_all_the_same(
    bench: Bench, api: PrometheusApi
) -> None:
    write(bench, WATCHES.format(address=api.address))
    api.series = {f"instance=host-{number},path={'x' * 500}": "0" for number in range(1_500)}
    with bench.home() as home:
        (watch,) = read_watches(home.settings).watches
        asked = watching(home).once(watch)
        assert (asked.wrong, len(asked.changes)) == ("", 1_500)
        assert len(list_alerts(home, limit=None)) == 1_500


def test_a_label_that_nobody_can_keep_as_it_is_keeps_no_other_series_from_being_recorded(
    bench: Bench, api: PrometheusApi
) -> None:
    write(bench, WATCHES.format(address=api.address))
    api.series = {"instance=\ud800": "0", f"instance={'x' * 2_000_000}": "0", "instance=b": "0"}
    with bench.home() as home:
        (watch,) = read_watches(home.settings).watches
        assert watching(home).once(watch).wrong == ""
        found = [read_alert(home, home.store.entry(view.seq)).labels for view in list_alerts(home)]
    assert [labels["instance"][:6] for labels in found] == ["\\ud800", "xxxxxx", "b"]


def test_one_that_hangs_holds_up_no_other(bench: Bench, api: PrometheusApi) -> None:
    with prometheus_api() as silent:
        silent.instead = Answer(raw=b"", hang=True)
        more = WATCHES.format(address=silent.address) + WATCHES.format(address=api.address).split("\n", 2)[
            2
        ].replace("name: down", "name: other")
        write(bench, more)
        api.series = {"instance=b": "0"}
        with bench.home() as home:
            one = watching(home)
            thread = threading.Thread(target=one.stay)
            thread.start()
            until(lambda: said(home), "an alert of the watch that gets answers")
            one.stop()
            thread.join(20)
            assert not thread.is_alive()


def test_of_two_on_one_machine_the_second_waits(bench: Bench) -> None:
    with alone(bench.settings, lambda: False) as first:
        assert first
        with alone(bench.settings, lambda: True) as second:
            assert not second
    with alone(bench.settings, lambda: True) as late:
        assert not late, "it was told to stop before it could look"


def test_the_installed_asker_asks_prometheus() -> None:
    assert find_asker() is ask_prometheus


@pytest.mark.parametrize(
    ("wrong", "right", "words"),
    [
        ("below: 1", "bellow: 1", r"watches.yaml:3:\d+: unknown key 'bellow'; did you mean 'below'\?"),
        ("source: watch", "source: wotch", "alerts.yaml has no source 'wotch'; did you mean 'watch'?"),
        ("source: watch", "source: pager", "pager is no source of kind alertmanager with a token"),
        ("below: 1", "below: 1, above: 2", "a watch has `above` or `below`, and not both"),
        ("below: 1", "below: 1, clear: 0", "0 is below 1: it would be over before it begins"),
        ("below: 1,", "clear: 0,", "there is no number that it would be beyond"),
        ("every: 1s", "every: 1ms", "every: 1 must be at least 1000"),
        ("http://h", "file:///etc/passwd", "address: 'file:///etc/passwd' does not fit"),
        ("http://h", "http://user:secret@h", "address: .* does not fit"),
        ("query: up", "query: up, token: s3cret", "token is a reference to a secret, and not the secret"),
        ("query: up", "query: up, labels: {severity: high}", "severity is set by the watch itself"),
    ],
)
def test_a_wrong_file_is_refused_with_its_place(bench: Bench, wrong: str, right: str, words: str) -> None:
    text = WATCHES.format(address="http://h")
    assert wrong in text
    write(bench, text.replace(wrong, right))
    with pytest.raises(
        SettingsError, match=words.replace("?", r"\?") if "did you" in words and "\\" not in words else words
    ):
        read_watches(bench.settings)


def test_without_a_file_it_says_where_it_belongs(bench: Bench, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"watches.yaml is not there; docs/how-to/watch-a-query.md"):
        read_watches(bench.settings)
