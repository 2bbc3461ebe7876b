"""The samples in `deploy/` for monitoring systems are right, say the programs that read them, and mimrun fits them."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from mimrun.incident.source_file import parse_sources
from mimrun.lab.alertmanager import find
from mimrun.runbook.document import read_document

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
ALERTMANAGER, GRAFANA = DEPLOY / "alertmanager" / "mimrun.yml", DEPLOY / "grafana" / "mimrun.yml"
KNOWN = {"alertmanager", "grafana"}


def said_by(*argv: str) -> str:
    done = subprocess.run(
        argv, cwd=DEPLOY / "prometheus", capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.needs("prometheus")
def test_prometheus_reads_its_samples_and_the_thresholds_fire_when_they_should() -> None:
    assert find()
    assert "SUCCESS" in said_by("promtool", "check", "config", "prometheus.yml")
    for name in ("thresholds", "mimrun"):
        assert "SUCCESS" in said_by("promtool", "check", "rules", f"{name}.yml")
        assert "SUCCESS" in said_by("promtool", "test", "rules", f"{name}.test.yml")


@pytest.mark.needs("prometheus")
def test_alertmanager_tells_mimrun_and_people_of_what_is_bad_and_people_alone_of_the_rest() -> None:
    assert "SUCCESS" in said_by("amtool", "check-config", str(ALERTMANAGER))
    route = ("amtool", "config", "routes", "test", f"--config.file={ALERTMANAGER}")
    assert said_by(*route, "severity=critical").strip() == "mimrun,on-call"
    assert said_by(*route, "severity=warning").strip() == "on-call"


def test_every_threshold_says_what_mimrun_reads() -> None:
    (group,) = yaml.safe_load((DEPLOY / "prometheus" / "thresholds.yml").read_text())["groups"]
    for rule in group["rules"]:
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert {"summary", "value"} <= set(rule["annotations"])


def source_in(path: Path) -> dict[str, Any]:
    """Read the part of `alerts.yaml` that a sample shows in its comments."""
    lines = [re.sub(r"^# {0,3}", "", line) for line in path.read_text().splitlines() if line.startswith("#")]
    begin = lines.index("sources:")
    text = "\n".join(lines[begin : lines.index("", begin)])
    return parse_sources(read_document(text, "alerts.yaml")).as_json()


@pytest.mark.parametrize("path", [ALERTMANAGER, GRAFANA], ids=lambda path: path.parent.name)
def test_the_other_end_of_a_sample_is_a_source_of_that_name_and_kind(path: Path) -> None:
    (url,) = re.findall(r"https://\S+", path.read_text())
    found = re.fullmatch(r"https://mimrun\.example\.org/alerts/(\w+)\?source=(\w+)", url)
    assert found is not None
    assert source_in(path)[found[2]]["kind"] == found[1]


def test_grafana_signs_what_mimrun_checks() -> None:
    (point,) = yaml.safe_load(GRAFANA.read_text())["contactPoints"]
    settings = point["receivers"][0]["settings"]
    assert settings["hmacConfig"]["timestampHeader"] == source_in(GRAFANA)["grafana"]["timestamp_header"]
    assert settings["hmacConfig"]["header"] == "X-Grafana-Alerting-Signature"
