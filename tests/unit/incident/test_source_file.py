from __future__ import annotations

from pathlib import Path

import pytest

from mimrun.errors import SettingsError
from mimrun.incident.source import Sources
from mimrun.incident.source_file import load_sources, parse_sources
from mimrun.runbook.document import read_document

WHOLE = """\
sources:
  prometheus: {kind: alertmanager, token: env:AM_TOKEN, may_launch: true}
  grafana: {kind: grafana, secrets: [env:G1, file:/etc/g2], timestamp_header: X-Time}
  pager: {kind: pagerduty, secrets: env:PD}
  bus: {kind: cloudevents, token: env:BUS}
  anybody: {kind: alertmanager, unauthenticated: true}
  vendor:
    kind: json
    token: env:VENDOR
    mapping:
      alerts: events
      fingerprint: component.id
      status: {path: state, values: {up: resolved}, otherwise: firing}
      severity: {path: level, values: {"3": critical}}
      labels: {app: [tags, a.b], env: {constant: prod}}
      key: [id, $.page.id]
"""


def parse(text: str) -> Sources:
    return parse_sources(read_document(text, "alerts.yaml", error=SettingsError))


def test_what_the_file_says_is_read() -> None:
    sources = parse(WHOLE)
    assert list(sources.by_name) == ["prometheus", "grafana", "pager", "bus", "anybody", "vendor"]
    assert sources.launchable() == {"prometheus"}
    assert sources.by_name["grafana"].secrets == ("env:G1", "file:/etc/g2")
    mapping = sources.by_name["vendor"].mapping
    assert mapping is not None
    assert mapping.fingerprint.path == ("component", "id")
    assert mapping.labels["app"].path == ("tags", "a.b")
    assert mapping.key[1].path == ("$", "page", "id")


def test_without_the_file_nobody_may_send_alerts(tmp_path: Path) -> None:
    assert not load_sources(tmp_path / "alerts.yaml").by_name
    (tmp_path / "alerts.yaml").symlink_to(tmp_path / "nowhere")
    with pytest.raises(SettingsError, match="cannot be read"):
        load_sources(tmp_path / "alerts.yaml")


MAPPED = "sources:\n  v:\n    kind: json\n    token: env:V\n    mapping:\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[]", "1:1: a file of alerts has a key 'sources'"),
        ("sources: {}\nsorces: {}", "2:1: unknown key 'sorces'; did you mean 'sources'?"),
        ("sources: {A: {kind: json}}", "1:11: name 'A' must be lower case"),
        ("sources: {a: 1}", "1:14: a source is a mapping"),
        ("sources:\n  a: {token: env:X}", "2:6: the key 'kind' is missing"),
        (
            "sources:\n  a: {kind: alertmanger, token: env:X}",
            "2:13: kind: 'alertmanger' is not one of .*did you mean 'alertmanager'",
        ),
        ("sources:\n  a: {kind: grafana, tokens: env:X}", "2:22: unknown key 'tokens'.*did you mean 'token'"),
        ("sources:\n  a: {kind: grafana}", "2:3: anybody could send alerts under this name"),
        (
            "sources:\n  a: {kind: grafana, token: env:X, secrets: env:Y}",
            "2:36: a source has token or secrets or unauth",
        ),
        (
            "sources:\n  a: {kind: grafana, token: [env:X, hunter2]}",
            "2:37: token is a reference to a secret, and not",
        ),
        (
            "sources:\n  a: {kind: grafana, secrets: hunter2}",
            "2:31: secrets is a reference to a secret, and not",
        ),
        (
            "sources:\n  a: {kind: alertmanager, secrets: env:X}",
            "2:27: Alertmanager signs nothing; give `token`",
        ),
        (
            "sources:\n  a: {kind: grafana, unauthenticated: true, may_launch: true}",
            "2:45: what anybody may send launches nothing",
        ),
        (
            "sources:\n  a: {kind: pagerduty, secrets: env:X, timestamp_header: X-T}",
            "2:40: timestamp_header goes with kind: grafana",
        ),
        ("sources:\n  a: {kind: json, token: env:X}", "2:3: kind: json needs a `mapping`"),
        (
            "sources:\n  a: {kind: grafana, token: env:X, mapping: {fingerprint: a}}",
            "2:36: kind: grafana takes no mapping",
        ),
        (
            "sources:\n  a: {kind: cloudevents, token: env:X, mapping: {fingerprint: a, alerts: b}}",
            "2:66: an event is one alert",
        ),
        (
            "sources:\n  a: {kind: grafana, token: env:X}\n  b: {kind: grafana, token: env:X}",
            "3:6: the same secret as that of 'a'",
        ),
        (f"{MAPPED}      title: a", "6:7: the key 'fingerprint' is missing in mapping"),
        (f"{MAPPED}      fingerprint: a..b", "6:20: path: 'a..b' is no path; write labels.severity"),
        (f"{MAPPED}      fingerprint: {{constant: x}}", "6:20: everything would be about the same"),
        (f"{MAPPED}      fingerprnt: a", "6:7: unknown key 'fingerprnt'.*did you mean 'fingerprint'"),
        (
            f"{MAPPED}      fingerprint: a\n      title: {{path: a, constant: b}}",
            "7:14: takes a path or a constant",
        ),
        (
            f"{MAPPED}      fingerprint: a\n      status: {{path: s, values: {{up: resolve}}}}",
            "7:38: 'resolve' is no status; did you mean 'resolved'",
        ),
        (
            f"{MAPPED}      fingerprint: a\n      severity: {{path: s, otherwise: bad}}",
            "7:38: 'bad' is no severity; allowed here: critical, high, info, unknown, warning",
        ),
    ],
)
def test_what_is_wrong_is_named_at_its_place(text: str, said: str) -> None:
    with pytest.raises(SettingsError, match=said) as caught:
        parse(text)
    assert "hunter2" not in str(caught.value)


def test_everything_that_is_wrong_is_named_at_once() -> None:
    with pytest.raises(SettingsError) as caught:
        parse("sources:\n  a: {kind: grafana}\n  B: {kind: json, token: env:X}\n")
    assert len(caught.value.problems) == 3
