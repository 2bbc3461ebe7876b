"""`mimrun alert` on the real command line, and over a real server."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from builders.alerts import CASES, SECRET, TOKEN, value
from builders.commands import Desk
from builders.serving import serving

PAYLOAD = str(CASES / "alertmanager.json")


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def sources(desk: Desk) -> None:
    for name, secret in (("token", TOKEN), ("secret", SECRET)):
        (desk.home / name).write_text(secret)
    (desk.home / "alerts.yaml").write_text(
        f"""\
sources:
  prometheus: {{kind: alertmanager, token: 'file:{desk.home}/token', may_launch: true}}
  pager: {{kind: pagerduty, secrets: 'file:{desk.home}/secret'}}
  grafana: {{kind: grafana, secrets: 'file:{desk.home}/secret', timestamp_header: X-Time}}
  vendor:
    kind: json
    secrets: 'file:{desk.home}/secret'
    mapping: {{alerts: events, fingerprint: component.id, title: component.name, status: state}}
"""
    )


def test_a_person_hands_an_alert_in_and_sees_it(desk: Desk) -> None:
    assert desk("alert", "list").out == "no alert has come\n"
    assert desk("alert", "send", PAYLOAD).out == "1 alert recorded\n"
    assert desk("alert", "send", PAYLOAD).out == "0 alerts recorded, 1 alert had come before\n"
    assert desk("alert", "send", "-", "--json", stdin=Path(PAYLOAD).read_text()).json == {
        "accepted": 0,
        "duplicates": 1,
    }
    (one,) = desk("alert", "list", "--json").json
    assert (one["by"], one["auth"], one["source"], one["status"]) == (
        "responder",
        "person",
        "alertmanager",
        "firing",
    )
    listed = desk("alert", "list").out
    assert "error ratio 20% on 127.0.0.1:9198" in listed
    shown = desk("alert", "show", str(one["seq"])).out
    assert "db-failover" in shown
    assert "alertmanager (person)" in shown
    assert desk("alert", "show", str(one["seq"]), "--json").json["labels"]["site"] == "lab"


def test_only_what_is_wrong_by_now_is_listed_as_firing(desk: Desk) -> None:
    desk("alert", "send", PAYLOAD)
    assert len(desk("alert", "list", "--firing", "--json").json) == 1
    desk("alert", "send", str(CASES / "alertmanager_resolved.json"))
    assert desk("alert", "list", "--firing").out == "nothing is wrong by the alerts that came\n"
    assert [one["status"] for one in desk("alert", "list", "--json").json] == ["resolved", "firing"]
    assert len(desk("alert", "list", "-n", "1", "--json").json) == 1


def test_what_an_alert_says_is_not_obeyed_by_the_terminal(desk: Desk) -> None:
    body = value("alertmanager.json")
    body["alerts"][0]["annotations"] = {
        "summary": "\x1b[31mred\x07 {{ 7*7 }}",
        "note": "a\n\x1b]52;c;eA==\x07",
    }
    desk("alert", "send", str(desk.write("hostile.json", json.dumps(body))))
    (one,) = desk("alert", "list", "--json").json
    for said in (desk("alert", "list"), desk("alert", "show", str(one["seq"]))):
        assert "\x1b" not in said.out
        assert "\x07" not in said.out
        assert "{{ 7*7 }}" in said.out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("send", "nowhere.json"), "nowhere.json cannot be read: No such file"),
        (("send", PAYLOAD, "--kind", "alertmanger"), "no kind 'alertmanger'; did you mean 'alertmanager'?"),
        (("send", PAYLOAD, "--kind", "grafana", "--source", "x"), "there is no source 'x' of kind grafana"),
        (("send", PAYLOAD, "--kind", "pagerduty"), "event must be a mapping of keys"),
        (("send", PAYLOAD, "--kind", "json"), "has no source of kind json"),
        (("send", PAYLOAD, "--post"), "has no source '' of kind alertmanager"),
        (("show", "1"), "entry 1 is no alert; it is of kind log.genesis"),
        (("show", "4711"), "the log has no entry 4711"),
        (("lint",), "alerts.yaml is not there; docs/how-to/take-alerts-in.md"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_recorded(desk: Desk, words: tuple[str, ...], said: str) -> None:
    before = desk.size()
    answer = desk("alert", *words)
    assert answer.code == 2
    assert said in answer.err
    assert desk.size() == before


def test_lint_says_what_is_in_order_and_what_is_not(desk: Desk) -> None:
    sources(desk)
    assert desk("alert", "lint").out == (
        "4 sources are in order: prometheus (alertmanager), pager (pagerduty), grafana (grafana), vendor (json)\n"
    )
    assert TOKEN not in desk("alert", "lint", "--json").out
    (desk.home / "token").write_text("short")
    said = desk("alert", "lint")
    assert said.code == 2
    assert said.out.startswith("source prometheus: secret 'file:")
    assert "fewer than 16 characters" in said.out
    (desk.home / "alerts.yaml").write_text("sources:\n  x: {kind: grafna, token: env:X}\n")
    said = desk("alert", "lint")
    assert said.code == 2
    assert "alerts.yaml:2:13: kind: 'grafna' is not one of" in said.err
    assert "did you mean 'grafana'?" in said.err


def test_the_doctor_says_who_may_send_alerts(desk: Desk) -> None:
    def said() -> list[tuple[str, bool]]:
        checks = desk("doctor", "--json").json
        return [(one["found"], one["ok"]) for one in checks if one["name"] == "alerts"]

    assert said() == []
    sources(desk)
    assert said() == [("from prometheus, pager, grafana, vendor", True)]
    (desk.home / "token").unlink()
    assert [ok for _, ok in said()] == [False, True]
    (desk.home / "alerts.yaml").write_text("sources: 1\n")
    assert [ok for _, ok in said()] == [False]


def test_alerts_are_sent_to_a_server_as_each_source_proves_itself(desk: Desk) -> None:
    sources(desk)
    said = desk("alert", "send", PAYLOAD, "--post")
    assert (said.code, "no server is up here" in said.err) == (2, True)
    with serving(desk.home) as server:
        sent = [("alertmanager", PAYLOAD, 1), ("grafana", str(CASES / "grafana.json"), 2)]
        sent += [("pagerduty", str(CASES / "pagerduty.json"), 1), ("json", str(CASES / "statuspage.json"), 1)]
        for kind, file, number in sent:
            answer = desk("alert", "send", file, "--kind", kind, "--post", "--json")
            assert (answer.code, answer.json if answer.code == 0 else answer.err) == (
                0,
                {"accepted": number, "duplicates": 0},
            )
        answer = desk("alert", "send", PAYLOAD, "--url", f"{server.url}/", "--json")
        assert answer.json == {"accepted": 0, "duplicates": 1}
        said = desk("alert", "send", PAYLOAD, "--kind", "pagerduty", "--post")
        assert (said.code, "the server did not take it: event must be a mapping" in said.err) == (2, True)
        (desk.home / "other").write_text("another-token-entirely")
        text = (desk.home / "alerts.yaml").read_text()
        other = desk.folder / "other-home"
        assert desk("init", "--home", str(other)).code == 0
        (other / "alerts.yaml").write_text(text.replace(f"{desk.home}/token", f"{desk.home}/other"))
        said = desk("alert", "send", PAYLOAD, "--home", str(other), "--url", server.url)
        assert (said.code, "see alerts.yaml" in said.err) == (5, True)
    assert {one["auth"] for one in desk("alert", "list", "--json").json} == {"token", "signature"}
    said = desk("alert", "send", PAYLOAD, "--url", "http://127.0.0.1:9")
    assert (said.code, "cannot be reached" in said.err) == (6, True)
